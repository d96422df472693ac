//! The life of a connection: it speaks HTTP/1.1 or HTTP/2, rests when it says nothing, and ends in order.
//!
//! Most connections of a gateway are idle most of the time, and what serves HTTP keeps buffers for as long as it lives. So
//! an HTTP/1.1 connection that says nothing for a moment is taken out of it, and costs little more than its socket until
//! its next request begins. One that sends no request in time is closed. A stop lets requests that have begun finish, within a
//! deadline.

use super::opening::{Answered, Opening, Speaks, Stream};
use super::{Gate, doors};
use crate::clock;
use crate::shutdown::Tasks;
use hyper::http::{HeaderValue, header};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::net::IpAddr;
use std::pin::{self, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;

/// Longest head of a request, and so most bytes that a connection without one can take.
const HEAD_BYTES_MAX: usize = 32 << 10;

/// How long a connection says nothing before it rests. Taking it up again costs microseconds, which is nothing once a second.
const REST_AFTER: Duration = Duration::from_secs(1);

/// For an answer to leave, and for the other side to close.
const LAST_WORDS: Duration = Duration::from_millis(500);

/// An accepted connection, counted for as long as it lives.
pub struct Connection {
    gate: Arc<Gate>,
    tasks: Tasks,
    peer: IpAddr,
    activity: Arc<Activity>,
    _place: OwnedSemaphorePermit,
}

impl Connection {
    pub fn new(gate: &Arc<Gate>, tasks: &Tasks, peer: IpAddr, place: OwnedSemaphorePermit) -> Self {
        gate.metrics.gateway.connections.inc();
        let activity = Arc::new(Activity::new());
        Self { gate: Arc::clone(gate), tasks: tasks.clone(), peer, activity, _place: place }
    }

    /// Shakes hands, and then as [`Self::serve`].
    pub async fn serve_tls(self, stream: TcpStream, config: Arc<rustls::ServerConfig>) {
        let handshake = tokio_rustls::TlsAcceptor::from(config).accept(stream);
        let shaken = tokio::select! {
            shaken = tokio::time::timeout(self.gate.config.header_timeout, handshake) => shaken,
            () = self.tasks.draining() => return,
        };
        match shaken {
            Ok(Ok(stream)) => self.serve(stream).await,
            _ => self.gate.metrics.gateway.tls_handshake_failures.inc(),
        }
    }

    /// Serves requests until either side has enough.
    pub async fn serve<S>(self, stream: S)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let mut stream = Stream::new(stream);
        loop {
            let resting = Resting::new(&self.gate);
            let opening = tokio::select! {
                opening = Opening::read(&mut stream) => opening,
                () = self.activity.idle(self.gate.config.header_timeout) => break,
                () = self.tasks.draining() => break,
            };
            drop(resting);
            // What is alive only while the connection speaks is apart, so that it takes no room while it rests.
            let rests = match opening {
                Err(_) | Ok(None) => break,
                Ok(Some(Opening { speaks: Speaks::Http2, .. })) => {
                    return Box::pin(self.speak_http2(stream)).await;
                }
                Ok(Some(opening)) => Box::pin(self.speak_http1(stream, opening.mended)).await,
            };
            let Some(rests) = rests else { return };
            stream = rests;
        }
        let _ = tokio::time::timeout(LAST_WORDS, stream.shutdown()).await;
    }

    /// Serves HTTP/1.1 until the connection ends, or says nothing and is handed back.
    async fn speak_http1<S>(&self, stream: Stream<S>, mended: bool) -> Option<Stream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        let answered = stream.answered();
        let service = service_fn(|request| {
            let in_progress = self.activity.begin();
            Box::pin(async move {
                let mut response =
                    doors::serve(&self.gate, &self.tasks, self.peer, request, in_progress).await;
                if mended {
                    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
                }
                Ok::<_, Infallible>(response)
            })
        });
        let mut connection = http1::Builder::new()
            .max_buf_size(HEAD_BYTES_MAX)
            // `Activity` watches over heads, too.
            .header_read_timeout(None)
            // Who has said all still wants the answer.
            .half_close(true)
            .serve_connection(TokioIo::new(stream), service);
        tokio::select! {
            ended = &mut connection => note(ended),
            () = self.silence(&answered) => {
                pin::Pin::new(&mut connection).graceful_shutdown();
                let ended = poll_fn(|cx| Poll::Ready(connection.poll_without_shutdown(cx))).await;
                if answered.get() && matches!(ended, Poll::Ready(Ok(()))) {
                    let parts = connection.into_parts();
                    let mut stream = parts.io.into_inner();
                    stream.unread(&parts.read_buf);
                    return Some(stream);
                }
                let _ = tokio::time::timeout(LAST_WORDS, connection).await;
            }
            () = self.tasks.draining() => {
                pin::Pin::new(&mut connection).graceful_shutdown();
                self.finish(connection).await;
            }
        }
        None
    }

    async fn speak_http2<S>(&self, stream: Stream<S>)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let header_timeout = self.gate.config.header_timeout;
        let (gate, tasks, activity) =
            (Arc::clone(&self.gate), self.tasks.clone(), Arc::clone(&self.activity));
        let peer = self.peer;
        let service = service_fn(move |request| {
            let (gate, tasks, in_progress) = (Arc::clone(&gate), tasks.clone(), activity.begin());
            async move { Ok::<_, Infallible>(doors::serve(&gate, &tasks, peer, request, in_progress).await) }
        });
        let connection = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .max_concurrent_streams(128)
            .initial_stream_window_size(1 << 20)
            .initial_connection_window_size(4 << 20)
            .keep_alive_interval(Some(header_timeout))
            .keep_alive_timeout(header_timeout)
            .max_header_list_size(16 << 10)
            .serve_connection(TokioIo::new(stream), service);
        let mut connection = pin!(connection);
        tokio::select! {
            ended = connection.as_mut() => note(ended),
            () = self.activity.idle(header_timeout) => {
                connection.as_mut().graceful_shutdown();
                let _ = tokio::time::timeout(LAST_WORDS, connection).await;
            }
            () = self.tasks.draining() => {
                connection.as_mut().graceful_shutdown();
                self.finish(connection).await;
            }
        }
    }

    /// Resolves when the last answer has left and nothing came since, for a moment; or when a request is overdue.
    async fn silence(&self, answered: &Answered) {
        let header_timeout = self.gate.config.header_timeout;
        let moment = REST_AFTER.min(header_timeout);
        loop {
            tokio::time::sleep(moment).await;
            let idle = self.activity.idle_for();
            if idle >= header_timeout || idle >= moment && answered.get() {
                return;
            }
        }
    }

    /// Lets a request that has begun be finished; a head that is half there, or a client that does not say goodbye, is not waited for.
    async fn finish(&self, connection: impl Future<Output = hyper::Result<()>>) {
        let left_alone = async {
            tokio::time::sleep(LAST_WORDS).await;
            self.activity.idle(LAST_WORDS).await;
        };
        tokio::select! {
            ended = connection => note(ended),
            () = left_alone => {}
            () = tokio::time::sleep(self.gate.config.drain_timeout) => {}
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.gate.metrics.gateway.connections.dec();
    }
}

/// Counts a connection for as long as it rests.
struct Resting<'a>(&'a Gate);

impl<'a> Resting<'a> {
    fn new(gate: &'a Gate) -> Self {
        gate.metrics.gateway.connections_resting.inc();
        Self(gate)
    }
}

impl Drop for Resting<'_> {
    fn drop(&mut self) {
        self.0.metrics.gateway.connections_resting.dec();
    }
}

fn note(ended: hyper::Result<()>) {
    if let Err(error) = ended {
        tracing::debug!("a connection ended: {error}");
    }
}

/// Whether a connection is at work, and since when it is not.
struct Activity {
    in_progress: AtomicUsize,
    epoch: Instant,
    ended_ms: AtomicU64,
}

impl Activity {
    fn new() -> Self {
        Self { in_progress: AtomicUsize::new(0), epoch: clock::monotonic(), ended_ms: AtomicU64::new(0) }
    }

    /// A request has come; it is done when what this returns is dropped.
    fn begin(self: &Arc<Self>) -> InProgress {
        self.in_progress.fetch_add(1, Ordering::Relaxed);
        InProgress(Arc::clone(self))
    }

    /// How long no request has been in progress.
    fn idle_for(&self) -> Duration {
        match self.in_progress.load(Ordering::Relaxed) {
            0 => self
                .epoch
                .elapsed()
                .saturating_sub(Duration::from_millis(self.ended_ms.load(Ordering::Relaxed))),
            _ => Duration::ZERO,
        }
    }

    /// Resolves when no request has been in progress for `timeout`.
    async fn idle(&self, timeout: Duration) {
        loop {
            let left = timeout.saturating_sub(self.idle_for());
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left).await;
        }
    }
}

/// A request of which something is left to do.
pub struct InProgress(Arc<Activity>);

impl Drop for InProgress {
    fn drop(&mut self) {
        self.0.ended_ms.store(self.0.epoch.elapsed().as_millis() as u64, Ordering::Relaxed);
        self.0.in_progress.fetch_sub(1, Ordering::Relaxed);
    }
}
