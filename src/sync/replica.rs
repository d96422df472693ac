//! The stream understood: lines in, directories out. Publishes only what is whole and follows without a gap.

use super::current::Current;
use super::source::Position;
use crate::clock::Clock;
use crate::domain::directory::{Change, Directory, Merge, OutOfOrder};
use crate::metrics::Metrics;
use crate::wire::{self, Message};
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::mpsc;

/// What in a stream does not fit the contract. The control plane is then asked for a snapshot.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContractError {
    #[error("a line is not a message")]
    Unreadable,
    #[error("a line is too long")]
    LineTooLong,
    #[error("version {0} is not spoken here")]
    Version(u32),
    #[error("the first message is not a hello")]
    NoHello,
    #[error("a message stands where it may not")]
    OutOfPlace,
    #[error("the snapshot's checksum does not fit")]
    Checksum,
    #[error(transparent)]
    Order(#[from] OutOfOrder),
    #[error("revision {got} came after {had}")]
    Gap { had: u64, got: u64 },
}

/// The name of no store.
const NO_STORE: &str = "?";

/// One gateway's copy of the directory, following one stream at a time.
pub struct Replica {
    current: Current,
    metrics: Arc<Metrics>,
    clock: Clock,
    directory: Directory,
    store: String,
    state: State,
    ahead: Ahead,
    kept_by: Option<mpsc::Sender<Step>>,
}

/// A delta as it came, for whoever keeps the last good directory.
#[derive(Debug)]
pub struct Step {
    pub store: String,
    pub revision: u64,
    /// The message's line, its newline included.
    pub line: Box<[u8]>,
}

/// How far the control plane's clock is ahead of this machine's.
///
/// A time is old when it has been read, by however long it was on its way: the sample that shows the control plane furthest
/// ahead was the fastest and is the best one. Only the last few count, so that clocks may be set.
#[derive(Debug, Default)]
struct Ahead(VecDeque<i64>);

impl Ahead {
    const SAMPLES: usize = 8;

    fn learn(&mut self, control_ms: u64, own_ms: u64) -> i64 {
        let sample = i64::try_from(i128::from(control_ms) - i128::from(own_ms)).unwrap_or(0);
        self.0.truncate(Self::SAMPLES - 1);
        self.0.push_front(sample);
        self.0.iter().copied().max().unwrap_or(0)
    }
}

#[derive(Debug)]
enum State {
    /// Nothing of a stream has come.
    Closed,
    /// Nothing held here fits this stream: only a snapshot may come.
    Empty,
    /// The next message is a snapshot, a delta or a heartbeat.
    Following,
    /// In the middle of a snapshot.
    Loading(Box<Loading>),
}

#[derive(Debug)]
struct Loading {
    merge: Merge,
    revision: u64,
    /// Changes still to come.
    missing: u64,
    /// Of those that came.
    crc32c: u32,
}

impl Replica {
    /// Begins with what is in force, if anything is.
    pub fn new(current: Current, metrics: Arc<Metrics>, clock: Clock) -> Self {
        let directory = Directory::default();
        let (store, ahead) = (String::new(), Ahead::default());
        Self { current, metrics, clock, directory, store, state: State::Closed, ahead, kept_by: None }
    }

    /// Hands every delta on. One that finds no room is left out: whoever keeps them sees the gap.
    pub fn kept_by(self, keeper: mpsc::Sender<Step>) -> Self {
        Self { kept_by: Some(keeper), ..self }
    }

    /// What a new stream may leave out. Closes the one before.
    pub fn position(&mut self) -> Option<Position> {
        self.state = State::Closed;
        if self.store.is_empty()
            && let Some(directory) = self.current.directory()
        {
            // The last good directory, read from disk.
            self.directory = (*directory).clone();
            self.store = self.current.store();
        }
        (!self.store.is_empty())
            .then(|| Position { store: self.store.clone(), revision: self.directory.revision() })
    }

    /// Makes the next stream begin with a snapshot.
    pub fn forget_position(&mut self) {
        self.store = NO_STORE.to_owned();
    }

    /// Takes one line of the stream, its newline included.
    pub fn take(&mut self, line: &[u8]) -> Result<(), ContractError> {
        let message = serde_json::from_slice(line).map_err(|_| ContractError::Unreadable)?;
        match &self.state {
            State::Closed => self.greet(message),
            State::Empty => self.begin_loading(message),
            State::Loading(_) => self.load(message, line),
            State::Following => self.follow(message, line),
        }
    }

    fn greet(&mut self, message: Message) -> Result<(), ContractError> {
        let Message::Hello { version, store, at_ms } = message else {
            return Err(ContractError::NoHello);
        };
        if version != wire::VERSION {
            return Err(ContractError::Version(version));
        }
        self.metrics.directory.control_connected.set(1);
        // It may be another replica, with another clock.
        self.ahead = Ahead::default();
        self.learn_time(at_ms);
        let is_known = store == self.store;
        self.state = if is_known { State::Following } else { State::Empty };
        self.store = store;
        Ok(())
    }

    fn begin_loading(&mut self, message: Message) -> Result<(), ContractError> {
        match message {
            Message::Snapshot { revision, changes } => {
                let merge = self.current.directory().unwrap_or_default().merge();
                self.state =
                    State::Loading(Box::new(Loading { merge, revision, missing: changes, crc32c: 0 }));
                Ok(())
            }
            // The snapshot is still being prepared.
            Message::Heartbeat { at_ms, .. } => {
                self.learn_time(at_ms);
                Ok(())
            }
            _ => Err(ContractError::OutOfPlace),
        }
    }

    fn load(&mut self, message: Message, line: &[u8]) -> Result<(), ContractError> {
        // Put back unless it ended, in good order or not.
        let State::Loading(mut loading) = std::mem::replace(&mut self.state, State::Closed) else {
            return Err(ContractError::OutOfPlace);
        };
        match message {
            Message::Change(change) if loading.missing > 0 => {
                loading.merge.take(change)?;
                loading.missing -= 1;
                loading.crc32c = crc32c::crc32c_append(loading.crc32c, line);
                self.state = State::Loading(loading);
                Ok(())
            }
            Message::SnapshotEnd { crc32c } if loading.missing == 0 => {
                if loading.crc32c != crc32c {
                    return Err(ContractError::Checksum);
                }
                self.directory = loading.merge.finish(loading.revision);
                self.state = State::Following;
                self.publish();
                // It may hold what somebody waits for.
                self.current.ask_receipt();
                Ok(())
            }
            _ => Err(ContractError::OutOfPlace),
        }
    }

    fn follow(&mut self, message: Message, line: &[u8]) -> Result<(), ContractError> {
        let had = self.directory.revision();
        match message {
            Message::Delta { revision, at_ms, changes, receipt } => {
                self.step(revision, at_ms, changes, line)?;
                if receipt {
                    self.current.ask_receipt();
                }
                Ok(())
            }
            Message::Heartbeat { revision, at_ms } if revision == had => {
                self.learn_time(at_ms);
                self.current.confirm();
                Ok(())
            }
            Message::Heartbeat { revision: got, .. } => Err(ContractError::Gap { had, got }),
            snapshot => self.begin_loading(snapshot),
        }
    }

    fn step(
        &mut self,
        revision: u64,
        at_ms: u64,
        changes: Vec<Change>,
        line: &[u8],
    ) -> Result<(), ContractError> {
        let had = self.directory.revision();
        if revision != had + 1 {
            return Err(ContractError::Gap { had, got: revision });
        }
        changes.into_iter().for_each(|change| self.directory.apply(change));
        self.directory.advance(revision);
        self.publish();
        if let Some(keeper) = &self.kept_by {
            let _ = keeper.try_send(Step { store: self.store.clone(), revision, line: line.into() });
        }
        let took_ms = self.current.control_unix_ms(self.clock.unix_ms()).saturating_sub(at_ms);
        self.metrics.directory.propagation_seconds.observe(took_ms as f64 / 1_000.0);
        Ok(())
    }

    fn learn_time(&mut self, at_ms: u64) {
        self.current.set_ahead_ms(self.ahead.learn(at_ms, self.clock.unix_ms()));
    }

    fn publish(&self) {
        self.current.publish(self.directory.clone(), &self.store);
        self.metrics.directory.revision.set(self.directory.revision() as i64);
        self.metrics.directory.tokens.set(self.directory.tokens() as i64);
    }
}
