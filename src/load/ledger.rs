//! The ledger: what became of every line that was sent. What `verify` compares the logs with.
//!
//! It is a text of one JSON object a line: first the run, then one entry for each row of lines with the same fate.
//!
//! ```text
//! {"run":"1f0c9a3e","target":"http://127.0.0.1:8070/","started_ms":1790000000000}
//! {"lane":0,"first":0,"last":99999,"outcome":"acknowledged"}
//! {"lane":0,"first":100000,"last":100099,"outcome":"unknown"}
//! ```

use super::id::RunId;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Write};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

/// What the server said of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Outcome {
    /// It is kept: it must be in the log, once.
    Acknowledged,
    /// It is not kept: it must not be in the log.
    Refused,
    /// There was no answer: it may be in the log or not, but not twice.
    Unknown,
}

/// Lines of one lane, one after another, with the same outcome.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    pub lane: u32,
    pub first: u64,
    pub last: u64,
    pub outcome: Outcome,
}

/// Whose ledger it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Header {
    pub run: String,
    pub target: String,
    pub started_ms: u64,
}

/// The entries of one connection.
#[derive(Debug, Default)]
pub(super) struct Book {
    entries: Vec<Entry>,
    /// Where the last entry of each of the connection's lanes is; there are two.
    last_of: [Option<usize>; 2],
}

impl Book {
    /// Notes what became of `lines`, which follow those noted before for the lane.
    pub(super) fn note(&mut self, lane: u32, lines: Option<RangeInclusive<u64>>, outcome: Outcome) {
        let Some((first, last)) = lines.map(RangeInclusive::into_inner) else {
            return;
        };
        let before = &mut self.last_of[lane as usize % 2];
        if let Some(entry) = before.and_then(|at| self.entries.get_mut(at))
            && (entry.lane, entry.outcome, entry.last + 1) == (lane, outcome, first)
        {
            entry.last = last;
            return;
        }
        *before = Some(self.entries.len());
        self.entries.push(Entry { lane, first, last, outcome });
    }

    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }
}

/// Why a ledger cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    #[error("cannot write the ledger {path}")]
    Unwritable { path: PathBuf, source: io::Error },
    #[error("cannot read the ledger {path}")]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("line {line} of {path} is not what a ledger has there")]
    Malformed { path: PathBuf, line: usize },
}

/// A run and what became of its lines.
#[derive(Debug)]
pub(super) struct Ledger {
    pub run: RunId,
    pub entries: Vec<Entry>,
}

impl Ledger {
    pub(super) fn write(path: &Path, header: &Header, books: &[Book]) -> Result<(), LedgerError> {
        let write = || -> io::Result<()> {
            let mut file = BufWriter::new(File::create(path)?);
            serde_json::to_writer(&mut file, header)?;
            for entry in books.iter().flat_map(Book::entries) {
                file.write_all(b"\n")?;
                serde_json::to_writer(&mut file, entry)?;
            }
            file.write_all(b"\n")?;
            file.flush()
        };
        write().map_err(|source| LedgerError::Unwritable { path: path.to_owned(), source })
    }

    pub(super) fn read(path: &Path) -> Result<Self, LedgerError> {
        let unreadable = |source| LedgerError::Unreadable { path: path.to_owned(), source };
        let malformed = |line| LedgerError::Malformed { path: path.to_owned(), line };
        let mut lines = BufReader::new(File::open(path).map_err(unreadable)?).lines();
        let header = lines.next().transpose().map_err(unreadable)?.unwrap_or_default();
        let header: Header = serde_json::from_str(&header).map_err(|_| malformed(1))?;
        let run = RunId::parse(&header.run).ok_or_else(|| malformed(1))?;
        let mut entries = vec![];
        for (at, line) in lines.enumerate() {
            let entry: Entry =
                serde_json::from_str(&line.map_err(unreadable)?).map_err(|_| malformed(at + 2))?;
            if entry.first > entry.last {
                return Err(malformed(at + 2));
            }
            entries.push(entry);
        }
        Ok(Self { run, entries })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_with_the_same_fate_are_one_entry() {
        use Outcome::{Acknowledged, Refused, Unknown};
        let mut book = Book::default();
        book.note(0, Some(0..=9), Acknowledged);
        book.note(1, Some(0..=0), Refused);
        book.note(0, Some(10..=19), Acknowledged);
        book.note(1, None, Refused);
        book.note(1, Some(1..=1), Refused);
        book.note(0, Some(20..=29), Unknown);
        book.note(0, Some(30..=39), Acknowledged);
        let entry = |lane, first, last, outcome| Entry { lane, first, last, outcome };
        let expect = [
            entry(0, 0, 19, Acknowledged),
            entry(1, 0, 1, Refused),
            entry(0, 20, 29, Unknown),
            entry(0, 30, 39, Acknowledged),
        ];
        assert_eq!(book.entries(), expect);

        let file = tempfile::NamedTempFile::new().unwrap();
        let header = Header { run: "0000002a".to_owned(), target: "http://a/".to_owned(), started_ms: 1 };
        Ledger::write(file.path(), &header, &[book]).unwrap();
        let ledger = Ledger::read(file.path()).unwrap();
        assert_eq!((ledger.run, ledger.entries), (RunId(42), expect.to_vec()));
    }

    #[test]
    fn anything_else_is_refused_with_the_line() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let header = r#"{"run":"0000002a","target":"http://a/","started_ms":1}"#;
        for (text, expect) in [
            (String::new(), "line 1"),
            ("{}".to_owned(), "line 1"),
            (header.replace("2a", "zz"), "line 1"),
            (format!("{header}\nnonsense"), "line 2"),
            (format!("{header}\n{{\"lane\":0,\"first\":2,\"last\":1,\"outcome\":\"unknown\"}}"), "line 2"),
        ] {
            std::fs::write(file.path(), &text).unwrap();
            let error = Ledger::read(file.path()).unwrap_err().to_string();
            assert!(error.contains(expect), "{text}: {error}");
        }
    }
}
