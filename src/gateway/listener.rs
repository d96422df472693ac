//! Where connections come in: plain or TLS, accepted within a limit.
//!
//! A connection over the limit is answered 503 and closed. What becomes of one that is accepted is `connection`'s.

use super::connection::Connection;
use super::{Config, Gate};
use crate::metrics::Metrics;
use crate::shutdown::Tasks;
use crate::sync::current::Stance;
use crate::tls;
use rustix::net::sockopt::set_tcp_user_timeout;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
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
            let current = tls::start(config, metrics.gateway.certificate_expiry_seconds.clone(), tasks)
                .map_err(ListenError::Tls)?;
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

/// How many connections that are not taken are told so at the same time; more are just closed.
const FAREWELLS_MAX: usize = 64;

fn farewell(reason: &str) -> String {
    format!(
        "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nConnection: close\r\n\
         Content-Type: text/plain; charset=utf-8\r\nContent-Length: {}\r\n\r\n{reason}",
        reason.len()
    )
}

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
        if self.gate.directory.stance() == Stance::RefuseConnections {
            return self.refuse(stream, tls, farewell("the directory of tokens is too old; try again"));
        }
        let Ok(place) = Arc::clone(&self.connections).try_acquire_owned() else {
            return self.refuse(stream, tls, farewell("the gateway is full; try again"));
        };
        let _ = stream.set_nodelay(true);
        // Who does not read its answers is given up, as is who vanished.
        let _ = set_tcp_user_timeout(&stream, UNREAD_TIMEOUT_MS);
        let connection = Connection::new(&self.gate, &self.tasks, peer, place);
        match tls {
            None => self.tasks.spawn(connection.serve(stream)),
            Some(current) => {
                let config = Arc::clone(&current.borrow());
                self.tasks.spawn(connection.serve_tls(stream, config));
            }
        }
    }

    fn refuse(&self, stream: TcpStream, tls: Option<&tls::Current>, farewell: String) {
        self.gate.metrics.gateway.connections_refused.inc();
        if let (Ok(place), None) = (Arc::clone(&self.farewells).try_acquire_owned(), tls) {
            self.tasks.spawn(say_farewell(stream, farewell, place));
        }
    }
}

/// Tells a connection that is not taken to come back, and reads on for a moment so that the answer is not lost to a reset.
async fn say_farewell(mut stream: TcpStream, farewell: String, _place: OwnedSemaphorePermit) {
    let talk = async {
        stream.write_all(farewell.as_bytes()).await?;
        stream.shutdown().await?;
        let mut sink = [0; 4_096];
        while stream.read(&mut sink).await? > 0 {}
        Ok::<_, io::Error>(())
    };
    let _ = tokio::time::timeout(Duration::from_secs(1), talk).await;
}
