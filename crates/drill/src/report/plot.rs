//! Plots as SVG, drawn with the page's own colours.

use std::fmt::Write as _;

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 220.0;
const LEFT: f64 = 64.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 30.0;
/// Most ticks of an axis.
const TICKS: f64 = 6.0;

/// How a series is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    Line,
    /// A line that goes on at its height until the next point.
    Steps,
    Dots,
    Crosses,
}

/// Points of one colour.
#[derive(Debug)]
pub(super) struct Series {
    pub(super) name: String,
    /// Which of the page's colours.
    pub(super) color: usize,
    pub(super) mark: Mark,
    pub(super) points: Vec<(f64, f64)>,
}

/// A span of time that is shaded.
#[derive(Debug)]
pub(super) struct Span {
    pub(super) name: &'static str,
    pub(super) from: f64,
    pub(super) to: f64,
}

/// A plot over time, in seconds.
#[derive(Debug)]
pub(super) struct Plot<'a> {
    pub(super) title: &'a str,
    pub(super) unit: &'a str,
    pub(super) until: f64,
    pub(super) spans: &'a [Span],
    pub(super) series: Vec<Series>,
    /// Words for heights 0, 1, 2 and so on, in the place of numbers.
    pub(super) words: &'a [&'a str],
}

impl Plot<'_> {
    /// The plot with its legend.
    pub(super) fn to_svg(&self) -> String {
        let highest =
            self.series.iter().flat_map(|series| &series.points).map(|point| point.1).fold(0.0, f64::max);
        let top =
            if self.words.is_empty() { rounded_up(highest) } else { (self.words.len() - 1).max(1) as f64 };
        let until = self.until.max(1e-9);
        let x = |at: f64| LEFT + at / until * (WIDTH - LEFT - RIGHT);
        let y = |value: f64| HEIGHT - BOTTOM - value / top * (HEIGHT - TOP - BOTTOM);
        let mut svg = format!(
            "<figure><figcaption>{}</figcaption><svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">",
            escape(self.title),
            escape(self.title)
        );
        for Span { name, from, to } in self.spans {
            let (from, width) = (x(*from), x(*to) - x(*from));
            let height = HEIGHT - TOP - BOTTOM;
            let _ = write!(
                svg,
                "<rect class=\"span\" x=\"{from:.1}\" y=\"{TOP}\" width=\"{width:.1}\" height=\"{height}\"/><text \
                 class=\"small\" x=\"{:.1}\" y=\"{:.1}\">{name}</text>",
                from + 4.0,
                TOP + 11.0
            );
        }
        self.axes(&mut svg, top, x, y);
        for series in &self.series {
            draw(&mut svg, series, x, y);
        }
        svg.push_str("</svg><p class=\"legend\">");
        for series in &self.series {
            let _ = write!(svg, "<span><i class=\"b{}\"></i>{}</span> ", series.color, escape(&series.name));
        }
        svg.push_str("</p></figure>");
        svg
    }

    fn axes(&self, svg: &mut String, top: f64, x: impl Fn(f64) -> f64, y: impl Fn(f64) -> f64) {
        let right = WIDTH - RIGHT;
        let heights: Vec<(f64, String)> = if self.words.is_empty() {
            (0..=4).map(|part| top * f64::from(part) / 4.0).map(|at| (at, number(at))).collect()
        } else {
            self.words.iter().enumerate().map(|(at, word)| (at as f64, (*word).to_owned())).collect()
        };
        for (value, text) in heights {
            let at = y(value);
            let _ = write!(
                svg,
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{right}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/><text class=\"small\" \
                 text-anchor=\"end\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                LEFT - 6.0,
                at + 4.0,
                escape(&text)
            );
        }
        let step = rounded_up(self.until / TICKS).max(1.0);
        let mut at = 0.0;
        while at <= self.until {
            let (place, low) = (x(at), HEIGHT - BOTTOM + 16.0);
            let _ = write!(
                svg,
                "<text class=\"small\" text-anchor=\"middle\" x=\"{place:.1}\" y=\"{low:.1}\">{at:.0} s</text>"
            );
            at += step;
        }
        let _ = write!(
            svg,
            "<text class=\"small\" x=\"{LEFT}\" y=\"{:.1}\">{}</text>",
            TOP - 4.0,
            escape(self.unit)
        );
    }
}

fn draw(svg: &mut String, series: &Series, x: impl Fn(f64) -> f64, y: impl Fn(f64) -> f64) {
    let color = series.color;
    let places: Vec<(f64, f64)> = series.points.iter().map(|(at, value)| (x(*at), y(*value))).collect();
    match series.mark {
        Mark::Dots => {
            for (x, y) in places {
                let _ = write!(svg, "<circle class=\"f{color}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\"/>");
            }
        }
        Mark::Crosses => {
            for (x, y) in places {
                let (left, right, high, low) = (x - 4.0, x + 4.0, y - 4.0, y + 4.0);
                let _ = write!(
                    svg,
                    "<path class=\"s{color}\" d=\"M{left:.1} {high:.1}L{right:.1} {low:.1}M{left:.1} {low:.1}L{right:.1} \
                     {high:.1}\"/>"
                );
            }
        }
        Mark::Line | Mark::Steps => {
            let mut path = String::new();
            for (number, (x, y)) in places.iter().enumerate() {
                match (number, series.mark) {
                    (0, _) => drop(write!(path, "M{x:.1} {y:.1}")),
                    (_, Mark::Steps) => drop(write!(path, "H{x:.1}V{y:.1}")),
                    _ => drop(write!(path, "L{x:.1} {y:.1}")),
                }
            }
            let _ = write!(svg, "<path class=\"s{color}\" d=\"{path}\"/>");
        }
    }
}

/// 1, 2, 4 or 5 times a power of ten.
fn rounded_up(value: f64) -> f64 {
    if value <= 0.0 {
        return 1.0;
    }
    let power = 10_f64.powf(value.log10().floor());
    [1.0, 2.0, 4.0, 5.0, 10.0]
        .into_iter()
        .map(|step| step * power)
        .find(|step| *step >= value)
        .unwrap_or(value)
}

fn number(value: f64) -> String {
    if value >= 1e6 {
        format!("{:.1} M", value / 1e6)
    } else if value >= 1e4 {
        format!("{:.0} k", value / 1e3)
    } else if value.fract() == 0.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.2}")
    }
}

pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_end_at_round_numbers() {
        for (value, top) in [(0.0, 1.0), (3.0, 4.0), (4.1, 5.0), (51.0, 100.0), (0.13, 0.2), (200.0, 200.0)] {
            assert!((rounded_up(value) / top - 1.0).abs() < 1e-9, "{value} {}", rounded_up(value));
        }
        assert_eq!([0.5, 3.0, 12_000.0, 2.5e6].map(number), ["0.50", "3", "12 k", "2.5 M"]);
    }
}
