//! The straight line: `Request -> Credentials -> Permit -> Slot -> Payload -> Batch -> Receipt`.
//!
//! Doors call [`ingest`] and turn what it returns into their protocol's answer. No step can be left out, because each
//! takes what only the one before it makes.

use super::Gate;
use super::credentials::Credentials;
use super::payload::{Encoding, Payload};
use super::refusal::Refusal;
use super::source::{Arrival, Origin};
use super::usage::Use;
use crate::domain::batch::{Batch, Framing};
use crate::domain::directory::{Denial, Permit};
use crate::domain::terms::TYPE_BYTES_MAX;
use crate::journal::Receipt;
use bytes::Bytes;
use hyper::body::Body;
use hyper::http::{HeaderMap, header, request};

/// Takes one batch from a request's head to its receipt.
///
/// The token is judged before a byte of the body is awaited, and once more when all of it is there: a token disabled
/// or expired during the upload ships nothing. Before that second judgement nothing of the request is written anywhere.
pub async fn ingest<B>(
    gate: &Gate,
    arrival: Arrival,
    head: &request::Parts,
    body: &mut B,
) -> Result<Receipt, Refusal>
where
    B: Body<Data = Bytes> + Unpin,
{
    let mut used = Use::default();
    let origin = arrival.origin(&head.headers, &gate.config.trusted_proxies);
    let outcome = line(gate, origin, head, body, &mut used).await;
    let now_ms = gate.directory.control_unix_ms(gate.clock.unix_ms());
    gate.uses.count(used, origin.source, head, now_ms, &outcome);
    outcome
}

async fn line<B>(
    gate: &Gate,
    origin: Origin,
    head: &request::Parts,
    body: &mut B,
    used: &mut Use,
) -> Result<Receipt, Refusal>
where
    B: Body<Data = Bytes> + Unpin,
{
    let credentials = Credentials::of(head);
    used.digest = credentials.token;
    let permit = admit(gate, &credentials, origin, used)?;
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
    let mut batch = Batch::parse(permit, payload.bytes(), framing);
    let _passage = gate.directory.begin_passage();
    let confirmed = confirm(gate, batch.permit(), origin);
    if let Ok(permit) = &confirmed
        && permit.terms() != batch.permit().terms()
    {
        // They changed during the upload: the lines are judged by those in force.
        drop(batch);
        batch = Batch::parse(permit.clone(), payload.bytes(), framing);
    }
    count_received(gate, &batch, payload.bytes().len());
    drop(payload);
    confirmed?;
    let would_refuse = batch.permit().terms().is_some_and(|terms| terms.would_refuse);
    let (account, stored_bytes) = (batch.permit().account(), batch.lines().len());
    let receipt = gate.journal.append(batch).await?;
    (used.bytes, used.would_refuse) = (stored_bytes as u64, would_refuse);
    let counters = gate.metrics.gateway.account(account);
    counters.accepted_lines.inc_by(receipt.tally().successful);
    counters.accepted_bytes.inc_by(stored_bytes as u64);
    if would_refuse {
        gate.metrics.gateway.would_refuse_requests.inc();
        gate.metrics.gateway.would_refuse_lines.inc_by(receipt.tally().successful);
    }
    Ok(receipt)
}

fn admit(
    gate: &Gate,
    credentials: &Credentials<'_>,
    origin: Origin,
    used: &mut Use,
) -> Result<Permit, Refusal> {
    let judged = match &credentials.token {
        None => Err(Denial::Missing),
        Some(digest) => gate.directory.admit(digest, || gate.clock.unix_ms()).ok_or(Refusal::NotReady)?,
    };
    let admitted = judged.map_err(Refusal::from).and_then(|permit| {
        used.token = Some(permit.token());
        within_scope(permit, origin)
    });
    let result = match &admitted {
        Ok(_) => "admitted",
        Err(Refusal::TokenMissing) => "missing",
        Err(Refusal::DoorOutOfScope) => "scope_door",
        Err(Refusal::SourceOutOfScope) => "scope_source",
        Err(_) => "not_valid",
    };
    gate.metrics.gateway.auth.with_label_values(&[result]).inc();
    admitted
}

/// Of a token whose scope names doors or sources: whether this request's are among them.
fn within_scope(permit: Permit, origin: Origin) -> Result<Permit, Refusal> {
    let Some(terms) = permit.terms() else { return Ok(permit) };
    if !terms.scope.has_door(origin.door) {
        Err(Refusal::DoorOutOfScope)
    } else if !terms.scope.has_source(origin.source) {
        Err(Refusal::SourceOutOfScope)
    } else {
        Ok(permit)
    }
}

/// The permit by the directory now in force.
fn confirm(gate: &Gate, permit: &Permit, origin: Origin) -> Result<Permit, Refusal> {
    let again = gate.directory.admit_again(permit, || gate.clock.unix_ms()).map_err(Refusal::from);
    again.and_then(|permit| within_scope(permit, origin)).map_err(|_| {
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
