//! The results as a page: one file with its drawings in it, which loads nothing and runs nothing.

use super::report::{Moment, Report, grouped};
use std::fmt::Write;

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 220.0;
/// For the numbers beside and below a drawing.
const LEFT: f64 = 84.0;
const BELOW: f64 = 26.0;
/// How many lines a scale has, about.
const STEPS: f64 = 4.0;

const STYLE: &str = "
:root { color-scheme: light dark; --text: #1c2024; --dim: #60646c; --line: #d9d9e0; --back: #fcfcfd; --one: #0d74ce; --two: #cc4e00; --three: #8e4ec6; }
@media (prefers-color-scheme: dark) { :root { --text: #edeef0; --dim: #b0b4ba; --line: #3a3f45; --back: #111113; --one: #70b8ff; --two: #ffa057; --three: #d19dff; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--text); background: var(--back); max-width: 940px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.4rem; margin-bottom: 0.2rem; } h2 { font-size: 1.05rem; margin: 2rem 0 0.4rem; }
pre { overflow-x: auto; font: 13px/1.5 ui-monospace, monospace; border: 1px solid var(--line); padding: 0.8rem; border-radius: 6px; }
svg { width: 100%; height: auto; display: block; } svg text { fill: var(--dim); font-size: 12px; }
.grid { stroke: var(--line); stroke-width: 1; } .warm { fill: var(--line); opacity: 0.35; }
.one, .two, .three { fill: none; stroke-width: 2; stroke-linejoin: round; } .one { stroke: var(--one); } .two { stroke: var(--two); } .three { stroke: var(--three); }
.key span { margin-right: 1.2rem; } .key i { display: inline-block; width: 1.2rem; height: 3px; vertical-align: middle; margin-right: 0.4rem; }
";

/// The page.
pub(super) fn page(report: &Report) -> String {
    let title = format!("{} to {}", escape(&report.scenario), escape(&report.target));
    let mut page = String::new();
    let over_time = |value: fn(&Moment) -> f64| -> Vec<(f64, f64)> {
        report.timeline.iter().map(|moment| (moment.at_seconds, value(moment))).collect()
    };
    let warm_up = report.timeline.iter().filter(|moment| moment.warm_up).map(|moment| moment.at_seconds);
    let warm_up = warm_up.fold(0.0, f64::max);
    let seconds = |at: f64| format!("{at:.0} s");
    let lines = Drawing {
        title: "Accepted lines a second",
        curves: vec![("lines a second", over_time(|moment| moment.lines_per_second))],
        shaded_until: warm_up,
        step: None,
        below: &seconds,
        beside: &grouped,
    };
    let latency = Drawing {
        title: "Latency over time, ms",
        curves: vec![
            ("p50", over_time(|moment| moment.p50_ms)),
            ("p99", over_time(|moment| moment.p99_ms)),
            ("longest", over_time(|moment| moment.max_ms)),
        ],
        shaded_until: warm_up,
        step: None,
        below: &seconds,
        beside: &millis,
    };
    // As many nines as there are: 0 is none, 1 is 90 %, 2 is 99 %.
    let nines = |share: f64| -(1.0 - share).max(1e-9).log10();
    let distribution = report.traffic.latency.distribution.iter();
    let distribution: Vec<_> = distribution
        .filter(|(_, share)| *share < 1.0)
        .map(|(latency, share)| (nines(*share), *latency))
        .collect();
    let spread = Drawing {
        title: "Latency by share of batches, ms",
        curves: vec![("latency", distribution)],
        shaded_until: 0.0,
        step: Some(1.0),
        below: &|nines| {
            format!("{:.*} %", (nines - 2.0).max(0.0) as usize, 100.0 - 100.0 * 10_f64.powf(-nines))
        },
        beside: &millis,
    };
    let _ = write!(
        page,
        "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{title}</title><style>{STYLE}</style></head>\
         <body><h1>{title}</h1><p>Run {}. The shaded part is the warm-up, which does not count.</p><pre>{}</pre>",
        escape(&report.run),
        escape(&report.to_string()),
    );
    for drawing in [lines, latency, spread] {
        drawing.draw(&mut page);
    }
    page.push_str("</body></html>\n");
    page
}

/// Curves over a common scale.
struct Drawing<'a> {
    title: &'static str,
    /// Names and points.
    curves: Vec<(&'static str, Vec<(f64, f64)>)>,
    shaded_until: f64,
    /// Between the numbers below; `None`: whatever is round.
    step: Option<f64>,
    /// How the numbers of the two scales are written.
    below: &'a dyn Fn(f64) -> String,
    beside: &'a dyn Fn(f64) -> String,
}

impl Drawing<'_> {
    fn draw(&self, page: &mut String) {
        const CLASSES: [&str; 3] = ["one", "two", "three"];
        let points = || self.curves.iter().flat_map(|(_, points)| points);
        let mut x = Scale::over(points().map(|point| point.0), LEFT, WIDTH - 10.0);
        x.step = self.step.unwrap_or(x.step);
        let y = Scale::over(points().map(|point| point.1), HEIGHT - BELOW, 12.0);
        let _ = write!(page, "<h2>{}</h2>", self.title);
        if self.curves.len() > 1 {
            page.push_str("<p class=\"key\">");
            for ((name, _), class) in self.curves.iter().zip(CLASSES) {
                let _ = write!(page, "<span><i style=\"background: var(--{class})\"></i>{name}</span>");
            }
            page.push_str("</p>");
        }
        let _ =
            write!(page, "<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">", self.title);
        if self.shaded_until > 0.0 {
            let (width, height) = (x.place(self.shaded_until) - LEFT, HEIGHT - BELOW - 12.0);
            let _ = write!(
                page,
                "<rect class=\"warm\" x=\"{LEFT}\" y=\"12\" width=\"{width:.1}\" height=\"{height}\"/>"
            );
        }
        for value in y.steps() {
            let (at, end, label_x) = (y.place(value), WIDTH - 10.0, LEFT - 8.0);
            let _ = write!(
                page,
                "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{end}\" y1=\"{at:.1}\" y2=\"{at:.1}\"/>\
                 <text x=\"{label_x}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                at + 4.0,
                (self.beside)(value)
            );
        }
        for value in x.steps() {
            let (at, baseline) = (x.place(value), HEIGHT - 6.0);
            let label = (self.below)(value);
            let _ =
                write!(page, "<text x=\"{at:.1}\" y=\"{baseline}\" text-anchor=\"middle\">{label}</text>");
        }
        for ((_, points), class) in self.curves.iter().zip(CLASSES) {
            let _ = write!(page, "<polyline class=\"{class}\" points=\"");
            for point in points {
                let _ = write!(page, "{:.1},{:.1} ", x.place(point.0), y.place(point.1));
            }
            page.push_str("\"/>");
        }
        page.push_str("</svg>");
    }
}

/// From values, beginning at 0, to places on the page.
struct Scale {
    step: f64,
    last: f64,
    from: f64,
    to: f64,
}

impl Scale {
    fn over(values: impl Iterator<Item = f64>, from: f64, to: f64) -> Self {
        let largest = values.filter(|value| value.is_finite()).fold(0.0, f64::max).max(1e-6);
        // A round step: 1, 2 or 5 times a power of ten.
        let magnitude = 10_f64.powf((largest / STEPS).log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * magnitude);
        let step = step.into_iter().find(|step| step * STEPS >= largest).unwrap_or(largest);
        Self { step, last: largest, from, to }
    }

    fn place(&self, value: f64) -> f64 {
        self.from + (self.to - self.from) * (value / self.last).clamp(0.0, 1.0)
    }

    fn steps(&self) -> impl Iterator<Item = f64> {
        let count = (self.last / self.step + 1e-9).floor() as u32;
        (0..=count).map(|number| f64::from(number) * self.step)
    }
}

fn millis(value: f64) -> String {
    if value >= 10.0 || value == 0.0 { grouped(value) } else { format!("{value:.2}") }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_have_round_steps() {
        for (largest, expect) in [
            (10.0, vec![0.0, 5.0, 10.0]),
            (7.0, vec![0.0, 2.0, 4.0, 6.0]),
            (0.0038, vec![0.0, 0.001, 0.002, 0.003]),
        ] {
            let scale = Scale::over([0.0, largest].into_iter(), 0.0, 100.0);
            let steps: Vec<_> = scale.steps().map(|step| (step * 1e6).round() / 1e6).collect();
            assert_eq!(steps, expect, "{largest}");
            assert!((scale.place(largest) - 100.0).abs() < 1e-9);
        }
    }

    #[test]
    fn nothing_is_drawn_out_of_nothing() {
        let mut page = String::new();
        let label = |value: f64| format!("{value}");
        let drawing = Drawing {
            title: "t",
            curves: vec![("c", vec![])],
            shaded_until: 0.0,
            step: None,
            below: &label,
            beside: &label,
        };
        drawing.draw(&mut page);
        assert!(!page.contains("NaN") && !page.contains("inf"), "{page}");
    }

    #[test]
    fn text_cannot_break_out() {
        assert_eq!(escape("<a href=\"&\">"), "&lt;a href=&quot;&amp;&quot;&gt;");
    }
}
