//! How a connection begins to speak: its first bytes tell HTTP/2 from HTTP/1.1, and may have to be mended.
//!
//! Some clients send what they were configured with as it is: a request whose target is nothing but a query, `POST ?token=… HTTP/1.1`,
//! and the listener they were written for takes it. It is not HTTP (RFC 9112, 3.2), and the HTTP library refuses it, so the
//! missing slash is put in before the library sees it. That can be done only where a request certainly begins, where a
//! connection begins to speak: such a connection is closed after its first answer.

use bytes::{Buf, Bytes};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

/// What an HTTP/2 connection begins with (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

const BROKEN: &[u8] = b"POST ?";
const WHOLE: &[u8] = b"POST /?";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaks {
    Http1,
    Http2,
}

/// What the first bytes told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opening {
    pub speaks: Speaks,
    /// Whether the target was put right.
    pub mended: bool,
}

impl Opening {
    /// Waits for the first bytes, and leaves them in the stream; `None` if it ends without any. Nothing is lost if this is
    /// dropped half-way but what was read: the connection is of no use any more.
    pub async fn read<S: AsyncRead + Unpin>(stream: &mut Stream<S>) -> io::Result<Option<Self>> {
        let (mut first, mut length) = ([0; PREFACE.len()], 0);
        loop {
            let read = stream.read(&mut first[length..]).await?;
            length += read;
            let said = &first[..length];
            // A prefix of either may still become it.
            let undecided = said.len() < PREFACE.len() && PREFACE.starts_with(said)
                || said.len() < BROKEN.len() && BROKEN.starts_with(said);
            if read > 0 && undecided {
                continue;
            }
            let rest = said.strip_prefix(BROKEN);
            match rest {
                None => stream.unread(said),
                Some(rest) => stream.unread(&[WHOLE, rest].concat()),
            }
            let speaks = if said == PREFACE { Speaks::Http2 } else { Speaks::Http1 };
            return Ok((!said.is_empty()).then_some(Self { speaks, mended: rest.is_some() }));
        }
    }
}

/// A connection's bytes, some of which may have been put back.
pub struct Stream<S> {
    inner: S,
    unread: Bytes,
    answered: Answered,
}

/// Whether all that was written has left, and nothing was read since.
#[derive(Clone, Default)]
pub struct Answered(Arc<AtomicBool>);

impl Answered {
    pub fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn set(&self, answered: bool) {
        self.0.store(answered, Ordering::Relaxed);
    }
}

impl<S> Stream<S> {
    pub fn new(inner: S) -> Self {
        Self { inner, unread: Bytes::new(), answered: Answered::default() }
    }

    pub fn answered(&self) -> Answered {
        self.answered.clone()
    }

    /// Puts `bytes` back, to be read before all others.
    pub fn unread(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.unread = [bytes, &self.unread].concat().into();
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Stream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.unread.is_empty() {
            let length = self.unread.len().min(buf.remaining());
            buf.put_slice(&self.unread[..length]);
            self.unread.advance(length);
            if self.unread.is_empty() {
                self.unread = Bytes::new();
            }
        } else {
            ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
        }
        self.answered.set(false);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> Stream<S> {
    /// A write that has to wait has not left.
    fn wrote<T>(&self, written: Poll<T>) -> Poll<T> {
        self.answered.set(written.is_ready());
        written
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Stream<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.wrote(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.wrote(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes out of a stream that says `input`, `size` bytes at a time.
    async fn check(input: &[u8], size: usize) -> (Vec<u8>, Option<Opening>) {
        let (near, far) = tokio::io::duplex(size);
        let say = async move {
            let mut near = near;
            tokio::io::AsyncWriteExt::write_all(&mut near, input).await.unwrap();
        };
        let hear = async {
            let mut stream = Stream::new(far);
            let opening = Opening::read(&mut stream).await.unwrap();
            let mut all = vec![];
            stream.read_to_end(&mut all).await.unwrap();
            (all, opening)
        };
        tokio::join!(say, hear).1
    }

    const SIZES: [usize; 6] = [1, 5, 6, 7, 24, 8_192];

    #[tokio::test]
    async fn puts_a_slash_in_where_there_is_none() {
        let broken = b"POST ?token=abc HTTP/1.1\r\n\r\n";
        let whole = b"POST /?token=abc HTTP/1.1\r\n\r\n";
        for size in SIZES {
            let opening = |mended| Some(Opening { speaks: Speaks::Http1, mended });
            assert_eq!(check(broken, size).await, (whole.to_vec(), opening(true)), "{size}");
            assert_eq!(check(whole, size).await, (whole.to_vec(), opening(false)), "{size}");
        }
    }

    #[tokio::test]
    async fn tells_http_2_by_its_preface() {
        let then = [PREFACE, b"more"].concat();
        for size in SIZES {
            let opening = |speaks| Some(Opening { speaks, mended: false });
            assert_eq!(check(&then, size).await, (then.clone(), opening(Speaks::Http2)), "{size}");
            let half = &PREFACE[..20];
            assert_eq!(check(half, size).await, (half.to_vec(), opening(Speaks::Http1)), "{size}");
            assert_eq!(check(b"", size).await, (vec![], None));
        }
    }

    #[tokio::test]
    async fn what_is_put_back_comes_first() {
        let mut stream = Stream::new(&b"third"[..]);
        stream.unread(b"second ");
        stream.unread(b"first ");
        let mut all = String::new();
        stream.read_to_string(&mut all).await.unwrap();
        assert_eq!(all, "first second third");
    }
}
