//! Step curves as inline SVG: axes, lines, a legend. It knows no policies, and it fetches and runs nothing.

use std::fmt::Write;

/// One curve: constant between its points, from the first one on.
pub(super) struct Curve {
    pub(super) name: String,
    /// Seconds and percent.
    pub(super) points: Vec<(f64, f64)>,
    /// Where it ends, in seconds.
    pub(super) until: f64,
}

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 250.0;
const LEFT: f64 = 46.0;
const RIGHT: f64 = 12.0;
const TOP: f64 = 10.0;
const BOTTOM: f64 = 40.0;
/// Curves differ in colour and in dashes, so that print and colour-blind readers tell them apart.
const DASHES: [&str; 5] = ["none", "7 4", "2 3", "10 3 2 3", "4 2"];

/// Draws curves over time, in percent from 0 to 100. `label` is read out in place of the picture.
pub(super) fn plot(curves: &[Curve], label: &str) -> String {
    let longest = curves.iter().map(|curve| curve.until).fold(0.0, f64::max);
    let end = if longest > 0.0 && longest.is_finite() { longest } else { 1.0 };
    let x = |seconds: f64| LEFT + (WIDTH - LEFT - RIGHT) * (seconds / end).clamp(0.0, 1.0);
    let y = |percent: f64| TOP + (HEIGHT - TOP - BOTTOM) * (1.0 - (percent / 100.0).clamp(0.0, 1.0));
    let mut svg = format!("<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">\n", escaped(label));
    for percent in [0.0, 25.0, 50.0, 75.0, 100.0] {
        let at = y(percent);
        let _ = writeln!(
            svg,
            "<line class=\"grid\" x1=\"{LEFT}\" y1=\"{at:.1}\" x2=\"{:.1}\" y2=\"{at:.1}\"/>",
            WIDTH - RIGHT
        );
        let _ =
            writeln!(svg, "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{percent} %</text>", LEFT - 6.0, at + 4.0);
    }
    let (step, unit, name) = ticks(end);
    for n in 0..=((end / step).floor() as u32) {
        let seconds = f64::from(n) * step;
        let at = x(seconds);
        let _ = writeln!(
            svg,
            "<line class=\"grid\" x1=\"{at:.1}\" y1=\"{TOP}\" x2=\"{at:.1}\" y2=\"{:.1}\"/>",
            HEIGHT - BOTTOM
        );
        let _ = writeln!(
            svg,
            "<text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            HEIGHT - BOTTOM + 16.0,
            seconds / unit
        );
    }
    let _ =
        writeln!(svg, "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{name}</text>", WIDTH - RIGHT, HEIGHT - 6.0);
    for (i, curve) in curves.iter().enumerate() {
        let _ = writeln!(
            svg,
            "<path class=\"curve c{}\" stroke-dasharray=\"{}\" d=\"{}\"/>",
            i % 5,
            DASHES[i % 5],
            path(curve, &x, &y)
        );
    }
    svg.push_str("</svg>\n");
    svg.push_str(&legend(curves));
    svg
}

fn path(curve: &Curve, x: &dyn Fn(f64) -> f64, y: &dyn Fn(f64) -> f64) -> String {
    let mut path = String::new();
    for (i, (seconds, percent)) in curve.points.iter().enumerate() {
        let _ = match i {
            0 => write!(path, "M{:.1} {:.1}", x(*seconds), y(*percent)),
            _ => write!(path, "H{:.1}V{:.1}", x(*seconds), y(*percent)),
        };
    }
    if !path.is_empty() {
        let _ = write!(path, "H{:.1}", x(curve.until));
    }
    path
}

fn legend(curves: &[Curve]) -> String {
    let mut text = "<p class=\"legend\">".to_owned();
    for (i, curve) in curves.iter().enumerate() {
        let line = format!(
            "<line class=\"curve c{}\" stroke-dasharray=\"{}\" x1=\"0\" y1=\"6\" x2=\"28\" y2=\"6\"/>",
            i % 5,
            DASHES[i % 5]
        );
        let _ = write!(
            text,
            "<span><svg class=\"key\" viewBox=\"0 0 28 12\" aria-hidden=\"true\">{line}</svg>{}</span> ",
            escaped(&curve.name)
        );
    }
    text.push_str("</p>\n");
    text
}

/// A distance of ticks in seconds that makes 4 to 10 of them, and the unit that they are told in.
fn ticks(end: f64) -> (f64, f64, &'static str) {
    const STEPS: [f64; 17] = [
        1.0,
        5.0,
        15.0,
        60.0,
        300.0,
        900.0,
        1_800.0,
        3_600.0,
        7_200.0,
        21_600.0,
        43_200.0,
        86_400.0,
        172_800.0,
        604_800.0,
        1_209_600.0,
        2_592_000.0,
        7_776_000.0,
    ];
    let step = STEPS.into_iter().find(|step| end / step <= 10.0).unwrap_or(end / 8.0);
    let (unit, name) = match end {
        end if end <= 300.0 => (1.0, "seconds"),
        end if end <= 18_000.0 => (60.0, "minutes"),
        end if end <= 259_200.0 => (3_600.0, "hours"),
        _ => (86_400.0, "days"),
    };
    (step, unit, name)
}

/// Text that is safe in HTML, in attributes too.
pub(super) fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c => safe.push(c),
        }
    }
    safe
}
