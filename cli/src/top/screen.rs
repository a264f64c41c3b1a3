//! `top` on a terminal: drawn again with each sample, until somebody presses q.

use super::plain::{COLUMNS, cells, summary};
use super::sample::{Load, Sample, Sampler};
use crate::Outcome;
use crate::args::Order;
use crate::failure::Failure;
use crate::signals::Signals;
use crate::table::Side;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::layout::{Alignment, Constraint, Layout};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Text};
use ratatui::widgets::{Cell, Paragraph, Row, Table};
use ratatui::{DefaultTerminal, Frame};
use std::io;
use std::os::fd::AsFd;
use std::process::ExitCode;
use std::time::{Duration, Instant};

const KEYS: &str = "q quit   order by: r rate  i queue  d denied  n name";

/// What somebody at the terminal wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wish {
    Quit,
    Order(Order),
    /// Nothing: the terminal has another size, or there is no such key.
    Nothing,
}

impl Wish {
    fn of(event: &Event) -> Self {
        let Event::Key(KeyEvent { code, modifiers, kind: KeyEventKind::Press, .. }) = event else {
            return Self::Nothing;
        };
        match code {
            KeyCode::Char('c') if modifiers.contains(KeyModifiers::CONTROL) => Self::Quit,
            KeyCode::Char('q') | KeyCode::Esc => Self::Quit,
            KeyCode::Char('r') => Self::Order(Order::Rate),
            KeyCode::Char('i') => Self::Order(Order::Queue),
            KeyCode::Char('d') => Self::Order(Order::Denied),
            KeyCode::Char('n') => Self::Order(Order::Name),
            _ => Self::Nothing,
        }
    }
}

pub fn run(sampler: &mut Sampler, interval: Duration, order: Order) -> Outcome {
    // Whoever ends it from outside gets the terminal back, too.
    let mut signals = Signals::catch()?;
    let mut terminal = ratatui::try_init().map_err(|error| terminal_failed(&error))?;
    let result = attend(&mut terminal, &mut signals, sampler, interval, order);
    ratatui::restore();
    result.map(|()| ExitCode::SUCCESS)
}

fn terminal_failed(error: &io::Error) -> Failure {
    Failure::new(format!("the terminal: {error}")).hint("`strait top --count 1` needs none")
}

fn attend(
    terminal: &mut DefaultTerminal,
    signals: &mut Signals,
    sampler: &mut Sampler,
    interval: Duration,
    mut order: Order,
) -> Result<(), Failure> {
    let mut sample = sampler.next()?;
    let mut next = Instant::now() + interval;
    let is_coloured = std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty());
    loop {
        terminal.draw(|frame| draw(frame, &sample, order, is_coloured)).map_err(|error| terminal_failed(&error))?;
        if signals.take() {
            return Ok(());
        }
        if !event::poll(Duration::ZERO).map_err(|error| terminal_failed(&error))? {
            let left = next.saturating_duration_since(Instant::now());
            match left.is_zero() {
                true => (sample, next) = (sampler.next()?, Instant::now() + interval),
                // What changes the terminal's size is a signal, and ends this, too.
                false => signals.wait_or(io::stdin().as_fd(), Some(left))?,
            }
            continue;
        }
        match Wish::of(&event::read().map_err(|error| terminal_failed(&error))?) {
            Wish::Quit => return Ok(()),
            Wish::Order(wanted) => order = wanted,
            Wish::Nothing => {}
        }
    }
}

fn draw(frame: &mut Frame<'_>, sample: &Sample, order: Order, is_coloured: bool) {
    let [head, body, foot] =
        Layout::vertical([Constraint::Length(2), Constraint::Fill(1), Constraint::Length(1)]).areas(frame.area());
    frame.render_widget(Paragraph::new(summary(sample)), head);
    let loads = sample.ordered(order);
    let rows: Vec<_> = loads.iter().map(|load| (cells(load), style(load, is_coloured))).collect();
    let widths = COLUMNS.iter().enumerate().map(|(at, (title, _))| {
        let widest = rows.iter().map(|(cells, _)| cells[at].chars().count()).max().unwrap_or(0);
        Constraint::Length(widest.max(title.len()) as u16)
    });
    let table =
        Table::new(rows.iter().map(|(cells, style)| row(cells.clone()).style(*style)), widths.collect::<Vec<_>>())
            .header(row(COLUMNS.map(|(title, _)| title.to_owned())).style(Modifier::REVERSED))
            .column_spacing(2);
    frame.render_widget(table, body);
    frame.render_widget(Paragraph::new(Line::from(KEYS)).style(Modifier::DIM), foot);
}

fn row(cells: [String; COLUMNS.len()]) -> Row<'static> {
    let cell = |(text, (_, side)): (String, &(&str, Side))| {
        let alignment = if *side == Side::Right { Alignment::Right } else { Alignment::Left };
        Cell::from(Text::from(text).alignment(alignment))
    };
    Row::new(cells.into_iter().zip(&COLUMNS).map(cell))
}

/// What an operator should see: who is being denied, and who waits.
fn style(load: &Load, is_coloured: bool) -> Style {
    let (is_denied, waits) = (load.rates.denied > 0.0, load.waits_for.is_some());
    match (is_denied, waits) {
        (false, false) => Style::new(),
        _ if !is_coloured => Style::new().add_modifier(Modifier::BOLD),
        (true, _) => Style::new().fg(Color::Red),
        (false, true) => Style::new().fg(Color::Yellow),
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::tests::sample;
    use super::*;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    fn drawn(width: u16, is_coloured: bool) -> (String, Vec<Color>) {
        let mut terminal = Terminal::new(TestBackend::new(width, 8)).unwrap();
        terminal.draw(|frame| draw(frame, &sample(), Order::Denied, is_coloured)).unwrap();
        let buffer = terminal.backend().buffer();
        let colours = buffer.content().iter().map(|cell| cell.fg).filter(|colour| *colour != Color::Reset).collect();
        let lines = buffer.content().chunks(width.into());
        let lines = lines.map(|line| line.iter().map(|cell| cell.symbol()).collect::<String>());
        (lines.map(|line| format!("{}\n", line.trim_end())).collect(), colours)
    }

    #[test]
    fn the_screen_has_the_worlds_in_order_and_the_keys() {
        let (text, _) = drawn(110, false);
        let lines: Vec<&str> = text.lines().collect();
        assert!(lines[0].starts_with("3 worlds"), "{text}");
        assert!(lines[2].starts_with("NAME   STATE  SENT/S"), "{text}");
        assert!(lines[3].starts_with("third") && lines[4].starts_with("fast"), "{text}");
        assert!(lines[4].contains("  slow  "), "{text}");
        assert!(lines[7].starts_with("q quit"), "{text}");
    }

    #[test]
    fn colours_are_there_unless_they_are_unwanted_and_a_narrow_screen_is_no_fault() {
        assert_eq!(drawn(110, false).1, []);
        assert!(drawn(110, true).1.contains(&Color::Red));
        drawn(3, true);
    }

    #[test]
    fn keys_are_wishes() {
        let key = |code, modifiers| Wish::of(&Event::Key(KeyEvent::new(code, modifiers)));
        assert_eq!(key(KeyCode::Char('q'), KeyModifiers::NONE), Wish::Quit);
        assert_eq!(key(KeyCode::Char('c'), KeyModifiers::CONTROL), Wish::Quit);
        assert_eq!(key(KeyCode::Char('c'), KeyModifiers::NONE), Wish::Nothing);
        assert_eq!(key(KeyCode::Char('d'), KeyModifiers::NONE), Wish::Order(Order::Denied));
    }
}
