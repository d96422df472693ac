//! The journal with its thread, and what tests of other modules need of it.

use super::disk::OsDisk;
use super::*;
use crate::domain::account::{AccountGrant, AccountId, Retention, TokenId};
use crate::domain::batch::Framing;
use crate::domain::directory::{Change, Directory};
use crate::domain::token::TokenDigest;

/// A batch of an account, as the gateway would make it.
pub(crate) fn batch(account: u32, durability: Durability, received_ms: u64, body: &str) -> Batch {
    let mut directory = Directory::default();
    let digest = TokenDigest::of("a token");
    let account = AccountId(account);
    directory.apply(Change::Account(AccountGrant {
        account,
        durability: Some(durability),
        rate_bytes_max: None,
        retention: Retention { days: 1, bytes_max: None },
    }));
    directory.apply(Change::Token { digest, token: TokenId(1), account, terms: None });
    let permit = directory.admit(&digest, || 0).expect("just enabled");
    let framing = Framing { received_ms, default_type: "t", line_bytes_max: 1 << 24 };
    Batch::parse(permit, body.as_bytes(), framing)
}

/// Settings for tests: small, so that every bound is met.
pub(crate) fn config(dir: &Path) -> Config {
    Config {
        dir: dir.join("journal"),
        durability: Durability::Synced,
        segment_bytes: 64 << 20,
        bytes_max: 1 << 30,
        disk_free_bytes_min: 0,
        group_bytes_max: 4 << 20,
        queue_bytes_max: 64 << 20,
        coalesce_bytes_max: 16 << 10,
        compression_level: 1,
        on_corruption: OnCorruption::Fail,
    }
}

/// The journal without its thread: every group is committed when and as a test says.
pub(crate) struct Direct {
    committer: Committer,
    presses: Presses,
    coalesce_bytes_max: usize,
}

impl Direct {
    pub(crate) fn open(
        config: &Config,
        disk: Arc<dyn Disk>,
        metrics: Arc<Metrics>,
        floor: u64,
    ) -> Result<(Self, Feed), OpenError> {
        let (committer, feed) = open_parts(config, disk, metrics, floor, usize::MAX)?;
        let direct = Self {
            committer,
            presses: Presses::new(config.compression_level),
            coalesce_bytes_max: config.coalesce_bytes_max,
        };
        Ok((direct, feed))
    }

    /// Commits a group of one small batch.
    pub(crate) fn store(&mut self, account: u32, durability: Durability, n: u64) -> Result<(), AppendError> {
        let body = format!("{{\"n\":{n}}}");
        let answers = self.commit(vec![batch(account, durability, n, &body)]);
        answers.into_iter().try_for_each(|answer| answer.map(drop))
    }

    /// Commits one group and returns the answers, batch by batch.
    pub(crate) fn commit(&mut self, batches: Vec<Batch>) -> Vec<Result<Receipt, AppendError>> {
        let mut answers = vec![];
        let mut requests = vec![];
        for batch in batches {
            let grant = *batch.permit().grant();
            let received_ms = batch.received_ms();
            let (answer, answered) = oneshot::channel();
            let payload = match batch.lines().len() <= self.coalesce_bytes_max {
                true => Payload::Lines(batch),
                false => self.presses.frame(batch).unwrap(),
            };
            answers.push(answered);
            requests.push(Request {
                account: grant.account,
                durability: grant.durability.unwrap(),
                received_ms,
                payload,
                answer,
            });
        }
        self.committer.commit(requests);
        let answer = |mut answered: oneshot::Receiver<_>| answered.try_recv().unwrap();
        answers.into_iter().map(answer).collect()
    }
}

impl Direct {
    /// What the journal says of itself.
    pub(crate) fn health(&self) -> Option<AppendError> {
        *locked(&self.committer.trouble())
    }

    /// What the journal does each second without traffic.
    pub(crate) fn look(&mut self) -> Option<AppendError> {
        self.committer.look();
        self.health()
    }
}

pub(crate) fn inflate(blocks: &[u8]) -> String {
    String::from_utf8(zstd::stream::decode_all(blocks).unwrap()).unwrap()
}

fn open(config: Config) -> (Journal, Feed) {
    Journal::open(config, Arc::new(OsDisk), Arc::new(Metrics::new()), 0, 64 << 20).unwrap()
}

/// Everything that is in the journal, block by block.
fn replayed(feed: &Feed) -> Vec<(u32, String)> {
    let mut found = vec![];
    let mut take = |extent: Extent| {
        found.push((extent.account.0, inflate(&extent.bytes)));
        Ok(())
    };
    feed.replay(0, feed.recovered_seq(), &mut take).unwrap();
    found
}

#[tokio::test]
async fn what_is_receipted_is_found_again() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, feed) = open(config(dir.path()));
    let small = batch(1, Durability::Synced, 7, "{\"a\":1,\"@timestamp\":0,\"type\":1}\nnonsense\n");
    let receipt = journal.append(small).await.unwrap();
    assert_eq!((receipt.tally().successful, receipt.tally().malformed()), (1, 1));
    let line = format!("{{\"b\":\"{}\",\"@timestamp\":0,\"type\":1}}\n", "x".repeat(1000));
    for lines in [20, 2000] {
        let large = batch(2, Durability::Written, 8, &line.repeat(lines));
        let receipt = journal.append(large).await.unwrap();
        assert_eq!(receipt.durability(), Durability::Written);
    }
    let nothing = journal.append(batch(3, Durability::Synced, 9, "\n")).await.unwrap();
    assert_eq!(nothing.tally().empty, 1);
    journal.close();
    drop(feed);
    let (_journal, feed) = open(config(dir.path()));
    let expect = [
        (1, "{\"a\":1,\"@timestamp\":0,\"type\":1}\n".to_owned()),
        (2, line.repeat(20)),
        (2, line.repeat(2000)),
    ];
    assert!(replayed(&feed) == expect);
    assert_eq!(feed.recovered_seq(), 3);
}

#[tokio::test]
async fn a_closed_journal_refuses() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _feed) = open(config(dir.path()));
    journal.close();
    let refused = journal.append(batch(1, Durability::Synced, 7, "{}")).await;
    assert_eq!(refused.unwrap_err(), AppendError::Closed);
}

/// What is logged on this thread by `work`.
pub(crate) fn logged(work: impl FnOnce()) -> String {
    let log = Arc::new(Mutex::new(Vec::new()));
    let writer = log.clone();
    let lines = tracing_subscriber::fmt().without_time().with_ansi(false).with_target(false);
    let lines = lines.with_writer(move || Sink(writer.clone())).finish();
    tracing::subscriber::with_default(lines, work);
    String::from_utf8(std::mem::take(&mut *locked(&log))).unwrap()
}

struct Sink(Arc<Mutex<Vec<u8>>>);

impl io::Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        locked(&self.0).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Waits for what another thread is about to do.
pub(crate) async fn eventually(done: impl Fn() -> bool) {
    let waiting = async {
        while !done() {
            tokio::task::yield_now().await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(60), waiting).await;
    assert!(waited.is_ok(), "it never happens");
}

#[tokio::test]
async fn a_full_disk_is_known_and_known_to_be_over_without_traffic() {
    let disk = disk::fake::FakeDisk::new(1);
    let config = Config { disk_free_bytes_min: 1_000, ..config(Path::new("/data")) };
    let metrics = Arc::new(Metrics::new());
    let (journal, _feed) = Journal::open(config, Arc::new(disk.clone()), metrics, 0, 64 << 20).unwrap();
    assert_eq!(journal.health(), Ok(()));
    disk.set_free_bytes(999);
    eventually(|| journal.health() == Err(AppendError::Full)).await;
    disk.set_free_bytes(1_000_000);
    eventually(|| journal.health().is_ok()).await;
    journal.close();
    assert_eq!(journal.health(), Err(AppendError::Closed));
}

#[tokio::test]
async fn one_directory_is_one_process_s() {
    let dir = tempfile::tempdir().unwrap();
    let (_journal, _feed) = open(config(dir.path()));
    let second = Journal::open(config(dir.path()), Arc::new(OsDisk), Arc::new(Metrics::new()), 0, 1);
    assert!(matches!(second, Err(OpenError::Locked { .. })));
}

#[tokio::test]
async fn a_batch_in_the_queue_is_stored_though_nobody_waits_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, feed) = open(config(dir.path()));
    {
        let appending = journal.append(batch(1, Durability::Synced, 7, "{\"a\":1}"));
        let mut appending = std::pin::pin!(appending);
        // Polled once: it is in the queue. Then the client goes away.
        let polled =
            std::future::poll_fn(|cx| std::task::Poll::Ready(appending.as_mut().poll(cx).is_pending()));
        polled.await;
    }
    journal.close();
    assert_eq!(replayed(&feed).len(), 0, "nothing was in the journal when it was opened");
    let extents = feed.next(Duration::from_secs(60)).unwrap();
    assert!(inflate(&extents[0].bytes).contains("\"a\":1"));
    assert!(feed.next(Duration::ZERO).is_none());
}

/// A request with a small batch, and where its answer comes.
fn request() -> (Request, oneshot::Receiver<Result<Receipt, AppendError>>) {
    let (answer, answered) = oneshot::channel();
    let request = Request {
        account: AccountId(1),
        durability: Durability::Synced,
        received_ms: 0,
        payload: Payload::Lines(batch(1, Durability::Synced, 7, "{}")),
        answer,
    };
    (request, answered)
}

#[test]
fn behind_a_slow_disk_no_more_waits_than_it_stores_in_a_second() {
    let metrics = Metrics::new();
    let each = request().0.payload.bytes() + 512;
    let queue = Queue::new(1_000 * each, 10 * each, metrics.journal.queue_bytes.clone());
    let start = clock::monotonic() + Duration::from_secs(10);
    let at = |ms| start + Duration::from_millis(ms);
    let fill = |ms| (0..).take_while(|_| queue.push(request().0, at(ms)).is_ok()).count();
    let store = |ms| {
        let taken = queue.take(Duration::ZERO).map_or(0, |requests| requests.len());
        queue.committed(at(ms));
        taken
    };
    assert_eq!(fill(0), 10, "nothing is known of the disk yet: a group");
    let stored: usize = (0..20).map(|n| (store(10 * n), fill(10 * n)).0).sum();
    assert_eq!(stored, 200);
    let waiting = || metrics.journal.queue_bytes.get() as usize / each;
    assert_eq!(waiting(), 200, "as much as a fast disk has just stored");
    assert_eq!(fill(900), 0, "then it stalls");
    assert_eq!((store(1_500), fill(1_500)), (10, 0));
    while store(2_500) > 0 {}
    assert_eq!(fill(9_000), 10, "what it did long ago says nothing");
    assert_eq!(waiting(), 10);
}

#[tokio::test]
async fn a_full_queue_refuses_at_once() {
    let metrics = Metrics::new();
    let queue = Queue::new(2_000, 2_000, metrics.journal.queue_bytes.clone());
    let taken = (0..).take_while(|_| queue.push(request().0, clock::monotonic()).is_ok()).count();
    assert_eq!(queue.push(request().0, clock::monotonic()), Err(AppendError::Busy));
    assert!(metrics.journal.queue_bytes.get() <= 2_000);
    assert_eq!(queue.take(Duration::ZERO).map(|requests| requests.len()), Some(taken));
    assert_eq!(metrics.journal.queue_bytes.get(), 0);
    let (last, mut answered) = request();
    queue.push(last, clock::monotonic()).unwrap();
    queue.abandon();
    assert_eq!(queue.push(request().0, clock::monotonic()), Err(AppendError::Closed));
    assert!(answered.try_recv().is_err());
    assert!(queue.take(Duration::ZERO).is_none());
}

#[test]
fn the_backlog_has_room_again_when_what_was_taken_is_done() {
    let disk = disk::fake::FakeDisk::new(1);
    let metrics = Arc::new(Metrics::new());
    let (mut direct, feed) = Direct::open(&config(Path::new("/data")), Arc::new(disk), metrics, 0).unwrap();
    direct.store(1, Durability::Synced, 0).unwrap();
    let backlog = Backlog::new(10);
    assert!(backlog.wait_for_room(Duration::ZERO));
    backlog.push(feed.next(Duration::ZERO).unwrap());
    assert!(!backlog.wait_for_room(Duration::ZERO));
    let taken = backlog.take(Duration::ZERO).unwrap();
    assert!(!backlog.wait_for_room(Duration::ZERO), "it is still in memory");
    backlog.done(taken[0].bytes.len());
    assert!(backlog.wait_for_room(Duration::ZERO));
    assert_eq!(backlog.take(Duration::ZERO).unwrap().len(), 0);
    backlog.close();
    assert!(backlog.take(Duration::ZERO).is_none() && backlog.wait_for_close(Duration::ZERO));
}

mod damage;
mod spares;
