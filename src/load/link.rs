//! One connection to a server, and one request at a time on it.
//!
//! The connection is driven by the task that waits for the answer: no task of its own, no channel to another thread.

use super::target::Target;
use crate::shutdown::Tasks;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Body, Bytes, Incoming};
use hyper::client::conn::{http1, http2};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

/// Longest answer that is read.
const ANSWER_BYTES_MAX: usize = 4 << 20;

/// Why there is no answer. Whether the request was carried out is not known.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    #[error("cannot connect")]
    Connect(#[source] io::Error),
    #[error("the connection was lost")]
    Lost(#[source] hyper::Error),
    #[error("the answer could not be read")]
    Answer(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Which protocol is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Http {
    #[value(name = "1")]
    One,
    #[value(name = "2")]
    Two,
}

/// Bytes in both directions, encrypted or not.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// Opens a connection, encrypted if the target says so.
pub(super) async fn connect(target: &Target) -> io::Result<Box<dyn Stream>> {
    let stream = TcpStream::connect(target.address).await?;
    stream.set_nodelay(true)?;
    Ok(match &target.tls {
        None => Box::new(stream),
        Some((connector, name)) => Box::new(connector.connect(name.clone(), stream).await?),
    })
}

/// What was answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub status: u16,
    pub body: Bytes,
}

enum Sender {
    One(http1::SendRequest<Full<Bytes>>),
    Two(http2::SendRequest<Full<Bytes>>),
}

type Driver = Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>>;

/// An open connection.
pub(super) struct Link {
    sender: Sender,
    driver: Option<Driver>,
}

impl Link {
    pub(super) async fn open(target: &Target, tasks: &Tasks) -> Result<Self, LinkError> {
        let io = TokioIo::new(connect(target).await.map_err(LinkError::Connect)?);
        let (sender, driver): (_, Driver) = match target.http {
            Http::One => {
                let (sender, driver) = http1::handshake(io).await.map_err(LinkError::Lost)?;
                (Sender::One(sender), Box::pin(driver))
            }
            Http::Two => {
                let (sender, driver) =
                    http2::handshake(OnTasks(tasks.clone()), io).await.map_err(LinkError::Lost)?;
                (Sender::Two(sender), Box::pin(driver))
            }
        };
        Ok(Self { sender, driver: Some(driver) })
    }

    /// The connection used before if it still stands, or else a new one.
    pub(super) async fn renew(
        before: Option<Self>,
        target: &Target,
        tasks: &Tasks,
    ) -> Result<Self, LinkError> {
        if let Some(mut link) = before
            && link.is_ready().await
        {
            return Ok(link);
        }
        Self::open(target, tasks).await
    }

    /// Waits until a request can be sent; `false` if the connection is over.
    async fn is_ready(&mut self) -> bool {
        let Self { sender, driver: Some(driver) } = self else {
            return false;
        };
        let ready = async {
            match sender {
                Sender::One(sender) => sender.ready().await.is_ok(),
                Sender::Two(sender) => sender.ready().await.is_ok(),
            }
        };
        // The connection first: it may have been closed while nobody looked.
        tokio::select! {
            biased;
            _ = driver => { self.driver = None; false }
            ready = ready => ready,
        }
    }

    /// Sends a request and waits for all of the answer.
    pub(super) async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Answer, LinkError> {
        let answer = async {
            match &mut self.sender {
                Sender::One(sender) => read(sender.send_request(request).await).await,
                Sender::Two(sender) => read(sender.send_request(request).await).await,
            }
        };
        let mut answer = pin!(answer);
        if let Some(driver) = &mut self.driver {
            tokio::select! {
                biased;
                answer = &mut answer => return answer,
                _ = driver => self.driver = None,
            }
        }
        // The connection is over, but may have brought the answer before.
        answer.await
    }
}

async fn read(response: hyper::Result<Response<Incoming>>) -> Result<Answer, LinkError> {
    let (head, body) = response.map_err(LinkError::Lost)?.into_parts();
    let body = match body.is_end_stream() {
        true => Bytes::new(),
        false => {
            let body = Limited::new(body, ANSWER_BYTES_MAX).collect().await;
            body.map_err(LinkError::Answer)?.to_bytes()
        }
    };
    Ok(Answer { status: head.status.as_u16(), body })
}

/// Lets HTTP/2 start what it needs.
#[derive(Clone)]
struct OnTasks(Tasks);

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for OnTasks {
    fn execute(&self, task: F) {
        self.0.spawn(task);
    }
}
