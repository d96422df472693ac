//! The lines that are sent: made up in the shapes that real logs have, or taken from a user's sample.
//!
//! A line is made once, before the run, with an id whose digits are overwritten for each sending (see `id`).

use super::id;
use super::random::Random;
use serde::de::IgnoredAny;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What a line looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Shape {
    /// An application's log: one level of fields and a message
    Flat,
    /// A log from a container: fields within fields, and arrays
    Nested,
    /// A web server's access log
    Access,
    /// An error with its long stack trace
    Stack,
    /// Messages in many scripts, two to four bytes a character
    Utf8,
    /// All of these
    Mixed,
}

impl Shape {
    const PURE: [&'static Self; 5] = [&Self::Flat, &Self::Nested, &Self::Access, &Self::Stack, &Self::Utf8];

    /// How long its lines are unless told otherwise, in bytes.
    fn line_bytes(self) -> usize {
        match self {
            Self::Flat => 190,
            Self::Access => 320,
            Self::Utf8 => 260,
            Self::Nested => 560,
            Self::Stack => 2_400,
            Self::Mixed => 0,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Flat => "flat",
            Self::Nested => "nested",
            Self::Access => "access",
            Self::Stack => "stack",
            Self::Utf8 => "utf8",
            Self::Mixed => "mixed",
        }
    }
}

/// Why a sample cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum SampleError {
    #[error("cannot read the sample {path}")]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("line {line} of the sample {path} is not a JSON object")]
    NotAnObject { path: PathBuf, line: usize },
    #[error("the sample {path} has no lines")]
    Empty { path: PathBuf },
}

/// Where lines come from.
#[derive(Debug, Clone)]
pub(super) enum Lines {
    Made {
        shape: Shape,
        /// `None`: as long as the shape's lines usually are.
        line_bytes: Option<usize>,
        /// The `@timestamp` of all lines.
        timestamp: String,
    },
    /// A user's own lines, each a JSON object without its line end.
    Sample(Arc<Vec<Vec<u8>>>),
}

/// A line without its line end, and where its id's first digit is.
pub(super) struct Line {
    pub bytes: Vec<u8>,
    pub id_at: usize,
}

impl Lines {
    /// Reads a user's sample: newline-separated JSON objects.
    pub(super) fn sample(path: &Path) -> Result<Self, SampleError> {
        let path = path.to_owned();
        let text = match std::fs::read(&path) {
            Ok(text) => text,
            Err(source) => return Err(SampleError::Unreadable { path, source }),
        };
        let mut lines = vec![];
        for (at, line) in text.split(|byte| *byte == b'\n').enumerate() {
            let line = line.trim_ascii();
            let is_object = line.starts_with(b"{") && serde_json::from_slice::<IgnoredAny>(line).is_ok();
            match line {
                [] => {}
                _ if is_object => lines.push(line.to_owned()),
                _ => return Err(SampleError::NotAnObject { path, line: at + 1 }),
            }
        }
        if lines.is_empty() { Err(SampleError::Empty { path }) } else { Ok(Self::Sample(Arc::new(lines))) }
    }

    /// One more line, which begins with `id`.
    pub(super) fn next(&self, id: &str, random: &mut Random) -> Line {
        let mut bytes = format!("{{{}{id}\"", id::KEY).into_bytes();
        let id_at = 1 + id::KEY.len();
        match self {
            Self::Sample(lines) => {
                let fields = &lines[random.below(lines.len())][1..];
                if !fields.trim_ascii_start().starts_with(b"}") {
                    bytes.push(b',');
                }
                bytes.extend_from_slice(fields);
            }
            Self::Made { shape, line_bytes, timestamp } => {
                let shape = if *shape == Shape::Mixed { *random.one_of(&Shape::PURE) } else { *shape };
                let line_bytes = line_bytes.unwrap_or_else(|| shape.line_bytes());
                let (head, tail) = frame(shape, timestamp, random);
                bytes.extend_from_slice(head.as_bytes());
                let message_bytes = line_bytes.saturating_sub(bytes.len() + tail.len());
                fill(&mut bytes, message_bytes, || piece(shape, random));
                bytes.extend_from_slice(tail.as_bytes());
            }
        }
        Line { bytes, id_at }
    }
}

/// Appends pieces, and then dots, until exactly `length` bytes are appended.
fn fill<'a>(bytes: &mut Vec<u8>, length: usize, mut piece: impl FnMut() -> &'a str) {
    let end = bytes.len() + length;
    loop {
        let piece = piece();
        if bytes.len() + piece.len() > end {
            break;
        }
        bytes.extend_from_slice(piece.as_bytes());
    }
    bytes.resize(end, b'.');
}

/// What stands before and behind the message that fills a line up.
fn frame(shape: Shape, timestamp: &str, random: &mut Random) -> (String, String) {
    let level = random.one_of(&["info", "info", "info", "warn", "debug", "error"]);
    let service = random.one_of(&["checkout", "payments", "catalog", "search", "auth", "mailer"]);
    let (host, number, code) = (random.below(64), random.below(100_000), 200 + random.below(4) * 101);
    match shape {
        Shape::Flat | Shape::Mixed => (
            format!(
                r#","@timestamp":"{timestamp}","level":"{level}","service":"{service}","status":{code},"message":""#
            ),
            "\"}".to_owned(),
        ),
        Shape::Utf8 => (
            format!(r#","@timestamp":"{timestamp}","level":"{level}","город":"Київ","message":""#),
            "\"}".to_owned(),
        ),
        Shape::Nested => (
            format!(
                r#","@timestamp":"{timestamp}","kubernetes":{{"namespace":"{service}","pod":{{"name":"{service}-{number:05}","uid":"{:016x}"}},"labels":{{"app":"{service}","tier":"backend","release":"{level}"}}}},"http":{{"status":{code},"tags":["edge","v{host}",null,true,{{"ms":{number}.25}}]}},"log":{{"message":""#,
                random.next()
            ),
            format!(r#"","level":"{level}"}}}}"#),
        ),
        Shape::Access => (
            format!(
                r#","@timestamp":"{timestamp}","remote_addr":"10.{host}.{}.{}","method":"GET","status":{code},"bytes_sent":{number},"request_time":0.{:03},"user_agent":"Mozilla/5.0 (X11; Linux x86_64)","path":"/"#,
                number % 256,
                number / 256 % 256,
                number % 1_000,
            ),
            "\"}".to_owned(),
        ),
        Shape::Stack => (
            format!(
                r#","@timestamp":"{timestamp}","level":"error","service":"{service}","thread":"worker-{host}","exception":"java.lang.IllegalStateException: order {number} is \"closed\""#
            ),
            "\"}".to_owned(),
        ),
    }
}

/// A part of a message, whole in itself: cut anywhere between two, the line stays valid.
fn piece(shape: Shape, random: &mut Random) -> &'static str {
    match shape {
        Shape::Access => {
            random.one_of(&["api/", "v2/", "orders/", "items?id=", "page=", "42&", "sort=asc&", "u/"])
        }
        Shape::Stack => random.one_of(&[
            r"\n\tat com.example.orders.OrderService.close(OrderService.java:214)",
            r"\n\tat com.example.web.Controller$$Lambda$17.handle(Unknown Source)",
            r"\n\tat org.example.framework.Dispatcher.doDispatch(Dispatcher.java:1041)",
            r#"\n\tat com.example.db.Pool.lease(Pool.java:88) ~[db-4.2.jar:\"4.2\"]"#,
            r"\nCaused by: java.io.IOException: C:\\data\\orders is not there",
        ]),
        Shape::Utf8 => random.one_of(&[
            "замовлення ",
            "прийнято ",
            "注文を",
            "受け付けました ",
            "주문이 ",
            "완료되었습니다 ",
            "παραγγελία ",
            "größer ",
            "naïve ",
            "🚚 ",
            "✅ ",
            "תשלום ",
            "สำเร็จ ",
        ]),
        _ => random.one_of(&[
            "request ",
            "handled ",
            "in ",
            "the ",
            "queue ",
            "for ",
            "customer ",
            "retry ",
            "cache miss ",
            "after ",
            "connection to ",
            "upstream ",
            "took longer than ",
            "user ",
            "order ",
            "sent ",
            r#"\"quoted\" "#,
        ]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn id() -> String {
        id::first(id::RunId(0xabc), 7)
    }

    fn made(shape: Shape, line_bytes: Option<usize>) -> Lines {
        Lines::Made { shape, line_bytes, timestamp: "2026-01-31T23:59:59.123Z".to_owned() }
    }

    #[test]
    fn every_shape_gives_json_objects_of_the_length_asked_for() {
        for shape in Shape::PURE {
            for length in [None, Some(700), Some(701), Some(5_000), Some(499_999)] {
                let mut random = Random::new(1, 2);
                for _ in 0..3 {
                    let line = made(*shape, length).next(&id(), &mut random);
                    let object: Value = serde_json::from_slice(&line.bytes)
                        .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&line.bytes)));
                    assert_eq!(object["load_id"], id());
                    assert_eq!(line.bytes.len(), length.unwrap_or(shape.line_bytes()), "{shape:?}");
                    assert_eq!(&line.bytes[line.id_at..line.id_at + id::WIDTH], id().as_bytes());
                }
            }
        }
    }

    #[test]
    fn mixed_has_every_shape() {
        let mut random = Random::new(1, 2);
        let lengths: std::collections::HashSet<_> =
            (0..100).map(|_| made(Shape::Mixed, None).next(&id(), &mut random).bytes.len()).collect();
        assert_eq!(lengths.len(), Shape::PURE.len());
    }

    #[test]
    fn a_sample_is_sent_as_it_is_but_for_the_id() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "{}\r\n\n{ \"a\" : 1 }").unwrap();
        let lines = Lines::sample(file.path()).unwrap();
        let mut random = Random::new(1, 2);
        let sent: std::collections::BTreeSet<_> =
            (0..50).map(|_| String::from_utf8(lines.next(&id(), &mut random).bytes).unwrap()).collect();
        let expect =
            [format!("{{\"load_id\":\"{}\", \"a\" : 1 }}", id()), format!("{{\"load_id\":\"{}\"}}", id())];
        assert_eq!(sent.into_iter().collect::<Vec<_>>(), expect);
    }

    #[test]
    fn a_sample_with_anything_else_is_refused_with_the_line() {
        let file = tempfile::NamedTempFile::new().unwrap();
        for (text, expect) in
            [("{}\n[1]", "line 2"), ("{\"a\":1}\n{\"a\":\n", "line 2"), ("\n \n", "no lines")]
        {
            std::fs::write(file.path(), text).unwrap();
            let error = Lines::sample(file.path()).unwrap_err().to_string();
            assert!(error.contains(expect), "{error}");
        }
    }
}
