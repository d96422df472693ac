//! Side actors that send no batches of their own: who changes tokens, trickles bytes, or only holds connections open.
//!
//! What they do is counted, never timed: the traffic beside them shows what they cost.

use super::LoadError;
use super::api::{Api, ApiError};
use super::link::{self, Stream};
use super::options::Options;
use super::pace::Pace;
use super::report;
use super::scenario::Side;
use super::traffic::Common;
use crate::clock;
use crate::shutdown::Shutdown;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Semaphore;

/// Who change tokens at the same time. Each has one enabled token at most, which fits a plan of fifteen.
const CHANGERS: usize = 8;
/// Connections that are being opened at the same time.
const OPENING_MAX: usize = 128;
/// Between two bytes of a slow client, and before a lost connection is opened again.
const TRICKLE: Duration = Duration::from_secs(1);
/// For side actors to take their places before the run begins.
const READY_TRIES: u32 = 600;
const READY_PAUSE: Duration = Duration::from_millis(50);
/// For side actors to leave.
const LEAVE_DEADLINE: Duration = Duration::from_secs(10);

/// Side actors at work.
pub(super) struct Actors {
    name: &'static str,
    counts: Counts,
    stage: Shutdown,
    /// How many connections should be open before the run begins.
    connections: u64,
    pace: Option<Arc<Pace>>,
}

#[derive(Clone, Default)]
struct Counts(Arc<Mutex<BTreeMap<&'static str, u64>>>);

impl Counts {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, what: &'static str) {
        *self.lock().entry(what).or_default() += 1;
    }

    fn of(&self, what: &'static str) -> u64 {
        self.lock().get(what).copied().unwrap_or(0)
    }
}

/// How many connections are open now; counted down when one is dropped.
struct Open(Counts);

const OPEN: &str = "open";

impl Open {
    fn count(counts: &Counts) -> Self {
        counts.add(OPEN);
        Self(counts.clone())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Some(open) = self.0.lock().get_mut(OPEN) {
            *open -= 1;
        }
    }
}

impl Actors {
    /// Starts the side actors that a scenario has, if they are of this kind.
    pub(super) async fn start(
        side: Side,
        options: &Options,
        common: &Arc<Common>,
        token: &str,
    ) -> Result<Option<Self>, LoadError> {
        let (name, connections) = match side {
            Side::Churn { .. } => ("token changes", 0),
            Side::Slow { clients } => ("slow clients", clients),
            Side::Idle { connections } => ("idle connections", connections),
            _ => return Ok(None),
        };
        let (counts, stage) = (Counts::default(), Shutdown::new());
        let mut this = Self { name, counts, stage, connections: u64::from(connections), pace: None };
        match side {
            Side::Churn { changes_per_second } => {
                this.churn(options, common, changes_per_second).await?;
            }
            _ => this.hold(connections, common, token, matches!(side, Side::Slow { .. })),
        }
        Ok(Some(this))
    }

    async fn churn(&mut self, options: &Options, common: &Common, rate: f64) -> Result<(), LoadError> {
        let api = Api::new(options, &self.stage.tasks()).await?;
        let pace = Arc::new(Pace::new(Some(rate), clock::monotonic()));
        self.pace = Some(Arc::clone(&pace));
        let driver = Arc::clone(&pace);
        std::thread::Builder::new()
            .name("load-churn".to_owned())
            .spawn(move || driver.drive())
            .map_err(LoadError::Thread)?;
        for number in 0..CHANGERS {
            let name = format!("load-{}-churn-{number}", common.run);
            self.stage.tasks().spawn(change(api.another(), name, Arc::clone(&pace), self.counts.clone()));
        }
        Ok(())
    }

    fn hold(&self, connections: u32, common: &Arc<Common>, token: &str, slow: bool) {
        let opening = Arc::new(Semaphore::new(OPENING_MAX));
        let door = common.target.door(token).map(|uri| uri.path_and_query().map(ToString::to_string));
        let door = door.flatten().unwrap_or_else(|| "/".to_owned());
        let host = common.target.host.to_str().unwrap_or("localhost").to_owned();
        // Half of the slow ones trickle their head, half their body.
        let head = format!("POST {door} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 1000000\r\n");
        let in_body = Arc::<str>::from(format!("{head}\r\n"));
        let in_head = Arc::<str>::from(head);
        for number in 0..connections {
            let head = slow.then(|| Arc::clone(if number % 2 == 0 { &in_head } else { &in_body }));
            let (common, tasks) = (Arc::clone(common), self.stage.tasks());
            let (opening, counts) = (Arc::clone(&opening), self.counts.clone());
            let holding = tasks.clone();
            self.stage.tasks().spawn(async move {
                tokio::select! {
                    () = hold_open(&common, &opening, &counts, head) => {}
                    () = holding.draining() => {}
                }
            });
        }
    }

    /// Waits until all connections that should be open are, but not for ever.
    pub(super) async fn take_places(&self) {
        for _ in 0..READY_TRIES {
            if self.counts.of(OPEN) >= self.connections {
                break;
            }
            tokio::time::sleep(READY_PAUSE).await;
        }
    }

    /// Forgets what was counted so far, but for what is open.
    pub(super) fn begin_counting(&self) {
        self.counts.lock().retain(|what, _| *what == OPEN);
    }

    /// What was counted within these seconds.
    pub(super) fn counts(&self, seconds: f64) -> (&'static str, report::Side) {
        let counts = self.counts.lock().iter().map(|(what, count)| ((*what).to_owned(), *count)).collect();
        let mut counts: BTreeMap<String, u64> = counts;
        if self.pace.is_some() {
            let changes = CHANGES.iter().map(|what| self.counts.of(what)).sum::<u64>();
            counts.insert("changes a second".to_owned(), (changes as f64 / seconds) as u64);
        }
        (self.name, report::Side(counts))
    }

    pub(super) async fn stop(self) {
        if let Some(pace) = &self.pace {
            pace.stop();
        }
        let _ = self.stage.drain(LEAVE_DEADLINE).await;
    }
}

/// What happens to a token, in this order.
const CHANGES: [&str; 4] = ["created", "disabled", "enabled", "deleted"];

/// Gives one token a life over and over: created, disabled, enabled again, deleted.
async fn change(mut api: Api, name: String, pace: Arc<Pace>, counts: Counts) {
    let mut token = None;
    for step in (0..4).cycle() {
        if pace.next().await.is_none() {
            break;
        }
        let (what, done) = match (step, token) {
            (1, Some(id)) => (CHANGES[1], api.set_enabled(id, false).await),
            (2, Some(id)) => (CHANGES[2], api.set_enabled(id, true).await),
            (3, Some(id)) => {
                token = None;
                (CHANGES[3], api.delete_token(id).await)
            }
            (0, _) => {
                let created = api.create_token(&name).await;
                token = created.as_ref().ok().map(|created| created.id);
                (CHANGES[0], created.map(drop))
            }
            _ => continue,
        };
        counts.add(match done {
            Ok(()) => what,
            Err(ApiError::Refused { .. }) => "refused",
            Err(_) => "unanswered",
        });
    }
    if let Some(id) = token {
        let _ = api.delete_token(id).await;
    }
}

/// Holds a connection open, and opens it again when it is closed. With a head, it is sent, and then a byte now and then.
async fn hold_open(common: &Common, opening: &Semaphore, counts: &Counts, head: Option<Arc<str>>) {
    loop {
        let Ok(turn) = opening.acquire().await else {
            return;
        };
        let stream = tokio::time::timeout(common.timeout, link::connect(&common.target)).await;
        drop(turn);
        match stream {
            Ok(Ok(stream)) => {
                let _open = Open::count(counts);
                until_closed(stream, head.as_deref()).await;
                counts.add("closed by the server");
            }
            Ok(Err(_)) | Err(_) => counts.add("connects failed"),
        }
        tokio::time::sleep(TRICKLE).await;
    }
}

async fn until_closed(mut stream: Box<dyn Stream>, head: Option<&str>) {
    let mut answer = [0; 1_024];
    if let Some(head) = head
        && stream.write_all(head.as_bytes()).await.is_err()
    {
        return;
    }
    loop {
        tokio::select! {
            read = stream.read(&mut answer) => match read {
                Ok(1..) => {}
                Ok(0) | Err(_) => return,
            },
            () = tokio::time::sleep(TRICKLE), if head.is_some() => {
                if stream.write_all(b"x").await.is_err() {
                    return;
                }
            }
        }
    }
}
