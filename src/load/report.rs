//! The results of a run: as JSON, and as a table for people.

use super::measure::{Interval, Volume, quantile_ms};
use super::process::Usage;
use hdrhistogram::Histogram;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// Everything that was measured. Its names are those of the JSON.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub run: String,
    pub scenario: String,
    pub target: String,
    pub settings: Settings,
    /// How long it counted.
    pub seconds: f64,
    pub traffic: Traffic,
    /// Of side actors, by name.
    pub sides: BTreeMap<&'static str, Side>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<Cost>,
    pub generator: Cost,
    pub timeline: Vec<Moment>,
}

/// What was asked for.
#[derive(Debug, Serialize)]
pub(super) struct Settings {
    pub connections: u32,
    /// Batches due a second; `null`: a closed loop.
    pub rate: Option<f64>,
    pub batch_lines: u32,
    pub lines: String,
    pub encoding: &'static str,
    pub http: &'static str,
    pub tls: bool,
    pub tokens: usize,
    pub threads: u16,
    pub seed: u64,
}

/// What became of the traffic.
#[derive(Debug, Serialize)]
pub(super) struct Traffic {
    pub offered: Volume,
    pub accepted: Volume,
    pub answered_by_status: BTreeMap<u16, Volume>,
    pub unanswered: Volume,
    pub connects_failed: u64,
    /// Batches that were due and never begun, because every connection waited for an answer. They count as latencies.
    pub never_begun: u64,
    pub accepted_batches_per_second: f64,
    pub accepted_lines_per_second: f64,
    pub accepted_megabytes_per_second: f64,
    pub latency: Latency,
    pub refusal_latency: Latency,
}

/// In milliseconds.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Latency {
    pub mean: f64,
    pub p50: f64,
    pub p90: f64,
    pub p99: f64,
    #[serde(rename = "p99.9")]
    pub p999: f64,
    pub max: f64,
    /// Pairs of a latency and the share of batches that took no longer.
    pub distribution: Vec<(f64, f64)>,
}

/// What a process used while it counted.
#[derive(Debug, Clone, Copy, Serialize)]
pub(super) struct Cost {
    pub cpu_seconds: f64,
    pub cpu_micros_per_batch: Option<f64>,
    pub cpu_seconds_per_million_lines: Option<f64>,
    /// Accepted lines for each second of CPU time: what one core takes.
    pub lines_per_cpu_second: Option<f64>,
    pub resident_bytes: u64,
    /// Since the process began.
    pub resident_bytes_max: u64,
    pub written_bytes: u64,
    pub written_bytes_per_line: Option<f64>,
}

/// What a side actor did.
#[derive(Debug, Default, Serialize)]
pub(super) struct Side(pub BTreeMap<String, u64>);

/// One second.
#[derive(Debug, Serialize)]
pub(super) struct Moment {
    /// Since the run began, at the moment's end.
    pub at_seconds: f64,
    pub warm_up: bool,
    pub lines_per_second: f64,
    pub failed_batches_per_second: f64,
    pub p50_ms: f64,
    pub p99_ms: f64,
    pub max_ms: f64,
}

impl Traffic {
    pub(super) fn of(total: &Interval, never_begun: u64, window: Duration) -> Self {
        let rate = |count: u64| per(count as f64, window.as_secs_f64()).unwrap_or(0.0);
        Self {
            offered: total.offered(),
            accepted: total.accepted,
            answered_by_status: total.by_status.clone(),
            unanswered: total.unanswered,
            connects_failed: total.connects_failed,
            never_begun,
            accepted_batches_per_second: rate(total.accepted.batches),
            accepted_lines_per_second: rate(total.accepted.lines),
            accepted_megabytes_per_second: rate(total.accepted.bytes) / 1e6,
            latency: Latency::of(&total.accepted_latency),
            refusal_latency: Latency::of(&total.refused_latency),
        }
    }
}

impl Latency {
    fn of(latencies: &Histogram<u64>) -> Self {
        let at = |share| quantile_ms(latencies, share);
        let mut distribution: Vec<_> = latencies
            .iter_quantiles(4)
            .map(|step| (step.value_iterated_to() as f64 / 1_000.0, step.quantile_iterated_to()))
            .collect();
        distribution.dedup_by(|next, before| next.0 == before.0);
        Self {
            mean: latencies.mean() / 1_000.0,
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: latencies.max() as f64 / 1_000.0,
            distribution,
        }
    }
}

impl Cost {
    pub(super) fn between(begin: Usage, end: Usage, volume: Volume) -> Self {
        let cpu_seconds = end.cpu.saturating_sub(begin.cpu).as_secs_f64();
        let written_bytes = end.written_bytes.saturating_sub(begin.written_bytes);
        let (batches, lines) = (volume.batches as f64, volume.lines as f64);
        Self {
            cpu_seconds,
            cpu_micros_per_batch: per(cpu_seconds * 1e6, batches),
            cpu_seconds_per_million_lines: per(cpu_seconds, lines / 1e6),
            lines_per_cpu_second: per(lines, cpu_seconds),
            resident_bytes: end.resident_bytes,
            resident_bytes_max: end.resident_bytes_max,
            written_bytes,
            written_bytes_per_line: per(written_bytes as f64, lines),
        }
    }
}

impl Moment {
    pub(super) fn of(interval: &Interval, at: Duration, length: Duration, warm_up: bool) -> Self {
        let rate = |count: u64| per(count as f64, length.as_secs_f64()).unwrap_or(0.0);
        let latencies = &interval.accepted_latency;
        Self {
            at_seconds: at.as_secs_f64(),
            warm_up,
            lines_per_second: rate(interval.accepted.lines),
            failed_batches_per_second: rate(interval.failed_batches()),
            p50_ms: quantile_ms(latencies, 0.5),
            p99_ms: quantile_ms(latencies, 0.99),
            max_ms: latencies.max() as f64 / 1_000.0,
        }
    }
}

/// `None` where there is nothing to divide by.
fn per(what: f64, by: f64) -> Option<f64> {
    (by > 0.0).then(|| what / by)
}

/// One line for a terminal.
impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:>5.0} s{}  {:>10} lines/s  {:>8} failed/s  p50 {:>8.2} ms  p99 {:>8.2} ms",
            self.at_seconds,
            if self.warm_up { " (warm-up)" } else { "" },
            grouped(self.lines_per_second),
            grouped(self.failed_batches_per_second),
            self.p50_ms,
            self.p99_ms,
        )
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (settings, traffic) = (&self.settings, &self.traffic);
        let pace = match settings.rate {
            Some(rate) => format!("{} batches/s due", grouped(rate)),
            None => "closed loop".to_owned(),
        };
        writeln!(
            f,
            "{} for {:.1} s to {}\n{} connections, {pace}, {} {} lines a batch, {}, {}{}",
            self.scenario,
            self.seconds,
            self.target,
            settings.connections,
            settings.batch_lines,
            settings.lines,
            settings.encoding,
            settings.http,
            if settings.tls { " over TLS" } else { "" },
        )?;
        writeln!(f, "\n{:<24}{:>14}{:>16}{:>12}", "", "batches", "lines", "MB")?;
        volume(f, "offered", traffic.offered)?;
        volume(f, "accepted", traffic.accepted)?;
        for (status, answered) in &traffic.answered_by_status {
            volume(f, &format!("  answered {status}"), *answered)?;
        }
        if traffic.unanswered.batches > 0 {
            volume(f, "  unanswered", traffic.unanswered)?;
        }
        for (what, count) in
            [("never begun", traffic.never_begun), ("connects failed", traffic.connects_failed)]
        {
            if count > 0 {
                writeln!(f, "{what:<24}{:>14}", grouped(count as f64))?;
            }
        }
        writeln!(
            f,
            "\naccepted a second        {} lines, {} batches, {:.1} MB",
            grouped(traffic.accepted_lines_per_second),
            grouped(traffic.accepted_batches_per_second),
            traffic.accepted_megabytes_per_second
        )?;
        latency(f, "latency, ms", &traffic.latency)?;
        if traffic.offered.batches > traffic.accepted.batches + traffic.unanswered.batches {
            latency(f, "of refusals, ms", &traffic.refusal_latency)?;
        }
        if let Some(server) = &self.server {
            cost(f, "server", server)?;
        }
        harness(f, &self.generator)?;
        for (name, Side(counts)) in &self.sides {
            let counts: Vec<_> =
                counts.iter().map(|(what, count)| format!("{what} {}", grouped(*count as f64))).collect();
            writeln!(f, "{name:<25}{}", counts.join(", "))?;
        }
        Ok(())
    }
}

fn volume(f: &mut fmt::Formatter<'_>, name: &str, volume: Volume) -> fmt::Result {
    let Volume { batches, lines, bytes } = volume;
    let (batches, lines) = (grouped(batches as f64), grouped(lines as f64));
    writeln!(f, "{name:<24}{batches:>14}{lines:>16}{:>12.1}", bytes as f64 / 1e6)
}

fn latency(f: &mut fmt::Formatter<'_>, name: &str, latency: &Latency) -> fmt::Result {
    let Latency { p50, p90, p99, p999, max, .. } = latency;
    writeln!(f, "{name:<25}p50 {p50:.2}  p90 {p90:.2}  p99 {p99:.2}  p99.9 {p999:.2}  max {max:.2}")
}

fn cost(f: &mut fmt::Formatter<'_>, name: &str, cost: &Cost) -> fmt::Result {
    write!(f, "{name:<25}{:.2} s CPU", cost.cpu_seconds)?;
    if let (Some(batch), Some(million), Some(core)) =
        (cost.cpu_micros_per_batch, cost.cpu_seconds_per_million_lines, cost.lines_per_cpu_second)
    {
        write!(
            f,
            ": {batch:.1} µs a batch, {million:.3} s a million lines, {} lines/s per core",
            grouped(core)
        )?;
    }
    writeln!(f)?;
    write!(f, "{:<25}{:.0} MB memory at most", "", cost.resident_bytes_max as f64 / 1e6)?;
    if let Some(bytes) = cost.written_bytes_per_line.filter(|bytes| *bytes > 0.0) {
        write!(f, ", {:.1} MB written to disk: {bytes:.1} bytes a line", cost.written_bytes as f64 / 1e6)?;
    }
    writeln!(f)
}

/// What the harness itself costs: it should be far below the server's.
fn harness(f: &mut fmt::Formatter<'_>, cost: &Cost) -> fmt::Result {
    write!(f, "{:<25}{:.2} s CPU", "this harness", cost.cpu_seconds)?;
    match cost.cpu_micros_per_batch {
        Some(batch) => writeln!(f, ": {batch:.1} µs a batch"),
        None => writeln!(f),
    }
}

/// `1,234,567`
pub(super) fn grouped(number: f64) -> String {
    let digits = format!("{:.0}", number.max(0.0));
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        for (number, expect) in [(0.0, "0"), (999.4, "999"), (1_000.0, "1,000"), (1_234_567.0, "1,234,567")] {
            assert_eq!(grouped(number), expect);
        }
    }

    #[test]
    fn costs_are_shared_among_what_was_accepted() {
        let usage = |cpu_ms, written_bytes| Usage {
            cpu: Duration::from_millis(cpu_ms),
            written_bytes,
            ..Usage::default()
        };
        let volume = Volume { batches: 10_000, lines: 1_000_000, bytes: 190_000_000 };
        let cost = Cost::between(usage(500, 1_000_000), usage(1_000, 21_000_000), volume);
        assert_eq!(cost.cpu_micros_per_batch, Some(50.0));
        assert_eq!(cost.cpu_seconds_per_million_lines, Some(0.5));
        assert_eq!(cost.lines_per_cpu_second, Some(2_000_000.0));
        assert_eq!(cost.written_bytes_per_line, Some(20.0));
        let nothing = Cost::between(usage(0, 0), usage(0, 0), Volume::default());
        assert_eq!((nothing.cpu_micros_per_batch, nothing.lines_per_cpu_second), (None, None));
    }
}
