//! Is this line a JSON object, and which of the fields that Shipgate would add does it bring?
//!
//! The grammar is RFC 8259's, checked in full by `serde_json`, whose skipping of values is iterative: no input can
//! exhaust the stack. Numbers are text (`1e999` passes), duplicate keys pass, nesting is bounded by [`DEPTH_MAX`].

use super::batch::LineFault;
use serde::Deserializer;
use serde::de::{IgnoredAny, MapAccess, Visitor};
use std::borrow::Cow;
use std::fmt;

/// How deep arrays and objects may nest, the line's own object being the first.
pub const DEPTH_MAX: usize = 128;

/// The fields of a log that Shipgate adds where they are missing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Brought {
    pub timestamp: bool,
    pub type_: bool,
}

/// Judges one line, which holds no newline.
pub fn inspect(line: &str) -> Result<Brought, LineFault> {
    if !line.trim_ascii_start().starts_with('{') {
        return Err(LineFault::NotAnObject);
    }
    if is_too_deep(line.as_bytes()) {
        return Err(LineFault::TooDeep);
    }
    let mut json = serde_json::Deserializer::from_str(line);
    let brought = json.deserialize_map(TopLevel).and_then(|brought| json.end().map(|()| brought));
    brought.or_else(|_| {
        // A key with a lone surrogate is JSON but not text: it cannot be read as a key, and it is neither of ours.
        let valid = serde_json::from_str::<IgnoredAny>(line).is_ok();
        if valid { Ok(Brought { timestamp: true, type_: true }) } else { Err(LineFault::NotJson) }
    })
}

struct TopLevel;

impl<'de> Visitor<'de> for TopLevel {
    type Value = Brought;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Brought, A::Error> {
        let mut brought = Brought::default();
        while let Some(Key(key)) = map.next_key()? {
            match key.as_ref() {
                "@timestamp" => brought.timestamp = true,
                "type" => brought.type_ = true,
                _ => {}
            }
            map.next_value::<IgnoredAny>()?;
        }
        Ok(brought)
    }
}

/// A key, borrowed from the line unless it holds escapes.
#[derive(serde::Deserialize)]
struct Key<'a>(#[serde(borrow)] Cow<'a, str>);

/// Reaching a depth takes that many opening and as many closing brackets, so that almost every line is cleared by its
/// length or by a count; only the rest is walked, minding strings.
fn is_too_deep(line: &[u8]) -> bool {
    if line.len() <= 2 * DEPTH_MAX {
        return false;
    }
    let opening = line.iter().filter(|&&b| b == b'{' || b == b'[').count();
    if opening <= DEPTH_MAX {
        return false;
    }
    let (mut depth, mut in_string, mut escaped) = (0usize, false, false);
    for &byte in line {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEPTH_MAX {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nested(depth: usize) -> String {
        format!("{{\"a\":{}{}}}", "[".repeat(depth - 1), "]".repeat(depth - 1))
    }

    #[test]
    fn judges_lines() {
        let none = Ok(Brought::default());
        let both = Ok(Brought { timestamp: true, type_: true });
        let in_strings = format!("{{\"a\":\"{}\"}}", "[{\\\"".repeat(300));
        for (line, expect) in [
            ("{}", none),
            (" {\"a\":1} ", none),
            (r#"{"a":1,"a":2}"#, none),
            (r#"{"n":1e999,"m":123456789012345678901234567890}"#, none),
            (r#"{"@timestamp":"x","type":"y"}"#, both),
            (r#"{"\u0040timestamp":"x","ty\u0070e":null}"#, both),
            (r#"{"a":{"@timestamp":"x","type":"y"}}"#, none),
            (r#"{"type":1}"#, Ok(Brought { timestamp: false, type_: true })),
            (r#"{"a":"\ud800"}"#, none),
            (&nested(DEPTH_MAX), none),
            (&nested(DEPTH_MAX + 1), Err(LineFault::TooDeep)),
            (&in_strings, none),
            ("[1]", Err(LineFault::NotAnObject)),
            ("1", Err(LineFault::NotAnObject)),
            ("\"a\"", Err(LineFault::NotAnObject)),
            ("plain text", Err(LineFault::NotAnObject)),
            ("{\"a\":1", Err(LineFault::NotJson)),
            ("{{\"a\":1}}", Err(LineFault::NotJson)),
            ("{\"a\":1}{\"b\":2}", Err(LineFault::NotJson)),
            ("{\"a\":01}", Err(LineFault::NotJson)),
            ("{\"a\":\"\u{1}\"}", Err(LineFault::NotJson)),
            ("{\"a\":1,}", Err(LineFault::NotJson)),
            ("{a:1}", Err(LineFault::NotJson)),
            ("{\"a\":NaN}", Err(LineFault::NotJson)),
            ("{\"a\u{1}\":1}", Err(LineFault::NotJson)),
        ] {
            assert_eq!(inspect(line), expect, "{line}");
        }
    }

    /// Such a key hides no field of ours, and the line passes as it is.
    #[test]
    fn a_key_with_a_lone_surrogate_is_json() {
        assert!(inspect(r#"{"\ud800":1}"#).is_ok());
        assert_eq!(inspect(r#"{"\ud800":}"#), Err(LineFault::NotJson));
    }

    proptest::proptest! {
        #[test]
        fn agrees_with_serde_json_on_what_is_an_object(line in r#"[ {}\[\]",:\\0-9a-eul.+-]{0,40}"#) {
            let expect = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(&line).is_ok();
            // Numbers beyond f64 are the one thing Shipgate takes that a typed reader refuses.
            if expect {
                proptest::prop_assert!(inspect(&line).is_ok());
            } else if inspect(&line).is_ok() {
                let raw = serde_json::from_str::<&serde_json::value::RawValue>(&line);
                proptest::prop_assert!(raw.is_ok());
            }
        }
    }
}
