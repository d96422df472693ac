//! Everything that matches, as a stream: each chunk is read when it is asked for, so that a slow taker costs nothing but its place.

use super::files::{Contents, Part};
use super::place::{Floor, Order};
use super::scan::{Lookup, Scanner};
use super::sieve::Sieve;
use super::stored::Windows;
use super::{Asked, ReadError, Reader};
use crate::domain::filter::Access;
use bytes::Bytes;
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

/// About the length of a chunk.
const CHUNK_BYTES: usize = if cfg!(test) { 256 } else { 256 << 10 };

/// A stream of newline-ended logs, in the order in which they came.
pub struct Export {
    reader: Reader,
    /// Not there while a chunk is being read.
    state: Option<State>,
}

struct State {
    asked: Asked,
    /// What comes next, with its bytes.
    window: VecDeque<Part>,
    windows: Windows,
    scanner: Scanner,
    floor: Floor,
    chunk: Vec<u8>,
}

impl Export {
    pub(super) fn new(reader: Reader, asked: Asked, contents: Contents) -> Self {
        let scanner = Scanner::new(contents.damaged, None, asked.gaps.clone());
        let floor = Floor::new(Order::NewestFirst);
        let (window, windows) = (VecDeque::new(), Windows::of(contents.parts));
        let state = State { asked, window, windows, scanner, floor, chunk: Vec::new() };
        Self { reader, state: Some(state) }
    }

    /// What may be read from here on. Of what was left out for what could be read before, nothing comes back.
    pub fn set_access(&mut self, access: Access) {
        if let Some(State { asked, .. }) = &mut self.state
            && asked.lookup.sieve.access != access
        {
            asked.lookup = Arc::new(Lookup::new(Sieve { access, ..asked.lookup.sieve.clone() }));
        }
    }

    /// The next logs; `None` behind the last ones, and after an error. If some could not be read, an error comes in place of
    /// the end, behind all that could: nobody takes a part for the whole.
    pub async fn next(&mut self) -> Option<Result<Bytes, ReadError>> {
        let mut state = self.state.take()?;
        loop {
            if state.window.is_empty() {
                state.window = state.windows.next().await.into();
            }
            let is_over = state.window.is_empty();
            if state.chunk.len() >= CHUNK_BYTES || (is_over && !state.chunk.is_empty()) {
                let chunk = std::mem::take(&mut state.chunk);
                self.state = Some(state);
                return Some(Ok(chunk.into()));
            }
            if is_over {
                self.reader.count(if state.scanner.damaged { "partial" } else { "whole" });
                return state.scanner.damaged.then_some(Err(ReadError::Damaged));
            }
            let inner = self.reader.0.clone();
            let step = move || {
                let stepped = state.step(&inner);
                (state, stepped)
            };
            let stepped;
            (state, stepped) = match self.reader.0.pool.run(step).await {
                Ok(done) => done,
                Err(given_up) => return Some(Err(given_up.into())),
            };
            if let Err(error) = stepped {
                self.reader.count("failed");
                return Some(Err(error.into()));
            }
        }
    }
}

impl State {
    fn step(&mut self, inner: &super::Inner) -> io::Result<()> {
        let Some(part) = self.window.pop_front() else { return Ok(()) };
        let before = self.scanner.scanned_bytes;
        let chunk = &mut self.chunk;
        let mut visit = |_, log: &crate::domain::log::Log| {
            chunk.extend_from_slice(log.line());
            chunk.push(b'\n');
        };
        let Asked { account, lookup, .. } = &self.asked;
        self.scanner.scan(&*inner.disk, *account, &part, lookup, &self.floor, &mut visit)?;
        inner.metrics.search.scanned_bytes.inc_by(self.scanner.scanned_bytes - before);
        Ok(())
    }
}
