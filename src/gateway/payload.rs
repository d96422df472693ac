//! The body: read within a limit and a time, and inflated within a limit. The only decompressors of the data plane.
//!
//! Memory is reserved in the request's [`Slot`] as it is filled, so that neither a body without a declared length nor
//! a compression bomb can take more than the node's budget.

use super::admission::Slot;
use super::refusal::Refusal;
use bytes::{Bytes, BytesMut};
use flate2::bufread::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use http_body_util::BodyExt;
use hyper::body::Body;
use hyper::http::{HeaderMap, header};
use std::io::Read;
use std::time::Duration;

/// How a body was compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    Identity,
    Gzip,
    Deflate,
    Zstd,
}

impl Encoding {
    /// Reads `Content-Encoding`; one that is not known cannot be inflated.
    pub fn of(headers: &HeaderMap) -> Result<Self, Refusal> {
        let mut encoding = Self::Identity;
        for value in headers.get_all(header::CONTENT_ENCODING) {
            let value = value.to_str().map_err(|_| Refusal::UnknownEncoding)?;
            for name in value.split(',').map(str::trim).filter(|name| !name.is_empty()) {
                let next = match name.to_ascii_lowercase().as_str() {
                    "identity" => continue,
                    "gzip" | "x-gzip" => Self::Gzip,
                    "deflate" => Self::Deflate,
                    "zstd" => Self::Zstd,
                    _ => return Err(Refusal::UnknownEncoding),
                };
                if encoding != Self::Identity {
                    return Err(Refusal::UnknownEncoding);
                }
                encoding = next;
            }
        }
        Ok(encoding)
    }
}

/// A whole body, inflated.
#[derive(Debug)]
pub struct Payload(Bytes);

/// Largest zstd window taken: 2^24 bytes, more than any body has.
const ZSTD_WINDOW_LOG_MAX: u32 = 24;

/// How much is inflated between two looks at the limits, in bytes.
const STEP: usize = 256 * 1024;

impl Payload {
    /// Reads `body` to its end. `bytes_max` bounds both what is sent and what it inflates to.
    pub async fn read<B>(
        body: B,
        encoding: Encoding,
        slot: &mut Slot,
        bytes_max: usize,
        timeout: Duration,
    ) -> Result<Self, Refusal>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let raw = tokio::time::timeout(timeout, collect(body, slot, bytes_max))
            .await
            .map_err(|_| Refusal::BodyTimeout)??;
        if raw.is_empty() {
            return Ok(Self(raw));
        }
        match encoding {
            Encoding::Identity => Ok(Self(raw)),
            Encoding::Gzip => inflate(MultiGzDecoder::new(&raw[..]), slot, bytes_max).await,
            Encoding::Deflate if is_zlib(&raw) => inflate(ZlibDecoder::new(&raw[..]), slot, bytes_max).await,
            Encoding::Deflate => inflate(DeflateDecoder::new(&raw[..]), slot, bytes_max).await,
            Encoding::Zstd => {
                let mut decoder =
                    zstd::stream::read::Decoder::with_buffer(&raw[..]).map_err(|_| Refusal::Busy)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG_MAX).map_err(|_| Refusal::Busy)?;
                inflate(decoder, slot, bytes_max).await
            }
        }
    }

    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// A body in one frame is taken as it is; more are gathered.
async fn collect<B>(mut body: B, slot: &mut Slot, bytes_max: usize) -> Result<Bytes, Refusal>
where
    B: Body<Data = Bytes> + Unpin,
{
    let declared = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    let mut gathered = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(|_| Refusal::BodyCut)?.into_data() else {
            continue;
        };
        let so_far = gathered.len() + data.len();
        if so_far > bytes_max {
            return Err(Refusal::TooLarge { max: bytes_max });
        }
        slot.cover(so_far)?;
        if gathered.is_empty() {
            if body.is_end_stream() {
                return Ok(data);
            }
            gathered.reserve(declared.min(bytes_max).max(data.len()));
        }
        gathered.extend_from_slice(&data);
    }
    Ok(gathered.freeze())
}

/// Inflates in steps, letting other requests run between them.
async fn inflate(mut decoder: impl Read, slot: &mut Slot, bytes_max: usize) -> Result<Payload, Refusal> {
    let mut plain = Vec::new();
    loop {
        slot.grow(STEP)?;
        let before = plain.len();
        // One byte over the limit is enough to know.
        let step = STEP.min(bytes_max + 1 - before);
        let read = (&mut decoder).take(step as u64).read_to_end(&mut plain);
        read.map_err(|_| {
            Refusal::Unreadable("corrupt or truncated compression, or a zstd window over 16 MiB")
        })?;
        if plain.len() > bytes_max {
            return Err(Refusal::TooLarge { max: bytes_max });
        }
        if plain.len() - before < step {
            return Ok(Payload(plain.into()));
        }
        tokio::task::yield_now().await;
    }
}

/// `deflate` means zlib (RFC 9110, 8.4.1.2), but some clients send the bare stream: a zlib header tells.
fn is_zlib(raw: &[u8]) -> bool {
    matches!(raw, [cmf, flags, ..] if cmf & 0x0f == 8 && u16::from_be_bytes([*cmf, *flags]) % 31 == 0)
}

#[cfg(test)]
mod tests;
