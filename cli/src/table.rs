//! Tables of text: columns as wide as their widest cell.

use std::fmt::Write;

/// Where the cells of a column stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Names and states.
    Left,
    /// Numbers.
    Right,
}

/// The head of a column, and where its cells stand.
pub type Column = (&'static str, Side);

/// A table with a head. Cells are expected to be harmless already.
pub fn table<const N: usize>(columns: &[Column; N], rows: impl IntoIterator<Item = [String; N]>) -> String {
    let mut lines = vec![columns.map(|(head, _)| head.to_owned())];
    lines.extend(rows);
    let width = |cell: &String| cell.chars().count();
    let widths: [usize; N] = std::array::from_fn(|at| lines.iter().map(|line| width(&line[at])).max().unwrap_or(0));
    lines.iter().map(|cells| line(columns, cells, &widths)).collect()
}

fn line<const N: usize>(columns: &[Column; N], cells: &[String; N], widths: &[usize; N]) -> String {
    let mut line = String::new();
    for ((cell, width), (_, side)) in cells.iter().zip(widths).zip(columns) {
        // Writing to a string can't fail.
        let _ = match side {
            Side::Left => write!(line, "{cell:<width$}  "),
            Side::Right => write!(line, "{cell:>width$}  "),
        };
    }
    format!("{}\n", line.trim_end())
}
