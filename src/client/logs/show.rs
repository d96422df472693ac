//! A log as people read it: time, level, message, and then all else.

use crate::domain::log::{Log, Scalar};
use crate::domain::timestamp::rfc3339_millis;
use std::collections::HashSet;
use std::io::{self, Write};

const LEVELS: &[&str] = &["level", "log.level", "severity", "loglevel", "lvl"];
const MESSAGES: &[&str] = &["message", "msg", "log", "event", "text"];

const DIM: &str = "2";

/// How logs are shown.
#[derive(Debug, Clone, Copy)]
pub(super) enum Look {
    /// As they are.
    Raw,
    Line {
        coloured: bool,
        /// Whether a message may have several lines.
        broken: bool,
    },
}

impl Look {
    /// `time_ms`: the log's, where it is known.
    pub(super) fn write(self, out: &mut impl Write, time_ms: Option<u64>, line: &str) -> io::Result<()> {
        match (self, Log::parse(line.as_bytes())) {
            (Self::Line { coloured, broken }, Some(log)) => {
                let text = Shown { coloured, broken }.log(&log, time_ms, line);
                writeln!(out, "{text}")
            }
            _ => writeln!(out, "{line}"),
        }
    }
}

struct Shown {
    coloured: bool,
    broken: bool,
}

impl Shown {
    fn log(&self, log: &Log, time_ms: Option<u64>, line: &str) -> String {
        let time = time_ms.map(rfc3339_millis).or_else(|| first(log, &["@timestamp"]).map(|(_, time)| time));
        let level = first(log, LEVELS);
        let message = first(log, MESSAGES);
        let mut text = self.painted(DIM, &tame(&time.unwrap_or_default(), false));
        if let Some((_, level)) = &level {
            text += " ";
            text += &self.painted(colour(level), &format!("{:<5}", tame(&level.to_uppercase(), false)));
        }
        if let Some((_, message)) = &message {
            text += " ";
            text += &tame(message, self.broken);
        }
        let shown: HashSet<&str> =
            [&level, &message].into_iter().flatten().map(|(name, _)| *name).chain(["@timestamp"]).collect();
        let rest = rest(line, &shown);
        if !rest.is_empty() {
            text += " ";
            text += &self.painted(DIM, &rest);
        }
        text
    }

    fn painted(&self, colour: &str, text: &str) -> String {
        if self.coloured && !colour.is_empty() {
            format!("\u{1b}[{colour}m{text}\u{1b}[0m")
        } else {
            text.to_owned()
        }
    }
}

/// The first of these fields that is there, and its text.
fn first<'a>(log: &Log, names: &[&'a str]) -> Option<(&'a str, String)> {
    names.iter().find_map(|name| {
        let mut found = None;
        log.any(name, |scalar| {
            found = (*scalar != Scalar::Null).then(|| scalar.text().to_owned());
            found.is_some()
        });
        Some((*name, found?))
    })
}

/// All other fields: what is within an object stays together.
fn rest(line: &str, shown: &HashSet<&str>) -> String {
    let Ok(fields) = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(line) else {
        return String::new();
    };
    let others = fields.iter().filter(|(name, _)| !shown.contains(name.as_str()));
    let others = others.map(|(name, value)| match value {
        serde_json::Value::String(text) if is_plain(text) => format!("{}={text}", tame(name, false)),
        // As JSON, in which there are no control characters.
        value => format!("{}={}", tame(name, false), tame(&value.to_string(), false)),
    });
    others.collect::<Vec<_>>().join(" ")
}

fn is_plain(text: &str) -> bool {
    !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c.is_control() || c == '"' || c == '=')
}

/// Without what a terminal would obey: a log is written by others.
fn tame(text: &str, broken: bool) -> String {
    if !text.contains(char::is_control) {
        return text.to_owned();
    }
    let mut tamed = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        match c {
            '\n' if broken => tamed.push_str("\n    "),
            '\t' if broken => tamed.push_str("    "),
            c if c.is_control() => tamed.extend(c.escape_default()),
            c => tamed.push(c),
        }
    }
    tamed
}

fn colour(level: &str) -> &'static str {
    let level = level.to_ascii_lowercase();
    let begins = |names: &[&str]| names.iter().any(|name| level.starts_with(name));
    if begins(&["emerg", "alert", "crit", "fatal", "panic"]) {
        "1;31"
    } else if begins(&["err"]) {
        "31"
    } else if begins(&["warn"]) {
        "33"
    } else if begins(&["info", "notice"]) {
        "32"
    } else if begins(&["debug", "trace", "verbose"]) {
        "36"
    } else {
        ""
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(look: Look, line: &str) -> String {
        let mut out = Vec::new();
        look.write(&mut out, Some(1_769_862_896_789), line).unwrap();
        String::from_utf8(out).unwrap()
    }

    const PLAIN: Look = Look::Line { coloured: false, broken: false };

    #[test]
    fn a_log_is_a_line() {
        for (line, expect) in [
            (r#"{"message":"hello","level":"info"}"#, "2026-01-31T12:34:56.789Z INFO  hello\n"),
            (
                r#"{"msg":"a b","log":{"level":"warn"},"took":1.50,"user":"x y","ok":true,"@timestamp":"x"}"#,
                "2026-01-31T12:34:56.789Z WARN  a b log={\"level\":\"warn\"} ok=true took=1.5 user=\"x y\"\n",
            ),
            (r#"{"a":null}"#, "2026-01-31T12:34:56.789Z a=null\n"),
            ("{}", "2026-01-31T12:34:56.789Z\n"),
            ("no json", "no json\n"),
        ] {
            assert_eq!(shown(PLAIN, line), expect, "{line}");
            assert_eq!(shown(Look::Raw, line), format!("{line}\n"));
        }
    }

    #[test]
    fn a_terminal_obeys_no_log() {
        let line = r#"{"message":"a\u001b[31mb\nc\u0007","level":"\u001b]0;x\u0007","k\u001b":"\u001b","c":"\u009b"}"#;
        let text = shown(PLAIN, line);
        assert_eq!(text.lines().count(), 1, "{text}");
        assert!(!text.trim_end().contains(char::is_control), "{text:?}");
        let text = shown(Look::Line { coloured: false, broken: true }, line);
        assert!(text.contains("b\n    c"), "{text}");
    }

    #[test]
    fn levels_have_colours() {
        let text =
            shown(Look::Line { coloured: true, broken: true }, r#"{"message":"m","level":"ERROR","a":1}"#);
        assert_eq!(
            text,
            "\u{1b}[2m2026-01-31T12:34:56.789Z\u{1b}[0m \u{1b}[31mERROR\u{1b}[0m m \u{1b}[2ma=1\u{1b}[0m\n"
        );
    }
}
