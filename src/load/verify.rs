//! The proof that nothing was lost: compares a run's ledger with the log files it should have ended up in.
//!
//! It reads the files as any reader of zstd would and knows nothing of how they were written. Memory is one bit for
//! each line of the run.

use super::id::{Finder, RunId};
use super::ledger::{Entry, Ledger, LedgerError, Outcome};
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::time::Duration;

const LOG_FILES: &str = ".ndjson.zst";
/// What a server takes at most to write what it has answered, unless it has stopped writing.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(500);
/// How many lines of each kind of finding are named.
const EXAMPLES_MAX: usize = 5;

/// Why nothing could be compared.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error("cannot read {path}")]
    Unreadable { path: PathBuf, source: io::Error },
    #[error(
        "there are no log files (*{LOG_FILES}) in {path}: name an account's folder, such as data/logs/1000000, \
         or the folder of all accounts"
    )]
    NoLogs { path: PathBuf },
}

/// Lines of one kind: how many, and which are the first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(super) struct Lines {
    pub count: u64,
    pub examples: Vec<String>,
}

impl Lines {
    fn add(&mut self, run: RunId, lane: u32, sequence: u64) {
        self.count += 1;
        if self.examples.len() < EXAMPLES_MAX {
            self.examples.push(format!("{run}-{lane:06}-{sequence:012}"));
        }
    }
}

/// What was found.
#[derive(Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Findings {
    pub acknowledged: u64,
    pub refused: u64,
    pub unknown: u64,
    /// Lines of the run in the logs, each time they are there.
    pub stored: u64,
    /// Stored lines that there was no answer for: either way is right.
    pub unknown_stored: u64,
    pub lost: Lines,
    pub duplicated: Lines,
    pub refused_yet_stored: Lines,
    pub out_of_order: Lines,
    /// In the logs, but not in the ledger.
    pub unheard_of: Lines,
    /// Files that end within a frame: a server is still writing to them, or was killed and not started again.
    pub unfinished_files: Vec<PathBuf>,
}

impl Findings {
    pub(super) fn is_clean(&self) -> bool {
        self.wrong().iter().all(|(_, lines)| lines.count == 0)
    }

    fn wrong(&self) -> [(&'static str, &Lines); 5] {
        [
            ("lost", &self.lost),
            ("duplicated", &self.duplicated),
            ("refused yet stored", &self.refused_yet_stored),
            ("out of order", &self.out_of_order),
            ("not in the ledger", &self.unheard_of),
        ]
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let row = |f: &mut fmt::Formatter<'_>, what: &str, count| writeln!(f, "{what:<20}{count:>14}");
        row(f, "acknowledged", self.acknowledged)?;
        row(f, "refused", self.refused)?;
        row(f, "without an answer", self.unknown)?;
        row(f, "  of them stored", self.unknown_stored)?;
        row(f, "stored", self.stored)?;
        for (what, lines) in self.wrong() {
            row(f, what, lines.count)?;
            for example in &lines.examples {
                writeln!(f, "    {example}")?;
            }
        }
        for path in &self.unfinished_files {
            writeln!(f, "{} ends within a frame and was read up to there", path.display())?;
        }
        match self.is_clean() {
            true => f.write_str("Every acknowledged line is stored once, and nothing that was refused is."),
            false => f.write_str(
                "The logs do not match the ledger. A server that was killed has the last batches in its journal: \
                 start it,\nstop it, and verify again.",
            ),
        }
    }
}

/// Compares a ledger with the logs in `folders`: accounts' folders, or folders of them. Looks again as long as the logs
/// lack something and grow: a server that runs writes them a moment after it has answered.
pub(super) fn verify(ledger: &Path, folders: &[PathBuf]) -> Result<Findings, VerifyError> {
    let mut stored_before = None;
    loop {
        let findings = compare(ledger, folders)?;
        if findings.is_clean() || stored_before == Some(findings.stored) {
            return Ok(findings);
        }
        stored_before = Some(findings.stored);
        std::thread::sleep(LOOK_AGAIN_AFTER);
    }
}

fn compare(ledger: &Path, folders: &[PathBuf]) -> Result<Findings, VerifyError> {
    let ledger = Ledger::read(ledger)?;
    let mut findings = Findings::default();
    let mut stored = Stored::new(ledger.run);
    for folder in folders {
        let logs = accounts(folder)?;
        if logs.is_empty() {
            return Err(VerifyError::NoLogs { path: folder.clone() });
        }
        for files in logs.values() {
            stored.last_of.clear();
            for path in files {
                read(path, &mut stored, &mut findings)
                    .map_err(|source| VerifyError::Unreadable { path: path.clone(), source })?;
            }
        }
    }
    stored.compare(ledger.entries, &mut findings);
    Ok(findings)
}

/// The log files below a folder, by account; those of an account in the order of their names, which is that of their
/// lines.
fn accounts(folder: &Path) -> Result<BTreeMap<PathBuf, Vec<PathBuf>>, VerifyError> {
    let unreadable = |source| VerifyError::Unreadable { path: folder.to_owned(), source };
    let mut found: BTreeMap<PathBuf, Vec<PathBuf>> = BTreeMap::new();
    for entry in std::fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.is_dir() {
            found.extend(accounts(&path)?);
        } else if path.to_string_lossy().ends_with(LOG_FILES) {
            found.entry(folder.to_owned()).or_default().push(path);
        }
    }
    for files in found.values_mut() {
        files.sort();
    }
    Ok(found)
}

fn read(path: &Path, stored: &mut Stored, findings: &mut Findings) -> io::Result<()> {
    let mut reader = BufReader::with_capacity(1 << 20, zstd::Decoder::new(File::open(path)?)?);
    let mut line = vec![];
    loop {
        line.clear();
        match reader.read_until(b'\n', &mut line) {
            Ok(0) => return Ok(()),
            Ok(_) => stored.see(&line, findings),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                findings.unfinished_files.push(path.to_owned());
                return Ok(());
            }
            Err(error) => return Err(error),
        }
    }
}

/// The lines of a run that were seen in logs.
struct Stored {
    run: RunId,
    finder: Finder,
    lanes: HashMap<u32, Bits>,
    /// The last sequence of each lane in the account's log being read.
    last_of: HashMap<u32, u64>,
}

impl Stored {
    fn new(run: RunId) -> Self {
        Self { run, finder: Finder::of(run), lanes: HashMap::new(), last_of: HashMap::new() }
    }

    fn see(&mut self, line: &[u8], findings: &mut Findings) {
        let Some((lane, sequence)) = self.finder.find(line) else {
            return;
        };
        findings.stored += 1;
        if !self.lanes.entry(lane).or_default().set(sequence) {
            findings.duplicated.add(self.run, lane, sequence);
        } else if self.last_of.get(&lane).is_some_and(|last| *last > sequence) {
            findings.out_of_order.add(self.run, lane, sequence);
        }
        self.last_of.insert(lane, sequence);
    }

    fn compare(mut self, mut entries: Vec<Entry>, findings: &mut Findings) {
        entries.sort_by_key(|entry| (entry.lane, entry.first));
        for entry in entries {
            let bits = self.lanes.entry(entry.lane).or_default();
            for sequence in entry.first..=entry.last {
                let is_stored = bits.clear(sequence);
                match entry.outcome {
                    Outcome::Acknowledged => {
                        findings.acknowledged += 1;
                        if !is_stored {
                            findings.lost.add(self.run, entry.lane, sequence);
                        }
                    }
                    Outcome::Refused => {
                        findings.refused += 1;
                        if is_stored {
                            findings.refused_yet_stored.add(self.run, entry.lane, sequence);
                        }
                    }
                    Outcome::Unknown => {
                        findings.unknown += 1;
                        findings.unknown_stored += u64::from(is_stored);
                    }
                }
            }
        }
        // What the ledger spoke of is cleared: the rest it does not know.
        for (lane, bits) in self.lanes {
            bits.each(|sequence| findings.unheard_of.add(self.run, lane, sequence));
        }
    }
}

/// A set of small numbers, in pages so that a stray large one costs little.
#[derive(Default)]
struct Bits(HashMap<u64, Box<[u64; Bits::PAGE_WORDS]>>);

impl Bits {
    const PAGE_WORDS: usize = 128;
    const PAGE_BITS: u64 = 64 * Self::PAGE_WORDS as u64;

    /// Whether the number was new.
    fn set(&mut self, number: u64) -> bool {
        let page = self.0.entry(number / Self::PAGE_BITS).or_insert_with(|| Box::new([0; Self::PAGE_WORDS]));
        let (word, mask) = Self::place(number);
        let is_new = page[word] & mask == 0;
        page[word] |= mask;
        is_new
    }

    /// Whether the number was there.
    fn clear(&mut self, number: u64) -> bool {
        let Some(page) = self.0.get_mut(&(number / Self::PAGE_BITS)) else {
            return false;
        };
        let (word, mask) = Self::place(number);
        let was_there = page[word] & mask != 0;
        page[word] &= !mask;
        was_there
    }

    fn each(&self, mut see: impl FnMut(u64)) {
        for (page, words) in &self.0 {
            for (word, bits) in words.iter().enumerate().filter(|(_, bits)| **bits != 0) {
                let first = page * Self::PAGE_BITS + word as u64 * 64;
                (0..64).filter(|bit| bits & (1 << bit) != 0).for_each(|bit| see(first + bit));
            }
        }
    }

    fn place(number: u64) -> (usize, u64) {
        let bit = number % Self::PAGE_BITS;
        ((bit / 64) as usize, 1 << (bit % 64))
    }
}

#[cfg(test)]
mod tests {
    use super::super::id;
    use super::super::ledger::{Book, Header};
    use super::*;

    const RUN: RunId = RunId(0xbeef);

    /// A ledger of lane 0 with 0..=9 acknowledged, 10..=14 refused and 15..=19 unknown, and logs with these lines in a
    /// file each.
    fn findings(files: &[&[u64]]) -> Findings {
        let folder = tempfile::tempdir().unwrap();
        let ledger = folder.path().join("ledger");
        let mut book = Book::default();
        book.note(0, Some(0..=9), Outcome::Acknowledged);
        book.note(0, Some(10..=14), Outcome::Refused);
        book.note(0, Some(15..=19), Outcome::Unknown);
        let header = Header { run: RUN.to_string(), target: String::new(), started_ms: 0 };
        Ledger::write(&ledger, &header, &[book]).unwrap();
        let logs = folder.path().join("logs").join("1000");
        std::fs::create_dir_all(&logs).unwrap();
        for (number, sequences) in files.iter().enumerate() {
            let mut text = "{\"message\":\"of somebody else\"}\n".to_owned();
            for sequence in *sequences {
                text += &format!("{{{}{RUN}-000000-{sequence:012}\"}}\n", id::KEY);
            }
            let packed = zstd::encode_all(text.as_bytes(), 1).unwrap();
            std::fs::write(logs.join(format!("{number}.ndjson.zst")), packed).unwrap();
        }
        compare(&ledger, &[folder.path().join("logs")]).unwrap()
    }

    fn counts(findings: &Findings) -> [u64; 5] {
        findings.wrong().map(|(_, lines)| lines.count)
    }

    #[test]
    fn finds_what_is_wrong() {
        let all: Vec<u64> = (0..10).collect();
        let with = |more: &[u64]| [&all[..], more].concat();
        for (name, files, expect) in [
            ("clean", vec![all.clone()], [0, 0, 0, 0, 0]),
            ("clean in two files", vec![(0..5).collect(), (5..10).collect()], [0, 0, 0, 0, 0]),
            ("unknown ones stored", vec![with(&[15, 17])], [0, 0, 0, 0, 0]),
            ("lost", vec![(1..9).collect()], [2, 0, 0, 0, 0]),
            ("twice", vec![with(&[9])], [0, 1, 0, 0, 0]),
            ("twice over files", vec![all.clone(), vec![0, 1, 2]], [0, 3, 0, 0, 0]),
            ("unknown twice", vec![with(&[15, 15])], [0, 1, 0, 0, 0]),
            ("refused yet stored", vec![with(&[10, 14])], [0, 0, 2, 0, 0]),
            ("out of order", vec![vec![0, 2, 1, 3, 4, 5, 6, 7, 8, 9]], [0, 0, 0, 1, 0]),
            ("not in the ledger", vec![with(&[20, 999_999_999_999])], [0, 0, 0, 0, 2]),
        ] {
            let files: Vec<_> = files.iter().map(Vec::as_slice).collect();
            let findings = findings(&files);
            assert_eq!(counts(&findings), expect, "{name}: {findings}");
            assert_eq!(findings.is_clean(), expect == [0; 5], "{name}");
        }
    }

    #[test]
    fn names_examples() {
        let findings = findings(&[&[0, 1, 2, 3]]);
        assert_eq!(findings.lost.examples.len(), EXAMPLES_MAX);
        assert!(findings.to_string().contains("0000beef-000000-000000000004"), "{findings}");
    }

    #[test]
    fn a_file_that_ends_within_a_frame_is_read_up_to_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("current.ndjson.zst");
        let packed = zstd::encode_all(&b"{}\n".repeat(1_000)[..], 1).unwrap();
        std::fs::write(&path, &packed[..packed.len() - 3]).unwrap();
        let (mut stored, mut findings) = (Stored::new(RUN), Findings::default());
        read(&path, &mut stored, &mut findings).unwrap();
        assert_eq!(findings.unfinished_files, [path]);
    }

    #[test]
    fn a_folder_without_logs_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = folder.path().join("ledger");
        let header = Header { run: RUN.to_string(), target: String::new(), started_ms: 0 };
        Ledger::write(&ledger, &header, &[]).unwrap();
        let error = verify(&ledger, &[folder.path().to_owned()]).unwrap_err();
        assert!(matches!(error, VerifyError::NoLogs { .. }), "{error}");
    }
}
