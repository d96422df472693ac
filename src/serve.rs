//! Serves the API's and the operators' ports over HTTP/1.1, plain or TLS: a bounded number of connections at a time, each with a time for its
//! heads, and a moment to finish when the stage drains. (Shippers have a listener of their own.)

use crate::shutdown::Tasks;
use crate::tls;
use axum::Router;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

/// How long a connection may take to send a request's head, and so how long it may idle.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a TLS handshake may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a request that has begun may take to end when the stage drains.
const DRAIN: Duration = Duration::from_secs(2);
/// Longest head of a request, in bytes.
const HEAD_BYTES_MAX: usize = 32 << 10;
/// How long to wait when the machine has no room for another connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The other end of the connection.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub SocketAddr);

/// Said of a request that came over TLS.
#[derive(Debug, Clone, Copy)]
pub struct OverTls;

/// A port, and what it is served with if that is TLS.
pub struct Port(pub TcpListener, pub Option<tls::Current>);

/// Serves `router` until `tasks` drains, over `connections_max` connections on each port.
pub fn serve(ports: impl IntoIterator<Item = Port>, router: &Router, connections_max: usize, tasks: &Tasks) {
    for port in ports {
        let room = Arc::new(Semaphore::new(connections_max.clamp(1, Semaphore::MAX_PERMITS)));
        let (accepting, router) = (tasks.clone(), router.clone());
        tasks.spawn(async move {
            tokio::select! {
                () = accepting.draining() => {}
                () = accept(&port, &router, &room, &accepting) => {}
            }
        });
    }
}

async fn accept(Port(listener, tls): &Port, router: &Router, room: &Arc<Semaphore>, tasks: &Tasks) {
    loop {
        let Ok(place) = Arc::clone(room).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, peer)) => {
                // Deltas are small and urgent.
                let _ = stream.set_nodelay(true);
                let (peer, router, staying) = (Peer(peer), router.clone(), tasks.clone());
                match tls {
                    None => tasks.spawn(converse(stream, (peer, None), router, staying, place)),
                    Some(tls) => {
                        let handshake = TlsAcceptor::from(Arc::clone(&tls.borrow())).accept(stream);
                        tasks.spawn(async move {
                            match timeout(HANDSHAKE_TIMEOUT, handshake).await {
                                Ok(Ok(stream)) => {
                                    converse(stream, (peer, Some(OverTls)), router, staying, place).await;
                                }
                                _ => tracing::debug!(peer = %peer.0, "a TLS handshake did not complete"),
                            }
                        });
                    }
                }
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// One connection, from its first request to its last.
async fn converse<S>(
    stream: S,
    (peer, tls): (Peer, Option<OverTls>),
    router: Router,
    tasks: Tasks,
    _place: OwnedSemaphorePermit,
) where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let inner = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(peer);
        tls.map(|tls| request.extensions_mut().insert(tls));
        inner.call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = tasks.draining() => {
            connection.as_mut().graceful_shutdown();
            let Ok(ended) = timeout(DRAIN, connection).await else { return };
            ended
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, peer = %peer.0, "a connection broke");
    }
}
