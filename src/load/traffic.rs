//! Traffic: connections that send batches, and what becomes of each batch.

use super::body::{Bodies, Encoding, Recipe, Sent};
use super::id::RunId;
use super::ledger::{Book, Outcome};
use super::link::{Answer, Http, Link};
use super::measure::{Interval, Volume};
use super::pace::Pace;
use super::random::Random;
use super::target::Target;
use crate::clock;
use crate::shutdown::Tasks;
use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_ENCODING, HOST, HeaderValue};
use hyper::{Request, Uri};
use serde::Deserialize;
use std::iter::Cycle;
use std::slice;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// How long a connection waits before it tries again to reach a server that is not there.
const RECONNECT_PAUSE: Duration = Duration::from_millis(50);

/// What every batch of a run has in common.
pub(super) struct Common {
    pub target: Target,
    pub run: RunId,
    pub seed: u64,
    /// For a batch to be answered, and for a connection to be made.
    pub timeout: Duration,
}

/// What a group's connections send.
pub(super) enum Content {
    /// Batches of lines, every line with an id of its own.
    Lines(Recipe),
    /// The same bodies, in turn, ready to be sent: they have no lines that could be looked for. Not empty.
    Same(Vec<(Bytes, Encoding)>),
}

/// Connections that do the same.
pub(super) struct Group {
    pub name: &'static str,
    pub common: Arc<Common>,
    pub content: Content,
    /// As they stand in a URL. Not empty.
    pub tokens: Arc<Vec<String>>,
    pub connections: u32,
    /// Its connections take two lanes each, from this one on.
    pub first_lane: u32,
    pub pace: Pace,
    interval: Mutex<Interval>,
    books: Mutex<Vec<Book>>,
}

impl Group {
    pub(super) fn new(
        name: &'static str,
        common: &Arc<Common>,
        content: Content,
        tokens: Arc<Vec<String>>,
        connections: u32,
        first_lane: u32,
        pace: Pace,
    ) -> Self {
        let (interval, books) = (Mutex::new(Interval::new()), Mutex::default());
        let common = Arc::clone(common);
        Self { name, common, content, tokens, connections, first_lane, pace, interval, books }
    }

    /// What happened since this was last asked.
    pub(super) fn take_interval(&self) -> Interval {
        std::mem::replace(&mut *self.interval(), Interval::new())
    }

    /// What became of every line, once all connections have ended.
    pub(super) fn take_books(&self) -> Vec<Book> {
        std::mem::take(&mut *self.books.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn interval(&self) -> MutexGuard<'_, Interval> {
        self.interval.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends batches on connection `number` until the pace stops.
    pub(super) async fn send(self: Arc<Self>, number: u32, tasks: Tasks) {
        let mut connection = Connection::new(&self, number, tasks);
        while let Some(due) = self.pace.next().await {
            connection.batch(due).await;
        }
        let book = connection.book;
        self.books.lock().unwrap_or_else(PoisonError::into_inner).push(book);
    }
}

/// Where a connection has its bodies from.
enum Source<'a> {
    Lines(Bodies),
    Same(Cycle<slice::Iter<'a, (Bytes, Encoding)>>),
}

impl Source<'_> {
    fn next(&mut self) -> Option<(Bytes, Sent, Encoding)> {
        match self {
            Self::Lines(bodies) => bodies.next().ok(),
            Self::Same(bodies) => {
                let (body, encoding) = bodies.next()?;
                let sent = Sent { good: None, bad: None, plain_bytes: body.len() };
                Some((body.clone(), sent, *encoding))
            }
        }
    }
}

/// One connection of a group, opened again whenever it is lost.
struct Connection<'a> {
    group: &'a Group,
    tasks: Tasks,
    lane: u32,
    link: Option<Link>,
    source: Source<'a>,
    random: Random,
    /// Where to, if there is one token only.
    uri: Option<Uri>,
    book: Book,
}

impl<'a> Connection<'a> {
    fn new(group: &'a Group, number: u32, tasks: Tasks) -> Self {
        let (common, lane) = (&group.common, group.first_lane + 2 * number);
        let source = match &group.content {
            Content::Lines(recipe) => Source::Lines(Bodies::new(recipe, common.run, lane, common.seed)),
            Content::Same(bodies) => Source::Same(bodies.iter().cycle()),
        };
        let random = Random::new(common.seed, u64::from(lane) << 32);
        let book = Book::default();
        let mut this = Self { group, tasks, lane, link: None, source, random, uri: None, book };
        this.uri = (group.tokens.len() == 1).then(|| this.any_uri()).flatten();
        this
    }

    /// Sends one batch that was due at `due`.
    async fn batch(&mut self, due: Instant) {
        let common = &self.group.common;
        let link = timeout(common.timeout, Link::renew(self.link.take(), &common.target, &self.tasks));
        let link = link.await.ok().and_then(Result::ok);
        let Some((mut link, (request, sent))) = link.and_then(|link| Some((link, self.request()?))) else {
            self.group.interval().connects_failed += 1;
            tokio::time::sleep(RECONNECT_PAUSE).await;
            return;
        };
        // In a closed loop, what it takes to make a body is not the server's.
        let begun = if self.group.pace.is_open() { due } else { clock::monotonic() };
        let answer = match timeout(common.timeout, link.send(request)).await {
            Ok(Ok(answer)) => {
                self.link = Some(link);
                Some(answer)
            }
            Ok(Err(_)) | Err(_) => None,
        };
        self.note(&sent, answer, begun.elapsed());
    }

    fn request(&mut self) -> Option<(Request<Full<Bytes>>, Sent)> {
        let (body, sent, encoding) = self.source.next()?;
        let uri = match &self.uri {
            Some(uri) => uri.clone(),
            None => self.any_uri()?,
        };
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = hyper::Method::POST;
        *request.uri_mut() = uri;
        let common = &self.group.common;
        if common.target.http == Http::One {
            request.headers_mut().insert(HOST, common.target.host.clone());
        }
        if let Some(encoding) = encoding.name() {
            request.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static(encoding));
        }
        Some((request, sent))
    }

    /// The door, with one of the tokens.
    fn any_uri(&mut self) -> Option<Uri> {
        let tokens = &self.group.tokens;
        let token = &tokens[self.random.below(tokens.len())];
        self.group.common.target.door(token)
    }

    fn note(&mut self, sent: &Sent, answer: Option<Answer>, latency: Duration) {
        let volume = Volume {
            batches: 1,
            lines: sent.good_lines() + sent.bad_lines(),
            bytes: sent.plain_bytes as u64,
        };
        let (good, bad) = match &answer {
            None => (Outcome::Unknown, Outcome::Unknown),
            // Answered with anything, a line that is no JSON object must not be stored.
            Some(answer) => (judge(answer, sent.good_lines()), Outcome::Refused),
        };
        self.book.note(self.lane, sent.good.clone(), good);
        self.book.note(self.lane + 1, sent.bad.clone(), bad);
        let mut interval = self.group.interval();
        match answer {
            None => interval.unanswered += volume,
            Some(answer) => {
                let taken = (good == Outcome::Acknowledged).then(|| sent.good_lines());
                interval.answered(answer.status, volume, taken, latency);
            }
        }
    }
}

/// What an answer says of a batch's good lines.
fn judge(answer: &Answer, good_lines: u64) -> Outcome {
    /// The counters of a batch with bad lines.
    #[derive(Deserialize)]
    struct Counters {
        #[serde(rename = "successfulLines")]
        successful: u64,
    }
    let taken = || Some(serde_json::from_slice::<Counters>(&answer.body).ok()?.successful);
    match answer.status {
        200..=299 => Outcome::Acknowledged,
        400 => match taken() {
            Some(taken) if taken == good_lines => Outcome::Acknowledged,
            // Some were taken, but which?
            Some(1..) => Outcome::Unknown,
            _ => Outcome::Refused,
        },
        _ => Outcome::Refused,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_tells_what_became_of_the_good_lines() {
        let counters = |n: u64| format!("{{\"malformedLines\":2,\"successfulLines\":{n}}}");
        for (status, body, expect) in [
            (200, String::new(), Outcome::Acknowledged),
            (202, "{}".to_owned(), Outcome::Acknowledged),
            (400, counters(98), Outcome::Acknowledged),
            (400, counters(0), Outcome::Refused),
            (400, counters(50), Outcome::Unknown),
            (400, "the body was cut".to_owned(), Outcome::Refused),
            (401, String::new(), Outcome::Refused),
            (503, String::new(), Outcome::Refused),
        ] {
            let answer = Answer { status, body: body.clone().into() };
            assert_eq!(judge(&answer, 98), expect, "{status} {body}");
        }
    }
}
