//! Everything that matches, as a file: read as fast as it is taken, and never held as a whole.
//!
//! What its viewer may read is asked anew before every chunk. An export that cannot go on breaks off, so that nobody takes half a
//! file for a whole one.

use super::super::access::viewer::Watch;
use super::super::error::ApiError;
use super::asked::{Both, Which};
use super::chunks::Chunks;
use super::{NoAnswer, NoReading, Reading, failed};
use crate::domain::timestamp::rfc3339_millis;
use crate::logs::read::Export;
use crate::shutdown::Tasks;
use crate::telemetry::chain;
use axum::http::header::{CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use hyper::body::Bytes;
use serde::Deserialize;
use std::io::{self, Write};
use tokio::sync::OwnedSemaphorePermit;
use utoipa::IntoParams;

/// zstd's level: exports are as fast as the reader.
const COMPRESSION_LEVEL: i32 = 3;

#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(in crate::control) struct Form {
    /// `ndjson`, or `ndjson.zst`.
    #[param(value_type = Option<String>, pattern = "^ndjson(\\.zst)?$")]
    format: Option<String>,
}

/// Download all matching logs, a log a line, in the order in which they came.
#[utoipa::path(
    operation_id = "exportLogs",
    get, path = "/v1/logs/export", tag = "logs", security(("apiToken" = []), ("sharedToken" = [])),
    params(Which, Form),
    responses(
        (status = 200, description = "A file. One that could not be read to its end breaks off", body = String, content_type = "application/x-ndjson"),
        NoReading,
        NoAnswer,
    )
)]
pub(in crate::control) async fn export(
    reading: Reading,
    Both(which, form): Both<Form>,
) -> Result<Response, ApiError> {
    let (compressor, media_type, ending) = match form.format.as_deref() {
        None | Some("" | "ndjson") => (None, "application/x-ndjson", "ndjson"),
        Some("ndjson.zst") => (Some(Compressor::new()), "application/zstd", "ndjson.zst"),
        Some(_) => return Err(ApiError::Malformed("format is ndjson or ndjson.zst".to_owned())),
    };
    let now_ms = reading.now_ms;
    let question = reading.question(which.query(now_ms)?, which.span(now_ms)?);
    let place = reading.exports.clone().try_acquire_owned();
    let place =
        place.map_err(|_| ApiError::TooMany("Too many exports are under way: try again in a moment"))?;
    let export = reading.reader.export(question).await.map_err(failed)?;
    let compressor = compressor.transpose().map_err(|fault| failed(fault.into()))?;
    let (chunks, body) = Chunks::new();
    let tasks = reading.tasks.clone();
    let download =
        Download { watch: reading.viewer.watch(), export, compressor, tasks: reading.tasks, _place: place };
    tasks.spawn(download.run(chunks));
    let time: String = rfc3339_millis(now_ms).chars().filter(char::is_ascii_alphanumeric).collect();
    let name = format!("attachment; filename=\"logs-{}Z.{ending}\"", time.get(..15).unwrap_or_default());
    let headers = [
        (CONTENT_TYPE, media_type.to_owned()),
        (CONTENT_DISPOSITION, name),
        (CACHE_CONTROL, "no-store".to_owned()),
    ];
    Ok((headers, body).into_response())
}

struct Download {
    watch: Watch,
    export: Export,
    compressor: Option<Compressor>,
    tasks: Tasks,
    _place: OwnedSemaphorePermit,
}

impl Download {
    async fn run(mut self, chunks: Chunks) {
        let tasks = self.tasks.clone();
        let whole = tokio::select! {
            () = tasks.draining() => None,
            () = chunks.gone() => None,
            whole = self.send_all(&chunks) => whole,
        };
        if whole.is_some() {
            chunks.end();
        }
    }

    /// `None`: it was not sent to its end.
    async fn send_all(&mut self, chunks: &Chunks) -> Option<()> {
        loop {
            let access = self.watch.access().await.ok()?;
            self.export.set_access(access.clone());
            let chunk = match self.export.next().await {
                None => break,
                Some(Ok(chunk)) => self.compress(chunk),
                Some(Err(fault)) => {
                    let cause = chain(&fault);
                    tracing::error!(cause, "an export broke off: the account's log could not be read");
                    // What was read can be inflated, and its frame has no end.
                    let rest = self.compressor.as_mut().map(Compressor::flush).transpose().ok()?;
                    chunks.send(rest.unwrap_or_default()).await.ok()?;
                    return None;
                }
            };
            chunks.send(chunk.ok()?).await.ok()?;
        }
        match self.compressor.take() {
            None => Some(()),
            Some(compressor) => chunks.send(compressor.finish().ok()?).await.ok(),
        }
    }

    fn compress(&mut self, chunk: Bytes) -> io::Result<Bytes> {
        match &mut self.compressor {
            None => Ok(chunk),
            Some(compressor) => compressor.add(&chunk),
        }
    }
}

/// One zstd frame as long as the export.
struct Compressor(zstd::stream::write::Encoder<'static, Vec<u8>>);

impl Compressor {
    fn new() -> io::Result<Self> {
        Ok(Self(zstd::stream::write::Encoder::new(Vec::new(), COMPRESSION_LEVEL)?))
    }

    fn add(&mut self, plain: &[u8]) -> io::Result<Bytes> {
        self.0.write_all(plain)?;
        Ok(std::mem::take(self.0.get_mut()).into())
    }

    fn flush(&mut self) -> io::Result<Bytes> {
        self.0.flush()?;
        Ok(std::mem::take(self.0.get_mut()).into())
    }

    fn finish(self) -> io::Result<Bytes> {
        Ok(self.0.finish()?.into())
    }
}
