//! The gateways as they report themselves, and the question that matters about them: who enforces a revision?
//!
//! What gateways say is kept in memory, where reports arrive every other second and at once when somebody waits, and
//! written to the database now and then. A gateway that nobody has heard of, or that stops, is written down before its
//! report is answered: who must confirm a revision is known after a restart, too.
//!
//! A gateway that fell silent may still be serving what it had, and so is named among those that have not confirmed
//! until it reports again, says that it stops, is forgotten by an admin, or has been silent for a day.

mod known;
mod rows;

use super::write::Write;
use super::{By, Inner, Store, StoreError, number};
use crate::clock::monotonic;
use crate::domain::account::AccountId;
use known::{Known, make_room};
use serde::{Deserialize, Serialize};
use sqlx::AnyPool;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// How long a silent gateway is still waited for.
const SILENT_MS_MAX: u64 = 24 * 3_600 * 1_000;
/// How long one that has left, or has been silent, is still shown.
const SHOWN_MS_MAX: u64 = 30 * SILENT_MS_MAX;
/// The longest pause between two reports of a gateway that is well: several times what is usual.
const UNHEARD_MS_MAX: u64 = 10_000;
/// How long a gateway's reports must have come without a gap until all that it counted before is known.
const CAUGHT_UP: Duration = Duration::from_secs(90);
/// How many gateways are known at a time.
const GATEWAYS_MAX: usize = 10_000;
/// How many rows one statement writes.
const ROWS_AT_ONCE: usize = 32;

/// A gateway, as it last reported itself.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Gateway {
    pub id: String,
    /// The process: another one each time it starts.
    pub instance: String,
    /// Of the report; rises within an instance.
    pub number: u64,
    /// Where shippers reach it, as far as it knows.
    pub address: String,
    pub software: String,
    /// The store that `revision` counts in.
    pub store: String,
    /// The revision of the directory in force there.
    pub revision: u64,
    /// Unix milliseconds.
    pub started_ms: u64,
    /// Unix milliseconds.
    pub first_seen_ms: u64,
    /// Unix milliseconds.
    pub seen_ms: u64,
    /// When it said that it stops, Unix milliseconds.
    pub left_ms: Option<u64>,
    /// Answered since it started.
    pub requests: u64,
    pub requests_per_second: f64,
    /// Acknowledged since it started.
    #[serde(default)]
    pub lines: u64,
    #[serde(default)]
    pub lines_per_second: f64,
    /// Requests refused since it started, by reason.
    #[serde(default)]
    pub refusals: BTreeMap<String, u64>,
}

impl Gateway {
    /// Whether a revision is enforced only once this gateway has said so.
    fn must_confirm(&self, now_ms: u64) -> bool {
        self.left_ms.is_none() && now_ms.saturating_sub(self.seen_ms) < SILENT_MS_MAX
    }
}

/// Why a gateway's report was not taken.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    #[error("{GATEWAYS_MAX} gateways are known, and all of them may be serving")]
    TooManyGateways,
    #[error("the gateway could not be written down")]
    Store(#[from] StoreError),
}

/// Which revision a change became: filled in by the transaction that makes it.
#[derive(Debug, Clone, Default)]
pub struct Awaited(Arc<AtomicU64>);

impl Awaited {
    pub(super) fn is_revision(&self, revision: u64) {
        self.0.fetch_max(revision, Ordering::Relaxed);
    }

    /// `None`: nothing was committed.
    pub fn revision(&self) -> Option<u64> {
        Some(self.0.load(Ordering::Relaxed)).filter(|revision| *revision > 0)
    }
}

/// Who enforces a revision, and who does not yet.
#[derive(Debug, Clone, PartialEq)]
pub struct Enforcement {
    pub revision: u64,
    /// Gateways by their id, and how long after the question's beginning each had confirmed.
    pub confirmed: Vec<(String, Duration)>,
    pub lagging: Vec<Gateway>,
}

impl Enforcement {
    /// Whether every gateway that must confirm it has.
    pub fn is_complete(&self) -> bool {
        self.lagging.is_empty()
    }
}

/// What replicas tell each other of gateways.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum News {
    Reported(Box<Gateway>),
    Forgotten(String),
}

/// The gateways known here.
pub(super) struct Gateways {
    known: Mutex<HashMap<String, Known>>,
    /// Counts reports, to wake whoever waits for one.
    reports: watch::Sender<u64>,
}

impl Gateways {
    pub(super) async fn load(readers: &AnyPool) -> Result<Self, sqlx::Error> {
        let this = Self { known: Mutex::default(), reports: watch::Sender::new(0) };
        for gateway in rows::load(readers).await? {
            // There was room for it when it was written down.
            let _ = this.hear(gateway, false);
        }
        Ok(this)
    }

    /// Takes over what other replicas wrote down while this one did not hear them.
    pub(super) async fn catch_up(&self, readers: &AnyPool) -> Result<(), sqlx::Error> {
        for (id, written) in std::mem::take(&mut *Self::load(readers).await?.known()) {
            let seen_ms = self.known().get(&id).map(|known| known.gateway.seen_ms);
            if seen_ms.is_none_or(|seen_ms| seen_ms < written.gateway.seen_ms) {
                let _ = self.hear(written.gateway, false);
            }
        }
        Ok(())
    }

    /// Takes over what another replica was told.
    pub(super) fn overhear(&self, news: &str) {
        match serde_json::from_str(news) {
            // There is no room for it here, as there is none there.
            Ok(News::Reported(gateway)) => drop(self.hear(*gateway, false)),
            Ok(News::Forgotten(id)) => self.forget(&id),
            Err(error) => tracing::warn!("another replica's news of a gateway cannot be read: {error}"),
        }
    }

    fn forget(&self, id: &str) {
        self.known().remove(id);
        self.reports.send_modify(|reports| *reports += 1);
    }

    fn known(&self) -> MutexGuard<'_, HashMap<String, Known>> {
        // Whoever panicked left a map of whole values behind.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes over what a gateway says, unless it said something newer before. Says whether it came or left.
    fn hear(&self, gateway: Gateway, unsaved: bool) -> Result<bool, ReportError> {
        let mut known = self.known();
        let news = match known.get_mut(&gateway.id) {
            Some(before) => before.follow(gateway, unsaved),
            None => {
                make_room(&mut known, gateway.seen_ms)?;
                let since = monotonic();
                let heard = Known { gateway, since, steady_since: since, disputed: None, unsaved };
                known.insert(heard.gateway.id.clone(), heard);
                true
            }
        };
        drop(known);
        self.reports.send_modify(|reports| *reports += 1);
        Ok(news)
    }

    /// Whether all uses of tokens are known, but for those of the last moments: every gateway that may be serving has
    /// reported without a gap for a while. After an outage the uses that were counted meanwhile come first.
    pub(super) fn are_all_heard(&self, now_ms: u64) -> bool {
        self.known().values().filter(|known| known.gateway.must_confirm(now_ms)).all(|known| {
            now_ms.saturating_sub(known.gateway.seen_ms) <= UNHEARD_MS_MAX
                && known.steady_since.elapsed() >= CAUGHT_UP
        })
    }

    /// That no gateway is known to enforce a revision.
    fn nobody(&self, revision: u64) -> Enforcement {
        let lagging = self.known().values().map(|known| known.gateway.clone()).collect();
        Enforcement { revision, confirmed: vec![], lagging }
    }

    fn look(&self, store: &str, revision: u64, began: Instant, now_ms: u64) -> Enforcement {
        let mut enforcement = Enforcement { revision, confirmed: vec![], lagging: vec![] };
        for known in self.known().values() {
            let Known { gateway, since, .. } = known;
            if !gateway.must_confirm(now_ms) {
                continue;
            }
            if gateway.store == store && gateway.revision >= revision && !known.is_disputed() {
                enforcement.confirmed.push((gateway.id.clone(), since.saturating_duration_since(began)));
            } else {
                enforcement.lagging.push(gateway.clone());
            }
        }
        enforcement.confirmed.sort();
        enforcement.lagging.sort_by(|a, b| a.id.cmp(&b.id));
        enforcement
    }
}

impl Store {
    /// Takes a gateway's report of itself. A revision that this store has not reached is another history's, and
    /// confirms nothing.
    pub async fn gateway_reported(&self, mut gateway: Gateway) -> Result<(), ReportError> {
        gateway.seen_ms = self.unix_ms();
        gateway.first_seen_ms = gateway.seen_ms;
        gateway.left_ms = gateway.left_ms.map(|_| gateway.seen_ms);
        if gateway.store == self.0.id && gateway.revision > *self.0.latest.borrow() {
            gateway.revision = 0;
        }
        self.spread(gateway).await
    }

    /// Notes that a gateway begins to follow the directory: from now on it must confirm what changes.
    pub async fn gateway_follows(&self, id: &str) -> Result<(), ReportError> {
        let known = self.0.gateways.known().get(id).map(|known| known.gateway.clone());
        let now_ms = self.unix_ms();
        match known {
            Some(gateway) if gateway.must_confirm(now_ms) => Ok(()),
            // Between two instances, or never seen: its first report is on its way.
            known => {
                let stranger = || Gateway { first_seen_ms: now_ms, ..Gateway::default() };
                let gateway = Gateway {
                    id: id.to_owned(),
                    instance: String::new(),
                    number: 0,
                    revision: 0,
                    left_ms: None,
                    seen_ms: now_ms,
                    ..known.unwrap_or_else(stranger)
                };
                self.spread(gateway).await
            }
        }
    }

    /// Takes a gateway's words, tells the other replicas, and writes down that it came or left.
    async fn spread(&self, gateway: Gateway) -> Result<(), ReportError> {
        let news = News::Reported(Box::new(gateway.clone()));
        let came_or_left = self.0.gateways.hear(gateway, true)?;
        self.0.tell(&news).await.map_err(StoreError::from)?;
        if came_or_left { Ok(self.save_gateways().await?) } else { Ok(()) }
    }

    /// The last revision of the directory.
    pub async fn revision(&self) -> Result<u64, StoreError> {
        let row = sqlx::query("SELECT revision FROM store").fetch_one(&self.0.readers).await?;
        number(&row, "revision")
    }

    /// Every gateway known, by id.
    pub fn gateways(&self) -> Vec<Gateway> {
        let mut gateways: Vec<_> =
            self.0.gateways.known().values().map(|known| known.gateway.clone()).collect();
        gateways.sort_by(|a, b| a.id.cmp(&b.id));
        gateways
    }

    async fn catch_up_with_gateways(&self) -> Result<(), StoreError> {
        if self.0.listening.is_some() {
            self.0.gateways.catch_up(&self.0.readers).await?;
        }
        Ok(())
    }

    /// Waits until every gateway that must has confirmed `revision`, or until `given_up` resolves. Durations count from
    /// `began`.
    pub async fn enforcement(
        &self,
        revision: u64,
        began: Instant,
        given_up: impl Future<Output = ()>,
    ) -> Enforcement {
        let mut given_up = std::pin::pin!(given_up);
        let mut reports = self.0.gateways.reports.subscribe();
        // One that came while this replica did not hear the others is written down.
        while let Err(error) = self.catch_up_with_gateways().await {
            tracing::warn!("who must confirm a change cannot be read: {error}");
            let pause = tokio::time::sleep(Duration::from_millis(200));
            tokio::select! {
                () = pause => {}
                () = &mut given_up => return self.0.gateways.nobody(revision),
            }
        }
        let look = || self.0.gateways.look(&self.0.id, revision, began, self.unix_ms());
        loop {
            reports.mark_unchanged();
            let enforcement = look();
            if enforcement.is_complete() {
                return enforcement;
            }
            tokio::select! {
                _ = reports.changed() => {}
                () = &mut given_up => return look(),
            }
        }
    }

    /// When the revision after `revision` was committed, Unix milliseconds, if it is known and exists.
    pub async fn outdated_since_ms(&self, revision: u64) -> Result<Option<u64>, StoreError> {
        let next = i64::try_from(revision.saturating_add(1)).unwrap_or(i64::MAX);
        let row =
            sqlx::query("SELECT at_ms FROM directory_log WHERE revision >= $1 ORDER BY revision LIMIT 1")
                .bind(next)
                .fetch_optional(&self.0.readers)
                .await?;
        row.as_ref().map(|row| number(row, "at_ms")).transpose()
    }

    /// Forgets a gateway that will not come back. One that does is known again with its next report.
    pub async fn forget_gateway(&self, account: AccountId, id: &str, by: &By) -> Result<Gateway, StoreError> {
        let mut write = Write::begin(&self.0, by).await?;
        let known = self.0.gateways.known().get(id).map(|known| known.gateway.clone());
        let gateway = known.ok_or(StoreError::NotFound)?;
        sqlx::query("DELETE FROM gateways WHERE id = $1").bind(id).execute(&mut *write.tx).await?;
        let was = serde_json::json!({ "address": gateway.address, "revision": gateway.revision });
        write.audit(account, "gateway.forget", format!("gateway:{id}"), Some(was), None).await?;
        write.commit().await?;
        self.0.gateways.forget(id);
        self.0.tell(&News::Forgotten(id.to_owned())).await?;
        Ok(gateway)
    }

    /// Writes down what changed since the last time, and forgets gateways nobody has heard of for long.
    pub async fn save_gateways(&self) -> Result<(), StoreError> {
        let forgotten_ms = self.unix_ms().saturating_sub(SHOWN_MS_MAX);
        let mut unsaved = vec![];
        let known_before = {
            let mut known = self.0.gateways.known();
            let known_before = known.len();
            known.retain(|_, known| known.gateway.seen_ms >= forgotten_ms);
            for known in known.values_mut().filter(|known| known.unsaved) {
                known.unsaved = false;
                unsaved.push(known.gateway.clone());
            }
            known_before - known.len()
        };
        if known_before > 0 {
            sqlx::query("DELETE FROM gateways WHERE seen_ms < $1")
                .bind(signed(forgotten_ms))
                .execute(&self.0.writer)
                .await?;
        }
        for gateways in unsaved.chunks(ROWS_AT_ONCE) {
            if let Err(fault) = rows::save(&self.0.writer, gateways).await {
                let mut known = self.0.gateways.known();
                for gateway in &unsaved {
                    known.entry(gateway.id.clone()).and_modify(|known| known.unsaved = true);
                }
                return Err(fault.into());
            }
        }
        Ok(())
    }
}

impl Inner {
    async fn tell(&self, news: &News) -> Result<(), sqlx::Error> {
        if self.listening.is_none() {
            return Ok(());
        }
        // Of types whose keys are texts: it is always JSON.
        let news = serde_json::to_string(news).unwrap_or_default();
        let mut connection = self.readers.acquire().await?;
        self.notify(&mut connection, &news).await
    }
}

/// `($1, $2), ($3, $4), …`: what a statement that writes many rows binds.
pub(super) fn placeholders(rows: usize, columns: usize) -> String {
    let mut text = String::new();
    for at in 1..=rows * columns {
        let before = match (at % columns == 1 || columns == 1, at) {
            (true, 1) => "(",
            (true, _) => "), (",
            _ => ", ",
        };
        let _ = write!(text, "{before}${at}");
    }
    text + ")"
}

/// As the database holds it.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
