//! The account's log as it grows, as server-sent events.
//!
//! Each tail is one task. What its viewer may read is asked anew before every event, so that a filter that was changed, or a token
//! that was deleted, is obeyed by tails that are already open.

use super::super::access::viewer::{Over, Watch};
use super::super::error::{ApiError, ErrorBody};
use super::asked::{Both, NoMore, Which};
use super::chunks::{Chunks, Gone};
use super::{Reading, failed};
use crate::logs::read::{Block, Reader, Sieve, Tail, TailEnd};
use crate::shutdown::Tasks;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use hyper::body::Bytes;
use std::time::Duration;
use tokio::time::interval;

/// How often a tail says that it lives: proxies close what is silent for long.
const HEARTBEAT: Duration = Duration::from_secs(10);
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
        (status = 400, description = "The query is none, or a parameter is malformed", body = ErrorBody),
        (status = 401, description = "The shared token is not valid, or not any more", body = ErrorBody),
        (status = 403, description = "No credentials, or wrong ones", body = ErrorBody),
        (status = 404, description = "This control plane does not see logs as they come", body = ErrorBody),
        (status = 429, description = "Too many tails are open", body = ErrorBody),
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
    let tasks = reading.tasks.clone();
    let (watch, reader) = (reading.viewer.watch(), reading.reader);
    let follower = Follower { watch, reader, sieve, tail, chunks, tasks: reading.tasks };
    tasks.spawn(follower.run());
    let headers = [(CONTENT_TYPE.as_str(), "text/event-stream"), (CACHE_CONTROL.as_str(), "no-store")];
    // Proxies of one kind would gather events otherwise.
    Ok((headers, [("x-accel-buffering", "no")], body).into_response())
}

struct Follower {
    watch: Watch,
    reader: Reader,
    sieve: Sieve,
    tail: Tail,
    chunks: Chunks,
    tasks: Tasks,
}

/// Why a tail is over.
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

impl Follower {
    async fn run(mut self) {
        let Err(End::Said(reason)) = self.follow().await else { return };
        let event = format!("event: end\ndata: {{\"reason\":\"{reason}\"}}\n\n");
        // Whoever is gone meanwhile does not miss it.
        if self.chunks.send(event.into()).await.is_ok() {
            self.chunks.end();
        }
    }

    async fn follow(&mut self) -> Result<std::convert::Infallible, End> {
        // Heads are sent with the first bytes.
        self.chunks.send(Bytes::from_static(b": from now on\n\n")).await?;
        let mut heartbeat = interval(HEARTBEAT);
        loop {
            tokio::select! {
                () = self.tasks.draining() => return Err(End::Said("draining")),
                () = self.chunks.gone() => return Err(End::Gone),
                block = self.tail.next() => self.show(block?).await?,
                () = self.watch.stirred() => { self.watch.access().await?; }
                _ = heartbeat.tick() => self.chunks.send(Bytes::from_static(b":\n\n")).await?,
            }
        }
    }

    async fn show(&mut self, block: Block) -> Result<(), End> {
        let (received_ms, mut rest) = (block.received_ms, Some(block));
        while let Some(block) = rest {
            self.sieve.access = self.watch.access().await?.clone();
            let sifted = self.reader.sift(block, self.sieve.clone()).await;
            let (lines, more) = sifted.map_err(|_| End::Said("unavailable"))?;
            rest = more;
            self.send(&lines, received_ms).await?;
        }
        Ok(())
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
