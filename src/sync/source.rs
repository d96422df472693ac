//! The stream of the directory as bytes: the HTTP request for it and the lines of its answer. Understands nothing of them.

use super::link::{Link, LinkError};
use super::replica::ContractError;
use crate::wire;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::http::header;
use hyper::{Request, Response};
use std::io::{self, Write};

/// Longest line of the stream, in bytes: far more than the largest delta.
const LINE_BYTES_MAX: usize = 16 << 20;

/// How much of a compressed stream is decompressed at a time.
const COMPRESSED_BYTES: usize = 16 << 10;

/// Largest zstd window taken: 2^23 bytes.
const WINDOW_LOG_MAX: u32 = 23;

/// Why a stream ended.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    #[error(transparent)]
    Link(#[from] LinkError),
    #[error("the stream broke")]
    Broken(#[source] hyper::Error),
    #[error("the stream cannot be decompressed")]
    Corrupt(#[source] io::Error),
    #[error("the control plane ended the stream")]
    Ended,
    #[error("the stream fell silent")]
    Silent,
    #[error("the stream does not keep to the contract: {0}")]
    Contract(#[from] ContractError),
}

/// What a gateway already has: deltas after it are enough.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    pub store: String,
    pub revision: u64,
}

/// Asks, in the name of `gateway`, for everything after `position`, or for everything.
pub async fn open(link: &Link, gateway: &str, position: Option<Position>) -> Result<Stream, SourceError> {
    let path = path(gateway, position);
    let request = Request::get("/").header(header::ACCEPT_ENCODING, "zstd");
    let response = link.ask(request, &path, Bytes::new()).await?;
    Stream::of(response).map_err(SourceError::Corrupt)
}

fn path(gateway: &str, position: Option<Position>) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.append_pair("gateway", gateway);
    if let Some(Position { store, revision }) = position {
        query.append_pair("store", &store).append_pair("after", &revision.to_string());
    }
    format!("{}?{}", wire::DIRECTORY_PATH, query.finish())
}

/// An open stream.
pub struct Stream {
    body: Incoming,
    /// What came and is not decompressed yet.
    compressed: Bytes,
    decoder: Option<zstd::stream::write::Decoder<'static, Lines>>,
    lines: Lines,
    /// How much of `lines` is known to hold no end of a line.
    searched: usize,
}

impl Stream {
    fn of(response: Response<Incoming>) -> io::Result<Self> {
        let is_zstd = response.headers().get(header::CONTENT_ENCODING).is_some_and(|name| name == "zstd");
        let mut decoder = None;
        if is_zstd {
            let mut zstd = zstd::stream::write::Decoder::new(Lines::default())?;
            zstd.window_log_max(WINDOW_LOG_MAX)?;
            decoder = Some(zstd);
        }
        let (body, compressed, lines) = (response.into_body(), Bytes::new(), Lines::default());
        Ok(Self { body, compressed, decoder, lines, searched: 0 })
    }

    /// The next line, its newline included.
    pub async fn next_line(&mut self) -> Result<Bytes, SourceError> {
        loop {
            let Lines(lines) = self.decoder.as_mut().map_or(&mut self.lines, |decoder| decoder.get_mut());
            if let Some(at) = memchr::memchr(b'\n', &lines[self.searched..]) {
                let line = lines.split_to(self.searched + at + 1).freeze();
                self.searched = 0;
                return Ok(line);
            }
            self.searched = lines.len();
            if lines.len() > LINE_BYTES_MAX {
                return Err(ContractError::LineTooLong.into());
            }
            self.read().await?;
        }
    }

    /// Adds something to the lines.
    async fn read(&mut self) -> Result<(), SourceError> {
        if self.compressed.is_empty() {
            let frame = self.body.frame().await.ok_or(SourceError::Ended)?.map_err(SourceError::Broken)?;
            self.compressed = frame.into_data().unwrap_or_default();
        }
        let Some(decoder) = &mut self.decoder else {
            self.lines.0.extend_from_slice(&std::mem::take(&mut self.compressed));
            return Ok(());
        };
        let piece = self.compressed.split_to(self.compressed.len().min(COMPRESSED_BYTES));
        decoder.write_all(&piece).and_then(|()| decoder.flush()).map_err(SourceError::Corrupt)
    }
}

/// Lines as they come out of a decoder, within a limit.
#[derive(Default)]
struct Lines(BytesMut);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() > 2 * LINE_BYTES_MAX {
            return Err(io::Error::other("it inflates beyond all measure"));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
