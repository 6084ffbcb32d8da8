//! Bars of seconds, as SVG.

use std::fmt::Write as _;

/// Colours that people tell apart who see few, after Okabe and Ito.
const COLOURS: [&str; 6] = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#999999"];

/// One bar: parts beside each other.
pub(super) struct Bar {
    pub name: String,
    /// Seconds of each part; no more than there are colours.
    pub parts: Vec<f64>,
    /// Seconds that are written behind the bar.
    pub all: f64,
}

/// A picture of `bars`, whose parts have these names.
pub(super) fn picture<'a>(bars: &[Bar], parts: impl Iterator<Item = &'a str>) -> String {
    const WIDTH: f64 = 640.0;
    const LEFT: f64 = 90.0;
    const STEP: usize = 44;
    let longest = bars.iter().map(|bar| bar.parts.iter().sum()).fold(0.001, f64::max);
    let scale = (WIDTH - LEFT - 60.0) / longest;
    let height = bars.len() * STEP + 40;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"sans-serif\" font-size=\"12\" role=\"img\">\n\
         <title>Seconds for one recording, by stage</title>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
    );
    for (at, bar) in bars.iter().enumerate() {
        let y = at * STEP + 10;
        let _ = writeln!(svg, "<text x=\"0\" y=\"{}\">{}</text>", y + 18, bar.name);
        let mut x = LEFT;
        for (seconds, colour) in bar.parts.iter().zip(COLOURS) {
            let width = seconds * scale;
            let _ = writeln!(
                svg,
                "<rect x=\"{x:.1}\" y=\"{y}\" width=\"{width:.1}\" height=\"26\" fill=\"{colour}\"/>"
            );
            x += width;
        }
        let _ =
            writeln!(svg, "<text x=\"{:.1}\" y=\"{}\">{:.1} s</text>", x + 6.0, y + 18, bar.all);
    }
    let mut x = 0.0;
    for (name, colour) in parts.zip(COLOURS) {
        let y = height - 18;
        let _ = writeln!(
            svg,
            "<rect x=\"{x:.0}\" y=\"{y}\" width=\"10\" height=\"10\" fill=\"{colour}\"/>\
             <text x=\"{:.0}\" y=\"{}\" font-size=\"10\">{name}</text>",
            x + 13.0,
            y + 9
        );
        x += 22.0 + name.len() as f64 * 5.4;
    }
    svg.push_str("</svg>\n");
    svg
}
