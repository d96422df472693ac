//! Files that go from the disk, to the store, while somebody reads them: nothing is missed, and nothing is found twice.

use super::*;
use crate::journal::disk::{Disk, DiskFile, Entry, Lock, Mode};
use crate::logs::names::CURRENT;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, mpsc};

/// A disk on which one reader is held up, once: at a listing, or before it reads for the nth time from a file.
#[derive(Clone)]
struct Holding {
    name_ends_with: String,
    reads: usize,
    holds: Arc<Mutex<Option<Hold>>>,
}

/// Tells that somebody is held up; and when to go on.
type Hold = (mpsc::Sender<()>, mpsc::Receiver<()>);

impl Holding {
    /// The disk, what tells that somebody is held up, and what lets them go on.
    fn at(name_ends_with: &str, reads: usize) -> (Arc<Self>, mpsc::Receiver<()>, mpsc::Sender<()>) {
        let ((reached, is_reached), (go_on, may_go_on)) = (mpsc::channel(), mpsc::channel());
        let holds = Arc::new(Mutex::new(Some((reached, may_go_on))));
        (Arc::new(Self { name_ends_with: name_ends_with.to_owned(), reads, holds }), is_reached, go_on)
    }

    fn hold(&self) {
        if let Some((reached, may_go_on)) = self.holds.lock().unwrap().take() {
            reached.send(()).unwrap();
            may_go_on.recv().unwrap();
        }
    }

    fn is_at(&self, path: &Path) -> bool {
        path.to_str().unwrap().ends_with(&self.name_ends_with)
    }
}

impl Disk for Holding {
    fn open(&self, path: &Path, mode: Mode) -> io::Result<Box<dyn DiskFile>> {
        let file = OsDisk.open(path, mode)?;
        if !self.is_at(path) {
            return Ok(file);
        }
        Ok(Box::new(HoldingFile { file, holding: self.clone(), reads: AtomicUsize::new(0) }))
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        let listed = OsDisk.list(dir);
        if self.is_at(dir) {
            self.hold();
        }
        listed
    }
    fn exists(&self, path: &Path) -> io::Result<bool> {
        OsDisk.exists(path)
    }
    fn create_dir(&self, _: &Path) -> io::Result<()> {
        unreachable!("a reader changes nothing")
    }
    fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
        unreachable!("a reader changes nothing")
    }
    fn remove(&self, _: &Path) -> io::Result<()> {
        unreachable!("a reader changes nothing")
    }
    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        unreachable!("a reader changes nothing")
    }
    fn sync_tree(&self, _: &Path) -> io::Result<()> {
        unreachable!("a reader changes nothing")
    }
    fn lock(&self, _: &Path) -> io::Result<Lock> {
        unreachable!("a reader changes nothing")
    }
    fn free_bytes(&self, _: &Path) -> io::Result<u64> {
        unreachable!("a reader changes nothing")
    }
}

struct HoldingFile {
    file: Box<dyn DiskFile>,
    holding: Holding,
    reads: AtomicUsize,
}

impl DiskFile for HoldingFile {
    fn bytes(&self) -> io::Result<u64> {
        self.file.bytes()
    }
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<usize> {
        if self.reads.fetch_add(1, Ordering::Relaxed) + 1 == self.holding.reads {
            self.holding.hold();
        }
        self.file.read_at(offset, into)
    }
    fn write(&mut self, _: &[io::IoSlice<'_>]) -> io::Result<usize> {
        unreachable!("a reader changes nothing")
    }
    fn sync(&mut self) -> io::Result<()> {
        unreachable!("a reader changes nothing")
    }
    fn truncate(&mut self, _: u64) -> io::Result<()> {
        unreachable!("a reader changes nothing")
    }
}

/// A reader of what a node has, which is held up somewhere, asks; meanwhile `happen` happens. How many lines it finds, if it came by there.
async fn asked_meanwhile(
    (folder, objects): (PathBuf, Objects),
    (name_ends_with, reads): (&str, usize),
    happen: impl AsyncFnOnce(),
) -> Option<u64> {
    let (disk, is_reached, go_on) = Holding::at(name_ends_with, reads);
    let sources = Sources { dir: Some(folder), objects: Some(objects) };
    let reader = Reader::open(sources, reading(), disk, None, Arc::new(Metrics::new())).unwrap();
    let asking = tokio::spawn(async move { is_gapless(&reader).await });
    while is_reached.try_recv().is_err() {
        if asking.is_finished() {
            return None;
        }
        tokio::task::yield_now().await;
    }
    happen().await;
    go_on.send(()).unwrap();
    Some(asking.await.unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_growing_file_that_goes_while_it_is_read_is_found_in_the_store() {
    // At the listing of its folder; at its first header; at the walk through its headers; at the lines of its last part.
    for (name, reads) in [("/7", 0), (CURRENT, 1), (CURRENT, 2), (CURRENT, 3)] {
        let dir = tempfile::tempdir().unwrap();
        let node = Node::start(dir.path(), "one", 0);
        let place = (node.dir.join("logs"), node.objects.clone());
        let mut shipped = 0;
        let found = loop {
            node.ship(shipped, 3).await;
            shipped += 3;
            while is_gapless(&node.reader).await < u64::from(shipped) {}
            let mut more = shipped;
            let go = async || {
                let let_go = node.metrics.objects.let_go_files.get();
                while node.metrics.objects.let_go_files.get() < let_go + 2 {
                    node.ship(more, 5).await;
                    more += 5;
                }
            };
            // The file may have become full, and been sealed, right before.
            if let Some(found) = asked_meanwhile(place.clone(), (name, reads), go).await {
                break found;
            }
        };
        assert!(found >= u64::from(shipped), "{name} {reads}: {found} of {shipped}");
        node.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_outlives_the_growing_file() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), "one", 0);
    node.ship(0, 5).await;
    while is_gapless(&node.reader).await < 5 {}
    let (expected, _) = export(&node.reader, all()).await;
    let open = node.reader.export(all()).await.unwrap();
    let mut shipped = 5;
    while node.metrics.objects.let_go_files.get() < 1 {
        node.ship(shipped, 5).await;
        shipped += 5;
    }
    assert_eq!(rest(open).await, (expected, true));
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sealed_file_that_goes_while_it_is_read_is_found_in_the_store() {
    // At the head of its index, at the rest of that, and at its lines.
    for (index, reads) in [(true, 1), (true, 2), (false, 1)] {
        let dir = tempfile::tempdir().unwrap();
        let node = Node::start(dir.path(), "one", u64::MAX);
        node.ship_files(3).await;
        let place = (node.dir.join("logs"), node.objects.clone());
        node.close().await;
        let stored = stored_files(dir.path(), "one").remove(1);
        let name = stored.file_name().unwrap().to_str().unwrap().to_owned();
        let held_up_at = if index { names::index(&name) } else { name.clone() };
        let folder = place.0.join(ACCOUNT.to_string());
        let expected = {
            let sources = Sources { dir: Some(place.0.clone()), objects: None };
            let reader =
                Reader::open(sources, reading(), Arc::new(OsDisk), None, Arc::new(Metrics::new())).unwrap();
            is_gapless(&reader).await
        };
        let go = async || {
            for name in [name.clone(), names::index(&name)] {
                let void = folder.join(format!("{name}.tmp"));
                std::fs::rename(folder.join(&name), &void).unwrap();
                std::fs::File::options().write(true).open(&void).unwrap().set_len(0).unwrap();
            }
        };
        assert_eq!(
            asked_meanwhile(place, (&held_up_at, reads), go).await,
            Some(expected),
            "{held_up_at} {reads}"
        );
    }
}

/// Every answer holds all numbers up to some, each once: none of it is lost or doubled on its way. How many a search finds.
pub(super) async fn is_gapless(reader: &Reader) -> u64 {
    let found = reader.search(all(), 100_000, None).await.unwrap();
    assert!(!found.partial);
    let number =
        |line: &[u8]| serde_json::from_slice::<serde_json::Value>(line).unwrap()["n"].as_u64().unwrap();
    let mut numbers: Vec<_> = found.logs.iter().map(|log| number(&log.line)).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..numbers.len() as u64).collect::<Vec<_>>());
    let (exported, whole) = export(reader, all()).await;
    let exported: Vec<_> =
        exported.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).map(number).collect();
    assert!(whole);
    assert_eq!(exported, (0..exported.len() as u64).collect::<Vec<_>>());
    assert!(exported.len() >= numbers.len(), "it was asked later");
    numbers.len() as u64
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_moves_while_it_is_searched_is_found_once() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), "one", 0);
    let asking = async {
        let mut seen = 0;
        while node.metrics.objects.let_go_files.get() < 12 {
            let sees = is_gapless(&node.reader).await;
            assert!(sees >= seen);
            seen = sees;
        }
    };
    let shipping = async {
        let mut shipped = 0;
        loop {
            node.ship(shipped, 5).await;
            shipped += 5;
            tokio::task::yield_now().await;
        }
    };
    let shipped: std::convert::Infallible = tokio::select! {
        () = asking => { node.close().await; return }
        never = shipping => never,
    };
    match shipped {}
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_went_after_it_was_listed_is_read_from_the_store() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), "one", u64::MAX);
    node.ship_files(4).await;
    let (folder, sources) = (node.dir.join("logs"), node.objects.clone());
    node.close().await;
    let sources = Sources { dir: Some(folder.clone()), objects: Some(sources) };
    let reader = Reader::open(sources, reading(), Arc::new(OsDisk), None, Arc::new(Metrics::new())).unwrap();
    let (expected, _) = export(&reader, all()).await;
    let stored = dir.path().join("objects/one").join(ACCOUNT.to_string());
    let export = reader.export(all()).await.unwrap();
    for entry in std::fs::read_dir(folder.join(ACCOUNT.to_string())).unwrap() {
        let entry = entry.unwrap();
        if stored.join(entry.file_name()).exists() {
            std::fs::remove_file(entry.path()).unwrap();
        }
    }
    let (bytes, whole) = rest(export).await;
    assert!(whole);
    assert!(bytes == expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_between_upload_and_removal_costs_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), "one", u64::MAX);
    node.ship_files(4).await;
    let (own, local) = (dir.path().join("objects/one").join(ACCOUNT.to_string()), node.dir.clone());
    node.close().await;
    let files = |folder: &Path| {
        let mut files: Vec<_> =
            std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
    };
    // As if it had been killed behind an index, in the midst of a deletion, and with half of a file let go.
    let stored = files(&own);
    std::fs::remove_file(&stored[0]).unwrap();
    std::fs::remove_file(&stored[3]).unwrap();
    let folder = local.join("logs").join(ACCOUNT.to_string());
    let name = stored[4].file_name().unwrap().to_str().unwrap();
    std::fs::rename(folder.join(name), folder.join(format!("{name}.tmp"))).unwrap();

    let node = Node::start(dir.path(), "one", 0);
    eventually(|| node.local() == 0).await;
    is_gapless(&node.reader).await;
    let names = files(&own);
    assert!(stored.iter().all(|path| names.contains(path)));
    node.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_whose_checkpoint_is_lost_gets_nothing_twice() {
    let dir = tempfile::tempdir().unwrap();
    let node = Node::start(dir.path(), "one", 0);
    node.ship_files(3).await;
    let node_dir = node.dir.clone();
    eventually(|| node.metrics.objects.let_go_files.get() >= 3).await;
    node.close().await;
    std::fs::remove_file(node_dir.join("logs/checkpoint")).unwrap();
    let node = Node::start(dir.path(), "one", 0);
    is_gapless(&node.reader).await;
    node.close().await;
}
