//! Requests whose target is nothing but a query: `POST ?token=… HTTP/1.1`.
//!
//! Some clients send what they were configured with as it is, and the listener they were written for takes it. It is not
//! HTTP (RFC 9112, 3.2), and the HTTP library refuses it, so the missing slash is put in before the library sees it. That
//! can be done only where a request certainly begins, at the start of a connection: such a connection is closed after its
//! first answer.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

const BROKEN: &[u8] = b"POST ?";
const SLASH_AT: usize = BROKEN.len() - 1;

/// A connection that mends its first request's target.
pub struct Mend<S> {
    stream: S,
    begun: bool,
    /// The byte for which there was no room once the slash was in.
    spilled: Option<u8>,
    mended: Mended,
}

/// Whether a connection's first request had to be mended.
#[derive(Clone, Default)]
pub struct Mended(Arc<AtomicBool>);

impl Mended {
    pub fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl<S> Mend<S> {
    pub fn new(stream: S) -> Self {
        Self { stream, begun: false, spilled: None, mended: Mended::default() }
    }

    pub fn mended(&self) -> Mended {
        self.mended.clone()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Mend<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if buf.remaining() > 0
            && let Some(byte) = self.spilled.take()
        {
            buf.put_slice(&[byte]);
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        if !std::mem::replace(&mut self.begun, true) && buf.filled()[before..].starts_with(BROKEN) {
            self.mended.0.store(true, Ordering::Relaxed);
            let room = buf.remaining() > 0;
            let last = *buf.filled().last().unwrap_or(&b' ');
            if room {
                buf.put_slice(&[last]);
            } else {
                self.spilled = Some(last);
            }
            let read = &mut buf.filled_mut()[before..];
            let end = read.len() - 1;
            read.copy_within(SLASH_AT..end, SLASH_AT + 1);
            read[SLASH_AT] = b'/';
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Mend<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;

    /// Reads `input` through buffers of `size` bytes.
    async fn read(input: &[u8], size: usize) -> (Vec<u8>, bool) {
        let mut mend = Mend::new(input);
        let (mut all, mut buffer) = (vec![], vec![0; size]);
        loop {
            match mend.read(&mut buffer).await.unwrap() {
                0 => return (all, mend.mended().get()),
                bytes => all.extend_from_slice(&buffer[..bytes]),
            }
        }
    }

    #[tokio::test]
    async fn puts_a_slash_in_where_there_is_none() {
        let broken = b"POST ?token=abc HTTP/1.1\r\n\r\n";
        let whole = b"POST /?token=abc HTTP/1.1\r\n\r\n";
        for size in [6, 7, 24, broken.len(), broken.len() + 1, 8_192] {
            assert_eq!(read(broken, size).await, (whole.to_vec(), true), "{size}");
            assert_eq!(read(whole, size).await, (whole.to_vec(), false), "{size}");
        }
        assert_eq!(read(b"", 8).await, (vec![], false));
    }
}
