//! The account's log as it grows, as server-sent events.
//!
//! Each tail is one task of two halves: one takes what comes and keeps what passes, the other shows that. So a reader who takes nothing
//! does not hold up the first, and falls behind by what he may see, never by what is hidden from him. What may be read is asked anew before
//! every event, so that a filter that was changed, or a token that was deleted, is obeyed by tails that are already open.

use super::super::access::viewer::{Over, Watch};
use super::super::error::ApiError;
use super::asked::{Both, NoMore, Which};
use super::chunks::{Chunks, Gone};
use super::{NoAnswer, NoReading, Reading, failed};
use crate::domain::filter::Access;
use crate::logs::read::{Reader, Sieve, Tail, TailEnd};
use crate::shutdown::Tasks;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use hyper::body::Bytes;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::interval;

/// How often a tail says that it lives: proxies close what is silent for long.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// Bytes of lines that have passed and wait for a reader.
const PASSED_BYTES_MAX: usize = 8 << 20;
/// About how large a chunk of events is.
const CHUNK_BYTES: usize = 64 << 10;

/// Follow the account's log: server-sent events. `log` carries a log as it was shipped, within a fraction of a second of its
/// acknowledgement; `end` is the last one and carries `{"reason":"…"}`: `expired` or `deleted` of the token, `draining` of this
/// server, `behind` of a reader that is too slow, `unavailable` if it is not known what may be read. `from` and `to` mean the logs'
/// own times.
#[utoipa::path(
    operation_id = "tailLogs",
    get, path = "/v1/logs/tail", tag = "logs", security(("apiToken" = []), ("sharedToken" = [])),
    params(Which),
    responses(
        (status = 200, description = "Events, without end", body = String, content_type = "text/event-stream"),
        NoReading,
        NoAnswer,
    )
)]
pub(in crate::control) async fn tail(
    reading: Reading,
    Both(which, NoMore {}): Both<NoMore>,
) -> Result<Response, ApiError> {
    let now_ms = reading.now_ms;
    let span = which.span(now_ms)?;
    let sieve = Sieve {
        access: reading.viewer.access().clone(),
        query: which.query(now_ms)?,
        from_ms: span.from_ms,
        to_ms: span.to_ms,
    };
    let tail = reading.reader.tail(reading.viewer.account).map_err(failed)?;
    let (chunks, body) = Chunks::new();
    let passed = Arc::new(Passed::default());
    let watch = reading.viewer.watch();
    let taker = Taker { watch, sieve: sieve.clone(), tail, reader: reading.reader, passed: passed.clone() };
    let shower = Shower { watch: reading.viewer.watch(), sieve, passed, chunks };
    let tasks = reading.tasks.clone();
    reading.tasks.spawn(follow(taker, shower, tasks));
    let headers = [(CONTENT_TYPE.as_str(), "text/event-stream"), (CACHE_CONTROL.as_str(), "no-store")];
    // Proxies of one kind would gather events otherwise.
    Ok((headers, [("x-accel-buffering", "no")], body).into_response())
}

/// Lines that have passed, each with its end, and wait for their reader.
#[derive(Default)]
struct Passed {
    waiting: Mutex<Waiting>,
    changed: Notify,
}

#[derive(Default)]
struct Waiting {
    /// With when they were received.
    lines: VecDeque<(u64, Vec<u8>)>,
    bytes: usize,
    /// Why nothing more follows them.
    end: Option<End>,
}

impl Passed {
    /// False: too many wait.
    fn put(&self, received_ms: u64, lines: &mut Vec<u8>) -> bool {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.bytes > 0 && waiting.bytes + lines.len() > PASSED_BYTES_MAX {
            return false;
        }
        if !lines.is_empty() {
            waiting.bytes += lines.len();
            waiting.lines.push_back((received_ms, std::mem::take(lines)));
            self.changed.notify_waiters();
        }
        true
    }

    fn end(&self, end: End) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).end = Some(end);
        self.changed.notify_waiters();
    }

    fn take(&self) -> Option<Result<(u64, Vec<u8>), End>> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = match waiting.lines.pop_front() {
            Some(lines) => {
                waiting.bytes -= lines.1.len();
                Ok(lines)
            }
            None => Err(waiting.end?),
        };
        self.changed.notify_waiters();
        Some(taken)
    }

    /// The next lines. May be dropped and called again.
    async fn next(&self) -> Result<(u64, Vec<u8>), End> {
        loop {
            let changed = self.changed.notified();
            match self.take() {
                Some(taken) => return taken,
                None => changed.await,
            }
        }
    }

    /// Puts lines in as soon as there is room.
    async fn put_in_time(&self, received_ms: u64, mut lines: Vec<u8>) {
        loop {
            let changed = self.changed.notified();
            if self.put(received_ms, &mut lines) {
                return;
            }
            changed.await;
        }
    }
}

/// Why a tail is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Gone,
    Said(&'static str),
}

impl From<Gone> for End {
    fn from(_: Gone) -> Self {
        Self::Gone
    }
}

impl From<Over> for End {
    fn from(over: Over) -> Self {
        Self::Said(match over {
            Over::Deleted => "deleted",
            Over::Expired => "expired",
            Over::Unavailable => "unavailable",
        })
    }
}

impl From<TailEnd> for End {
    fn from(end: TailEnd) -> Self {
        Self::Said(match end {
            TailEnd::Behind => "behind",
            TailEnd::Closed => "draining",
            TailEnd::Unreadable => "unavailable",
        })
    }
}

async fn follow(taker: Taker, mut shower: Shower, tasks: Tasks) {
    let end = tokio::select! {
        () = tasks.draining() => End::Said("draining"),
        never = taker.run() => match never {},
        end = shower.run() => end,
    };
    let End::Said(reason) = end else { return };
    let event = format!("event: end\ndata: {{\"reason\":\"{reason}\"}}\n\n");
    // Whoever is gone meanwhile does not miss it.
    if shower.chunks.send(event.into()).await.is_ok() {
        shower.chunks.end();
    }
}

/// Takes what comes, and keeps of it what passes.
struct Taker {
    watch: Watch,
    sieve: Sieve,
    tail: Tail,
    reader: Reader,
    passed: Arc<Passed>,
}

impl Taker {
    /// Its end is told behind the lines that passed.
    async fn run(mut self) -> Infallible {
        let Err(end) = self.take().await;
        self.passed.end(end);
        std::future::pending().await
    }

    async fn take(&mut self) -> Result<Infallible, End> {
        loop {
            let block = self.tail.next().await?;
            let (received_ms, mut rest) = (block.received_ms, Some(block));
            while let Some(block) = rest {
                self.sieve.access = self.watch.access().await?.clone();
                let sifted = self.reader.sift(block, self.sieve.clone()).await;
                let mut lines;
                (lines, rest) = sifted.map_err(|_| End::Said("unavailable"))?;
                if self.sieve.access == Access::Everything {
                    self.passed.put_in_time(received_ms, lines).await;
                } else if !self.passed.put(received_ms, &mut lines) {
                    // Waiting here would make it depend on lines that are hidden whether this tail goes on.
                    return Err(TailEnd::Behind.into());
                }
            }
        }
    }
}

/// Shows what passed, as fast as the reader takes it.
struct Shower {
    watch: Watch,
    sieve: Sieve,
    passed: Arc<Passed>,
    chunks: Chunks,
}

impl Shower {
    async fn run(&mut self) -> End {
        let Err(end) = self.show().await;
        end
    }

    async fn show(&mut self) -> Result<Infallible, End> {
        // Heads are sent with the first bytes.
        self.chunks.send(Bytes::from_static(b": from now on\n\n")).await?;
        let mut heartbeat = interval(HEARTBEAT);
        loop {
            tokio::select! {
                () = self.chunks.gone() => return Err(End::Gone),
                passed = self.passed.next() => {
                    let (received_ms, lines) = passed?;
                    self.send(&lines, received_ms).await?;
                }
                () = self.watch.stirred() => { self.watch.access().await?; }
                _ = heartbeat.tick() => self.chunks.send(Bytes::from_static(b":\n\n")).await?,
            }
        }
    }

    /// Sends lines that have passed, as long as they still do.
    async fn send(&mut self, lines: &[u8], received_ms: u64) -> Result<(), End> {
        let mut events = Vec::new();
        for line in lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            let access = self.watch.access().await?;
            if self.sieve.access != *access {
                self.sieve.access = access.clone();
            }
            if self.sieve.pass(line, received_ms).is_none() {
                continue;
            }
            events.extend_from_slice(b"event: log\ndata: ");
            // Between the values of a log it means no more than a space; here it would end the line.
            events.extend(line.iter().map(|byte| if *byte == b'\r' { b' ' } else { *byte }));
            events.extend_from_slice(b"\n\n");
            if events.len() >= CHUNK_BYTES {
                self.chunks.send(std::mem::take(&mut events).into()).await?;
            }
        }
        Ok(self.chunks.send(events.into()).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_tail_holds_so_much_of_what_passed_and_tells_its_end_last() {
        let (passed, half) = (Passed::default(), vec![b'x'; PASSED_BYTES_MAX / 2 + 1]);
        let put = |received_ms, lines: &[u8]| passed.put(received_ms, &mut lines.to_vec());
        // What does not pass takes no room.
        assert!((0..100_000).all(|n| put(n, b"")));
        assert!(put(1, &half));
        assert!(!put(2, &half));
        assert!(put(3, b"y"));
        passed.end(End::Said("behind"));
        assert_eq!(passed.next().await, Ok((1, half.clone())));
        assert!(put(4, &half));
        assert_eq!(passed.next().await, Ok((3, b"y".to_vec())));
        tokio::join!(passed.put_in_time(5, half.clone()), async {
            assert_eq!(passed.next().await, Ok((4, half.clone())));
        });
        assert_eq!(passed.next().await, Ok((5, half.clone())));
        assert_eq!(passed.next().await, Err(End::Said("behind")));
    }
}
