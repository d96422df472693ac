//! `shipgate logs tail`: server-sent events, shown as they come.

use super::show::Look;
use super::{Api, ClientError, path};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use std::io::{self, Write};
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// The server says something three times in this.
const SILENCE: Duration = Duration::from_secs(35);
const PAUSE: Duration = Duration::from_secs(1);
/// Longer than any log.
const EVENT_BYTES_MAX: usize = 64 << 20;

/// Why a tail is over.
enum Ended {
    /// What the server says.
    Said(String),
    /// Without a word.
    Lost,
}

pub(super) async fn run(api: &Api, query: &str, look: Look) -> Result<(), ClientError> {
    let path = path("/v1/logs/tail", &[("query", query.to_owned())]);
    let mut body = api.open(&path).await?;
    loop {
        let reason = match follow(&mut body, look).await? {
            Ended::Said(reason) if reason == "deleted" || reason == "expired" => {
                return Err(ClientError::TailEnded(reason));
            }
            Ended::Said(reason) if reason == "behind" => "more came than was taken",
            Ended::Said(_) => "the server stopped it",
            Ended::Lost => "the connection was lost",
        };
        eprintln!("shipgate: {reason}: beginning anew; what comes meanwhile is not shown");
        body = loop {
            sleep(PAUSE).await;
            match api.open(&path).await {
                Ok(body) => break body,
                Err(ClientError::Unreachable { .. } | ClientError::TimedOut(_)) => {}
                Err(error) => return Err(error),
            }
        };
    }
}

async fn follow(body: &mut Incoming, look: Look) -> Result<Ended, ClientError> {
    let mut events = Events::default();
    loop {
        let Ok(Some(Ok(frame))) = timeout(SILENCE, body.frame()).await else { return Ok(Ended::Lost) };
        let Ok(data) = frame.into_data() else { continue };
        if events.waiting.len() + data.len() > EVENT_BYTES_MAX {
            return Ok(Ended::Lost);
        }
        let mut out = io::stdout().lock();
        for (name, data) in events.take(&data) {
            match name.as_str() {
                "log" => look.write(&mut out, None, &data).map_err(ClientError::Output)?,
                "end" => {
                    let said: serde_json::Value = serde_json::from_str(&data).unwrap_or_default();
                    return Ok(Ended::Said(said["reason"].as_str().unwrap_or_default().to_owned()));
                }
                _ => {}
            }
        }
        out.flush().map_err(ClientError::Output)?;
    }
}

/// Makes events of what arrives in pieces.
#[derive(Default)]
struct Events {
    waiting: Vec<u8>,
}

impl Events {
    /// The events that are whole now: name and data.
    fn take(&mut self, data: &[u8]) -> Vec<(String, String)> {
        self.waiting.extend_from_slice(data);
        let Some(end) = memchr::memmem::rfind(&self.waiting, b"\n\n") else { return Vec::new() };
        let rest = self.waiting.split_off(end + 2);
        let whole = std::mem::replace(&mut self.waiting, rest);
        String::from_utf8_lossy(&whole).split("\n\n").filter_map(event).collect()
    }
}

fn event(text: &str) -> Option<(String, String)> {
    let (mut name, mut data) = (None, None);
    for line in text.lines() {
        if let Some(value) = line.strip_prefix("event: ") {
            name = Some(value.to_owned());
        } else if let Some(value) = line.strip_prefix("data: ") {
            data = Some(value.to_owned());
        }
    }
    name.zip(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_whole_however_they_arrive() {
        let sent = b": hello\n\nevent: log\ndata: {\"a\":1}\n\n:\n\nevent: end\ndata: {}\n\nevent: lo";
        let expect = [("log", "{\"a\":1}"), ("end", "{}")];
        let expect: Vec<_> =
            expect.iter().map(|(name, data)| ((*name).to_owned(), (*data).to_owned())).collect();
        for length in 1..sent.len() {
            let mut events = Events::default();
            let found: Vec<_> = sent.chunks(length).flat_map(|piece| events.take(piece)).collect();
            assert_eq!(found, expect, "{length}");
        }
    }
}
