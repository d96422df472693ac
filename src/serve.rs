//! Serves the API's and the operators' port over HTTP/1.1: a bounded number of connections at a time, each with a time for its
//! heads, and a moment to finish when the stage drains. (Shippers have a listener of their own.)

use crate::shutdown::Tasks;
use axum::Router;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How long a connection may take to send a request's head, and so how long it may idle.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a request that has begun may take to end when the stage drains.
const DRAIN: Duration = Duration::from_secs(2);
/// Longest head of a request, in bytes.
const HEAD_BYTES_MAX: usize = 32 << 10;
/// How long to wait when the machine has no room for another connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The other end of the connection.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub SocketAddr);

/// Serves `router` until `tasks` drains.
pub fn serve(listener: TcpListener, router: Router, connections_max: usize, tasks: Tasks) {
    let room = Arc::new(Semaphore::new(connections_max.clamp(1, Semaphore::MAX_PERMITS)));
    let accepting = tasks.clone();
    tasks.spawn(async move {
        tokio::select! {
            () = accepting.draining() => {}
            () = accept(&listener, &router, &room, &accepting) => {}
        }
    });
}

async fn accept(listener: &TcpListener, router: &Router, room: &Arc<Semaphore>, tasks: &Tasks) {
    loop {
        let Ok(place) = Arc::clone(room).acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, peer)) => {
                tasks.spawn(converse(stream, Peer(peer), router.clone(), tasks.clone(), place));
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// One connection, from its first request to its last.
async fn converse(stream: TcpStream, peer: Peer, router: Router, tasks: Tasks, _place: OwnedSemaphorePermit) {
    // Deltas are small and urgent.
    let _ = stream.set_nodelay(true);
    let inner = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(peer);
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
            let Ok(ended) = tokio::time::timeout(DRAIN, connection).await else { return };
            ended
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, peer = %peer.0, "a connection broke");
    }
}
