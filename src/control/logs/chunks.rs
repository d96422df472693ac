//! Answers that are sent as they are made, each by a task of its own. Nothing is made that is not taken, and who takes nothing for
//! long is let go.

use axum::body::Body;
use hyper::body::{Bytes, Frame};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Chunks on their way to the socket.
const CHUNKS_MAX: usize = 4;
/// How long a reader may take nothing.
const STALLED: Duration = Duration::from_secs(60);

/// The answer's end within the task.
pub(super) struct Chunks(mpsc::Sender<Result<Bytes, Broken>>);

/// The answer ends in the middle, and its reader shall notice.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the answer could not be made to its end")]
pub(super) struct Broken;

/// The reader is gone, or as good as gone.
#[derive(Debug, Clone, Copy)]
pub(super) struct Gone;

impl Chunks {
    pub(super) fn new() -> (Self, Body) {
        let (sender, receiver) = mpsc::channel(CHUNKS_MAX);
        (Self(sender), Body::new(Taken(receiver)))
    }

    pub(super) async fn send(&self, chunk: Bytes) -> Result<(), Gone> {
        if chunk.is_empty() {
            return Ok(());
        }
        match timeout(STALLED, self.0.send(Ok(chunk))).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Gone),
        }
    }

    /// Ends the answer so that its reader does not take it for whole.
    pub(super) async fn break_off(self) {
        let _ = timeout(STALLED, self.0.send(Err(Broken))).await;
    }

    /// Resolves when the reader is gone.
    pub(super) async fn gone(&self) {
        self.0.closed().await;
    }
}

struct Taken(mpsc::Receiver<Result<Bytes, Broken>>);

impl hyper::body::Body for Taken {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        self.0.poll_recv(context).map(|chunk| chunk.map(|chunk| chunk.map(Frame::data)))
    }
}
