//! Batches: from the bytes of a body to the lines that will be stored, and a tally of those that will not.
//!
//! A batch is newline-separated JSON objects. Every line is judged by itself, so a bad one never costs its neighbours;
//! parsing therefore cannot fail. What a log brought is kept byte for byte; only a missing `@timestamp` and a missing
//! `type` are put in, right behind its opening brace.

use super::directory::Permit;
use super::json::{self, Brought};
use super::terms::Scope;
use super::timestamp::rfc3339_millis;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::ops::Range;

/// How many line errors a tally describes; the counters count them all.
pub const ERRORS_MAX: usize = 100;

/// Why a line is not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LineFault {
    NotUtf8,
    NotAnObject,
    NotJson,
    TooDeep,
    Oversized,
    /// The token's scope names types, and this line's is not one of them.
    TypeNotAllowed,
}

impl LineFault {
    pub const ALL: [Self; 6] = [
        Self::NotUtf8,
        Self::NotAnObject,
        Self::NotJson,
        Self::TooDeep,
        Self::Oversized,
        Self::TypeNotAllowed,
    ];

    /// A stable name: the label of a metric.
    pub fn code(self) -> &'static str {
        match self {
            Self::NotUtf8 => "not_utf8",
            Self::NotAnObject => "not_an_object",
            Self::NotJson => "not_json",
            Self::TooDeep => "too_deep",
            Self::Oversized => "oversized",
            Self::TypeNotAllowed => "type_not_allowed",
        }
    }

    /// What to tell the shipper. It says nothing of what the line holds.
    pub fn reason(self) -> &'static str {
        match self {
            Self::NotUtf8 => "not valid UTF-8",
            Self::NotAnObject => "not a JSON object",
            Self::NotJson => "not valid JSON",
            Self::TooDeep => "nested deeper than 128 levels",
            Self::Oversized => "longer than the line limit",
            Self::TypeNotAllowed => "of a type that this token may not ship",
        }
    }
}

/// A line that is not stored: which one of the body, counted from 1, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LineError {
    pub line: u64,
    pub fault: LineFault,
}

/// What became of a body's lines. Every line is counted once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Lines to be stored.
    pub successful: u64,
    /// Lines with nothing on them: normal traffic.
    pub empty: u64,
    /// The first [`ERRORS_MAX`] refused lines.
    pub errors: Vec<LineError>,
    refused: [u64; LineFault::ALL.len()],
}

impl Tally {
    /// The tally of a body that could not be read as lines at all, such as corrupt compression.
    pub fn unreadable() -> Self {
        let mut tally = Self::default();
        tally.refused[LineFault::NotJson as usize] = 1;
        tally
    }

    /// Refused lines by fault.
    pub fn refused(&self) -> impl Iterator<Item = (LineFault, u64)> {
        LineFault::ALL.into_iter().zip(self.refused)
    }

    /// Lines refused for their length.
    pub fn oversized(&self) -> u64 {
        self.refused[LineFault::Oversized as usize]
    }

    /// Lines refused for anything else.
    pub fn malformed(&self) -> u64 {
        self.refused.iter().sum::<u64>() - self.oversized()
    }

    /// All lines.
    pub fn lines(&self) -> u64 {
        self.successful + self.empty + self.refused.iter().sum::<u64>()
    }

    fn refuse(&mut self, line: u64, fault: LineFault) {
        self.refused[fault as usize] += 1;
        if self.errors.len() < ERRORS_MAX {
            self.errors.push(LineError { line, fault });
        }
    }
}

/// The same for every line of a batch.
#[derive(Debug, Clone, Copy)]
pub struct Framing<'a> {
    /// When the batch was received, in milliseconds since the Unix epoch: the `@timestamp` of logs without one.
    pub received_ms: u64,
    /// The `type` of logs without one.
    pub default_type: &'a str,
    /// Longest line, in bytes without its line end.
    pub line_bytes_max: usize,
}

impl Framing<'_> {
    /// The most bytes that the lines of `body` can take once what they lack is added.
    pub fn stored_bytes_max(&self, body: &[u8]) -> usize {
        let lines = memchr::memchr_iter(b'\n', body).count() + 1;
        let quoted_type = serde_json::to_string(self.default_type).map_or(0, |quoted| quoted.len());
        let additions = r#""@timestamp":"2026-01-31T23:59:59.123Z","type":,"#.len() + quoted_type;
        body.len() + lines * (additions + 1)
    }
}

/// A permitted batch, ready to be appended to the journal.
#[derive(Debug)]
pub struct Batch {
    permit: Permit,
    received_ms: u64,
    lines: Vec<u8>,
    tally: Tally,
}

impl Batch {
    /// Judges every line of `body`. Room for all that could be stored is made at once and touched only as far as it is needed, so
    /// that it never has to be moved: see [`Framing::stored_bytes_max`] before calling this.
    pub fn parse(permit: Permit, body: &[u8], framing: Framing<'_>) -> Self {
        let text = Text::of(body);
        let additions = Additions::new(framing);
        let types = Types::named_by(&permit, framing.default_type);
        let mut lines = Vec::with_capacity(framing.stored_bytes_max(body));
        let mut tally = Tally::default();
        let mut start = 0;
        let mut number = 0;
        while start < body.len() {
            let end = memchr::memchr(b'\n', &body[start..]).map_or(body.len(), |at| start + at);
            number += 1;
            let raw = body[start..end].strip_suffix(b"\r").unwrap_or(&body[start..end]);
            if raw.len() > framing.line_bytes_max {
                tally.refuse(number, LineFault::Oversized);
            } else if raw.trim_ascii().is_empty() {
                tally.empty += 1;
            } else {
                let judged = text.line(start..end).map(str::trim_ascii).and_then(|line| {
                    let brought = json::inspect(line)?;
                    if let Some(types) = &types {
                        types.judge(line, brought)?;
                    }
                    additions.write(line, brought, &mut lines);
                    Ok(())
                });
                match judged {
                    Ok(()) => tally.successful += 1,
                    Err(fault) => tally.refuse(number, fault),
                }
            }
            start = end + 1;
        }
        Self { permit, received_ms: framing.received_ms, lines, tally }
    }

    /// The permit this batch was made from.
    pub fn permit(&self) -> &Permit {
        &self.permit
    }

    /// When it was received, in milliseconds since the Unix epoch.
    pub fn received_ms(&self) -> u64 {
        self.received_ms
    }

    /// The accepted lines, each ended by a newline.
    pub fn lines(&self) -> &[u8] {
        &self.lines
    }

    pub fn tally(&self) -> &Tally {
        &self.tally
    }

    /// Gives up the tally, when the lines are where they belong.
    pub fn into_tally(self) -> Tally {
        self.tally
    }
}

/// A body whose UTF-8 is judged in one fast pass; only one that fails is looked at line by line.
struct Text<'a> {
    bytes: &'a [u8],
    valid: Option<&'a str>,
}

impl<'a> Text<'a> {
    fn of(bytes: &'a [u8]) -> Self {
        Self { bytes, valid: simdutf8::basic::from_utf8(bytes).ok() }
    }

    /// The line at `range`, which begins and ends at line ends.
    fn line(&self, range: Range<usize>) -> Result<&'a str, LineFault> {
        match self.valid {
            Some(text) => Ok(&text[range]),
            None => simdutf8::basic::from_utf8(&self.bytes[range]).map_err(|_| LineFault::NotUtf8),
        }
    }
}

/// Which types a token may ship, of a token whose scope names any: no other costs the look into its lines.
struct Types<'a> {
    scope: &'a Scope,
    /// Whether lines that bring no type may pass.
    has_default: bool,
}

impl<'a> Types<'a> {
    fn named_by(permit: &'a Permit, default_type: &str) -> Option<Self> {
        let scope = permit.terms().map(|terms| &terms.scope).filter(|scope| !scope.types.is_empty())?;
        Some(Self { scope, has_default: scope.has_type(default_type) })
    }

    /// A line's type is a text that it brings once. Whatever else stands there could be read as another type later.
    fn judge(&self, line: &str, brought: Brought) -> Result<(), LineFault> {
        #[derive(Deserialize)]
        struct Own<'a> {
            #[serde(borrow)]
            r#type: Cow<'a, str>,
        }
        let allowed = match brought.type_ {
            false => self.has_default,
            true => serde_json::from_str(line).is_ok_and(|own: Own<'_>| self.scope.has_type(&own.r#type)),
        };
        if allowed { Ok(()) } else { Err(LineFault::TypeNotAllowed) }
    }
}

/// The fields put into logs that lack them, rendered once a batch.
struct Additions {
    timestamp: String,
    type_: String,
    both: String,
}

impl Additions {
    fn new(framing: Framing<'_>) -> Self {
        #[derive(Serialize)]
        struct Type<'a> {
            r#type: &'a str,
        }
        let timestamp = format!("\"@timestamp\":\"{}\"", rfc3339_millis(framing.received_ms));
        let object = serde_json::to_string(&Type { r#type: framing.default_type }).unwrap_or_default();
        let type_ = object.trim_start_matches('{').strip_suffix('}').unwrap_or_default().to_owned();
        let both = format!("{timestamp},{type_}");
        Self { timestamp, type_, both }
    }

    /// Appends `line`, an object, with what it lacks, and a newline.
    fn write(&self, line: &str, brought: Brought, out: &mut Vec<u8>) {
        let addition = match (brought.timestamp, brought.type_) {
            (true, true) => "",
            (false, true) => &self.timestamp,
            (true, false) => &self.type_,
            (false, false) => &self.both,
        };
        let fields = &line[1..];
        out.push(b'{');
        out.extend_from_slice(addition.as_bytes());
        if !addition.is_empty() && !fields.trim_ascii_start().starts_with('}') {
            out.push(b',');
        }
        out.extend_from_slice(fields.as_bytes());
        out.push(b'\n');
    }
}

#[cfg(test)]
mod tests;
