//! Doors: the protocols that shippers speak. A door reads a request its protocol's way, sends it down the straight line,
//! and turns the receipt or the refusal into the answer its clients expect.

mod bulk;

use super::Gate;
use super::connection::InProgress;
use super::refusal::Refusal;
use crate::clock;
use crate::shutdown::Tasks;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::http::{Method, header, request};
use hyper::{Request, Response};
use std::net::IpAddr;
use std::time::Duration;

/// How long the rest of a refused body is read, so that its sender gets to see the answer.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(5);

/// Every door's outcomes, for metrics that exist before the first request.
pub fn outcomes() -> impl Iterator<Item = (&'static str, &'static str)> {
    bulk::ACCEPTED.into_iter().chain(Refusal::CODES).map(|code| (bulk::NAME, code))
}

/// Serves one request, from its head to its answer. It is in progress until nothing more is read of it, either.
pub async fn serve(
    gate: &Gate,
    tasks: &Tasks,
    peer: IpAddr,
    request: Request<Incoming>,
    in_progress: InProgress,
) -> Response<Full<Bytes>> {
    let begun = clock::monotonic();
    let (head, mut body) = request.into_parts();
    let outcome = match (head.uri.path(), &head.method) {
        ("/" | "", &Method::POST) => bulk::take(gate, peer, &head, &mut body).await,
        ("/" | "", _) => Err(Refusal::MethodNotAllowed),
        _ => Err(Refusal::NotFound),
    };
    let code = outcome.as_ref().map_or_else(Refusal::code, |receipt| bulk::code(receipt));
    gate.metrics.gateway.requests.with_label_values(&[bulk::NAME, code]).inc();
    gate.metrics.gateway.request_seconds.observe(begun.elapsed().as_secs_f64());
    if let Err(refusal) = &outcome {
        gate.reports.refused(refusal);
        discard(gate, tasks, &head, body, in_progress);
    }
    bulk::answer(&outcome)
}

/// A client that is told no in the middle of its upload often sees only a broken connection; over HTTP/2 a reset stream,
/// which some versions of curl take for a failure although the answer came first. So the rest is read and thrown away, within limits.
fn discard(gate: &Gate, tasks: &Tasks, head: &request::Parts, body: Incoming, in_progress: InProgress) {
    let waits_for_the_answer = head.headers.contains_key(header::EXPECT);
    if hyper::body::Body::is_end_stream(&body) || waits_for_the_answer {
        return;
    }
    let mut rest = http_body_util::Limited::new(body, gate.config.body_bytes_max);
    let stage = tasks.clone();
    tasks.spawn(async move {
        let read = async { while let Some(Ok(_)) = rest.frame().await {} };
        tokio::select! {
            _ = tokio::time::timeout(DISCARD_TIMEOUT, read) => {}
            () = stage.draining() => {}
        }
        drop(in_progress);
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::terms::DOORS;

    #[test]
    fn a_scope_can_name_every_door() {
        assert!(outcomes().all(|(door, _)| DOORS.contains(&door)));
    }
}
