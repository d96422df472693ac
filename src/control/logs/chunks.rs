//! Answers that are sent as they are made, each by a task of its own. Nothing is made that is not taken, and who takes nothing for
//! long is let go.
//!
//! An answer is whole only if its task says so: one whose task ends otherwise, by whatever cause, breaks off: its last chunk
//! is missing then.

use axum::body::Body;
use hyper::body::{Bytes, Frame};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Chunks on their way to the socket.
const CHUNKS_MAX: usize = 4;
/// How long a reader may take nothing.
const STALLED: Duration = Duration::from_secs(60);

/// The answer's end within the task. Dropped, it breaks the answer off.
pub(super) struct Chunks {
    sender: mpsc::Sender<Bytes>,
    whole: Arc<AtomicBool>,
}

/// The answer ends in the middle, and its reader shall notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the answer could not be made to its end")]
pub(super) struct Broken;

/// The reader is gone, or as good as gone.
#[derive(Debug, Clone, Copy)]
pub(super) struct Gone;

impl Chunks {
    pub(super) fn new() -> (Self, Body) {
        let (chunks, taken) = Self::pair();
        (chunks, Body::new(taken))
    }

    fn pair() -> (Self, Taken) {
        let (sender, receiver) = mpsc::channel(CHUNKS_MAX);
        let whole = Arc::new(AtomicBool::new(false));
        (Self { sender, whole: whole.clone() }, Taken { receiver, whole, paused: false })
    }

    pub(super) async fn send(&self, chunk: Bytes) -> Result<(), Gone> {
        if chunk.is_empty() {
            return Ok(());
        }
        match timeout(STALLED, self.sender.send(chunk)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(Gone),
        }
    }

    /// All has been sent that there is.
    pub(super) fn end(self) {
        self.whole.store(true, Ordering::Release);
    }

    /// Resolves when the reader is gone.
    pub(super) async fn gone(&self) {
        self.sender.closed().await;
    }
}

struct Taken {
    receiver: mpsc::Receiver<Bytes>,
    whole: Arc<AtomicBool>,
    paused: bool,
}

impl hyper::body::Body for Taken {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        if let Some(chunk) = ready!(self.receiver.poll_recv(context)) {
            return Poll::Ready(Some(Ok(Frame::data(chunk))));
        }
        if self.whole.load(Ordering::Acquire) {
            return Poll::Ready(None);
        }
        if !std::mem::replace(&mut self.paused, true) {
            // An error throws away what is not written yet: once, let it be written before.
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Some(Err(Broken)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    #[tokio::test]
    async fn an_answer_that_nobody_ended_is_not_whole() {
        for is_whole in [true, false] {
            let (chunks, mut taken) = Chunks::pair();
            chunks.send(Bytes::from_static(b"a")).await.unwrap();
            if is_whole {
                chunks.end();
            } else {
                drop(chunks);
            }
            assert_eq!(taken.frame().await.unwrap().unwrap().into_data().unwrap(), "a");
            let end = taken.frame().await.map(|end| end.map(drop));
            assert_eq!(end, (!is_whole).then_some(Err(Broken)));
        }
    }
}
