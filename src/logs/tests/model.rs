//! A model: whatever crashes, tears or fails at whichever step, what was acknowledged is in its account's log once and
//! in order, and what was refused is not.

use super::super::*;
use crate::domain::account::Durability;
use crate::journal::disk::fake::{Crash, FakeDisk, Fault};
use crate::journal::tests::{self as journal_tests, Direct, batch, inflate};
use crate::journal::{AppendError, Reader, Step};
use std::collections::BTreeMap;
use std::ops::Range;

const START_MS: u64 = 1_700_000_000_000;
const ACCOUNTS: u32 = 3;

/// What a batch has been told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    /// It must be there.
    Stored,
    /// It must be there unless the machine loses its power.
    Written,
    /// It must not be there.
    Refused,
    /// Nothing that binds: it may be there.
    Nothing,
}

/// A run of the program's storage, restarted after each crash.
struct World {
    disk: FakeDisk,
    clock: Clock,
    metrics: Arc<Metrics>,
    random: u64,
    running: Option<(Direct, Keeper)>,
    /// Taken from the feed and not kept yet.
    taken: Vec<Extent>,
    /// What each batch was told, by its number; and whose it is.
    told: Vec<(u32, Told)>,
    /// A refusal binds: the disk can undo what it could not do.
    refusals_bind: bool,
    crash: Crash,
}

/// What is done to a disk while it is used.
#[derive(Debug, Clone)]
struct Plan {
    seed: u64,
    faults: Vec<(Range<u64>, Fault)>,
    crash: Crash,
}

impl World {
    fn new(plan: &Plan) -> Self {
        let disk = FakeDisk::new(plan.seed);
        for (steps, fault) in &plan.faults {
            disk.fail(steps.clone(), *fault);
        }
        Self {
            disk,
            clock: Clock::manual(START_MS),
            metrics: Arc::new(Metrics::new()),
            random: plan.seed,
            running: None,
            taken: vec![],
            told: vec![],
            refusals_bind: plan.faults.iter().all(|(steps, _)| steps.end - steps.start == 1),
            crash: plan.crash,
        }
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.random =
            self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.random >> 33) % bound
    }

    fn open(&mut self) -> Result<(Direct, Keeper), OpenError> {
        let root = Path::new("/data");
        let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
        let logs = Config { file_bytes_max: 1_000, open_files_max: 2, ..super::config(root) };
        let journal =
            journal::Config { segment_bytes: 700, coalesce_bytes_max: 120, ..journal_tests::config(root) };
        let found = load::find(&*disk, &logs.dir, &self.metrics)?;
        let (direct, feed) = Direct::open(&journal, disk.clone(), self.metrics.clone(), found.seq())?;
        let loaded = found.load(&*disk, &logs.dir, &feed, &self.metrics)?;
        let keep: RetentionOf = Arc::new(|_| None);
        let keeper = Keeper::open(logs, feed, loaded, disk, keep, self.clock.clone(), self.metrics.clone())?;
        Ok((direct, keeper))
    }

    /// Runs until a step succeeds, restarting after crashes.
    fn attempt<T>(
        &mut self,
        mut step: impl FnMut(&mut Self, &mut Direct, &mut Keeper) -> Result<T, String>,
    ) -> T {
        let mut last = String::new();
        for _ in 0..200 {
            if self.disk.has_crashed() {
                self.restart(self.crash);
            }
            let (mut direct, mut keeper) = match self.running.take() {
                Some(running) => running,
                None => match self.open() {
                    Ok(running) => running,
                    Err(error) => {
                        last = format!("{error:?}");
                        continue;
                    }
                },
            };
            let result = step(self, &mut direct, &mut keeper);
            self.running = Some((direct, keeper));
            match result {
                Ok(value) => return value,
                Err(error) => last = error,
            }
        }
        panic!("it never recovers: {last}");
    }

    fn restart(&mut self, crash: Crash) {
        self.running = None;
        self.taken.clear();
        self.disk.reboot(crash);
        if crash == Crash::PowerLoss {
            for (_, told) in &mut self.told {
                if *told == Told::Written {
                    *told = Told::Nothing;
                }
            }
        }
    }

    /// Appends whatever has been committed, until that works.
    fn keep(&mut self) {
        self.attempt(|world, _, keeper| {
            world.taken.extend(keeper.feed.next(Duration::ZERO).unwrap_or_default());
            keeper.append(&mut world.taken).map_err(|error| format!("{error:?}"))?;
            world.taken.clear();
            Ok(())
        });
    }

    fn commit(&mut self) {
        let mut group = vec![];
        for _ in 0..1 + self.below(4) {
            let id = self.told.len();
            let account = self.below(u64::from(ACCOUNTS)) as u32;
            let durability = if account == 0 { Durability::Written } else { Durability::Synced };
            let text: String = (0..self.below(12)).map(|_| format!("{:x}", self.below(1 << 40))).collect();
            let body = format!("{{\"id\":{id},\"text\":\"{text}\"}}\n");
            group.push(batch(account, durability, self.clock.unix_ms(), &body));
            self.told.push((account, Told::Nothing));
        }
        let first = self.told.len() - group.len();
        let mut group = Some(group);
        self.attempt(|world, direct, _| {
            let Some(group) = group.take() else { return Ok(()) };
            let answers = direct.commit(group);
            let crashed = world.disk.has_crashed();
            for (i, answer) in answers.into_iter().enumerate() {
                world.told[first + i].1 = match answer {
                    Ok(receipt) if receipt.durability() == Durability::Written => Told::Written,
                    Ok(_) => Told::Stored,
                    Err(AppendError::Busy | AppendError::Closed) => panic!("nothing is busy or closed"),
                    Err(_) if crashed || !world.refusals_bind => Told::Nothing,
                    Err(_) => Told::Refused,
                };
            }
            Ok(())
        });
    }

    fn run(&mut self) {
        for _ in 0..14 {
            match self.below(5) {
                0..3 => {
                    self.commit();
                    if self.below(3) > 0 {
                        self.keep();
                    }
                }
                3 => {
                    self.keep();
                    self.checkpoint();
                }
                _ => {
                    let seconds = self.below(3_000);
                    self.clock.advance(Duration::from_secs(seconds));
                }
            }
        }
    }

    fn checkpoint(&mut self) {
        self.attempt(|_, _, keeper| keeper.checkpoint().map_err(|error| format!("{error:?}")));
    }

    /// Stops and starts in every way there is, and compares what is there with what was told.
    fn check(&mut self) -> Result<(), String> {
        if self.disk.has_crashed() {
            self.restart(self.crash);
        }
        self.disk.heal();
        for last in [Some(Crash::Kill), Some(Crash::PowerLoss), None] {
            self.keep();
            self.compare()?;
            match last {
                Some(crash) => self.restart(crash),
                None => self.checkpoint(),
            }
        }
        self.compare()
    }

    fn compare(&mut self) -> Result<(), String> {
        let (corrupt, damaged) = (&self.metrics.journal.corrupt_entries, &self.metrics.logs.damaged_files);
        if corrupt.get() + damaged.get() > 0 {
            return Err(format!("sound data was called damaged ({}, {})", corrupt.get(), damaged.get()));
        }
        let mut found: BTreeMap<u64, usize> = BTreeMap::new();
        for account in 0..ACCOUNTS {
            let mut last = None;
            for id in self.ids(account)? {
                if last >= Some(id) {
                    return Err(format!("{id} comes after {last:?} in the log of account {account}"));
                }
                last = Some(id);
                *found.entry(id).or_default() += 1;
                if self.told[id as usize].0 != account {
                    return Err(format!("{id} is in the log of another account"));
                }
            }
        }
        for (id, (account, told)) in self.told.iter().enumerate() {
            match (told, found.contains_key(&(id as u64))) {
                (Told::Stored | Told::Written, false) => {
                    return Err(format!("{id} of account {account} is lost ({told:?})"));
                }
                (Told::Refused, true) => return Err(format!("{id} was refused and is stored")),
                _ => {}
            }
        }
        Ok(())
    }

    /// The batches in an account's log, in order.
    fn ids(&self, account: u32) -> Result<Vec<u64>, String> {
        let dir = Path::new("/data/logs").join(account.to_string());
        let mut files: Vec<_> = self
            .disk
            .list(&dir)
            .unwrap()
            .into_iter()
            .filter(|entry| !entry.name.ends_with(".tmp"))
            .map(|entry| (names::parse_sealed(&entry.name).map_or(u64::MAX, |(seq, _)| seq), entry.name))
            .collect();
        files.sort();
        let mut ids = vec![];
        for (_, name) in files {
            let mut reader = Reader::open(&self.disk, &dir.join(&name), 0, u64::MAX).unwrap();
            loop {
                match reader.step().unwrap() {
                    Step::Block(_, block) => {
                        for line in inflate(&block).lines() {
                            let log: serde_json::Value = serde_json::from_str(line).unwrap();
                            ids.push(log["id"].as_u64().unwrap());
                        }
                    }
                    Step::End => break,
                    Step::Flawed(flaw) => return Err(format!("{name} at {}: {flaw}", reader.at())),
                }
            }
        }
        Ok(ids)
    }
}

fn check(plan: &Plan) -> u64 {
    let outcome = std::panic::catch_unwind(|| {
        let mut world = World::new(plan);
        world.run();
        world.keep();
        let steps = world.disk.steps();
        world.check().map(|()| steps)
    });
    match outcome {
        Ok(Ok(steps)) => steps,
        Ok(Err(error)) => panic!("{error}: {plan:?}"),
        Err(_) => panic!("it panics: {plan:?}"),
    }
}

/// One fault at every step of some runs, and what follows it.
fn at_every_step(fault: Fault, crash: Crash, lasting: u64) {
    for seed in 0..6 {
        let steps = check(&Plan { seed, faults: vec![], crash });
        for step in 1..=steps {
            check(&Plan { seed, faults: vec![(step..step + lasting, fault)], crash });
        }
    }
}

#[test]
fn survives_a_power_loss_at_every_step() {
    at_every_step(Fault::Crash, Crash::PowerLoss, 1);
}

#[test]
fn survives_a_kill_at_every_step() {
    at_every_step(Fault::Crash, Crash::Kill, 1);
}

#[test]
fn survives_a_short_write_at_every_step() {
    at_every_step(Fault::Short, Crash::PowerLoss, 1);
}

#[test]
fn survives_an_input_output_error_at_every_step() {
    at_every_step(Fault::Io, Crash::PowerLoss, 1);
}

#[test]
fn survives_a_full_disk_at_every_step() {
    at_every_step(Fault::Full, Crash::PowerLoss, 1);
    at_every_step(Fault::Full, Crash::PowerLoss, 12);
}

#[test]
fn survives_several_faults_in_one_run() {
    for seed in 0..2_000 {
        let mut random = World::new(&Plan { seed: seed ^ 0x5eed, faults: vec![], crash: Crash::Kill });
        let kinds = [Fault::Crash, Fault::Short, Fault::Full, Fault::Io, Fault::Io];
        let mut faults = vec![];
        for _ in 0..1 + random.below(5) {
            let (step, kind) = (random.below(150), kinds[random.below(5) as usize]);
            let lasting = if kind == Fault::Crash { 1 } else { 1 + random.below(4) };
            faults.push((step..step + lasting, kind));
        }
        let crash = if random.below(2) == 0 { Crash::Kill } else { Crash::PowerLoss };
        check(&Plan { seed, faults, crash });
    }
}
