//! Connections: accepted within a limit, served over HTTP/1.1 or HTTP/2, plain or TLS, and drained at the end.
//!
//! A connection over the limit is answered 503 and closed; one that sends no request in time is closed. A stop lets
//! requests that have begun finish, within a deadline.

use super::doors;
use super::pathless::Mend;
use super::{Config, Gate, tls};
use crate::clock;
use crate::metrics::Metrics;
use crate::shutdown::Tasks;
use hyper::Request;
use hyper::body::Incoming;
use hyper::http::{HeaderValue, header};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use rustix::net::sockopt::set_tcp_user_timeout;
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Why the gateway cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    #[error("cannot listen on {address}")]
    Bind { address: SocketAddr, source: io::Error },
    #[error("cannot serve TLS")]
    Tls(#[source] tls::TlsError),
}

/// Where the gateway listens, with ports as bound.
#[derive(Debug, Clone, Copy)]
pub struct Addresses {
    pub http: SocketAddr,
    pub https: Option<SocketAddr>,
}

/// Bound ports, on which nobody is served yet: whoever connects waits.
pub struct Listener {
    plain: TcpListener,
    tls: Option<(TcpListener, tls::Current)>,
    addresses: Addresses,
}

impl Listener {
    /// Takes the ports and loads the certificate, which is kept fresh until the stage drains.
    pub fn bind(config: &Config, metrics: &Arc<Metrics>, tasks: &Tasks) -> Result<Self, ListenError> {
        let plain = bind(config.http)?;
        let mut addresses = Addresses { http: plain.local_addr().unwrap_or(config.http), https: None };
        let mut tls = None;
        if let Some(config) = config.tls.clone() {
            let listener = bind(config.https)?;
            addresses.https = Some(listener.local_addr().unwrap_or(config.https));
            let current = tls::start(config, Arc::clone(metrics), tasks).map_err(ListenError::Tls)?;
            tls = Some((listener, current));
        }
        Ok(Self { plain, tls, addresses })
    }

    pub fn addresses(&self) -> Addresses {
        self.addresses
    }

    /// Serves until the stage drains.
    pub fn serve(self, gate: Arc<Gate>, tasks: &Tasks) {
        let acceptor = Acceptor {
            connections: Arc::new(Semaphore::new(gate.config.connections_max.min(Semaphore::MAX_PERMITS))),
            farewells: Arc::new(Semaphore::new(FAREWELLS_MAX)),
            tasks: tasks.clone(),
            gate,
        };
        if let Some((listener, current)) = self.tls {
            tasks.spawn(acceptor.clone().run(listener, Some(current)));
        }
        tasks.spawn(acceptor.run(self.plain, None));
    }
}

fn bind(address: SocketAddr) -> Result<TcpListener, ListenError> {
    let listen = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(4_096)
    };
    listen().map_err(|source| ListenError::Bind { address, source })
}

/// How many connections over the limit are told so at the same time; more are just closed.
const FAREWELLS_MAX: usize = 64;
const FAREWELL: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\n\
    Content-Type: text/plain; charset=utf-8\r\nContent-Length: 30\r\n\r\nthe gateway is full; try again";

/// Longest head of a request, and so most bytes that a connection without one can take.
const HEAD_BYTES_MAX: usize = 32 << 10;

/// How long what was sent may stay unread.
const UNREAD_TIMEOUT_MS: u32 = 30_000;

#[derive(Clone)]
struct Acceptor {
    connections: Arc<Semaphore>,
    farewells: Arc<Semaphore>,
    gate: Arc<Gate>,
    tasks: Tasks,
}

impl Acceptor {
    async fn run(self, listener: TcpListener, tls: Option<tls::Current>) {
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = self.tasks.draining() => return,
            };
            match accepted {
                Ok((stream, peer)) => self.admit(stream, peer.ip(), tls.as_ref()),
                Err(error) => {
                    // Out of file descriptors, mostly. Trying at once would spin.
                    tracing::warn!("cannot accept a connection: {error}");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }

    fn admit(&self, stream: TcpStream, peer: IpAddr, tls: Option<&tls::Current>) {
        let Ok(place) = Arc::clone(&self.connections).try_acquire_owned() else {
            self.gate.metrics.gateway.connections_refused.inc();
            if let (Ok(place), None) = (Arc::clone(&self.farewells).try_acquire_owned(), tls) {
                self.tasks.spawn(say_farewell(stream, place));
            }
            return;
        };
        let _ = stream.set_nodelay(true);
        // Who does not read its answers is given up, as is who vanished.
        let _ = set_tcp_user_timeout(&stream, UNREAD_TIMEOUT_MS);
        let connection =
            Connection { gate: Arc::clone(&self.gate), tasks: self.tasks.clone(), peer, _place: place };
        match tls {
            None => self.tasks.spawn(connection.serve(stream)),
            Some(current) => {
                let config = Arc::clone(&current.borrow());
                self.tasks.spawn(connection.serve_tls(stream, config));
            }
        }
    }
}

/// Tells a connection over the limit to come back, and reads on for a moment so that the answer is not lost to a reset.
async fn say_farewell(mut stream: TcpStream, _place: OwnedSemaphorePermit) {
    let talk = async {
        stream.write_all(FAREWELL).await?;
        stream.shutdown().await?;
        let mut sink = [0; 4_096];
        while stream.read(&mut sink).await? > 0 {}
        Ok::<_, io::Error>(())
    };
    let _ = tokio::time::timeout(Duration::from_secs(1), talk).await;
}

struct Connection {
    gate: Arc<Gate>,
    tasks: Tasks,
    peer: IpAddr,
    _place: OwnedSemaphorePermit,
}

impl Connection {
    async fn serve_tls(self, stream: TcpStream, config: Arc<rustls::ServerConfig>) {
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

    async fn serve<S>(self, stream: S)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let Self { gate, tasks, peer, _place } = self;
        let _open = Open::new(&gate);
        let activity = Arc::new(Activity::new());
        let stream = Mend::new(stream);
        let mended = stream.mended();
        let service = service_fn(|request: Request<Incoming>| {
            let (gate, tasks, mended) = (Arc::clone(&gate), tasks.clone(), mended.clone());
            let in_progress = activity.begin();
            async move {
                let mut response = doors::serve(&gate, &tasks, peer, request).await;
                if mended.get() {
                    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
                }
                drop(in_progress);
                Ok::<_, Infallible>(response)
            }
        });
        let builder = builder(gate.config.header_timeout);
        let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = activity.idle(gate.config.header_timeout) => {
                connection.as_mut().graceful_shutdown();
                let _ = tokio::time::timeout(LAST_WORDS, connection).await;
                return;
            }
            () = tasks.draining() => {
                connection.as_mut().graceful_shutdown();
                // A request that has begun is finished; a head that is half there, or a client that does not say goodbye, is not waited for.
                let left_alone = activity.idle(LAST_WORDS);
                tokio::select! {
                    ended = connection => ended,
                    () = left_alone => return,
                    () = tokio::time::sleep(gate.config.drain_timeout) => return,
                }
            }
        };
        if let Err(error) = ended {
            tracing::debug!("a connection ended: {error}");
        }
    }
}

/// For an answer to leave, and for the other side to close.
const LAST_WORDS: Duration = Duration::from_millis(500);

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

    fn now_ms(&self) -> u64 {
        self.epoch.elapsed().as_millis() as u64
    }

    /// Resolves when no request has been in progress for `timeout`, counted from this call at the earliest.
    async fn idle(&self, timeout: Duration) {
        let timeout_ms = timeout.as_millis() as u64;
        let begun_ms = self.now_ms();
        loop {
            let since_ms = match self.in_progress.load(Ordering::Relaxed) {
                0 => self.ended_ms.load(Ordering::Relaxed).max(begun_ms),
                _ => self.now_ms(),
            };
            let left_ms = (since_ms + timeout_ms).saturating_sub(self.now_ms());
            if left_ms == 0 {
                return;
            }
            tokio::time::sleep(Duration::from_millis(left_ms)).await;
        }
    }
}

/// A request that is not answered yet.
struct InProgress(Arc<Activity>);

impl Drop for InProgress {
    fn drop(&mut self) {
        self.0.ended_ms.store(self.0.now_ms(), Ordering::Relaxed);
        self.0.in_progress.fetch_sub(1, Ordering::Relaxed);
    }
}

fn builder(header_timeout: Duration) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(header_timeout)
        .max_buf_size(HEAD_BYTES_MAX)
        // Who has said all still wants the answer.
        .half_close(true);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(128)
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(4 << 20)
        .keep_alive_interval(Some(header_timeout))
        .keep_alive_timeout(header_timeout)
        .max_header_list_size(16 << 10);
    builder
}

/// Counts an open connection for as long as it lives.
struct Open(Arc<Gate>);

impl Open {
    fn new(gate: &Arc<Gate>) -> Self {
        gate.metrics.gateway.connections.inc();
        Self(Arc::clone(gate))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.metrics.gateway.connections.dec();
    }
}
