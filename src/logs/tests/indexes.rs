//! Indexes of sealed files, on a disk in memory that fails.

use super::super::read::indexer::write;
use super::super::*;
use super::keeping::Storage;
use crate::journal::disk::fake::{Crash, Fault};
use crate::journal::disk::{self, Disk};

const ROOT: &str = "/data/logs/1";

/// Gives a sealed file its index.
fn give(storage: &Storage, name: &str) -> io::Result<()> {
    write(&storage.disk, Path::new(ROOT), name, AccountId(1), &mut || true)
}

fn sealed(storage: &Storage) -> Vec<String> {
    let mut names = storage.names();
    names.retain(|name| names::parse_sealed(name).is_some());
    names
}

fn indexes(storage: &Storage) -> Vec<String> {
    let mut names = storage.names();
    names.retain(|name| names::parse_index(name).is_some());
    names
}

#[test]
fn an_index_is_there_whole_or_not_at_all_and_the_log_always() {
    for fault in [Fault::Crash, Fault::Full, Fault::Io, Fault::Short] {
        for step in 1.. {
            let mut storage = Storage::new();
            storage.store_and_seal();
            let name = sealed(&storage).remove(0);
            let path = Path::new(ROOT).join(names::index(&name));
            let at = storage.disk.steps() + step;
            storage.disk.fail(at..at + 1, fault);
            let written = give(&storage, &name);
            if fault == Fault::Crash && storage.disk.has_crashed() {
                storage.disk.reboot(Crash::PowerLoss);
            }
            storage.disk.heal();
            let was_there = storage.disk.exists(&path).unwrap();
            let left = was_there.then(|| disk::read(&storage.disk, &path).unwrap());
            storage.open().unwrap();
            storage.sweep();
            assert_eq!(storage.numbers(), [0]);
            // What is unfinished is the indexer's own, which may be at work on it.
            give(&storage, &name).unwrap();
            assert!(!storage.names().iter().any(|name| name.ends_with(".tmp")));
            let whole = disk::read(&storage.disk, &path).unwrap();
            assert!(left.is_none_or(|left| left == whole), "{fault:?} at {step}");
            if written.is_ok() && step > 12 {
                break;
            }
        }
    }
}

#[test]
fn a_sweep_leaves_alone_what_the_indexer_is_writing() {
    let mut storage = Storage::new();
    storage.store_and_seal();
    let unfinished = Path::new(ROOT).join(names::index(&sealed(&storage).remove(0)) + disk::TEMPORARY);
    let mut file = storage.disk.open(&unfinished, disk::Mode::Create).unwrap();
    disk::write_all(&mut *file, &mut [io::IoSlice::new(&[7; 300])]).unwrap();
    storage.sweep();
    assert_eq!(disk::read(&storage.disk, &unfinished).unwrap().len(), 300);
}

#[test]
fn an_index_goes_with_its_file() {
    let mut storage = Storage::new();
    for _ in 0..3 {
        storage.store_and_seal();
    }
    let files = sealed(&storage);
    files.iter().for_each(|name| give(&storage, name).unwrap());
    storage.sweep();
    assert_eq!(indexes(&storage).len(), 3);
    let bytes = storage.disk.list(Path::new(ROOT)).unwrap().iter().map(|entry| entry.bytes).sum::<u64>();
    assert_eq!(storage.metrics.logs.disk_bytes.get() as u64, bytes);
    // Two files and what belongs to them.
    storage.retention = Some(Retention { days: 1_000, bytes_max: Some(bytes * 2 / 3) });
    storage.open().unwrap();
    storage.sweep();
    assert_eq!(sealed(&storage), files[1..]);
    assert_eq!(indexes(&storage).len(), 2);
    // One whose file somebody else has removed.
    storage.disk.remove(&Path::new(ROOT).join(&files[1])).unwrap();
    storage.sweep();
    assert_eq!(indexes(&storage), [names::index(&files[2])]);
}

#[test]
fn a_damaged_file_gets_no_index() {
    let mut storage = Storage::new();
    storage.store_and_seal();
    let name = sealed(&storage).remove(0);
    storage.disk.damage(&Path::new(ROOT).join(&name), 80);
    give(&storage, &name).unwrap();
    assert_eq!(indexes(&storage), [""; 0]);
}
