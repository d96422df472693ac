use super::*;
use crate::domain::account::{AccountGrant, AccountId, Retention};
use crate::gateway::admission::Admission;
use crate::metrics::Metrics;
use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use http_body_util::Full;
use hyper::body::Frame;
use std::io::Write;
use std::sync::Arc;

const MAX: usize = 1_000;

fn slot(in_flight_bytes_max: usize) -> Slot {
    let retention = Retention { days: 1, bytes_max: None };
    let grant = AccountGrant { account: AccountId(1), durability: None, rate_bytes_max: None, retention };
    Admission::new(in_flight_bytes_max, Arc::new(Metrics::new())).reserve(&grant).expect("empty")
}

async fn read(raw: &[u8], encoding: Encoding) -> Result<Vec<u8>, &'static str> {
    let body = Full::new(Bytes::copy_from_slice(raw));
    let read = Payload::read(body, encoding, &mut slot(1 << 30), MAX, Duration::from_secs(60)).await;
    read.map(|payload| payload.bytes().to_vec()).map_err(|refusal| refusal.code())
}

fn compressed(plain: &[u8], encoding: Encoding) -> Vec<u8> {
    let level = Compression::new(6);
    match encoding {
        Encoding::Identity => plain.to_vec(),
        Encoding::Gzip => {
            let mut encoder = GzEncoder::new(vec![], level);
            encoder.write_all(plain).unwrap();
            encoder.finish().unwrap()
        }
        Encoding::Deflate => {
            let mut encoder = ZlibEncoder::new(vec![], level);
            encoder.write_all(plain).unwrap();
            encoder.finish().unwrap()
        }
        Encoding::Zstd => zstd::encode_all(plain, 3).unwrap(),
    }
}

const ALL: [Encoding; 4] = [Encoding::Identity, Encoding::Gzip, Encoding::Deflate, Encoding::Zstd];

#[tokio::test]
async fn inflates_up_to_the_limit_and_not_a_byte_further() {
    for encoding in ALL {
        for (bytes, fits) in [(0, true), (1, true), (MAX, true), (MAX + 1, false), (1 << 24, false)] {
            let plain = vec![b' '; bytes];
            let expect = if fits { Ok(plain.clone()) } else { Err("too_large") };
            assert_eq!(read(&compressed(&plain, encoding), encoding).await, expect, "{encoding:?} {bytes}");
        }
    }
}

#[tokio::test]
async fn a_step_may_end_exactly_at_the_end() {
    let plain = vec![b' '; STEP];
    for encoding in ALL {
        let body = Full::new(Bytes::from(compressed(&plain, encoding)));
        let payload =
            Payload::read(body, encoding, &mut slot(1 << 30), 2 * STEP, Duration::from_secs(60)).await;
        assert_eq!(payload.ok().map(|payload| payload.bytes().len()), Some(STEP), "{encoding:?}");
    }
}

#[tokio::test]
async fn an_empty_body_is_empty_whatever_it_claims_to_be() {
    for encoding in ALL {
        assert_eq!(read(b"", encoding).await, Ok(vec![]), "{encoding:?}");
    }
}

#[tokio::test]
async fn corrupt_and_truncated_compression_is_unreadable() {
    let plain: Vec<u8> = (0..900u32).map(|n| (n * n % 251) as u8).collect();
    for encoding in [Encoding::Gzip, Encoding::Deflate, Encoding::Zstd] {
        let whole = compressed(&plain, encoding);
        for cut in 1..whole.len() {
            assert_eq!(read(&whole[..cut], encoding).await, Err("unreadable"), "{encoding:?} cut at {cut}");
        }
        assert_eq!(read(b"{\"a\":1}\n", encoding).await, Err("unreadable"), "{encoding:?}: plain text");
    }
    let mut trailing = compressed(&plain, Encoding::Gzip);
    trailing.extend_from_slice(b"garbage");
    assert_eq!(read(&trailing, Encoding::Gzip).await, Err("unreadable"));
}

#[tokio::test]
async fn takes_concatenated_members_and_bare_deflate() {
    let twice = [compressed(b"one\n", Encoding::Gzip), compressed(b"two\n", Encoding::Gzip)].concat();
    assert_eq!(read(&twice, Encoding::Gzip).await, Ok(b"one\ntwo\n".to_vec()));
    let twice = [compressed(b"one\n", Encoding::Zstd), compressed(b"two\n", Encoding::Zstd)].concat();
    assert_eq!(read(&twice, Encoding::Zstd).await, Ok(b"one\ntwo\n".to_vec()));
    let mut encoder = DeflateEncoder::new(vec![], Compression::new(6));
    encoder.write_all(b"{\"a\":1}\n").unwrap();
    assert_eq!(read(&encoder.finish().unwrap(), Encoding::Deflate).await, Ok(b"{\"a\":1}\n".to_vec()));
}

#[tokio::test]
async fn the_nodes_budget_bounds_a_body_without_a_length() {
    let retention = Retention { days: 1, bytes_max: None };
    let grant = AccountGrant { account: AccountId(1), durability: None, rate_bytes_max: None, retention };
    let admission = Admission::new(300, Arc::new(Metrics::new()));
    let mut neighbour = admission.reserve(&grant).ok().unwrap();
    neighbour.grow(100).ok().unwrap();
    let mut slot = admission.reserve(&grant).ok().unwrap();
    let read = Payload::read(Frames(10), Encoding::Identity, &mut slot, MAX, Duration::from_secs(60)).await;
    assert_eq!(read.err().map(|refusal| refusal.code()), Some("busy"));
}

/// So many frames of 50 bytes, and no declared length.
struct Frames(usize);

impl Body for Frames {
    type Data = Bytes;
    type Error = std::convert::Infallible;
    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let left = self.0.checked_sub(1);
        self.0 = left.unwrap_or(0);
        std::task::Poll::Ready(left.map(|_| Ok(Frame::data(Bytes::from_static(&[b' '; 50])))))
    }
}

#[tokio::test]
async fn a_body_that_never_ends_runs_out_of_time() {
    struct Never;
    impl Body for Never {
        type Data = Bytes;
        type Error = std::convert::Infallible;
        fn poll_frame(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
            std::task::Poll::Pending
        }
    }
    let read = Payload::read(Never, Encoding::Identity, &mut slot(MAX), MAX, Duration::from_millis(10)).await;
    assert_eq!(read.err().map(|refusal| refusal.code()), Some("body_timeout"));
}

#[test]
fn knows_the_encodings() {
    for (values, expect) in [
        (vec![], Some(Encoding::Identity)),
        (vec!["identity"], Some(Encoding::Identity)),
        (vec!["GZIP"], Some(Encoding::Gzip)),
        (vec!["x-gzip"], Some(Encoding::Gzip)),
        (vec!["zstd, identity"], Some(Encoding::Zstd)),
        (vec!["deflate"], Some(Encoding::Deflate)),
        (vec!["br"], None),
        (vec!["gzip, gzip"], None),
        (vec!["gzip", "zstd"], None),
    ] {
        let mut headers = HeaderMap::new();
        for value in &values {
            headers.append(header::CONTENT_ENCODING, value.parse().unwrap());
        }
        assert_eq!(Encoding::of(&headers).ok(), expect, "{values:?}");
    }
}
