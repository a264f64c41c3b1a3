//! The shapes that the pictures are made of.

use std::fmt::Write;

/// Colours and sizes, the same in every picture.
pub const INK: &str = "#1f2933";
pub const FAINT: &str = "#66727f";
pub const GRID: &str = "#e4e8ec";
pub const OURS: [&str; 3] = ["#c2410c", "#ea7a3b", "#f6b58d"];
pub const THEIRS: [&str; 3] = ["#3e5c76", "#748cab", "#b6c5d6"];
pub const WIDTH: f64 = 880.0;

/// A picture in the making.
pub struct Svg {
    height: f64,
    body: String,
}

#[derive(Clone, Copy)]
pub enum Anchor {
    Start,
    Middle,
    End,
}

/// How a text looks: size, colour, weight.
#[derive(Clone, Copy)]
pub struct Look(pub f64, pub &'static str, pub u32);

pub const TITLE: Look = Look(18.0, INK, 600);
pub const SUBTITLE: Look = Look(12.5, FAINT, 400);
pub const LABEL: Look = Look(12.5, INK, 400);
pub const STRONG: Look = Look(12.5, "#9a3412", 700);
pub const SMALL: Look = Look(11.0, FAINT, 400);

impl Svg {
    pub fn new(height: f64) -> Self {
        Self { height, body: String::new() }
    }

    /// Writing to a string can't fail.
    fn add(&mut self, shape: std::fmt::Arguments) {
        let _ = self.body.write_fmt(shape);
        self.body.push('\n');
    }

    pub fn text(&mut self, x: f64, y: f64, anchor: Anchor, look: Look, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let Look(size, colour, weight) = look;
        let text = escaped(text);
        self.add(format_args!(
            r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}" font-size="{size}" font-weight="{weight}" fill="{colour}">{text}</text>"#
        ));
    }

    pub fn bar(&mut self, x: f64, y: f64, width: f64, height: f64, colour: &str) {
        self.add(format_args!(
            r#"<rect x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}" rx="2" fill="{colour}"/>"#
        ));
    }

    pub fn line(&mut self, from: (f64, f64), to: (f64, f64), colour: &str) {
        let ((x1, y1), (x2, y2)) = (from, to);
        self.add(format_args!(r#"<path d="M{x1:.1} {y1:.1}L{x2:.1} {y2:.1}" stroke="{colour}" fill="none"/>"#));
    }

    /// A line through points, with a dot at each.
    pub fn curve(&mut self, points: &[(f64, f64)], colour: &str, width: f64) {
        let path: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1} {y:.1}")).collect();
        let path = path.join("L");
        self.add(format_args!(
            r#"<path d="M{path}" stroke="{colour}" stroke-width="{width}" stroke-linejoin="round" fill="none"/>"#
        ));
        for (x, y) in points {
            let radius = width + 0.8;
            self.add(format_args!(r#"<circle cx="{x:.1}" cy="{y:.1}" r="{radius:.1}" fill="{colour}"/>"#));
        }
    }

    /// The file's text.
    pub fn done(self) -> String {
        let Self { height, body } = self;
        format!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0}" width="{WIDTH}" height="{height:.0}" font-family="Inter, 'Segoe UI', 'DejaVu Sans', sans-serif">
<rect width="100%" height="100%" fill="white"/>
{body}</svg>
"#
        )
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
