//! The straight line: `Request -> Credentials -> Permit -> Slot -> Payload -> Batch -> Receipt`.
//!
//! Doors call [`ingest`] and turn what it returns into their protocol's answer. No step can be left out, because each
//! takes what only the one before it makes.

use super::Gate;
use super::credentials::Credentials;
use super::payload::{Encoding, Payload};
use super::refusal::Refusal;
use super::usage::Use;
use crate::domain::batch::{Batch, Framing};
use crate::domain::directory::{Denial, Permit};
use crate::journal::Receipt;
use bytes::Bytes;
use hyper::body::Body;
use hyper::http::{HeaderMap, header, request};
use std::net::IpAddr;

/// Longest `type` a request may give its logs, in bytes: it is written into every line.
const TYPE_BYTES_MAX: usize = 256;

/// Takes one batch from a request's head to its receipt.
///
/// The token is judged before a byte of the body is awaited, and once more when all of it is there: a token disabled
/// during the upload ships nothing. Before that second judgement nothing of the request is written anywhere.
pub async fn ingest<B>(
    gate: &Gate,
    peer: IpAddr,
    head: &request::Parts,
    body: &mut B,
) -> Result<Receipt, Refusal>
where
    B: Body<Data = Bytes> + Unpin,
{
    let mut used = Use::default();
    let outcome = line(gate, head, body, &mut used).await;
    let now_ms = gate.directory.control_unix_ms(gate.clock.unix_ms());
    gate.uses.count(used, peer, head, now_ms, &outcome);
    outcome
}

async fn line<B>(gate: &Gate, head: &request::Parts, body: &mut B, used: &mut Use) -> Result<Receipt, Refusal>
where
    B: Body<Data = Bytes> + Unpin,
{
    let credentials = Credentials::of(head);
    used.digest = credentials.token;
    let permit = admit(gate, &credentials)?;
    used.token = Some(permit.token());
    check_declared(&head.headers, gate.config.body_bytes_max)?;
    let encoding = Encoding::of(&head.headers)?;
    if credentials.default_type.len() > TYPE_BYTES_MAX {
        return Err(Refusal::Unreadable("type is longer than 256 bytes"));
    }
    let mut slot = gate.admission.reserve(permit.grant())?;
    let limits = &gate.config;
    let payload =
        Payload::read(body, encoding, &mut slot, limits.body_bytes_max, limits.body_timeout).await?;
    gate.admission.debit(permit.grant(), payload.bytes().len());
    let framing = Framing {
        received_ms: gate.clock.unix_ms(),
        default_type: &credentials.default_type,
        line_bytes_max: limits.line_bytes_max,
    };
    let room = framing.stored_bytes_max(payload.bytes());
    if room > limits.in_flight_bytes_max {
        return Err(Refusal::TooManyLines);
    }
    slot.cover(payload.bytes().len() + room)?;
    let batch = Batch::parse(permit, payload.bytes(), framing);
    count_received(gate, &batch, payload.bytes().len());
    drop(payload);
    confirm(gate, batch.permit())?;
    let (account, stored_bytes) = (batch.permit().account(), batch.lines().len());
    let receipt = gate.journal.append(batch).await?;
    used.bytes = stored_bytes as u64;
    let counters = gate.metrics.gateway.account(account);
    counters.accepted_lines.inc_by(receipt.tally().successful);
    counters.accepted_bytes.inc_by(stored_bytes as u64);
    Ok(receipt)
}

fn admit(gate: &Gate, credentials: &Credentials<'_>) -> Result<Permit, Refusal> {
    let judged = match &credentials.token {
        None => Err(Denial::Missing),
        Some(digest) => gate.directory.admit(digest).ok_or(Refusal::NotReady)?,
    };
    let result = match &judged {
        Ok(_) => "admitted",
        Err(Denial::Missing) => "missing",
        Err(Denial::NotValid) => "not_valid",
    };
    gate.metrics.gateway.auth.with_label_values(&[result]).inc();
    Ok(judged?)
}

fn confirm(gate: &Gate, permit: &Permit) -> Result<(), Refusal> {
    gate.directory.still_admits(permit).map_err(|_| {
        gate.metrics.gateway.auth.with_label_values(&["revoked_during_upload"]).inc();
        Refusal::TokenRevokedDuringUpload
    })
}

fn check_declared(headers: &HeaderMap, max: usize) -> Result<(), Refusal> {
    let declared =
        headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if declared.is_some_and(|bytes| bytes > max as u64) { Err(Refusal::TooLarge { max }) } else { Ok(()) }
}

fn count_received(gate: &Gate, batch: &Batch, bytes: usize) {
    let metrics = &gate.metrics.gateway;
    let counters = metrics.account(batch.permit().account());
    counters.received_bytes.inc_by(bytes as u64);
    counters.received_lines.inc_by(batch.tally().lines());
    for (fault, lines) in batch.tally().refused().filter(|(_, lines)| *lines > 0) {
        metrics.discarded_lines.with_label_values(&[fault.code()]).inc_by(lines);
    }
}
