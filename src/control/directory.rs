//! The stream from which a gateway learns its directory, as `wire` describes it.
//!
//! Each stream is one task. A commit wakes it at once; it also looks by itself at every heartbeat, so that a wake-up
//! lost on the way costs a second and not a revision. A gateway that does not read is cut off and asks again. A snapshot is
//! read from the store as fast as the gateway takes it, a bounded part at a time.

use super::access::Gateway;
use super::error::{ApiError, ErrorBody};
use super::input::Asked;
use super::report;
use crate::metrics::Metrics;
use crate::shutdown::Tasks;
use crate::store::directory::Delta;
use crate::store::{Store, StoreError};
use crate::telemetry::chain;
use crate::wire::{self, HEARTBEAT_MS, Message};
use axum::body::Body;
use axum::http::HeaderMap;
use axum::http::header::{ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use hyper::body::{Bytes, Frame};
use serde::Deserialize;
use std::convert::Infallible;
use std::io::{self, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;
use utoipa::IntoParams;

/// Twice as often as promised: one late heartbeat is not a dead stream.
const HEARTBEAT: Duration = Duration::from_millis(HEARTBEAT_MS / 2);
/// How long a gateway may leave the stream unread.
const STALLED: Duration = Duration::from_secs(30);
/// How long a snapshot may take, and so how long its reading transaction.
const SNAPSHOT_TIMEOUT: Duration = Duration::from_secs(300);
/// Chunks on their way to the socket.
const CHUNKS_MAX: usize = 4;
/// About how large a chunk of a snapshot is.
const CHUNK_BYTES: usize = 64 << 10;
/// zstd's level: digests do not get smaller by trying harder.
const COMPRESSION_LEVEL: i32 = 1;

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Position {
    /// The store the gateway's directory came from; empty when it has none.
    #[serde(default)]
    store: String,
    /// The revision of the gateway's directory.
    #[serde(default)]
    after: u64,
    /// Which gateway asks; empty when it is none.
    #[serde(default)]
    gateway: String,
}

/// Follow the directory of enabled tokens: newline-separated JSON that does not end. For Shipgate's own gateways: it
/// takes their credential, which is not an API token, and may change with any version.
#[utoipa::path(
    operation_id = "followDirectory",
    get, path = "/gateway/v1/directory", tag = "gateways", security(("gatewayCredential" = [])),
    params(Position),
    responses(
        (status = 200, description = "One message a line", body = Object, content_type = "application/x-ndjson"),
        (status = 403, description = "Not the gateways' credential", body = ErrorBody),
    )
)]
pub(super) async fn stream(
    gateway: Gateway,
    headers: HeaderMap,
    Asked(position): Asked<Position>,
) -> Result<Response, ApiError> {
    // Before it gets a directory: no change that is waited for comes between.
    report::follows(&gateway.store, &position.gateway).await?;
    let compressor = if takes_zstd(&headers) { Compressor::new().ok() } else { None };
    let encoding = if compressor.is_some() { "zstd" } else { "identity" };
    let (lines, body) = mpsc::channel(CHUNKS_MAX);
    let tasks = gateway.tasks.clone();
    tasks.spawn(async move {
        let _connected = Connected::new(gateway.metrics);
        let Gateway { store, tasks, snapshots, .. } = gateway;
        let mut stream = Stream { store, tasks, snapshots, compressor, lines };
        match stream.run(position).await {
            Ok(()) | Err(Ended::Gone) => {}
            Err(Ended::Fault(fault)) => {
                let cause = chain(&fault);
                tracing::error!(cause, "a gateway's directory stream failed; the gateway will ask again");
            }
        }
    });
    let headers =
        [(CONTENT_TYPE, "application/x-ndjson"), (CONTENT_ENCODING, encoding), (CACHE_CONTROL, "no-store")];
    Ok((headers, Body::new(Chunks(body))).into_response())
}

/// Why a stream is over.
enum Ended {
    /// The gateway went, stalled or fell too far behind, or this server drains.
    Gone,
    Fault(StoreError),
}

impl From<StoreError> for Ended {
    fn from(fault: StoreError) -> Self {
        Self::Fault(fault)
    }
}

struct Stream {
    store: Store,
    tasks: Tasks,
    snapshots: Arc<Semaphore>,
    compressor: Option<Compressor>,
    lines: mpsc::Sender<Bytes>,
}

impl Stream {
    async fn run(&mut self, position: Position) -> Result<(), Ended> {
        let mut latest = self.store.latest_revision();
        let (store, at_ms) = (self.store.id().to_owned(), self.store.unix_ms());
        let hello = Message::Hello { version: wire::VERSION, store, at_ms };
        self.push(&lines_of(&[hello])).await?;
        let mut revision = match self.catch_up(&position).await? {
            Some(revision) => revision,
            None => self.send_snapshot_in_turn().await?,
        };
        loop {
            latest.mark_unchanged();
            let deltas = self.store.changes_after(revision).await?.ok_or(Ended::Gone)?;
            if !deltas.is_empty() {
                revision = self.send_deltas(deltas, revision).await?;
                continue;
            }
            tokio::select! {
                () = self.tasks.draining() => return Ok(()),
                () = self.lines.closed() => return Ok(()),
                woken = timeout(HEARTBEAT, latest.changed()) => if woken.is_err() {
                    self.send_heartbeat(revision).await?;
                },
            }
        }
    }

    /// Sends what the gateway missed, if that is still known.
    async fn catch_up(&mut self, position: &Position) -> Result<Option<u64>, Ended> {
        if position.store != self.store.id() {
            return Ok(None);
        }
        match self.store.changes_after(position.after).await? {
            None => Ok(None),
            Some(deltas) => Ok(Some(self.send_deltas(deltas, position.after).await?)),
        }
    }

    async fn send_deltas(&mut self, deltas: Vec<Delta>, from: u64) -> Result<u64, Ended> {
        let revision = deltas.last().map_or(from, |delta| delta.revision);
        let messages: Vec<_> = deltas
            .into_iter()
            .map(|delta| Message::Delta {
                revision: delta.revision,
                at_ms: delta.at_ms,
                changes: delta.changes,
                receipt: delta.receipt,
            })
            .collect();
        self.push(&lines_of(&messages)).await?;
        Ok(revision)
    }

    async fn send_heartbeat(&mut self, revision: u64) -> Result<(), Ended> {
        let at_ms = self.store.unix_ms();
        self.push(&lines_of(&[Message::Heartbeat { revision, at_ms }])).await
    }

    /// Sends a snapshot when it is this stream's turn. Whoever waits for its turn still hears that the stream lives.
    async fn send_snapshot_in_turn(&mut self) -> Result<u64, Ended> {
        let snapshots = Arc::clone(&self.snapshots);
        let mut turn = std::pin::pin!(snapshots.acquire());
        let _turn = loop {
            match timeout(HEARTBEAT, turn.as_mut()).await {
                Ok(turn) => break turn.map_err(|_| Ended::Gone)?,
                Err(_) => self.send_heartbeat(0).await?,
            }
        };
        timeout(SNAPSHOT_TIMEOUT, self.send_snapshot()).await.map_err(|_| Ended::Gone)?
    }

    async fn send_snapshot(&mut self) -> Result<u64, Ended> {
        let mut snapshot = self.store.read_snapshot().await?;
        let (revision, changes) = (snapshot.revision(), snapshot.changes());
        self.push(&lines_of(&[Message::Snapshot { revision, changes }])).await?;
        let mut crc32c = 0;
        let mut chunk = Vec::with_capacity(CHUNK_BYTES * 2);
        while let Some(part) = snapshot.next().await? {
            for change in part {
                write_line(&mut chunk, &Message::Change(change));
                if chunk.len() >= CHUNK_BYTES {
                    crc32c = crc32c::crc32c_append(crc32c, &chunk);
                    self.push(&chunk).await?;
                    chunk.clear();
                }
            }
        }
        crc32c = crc32c::crc32c_append(crc32c, &chunk);
        write_line(&mut chunk, &Message::SnapshotEnd { crc32c });
        self.push(&chunk).await?;
        Ok(revision)
    }

    /// Sends lines on their way, all of them: nothing waits for what comes next.
    async fn push(&mut self, lines: &[u8]) -> Result<(), Ended> {
        if lines.is_empty() {
            return Ok(());
        }
        let chunk = match &mut self.compressor {
            None => Bytes::copy_from_slice(lines),
            // Into memory: it fails when there is none.
            Some(compressor) => compressor.compress(lines).map_err(|_| Ended::Gone)?,
        };
        tokio::select! {
            () = self.tasks.draining() => Err(Ended::Gone),
            sent = timeout(STALLED, self.lines.send(chunk)) => match sent {
                Ok(Ok(())) => Ok(()),
                Ok(Err(_)) | Err(_) => Err(Ended::Gone),
            },
        }
    }
}

/// One zstd frame that does not end, as long as the stream.
struct Compressor(zstd::stream::write::Encoder<'static, Vec<u8>>);

impl Compressor {
    fn new() -> io::Result<Self> {
        Ok(Self(zstd::stream::write::Encoder::new(Vec::new(), COMPRESSION_LEVEL)?))
    }

    fn compress(&mut self, plain: &[u8]) -> io::Result<Bytes> {
        self.0.write_all(plain)?;
        self.0.flush()?;
        Ok(std::mem::take(self.0.get_mut()).into())
    }
}

fn takes_zstd(headers: &HeaderMap) -> bool {
    let named = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    named.flat_map(|value| value.split(',')).any(|coding| coding.trim().eq_ignore_ascii_case("zstd"))
}

fn lines_of(messages: &[Message]) -> Vec<u8> {
    let mut lines = Vec::new();
    for message in messages {
        write_line(&mut lines, message);
    }
    lines
}

fn write_line(lines: &mut Vec<u8>, message: &Message) {
    // Into memory, from types without maps: neither can fail.
    serde_json::to_writer(&mut *lines, message).expect("a message is always JSON");
    lines.push(b'\n');
}

/// Counts a stream for as long as it lives.
struct Connected(Arc<Metrics>);

impl Connected {
    fn new(metrics: Arc<Metrics>) -> Self {
        metrics.control.gateways_connected.inc();
        Self(metrics)
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.control.gateways_connected.dec();
    }
}

/// A response body made of chunks as they come.
struct Chunks(mpsc::Receiver<Bytes>);

impl hyper::body::Body for Chunks {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|chunk| chunk.map(|chunk| Ok(Frame::data(chunk))))
    }
}
