//! Connections: accepted within a limit, served over HTTP/1.1 or HTTP/2, plain or TLS, and drained at the end.
//!
//! A connection over the limit is answered 503 and closed; one that sends no request in time is closed. A stop lets
//! requests that have begun finish, within a deadline.

use super::doors;
use super::pathless::Mend;
use super::{Config, Gate, tls};
use crate::metrics::Metrics;
use crate::shutdown::Tasks;
use hyper::Request;
use hyper::body::Incoming;
use hyper::http::{HeaderValue, header};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

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
                Ok((stream, _)) => self.admit(stream, tls.as_ref()),
                Err(error) => {
                    // Out of file descriptors, mostly. Trying at once would spin.
                    tracing::warn!("cannot accept a connection: {error}");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }

    fn admit(&self, stream: TcpStream, tls: Option<&tls::Current>) {
        let Ok(place) = Arc::clone(&self.connections).try_acquire_owned() else {
            self.gate.metrics.gateway.connections_refused.inc();
            if let (Ok(place), None) = (Arc::clone(&self.farewells).try_acquire_owned(), tls) {
                self.tasks.spawn(say_farewell(stream, place));
            }
            return;
        };
        let _ = stream.set_nodelay(true);
        let connection =
            Connection { gate: Arc::clone(&self.gate), tasks: self.tasks.clone(), _place: place };
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
    _place: OwnedSemaphorePermit,
}

impl Connection {
    async fn serve_tls(self, stream: TcpStream, config: Arc<rustls::ServerConfig>) {
        let handshake = tokio_rustls::TlsAcceptor::from(config).accept(stream);
        match tokio::time::timeout(self.gate.config.header_timeout, handshake).await {
            Ok(Ok(stream)) => self.serve(stream).await,
            _ => self.gate.metrics.gateway.tls_handshake_failures.inc(),
        }
    }

    async fn serve<S>(self, stream: S)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let Self { gate, tasks, _place } = self;
        let open = Open::new(&gate);
        let (first_request, seen) = watch::channel(false);
        let stream = Mend::new(stream);
        let mended = stream.mended();
        let service = service_fn(|request: Request<Incoming>| {
            let (gate, tasks, mended) = (Arc::clone(&gate), tasks.clone(), mended.clone());
            first_request.send_if_modified(|seen| !std::mem::replace(seen, true));
            async move {
                let mut response = doors::serve(&gate, &tasks, request).await;
                if mended.get() {
                    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
                }
                Ok::<_, Infallible>(response)
            }
        });
        let builder = builder(gate.config.header_timeout);
        let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
        let ended = tokio::select! {
            ended = connection.as_mut() => Some(ended),
            () = silence(seen, gate.config.header_timeout) => return,
            () = tasks.draining() => None,
        };
        let ended = match ended {
            Some(ended) => ended,
            None => {
                connection.as_mut().graceful_shutdown();
                let Ok(ended) = tokio::time::timeout(gate.config.drain_timeout, connection).await else {
                    return;
                };
                ended
            }
        };
        if let Err(error) = ended {
            tracing::debug!("a connection ended: {error}");
        }
        drop(open);
    }
}

/// Resolves when a connection has sent no request for `timeout`; never, once it has sent one.
async fn silence(mut seen: watch::Receiver<bool>, timeout: Duration) {
    if tokio::time::timeout(timeout, seen.wait_for(|seen| *seen)).await.is_ok() {
        std::future::pending::<()>().await;
    }
}

fn builder(header_timeout: Duration) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(header_timeout).pipeline_flush(true);
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
