//! How long it takes to tell whether a line is JSON: ours beside well-known parsers, on a file of NDJSON, and what each says of
//! lines that are known to divide parsers.
//!
//! ```sh
//! cargo run --release --manifest-path benches/validators/Cargo.toml -- FILE.ndjson…
//! ```
//!
//! Figures are wall time of one thread, the best of many rounds. A file is read up to 2 MiB, so that it fits the L2 cache of most machines.

use memchr::memchr_iter;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use shipgate::domain::json;
use simd_json::Buffers;
use std::hint::black_box;
use std::time::Instant;

const BYTES_MAX: usize = 2 << 20;
const ROUNDS: usize = 40;

/// A way to judge every line of a body; how many are JSON.
type Judge = fn(&[&[u8]], &mut Scratch) -> usize;

/// What parsers that need it write into.
#[derive(Default)]
struct Scratch {
    line: Vec<u8>,
    buffers: Buffers,
}

const JUDGES: [(&str, Judge); 9] = [
    ("newlines only (memchr)", |lines, _| lines.iter().map(|line| memchr_iter(b'\n', line).count()).sum()),
    ("UTF-8 only (simdutf8)", |lines, _| count(lines, |line| simdutf8::basic::from_utf8(line).is_ok())),
    ("ours, after simdutf8", |lines, _| {
        count(lines, |line| simdutf8::basic::from_utf8(line).is_ok_and(|line| json::inspect(line).is_ok()))
    }),
    ("serde_json, skipping values, after simdutf8", |lines, _| {
        count(lines, |line| {
            simdutf8::basic::from_utf8(line)
                .is_ok_and(|line| serde_json::from_str::<IgnoredAny>(line).is_ok())
        })
    }),
    ("serde_json, keys read, after simdutf8", |lines, _| {
        count(lines, |line| {
            simdutf8::basic::from_utf8(line).is_ok_and(|line| serde_json::from_str::<Brought>(line).is_ok())
        })
    }),
    ("serde_json, RawValue", |lines, _| {
        count(lines, |line| serde_json::from_slice::<&RawValue>(line).is_ok())
    }),
    ("sonic-rs, skipping values", |lines, _| {
        count(lines, |line| sonic_rs::from_slice::<serde::de::IgnoredAny>(line).is_ok())
    }),
    ("sonic-rs, LazyValue", |lines, _| {
        count(lines, |line| sonic_rs::from_slice::<sonic_rs::LazyValue>(line).is_ok())
    }),
    ("simd-json, tape", |lines, scratch| {
        count(lines, |line| {
            // It writes into its input.
            scratch.line.clear();
            scratch.line.extend_from_slice(line);
            simd_json::to_tape_with_buffers(&mut scratch.line, &mut scratch.buffers).is_ok()
        })
    }),
];

fn count(lines: &[&[u8]], mut is_json: impl FnMut(&[u8]) -> bool) -> usize {
    lines.iter().filter(|line| is_json(line)).count()
}

/// What the gateway has to know of a line beside that it is JSON, which of the others only ours tells: which of two fields it brings.
#[derive(serde::Deserialize)]
struct Brought {
    #[serde(rename = "@timestamp")]
    _timestamp: Option<IgnoredAny>,
    #[serde(rename = "type")]
    _type: Option<IgnoredAny>,
}

/// What parsers disagree about. Nesting stays at what all survive: some end the program on deeper input.
const TRICKY: [(&str, &[u8]); 10] = [
    ("0xff in a string", b"{\"a\":\"\xff\"}"),
    ("lone surrogate", br#"{"a":"\ud800"}"#),
    ("1e999", br#"{"a":1e999}"#),
    ("20 digits", br#"{"a":18446744073709551616}"#),
    ("-0.0e-0", br#"{"a":-0.0e-0}"#),
    ("01", br#"{"a":01}"#),
    ("trailing comma", br#"{"a":1,}"#),
    ("tab in a string", b"{\"a\":\"\t\"}"),
    ("twice a key", br#"{"a":1,"a":2}"#),
    ("something behind", br#"{"a":1} 2"#),
];

fn main() -> std::io::Result<()> {
    let mut scratch = Scratch::default();
    println!("{:<46}what it says of", "");
    for (what, _) in TRICKY {
        print!("{what}; ");
    }
    println!();
    for (name, judge) in &JUDGES[2..] {
        let verdicts: Vec<_> = TRICKY
            .iter()
            .map(|(_, line)| if judge(&[line], &mut scratch) == 1 { "takes" } else { "-" })
            .collect();
        println!("{name:<46}{}", verdicts.join("; "));
    }
    for file in std::env::args().skip(1) {
        let mut bytes = std::fs::read(&file)?;
        bytes.truncate(BYTES_MAX);
        bytes.truncate(memchr::memrchr(b'\n', &bytes).unwrap_or(0));
        let lines: Vec<&[u8]> = bytes.split(|&byte| byte == b'\n').collect();
        println!("\n{file}: {} lines of {} bytes", lines.len(), bytes.len() / lines.len().max(1));
        for (name, judge) in JUDGES {
            let mut best = f64::MAX;
            for _ in 0..ROUNDS {
                let begun = Instant::now();
                black_box(judge(black_box(&lines), &mut scratch));
                best = best.min(begun.elapsed().as_secs_f64());
            }
            let us = best * 1e6 * 100.0 / lines.len().max(1) as f64;
            println!("{name:<46}{us:>8.1} µs for 100 lines {:>8.2} GB/s", bytes.len() as f64 / best / 1e9);
        }
    }
    Ok(())
}
