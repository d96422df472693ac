//! The ledger: who used which token, how much, and who still tries with one that is no more. Gateways count, and what
//! they send is added here, once however often it is sent.
//!
//! It is kept out of the queue of writers: counting delays no admin on a database that can do both at once, and writes
//! many rows with one statement. It is bounded: days and clients are dropped after [`DAYS_MAX`] days, and of each token's
//! clients the few seen last are kept.

use super::gateways::{placeholders, signed};
use super::tokens::Token;
use super::write::Write;
use super::{Store, StoreError, number, number_or_none};
use crate::domain::account::{AccountId, TokenId};
use crate::domain::token::TokenDigest;
use crate::domain::usage::{ClientUse, Sums, Usage, day_of, minute_of};
use sqlx::any::{Any, AnyArguments, AnyRow};
use sqlx::query::Query;
use sqlx::{AnyConnection, AssertSqlSafe, Row};
use std::collections::BTreeMap;

/// How many days are kept, and for how long clients are.
pub const DAYS_MAX: u32 = 90;
/// How many clients of a token are kept, of each kind.
const CLIENTS_MAX: u32 = 20;
/// How long a deleted token is remembered after its last use.
const FORMER_DAYS_MAX: u32 = 400;
/// How long it is known what was counted: longer than any gateway sends it again.
const REPORTS_MS_MAX: u64 = 30 * 24 * 3_600 * 1_000;
/// How many rows one statement writes or names. SQLite looks up each of a statement's parameters among those before it.
const ROWS_AT_ONCE: usize = 64;

/// Where a token stands in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenState {
    Enabled,
    Disabled,
    Deleted { deleted_ms: u64 },
}

/// One token's use over all days that are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenUsage {
    pub id: TokenId,
    pub name: String,
    pub state: TokenState,
    /// Minutes since the Unix epoch, of accepted batches; they outlive the days.
    pub first_used_minute: Option<u32>,
    pub last_used_minute: Option<u32>,
    /// The last batch that was refused because of the token itself.
    pub last_refused_minute: Option<u32>,
    pub sums: Sums,
    /// Batches refused, by reason: codes of the gateway, `disabled` and `deleted`.
    pub refusals: BTreeMap<String, u64>,
    /// Who used it while it was enabled.
    pub clients: Vec<ClientUse>,
    /// Who used it after its end.
    pub clients_after_end: Vec<ClientUse>,
}

/// One day of a token.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DayUsage {
    /// Since the Unix epoch.
    pub day: u32,
    pub sums: Sums,
    pub refusals: BTreeMap<String, u64>,
}

/// Reasons that are the token's own end.
pub const DISABLED: &str = "disabled";
pub const EXPIRED: &str = "expired";
pub const DELETED: &str = "deleted";

impl Store {
    /// Adds what a gateway counted, unless it is in already. Returns which digests that no directory holds are those of
    /// tokens.
    pub async fn add_usage(
        &self,
        instance: &str,
        count: u64,
        usage: &Usage,
    ) -> Result<Vec<TokenDigest>, StoreError> {
        let mut tx = self.0.counting().await?;
        let is_new = sqlx::query(
            "INSERT INTO usage_reports (instance, number, at_ms) VALUES ($1, $2, $3) ON CONFLICT (instance) DO \
             UPDATE SET number = excluded.number, at_ms = excluded.at_ms \
             WHERE usage_reports.number < excluded.number",
        )
        .bind(instance)
        .bind(signed(count))
        .bind(signed(self.0.clock.unix_ms()))
        .execute(&mut *tx)
        .await?;
        let known = known_digests(&mut tx, usage, self.0.clock.unix_ms()).await?;
        if is_new.rows_affected() > 0 {
            Rows::of(usage, &known).write(&mut tx).await?;
        }
        tx.commit().await.map_err(StoreError::of_commit)?;
        Ok(known.into_keys().collect())
    }

    /// One token's use, and that of each of its days, newest first. It may be deleted.
    pub async fn token_usage(
        &self,
        account: AccountId,
        id: TokenId,
    ) -> Result<(TokenUsage, Vec<DayUsage>), StoreError> {
        let mut tx = self.0.moment().await?;
        let found = usages(&mut tx, account, Some(id), 1).await?.pop().ok_or(StoreError::NotFound)?;
        let mut days: BTreeMap<u32, DayUsage> = BTreeMap::new();
        let rows =
            sqlx::query("SELECT day, requests, lines, bytes, refused_lines FROM token_days WHERE token = $1");
        for row in &rows.bind(i64::from(id.0)).fetch_all(&mut *tx).await? {
            let day = number(row, "day")?;
            days.insert(day, DayUsage { day, sums: sums_of(row)?, refusals: BTreeMap::new() });
        }
        let rows = sqlx::query("SELECT day, reason, requests FROM token_refusals WHERE token = $1");
        for row in &rows.bind(i64::from(id.0)).fetch_all(&mut *tx).await? {
            let day = number(row, "day")?;
            let refusals = &mut days.entry(day).or_insert(DayUsage { day, ..DayUsage::default() }).refusals;
            refusals.insert(row.try_get("reason")?, number(row, "requests")?);
        }
        Ok((found, days.into_values().rev().collect()))
    }

    /// The account's tokens, deleted ones included, those used or tried last first.
    pub async fn account_usage(&self, account: AccountId, limit: u32) -> Result<Vec<TokenUsage>, StoreError> {
        let mut tx = self.0.moment().await?;
        usages(&mut tx, account, None, limit).await
    }

    /// Drops what is too old.
    pub async fn trim_usage(&self) -> Result<(), StoreError> {
        let now_ms = self.0.clock.unix_ms();
        let minute = minute_of(now_ms);
        let day = i64::from(day_of(minute).saturating_sub(DAYS_MAX));
        let minutes_ago = |days: u32| i64::from(minute.saturating_sub(days * 24 * 60));
        for (sql, limit) in [
            ("DELETE FROM token_days WHERE day < $1", day),
            ("DELETE FROM token_refusals WHERE day < $1", day),
            ("DELETE FROM token_clients WHERE last_minute < $1", minutes_ago(DAYS_MAX)),
            ("DELETE FROM usage_reports WHERE at_ms < $1", signed(now_ms.saturating_sub(REPORTS_MS_MAX))),
            (
                "DELETE FROM former_tokens WHERE deleted_ms < $1 * 60000 AND NOT EXISTS (SELECT 1 FROM token_uses u \
                 WHERE u.token = former_tokens.id AND u.last_refused_minute >= $1)",
                minutes_ago(FORMER_DAYS_MAX),
            ),
            (
                "DELETE FROM token_uses WHERE COALESCE(last_used_minute, 0) < $1 AND \
                 COALESCE(last_refused_minute, 0) < $1 AND token NOT IN (SELECT id FROM shipping_tokens) \
                 AND token NOT IN (SELECT id FROM former_tokens)",
                minutes_ago(FORMER_DAYS_MAX),
            ),
        ] {
            sqlx::query(sql).bind(limit).execute(&self.0.writer).await?;
        }
        Ok(())
    }
}

/// Remembers a token that is being deleted.
pub(super) async fn remember(
    write: &mut Write<'_>,
    account: AccountId,
    token: &Token,
) -> Result<(), StoreError> {
    let at_ms = write.at_ms;
    sqlx::query(
        "INSERT INTO former_tokens (id, account, name, digest, deleted_ms) VALUES ($1, $2, $3, $4, $5)",
    )
    .bind(i64::from(token.id.0))
    .bind(i64::from(account.0))
    .bind(&token.name)
    .bind(token.value.digest().to_hex())
    .bind(at_ms)
    .execute(&mut *write.tx)
    .await?;
    Ok(())
}

/// A token that is or was, and why its use is refused.
type Known = (i64, &'static str);

/// Of the digests that the gateway's directory did not hold, those that are or were tokens.
async fn known_digests(
    connection: &mut AnyConnection,
    usage: &Usage,
    now_ms: u64,
) -> Result<BTreeMap<TokenDigest, Known>, StoreError> {
    let now_ms = signed(now_ms).to_string();
    let mut known = BTreeMap::new();
    for strangers in usage.strangers.chunks(ROWS_AT_ONCE) {
        // A value that was brought again belongs to the token that has it now, or had it last.
        for sql in [
            "SELECT id, digest, 'deleted' AS state FROM former_tokens WHERE digest IN {} ORDER BY id",
            "SELECT id, digest, CASE WHEN expires_ms <= now_ms THEN 'expired' WHEN enabled = 1 THEN 'enabled' \
             ELSE 'disabled' END AS state FROM shipping_tokens WHERE digest IN {}",
        ] {
            let sql = sql.replace("{}", &placeholders(1, strangers.len())).replace("now_ms", &now_ms);
            let mut query = sqlx::query(AssertSqlSafe(sql));
            for stranger in strangers {
                query = query.bind(stranger.digest.to_hex());
            }
            for row in &query.fetch_all(&mut *connection).await? {
                let digest = TokenDigest::from_hex(row.try_get("digest")?);
                let reason = match row.try_get::<String, _>("state")?.as_str() {
                    DELETED => DELETED,
                    DISABLED => DISABLED,
                    EXPIRED => EXPIRED,
                    // It was not enabled yet, or is again.
                    _ => "not_valid",
                };
                known.insert(digest.ok_or(StoreError::Damaged("digest"))?, (row.try_get("id")?, reason));
            }
        }
    }
    Ok(known)
}

/// What to add to each table: a row once, however often it was counted.
#[derive(Default)]
struct Rows {
    /// First and last use, last refusal.
    uses: BTreeMap<i64, [Option<u32>; 3]>,
    days: BTreeMap<(i64, u32), Sums>,
    refusals: BTreeMap<(i64, u32, String), u64>,
    /// Requests and the last minute.
    clients: BTreeMap<(i64, i64, String, String), (u64, u32)>,
}

impl Rows {
    fn of(usage: &Usage, known: &BTreeMap<TokenDigest, Known>) -> Self {
        let mut this = Self::default();
        for used in &usage.tokens {
            let token = i64::from(used.token.0);
            if used.sums.requests > 0 {
                this.at(token, [Some(used.first_minute), Some(used.last_minute), None]);
                this.days.entry((token, used.day)).or_default().add(used.sums);
            }
            for (reason, requests) in &used.refusals {
                *this.refusals.entry((token, used.day, reason.clone())).or_default() += requests;
            }
            this.clients(token, 0, &used.clients);
        }
        for used in &usage.strangers {
            let Some((token, reason)) = known.get(&used.digest) else { continue };
            // A token that was not enabled yet, or is again, has no end.
            let ended = [DISABLED, EXPIRED, DELETED].contains(reason);
            if ended {
                this.at(*token, [None, None, Some(used.last_minute)]);
            }
            let key = (*token, day_of(used.last_minute), (*reason).to_owned());
            *this.refusals.entry(key).or_default() += used.requests;
            this.clients(*token, i64::from(ended), &used.clients);
        }
        this
    }

    fn at(&mut self, token: i64, [first, last, refused]: [Option<u32>; 3]) {
        let [known_first, known_last, known_refused] = self.uses.entry(token).or_default();
        *known_first = [*known_first, first].into_iter().flatten().min();
        *known_last = (*known_last).max(last);
        *known_refused = (*known_refused).max(refused);
    }

    fn clients(&mut self, token: i64, ended: i64, clients: &[ClientUse]) {
        for client in clients {
            let key = (token, ended, client.source.to_canonical().to_string(), client.agent.clone());
            let (requests, last_minute) = self.clients.entry(key).or_default();
            *requests += client.requests;
            *last_minute = client.last_minute.max(*last_minute);
        }
    }

    async fn write(self, connection: &mut AnyConnection) -> Result<(), StoreError> {
        // The same order in every transaction: two of them never wait for each other.
        let into = "token_uses (token, first_used_minute, last_used_minute, last_refused_minute)";
        let earlier = |old: &str, new: &str| {
            format!("CASE WHEN {old} <= {new} THEN {old} ELSE COALESCE({new}, {old}) END")
        };
        let later = |old: &str, new: &str| {
            format!("CASE WHEN {old} >= {new} THEN {old} ELSE COALESCE({new}, {old}) END")
        };
        let set = format!(
            "(token) DO UPDATE SET first_used_minute = {}, last_used_minute = {}, last_refused_minute = {}",
            earlier("token_uses.first_used_minute", "excluded.first_used_minute"),
            later("token_uses.last_used_minute", "excluded.last_used_minute"),
            later("token_uses.last_refused_minute", "excluded.last_refused_minute"),
        );
        upsert(connection, into, 4, &set, &self.uses, |query, (token, minutes)| {
            minutes.iter().fold(query.bind(*token), |query, minute| query.bind(minute.map(i64::from)))
        })
        .await?;
        let into = "token_days (token, day, requests, lines, bytes, refused_lines)";
        let set = "(token, day) DO UPDATE SET requests = token_days.requests + excluded.requests, \
                   lines = token_days.lines + excluded.lines, bytes = token_days.bytes + excluded.bytes, \
                   refused_lines = token_days.refused_lines + excluded.refused_lines";
        upsert(connection, into, 6, set, &self.days, |query, ((token, day), sums)| {
            let numbers = [sums.requests, sums.lines, sums.bytes, sums.refused_lines];
            let query = query.bind(*token).bind(i64::from(*day));
            numbers.into_iter().fold(query, |query, number| query.bind(signed(number)))
        })
        .await?;
        let into = "token_refusals (token, day, reason, requests)";
        let set = "(token, day, reason) DO UPDATE SET requests = token_refusals.requests + excluded.requests";
        upsert(connection, into, 4, set, &self.refusals, |query, ((token, day, reason), requests)| {
            query.bind(*token).bind(i64::from(*day)).bind(reason.clone()).bind(signed(*requests))
        })
        .await?;
        let into = "token_clients (token, ended, source, agent, requests, last_minute)";
        let set = "(token, ended, source, agent) DO UPDATE SET requests = token_clients.requests + excluded.requests, \
                   last_minute = CASE WHEN token_clients.last_minute > excluded.last_minute \
                   THEN token_clients.last_minute ELSE excluded.last_minute END";
        upsert(
            connection,
            into,
            6,
            set,
            &self.clients,
            |query, ((token, ended, source, agent), (requests, last))| {
                let query = query.bind(*token).bind(*ended).bind(source.clone()).bind(agent.clone());
                query.bind(signed(*requests)).bind(i64::from(*last))
            },
        )
        .await?;
        let tokens: Vec<i64> =
            self.uses.keys().chain(self.clients.keys().map(|(token, ..)| token)).copied().collect();
        drop_clients_beyond(connection, tokens).await
    }
}

type Bound<'q> = Query<'q, Any, AnyArguments>;

/// Adds `rows` to a table, many with one statement. `set` says what to do with those that are there.
async fn upsert<K, V>(
    connection: &mut AnyConnection,
    into: &str,
    columns: usize,
    set: &str,
    rows: &BTreeMap<K, V>,
    bind: impl for<'q> Fn(Bound<'q>, (&K, &V)) -> Bound<'q>,
) -> Result<(), StoreError> {
    let mut rows = rows.iter().peekable();
    while rows.peek().is_some() {
        let part: Vec<_> = rows.by_ref().take(ROWS_AT_ONCE).collect();
        let values = placeholders(part.len(), columns);
        // Made of constants only; what gateways sent is bound.
        let sql = format!("INSERT INTO {into} VALUES {values} ON CONFLICT {set}");
        let query = part.into_iter().fold(sqlx::query(AssertSqlSafe(sql)), &bind);
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

/// Of each token's clients keeps those seen last.
async fn drop_clients_beyond(connection: &mut AnyConnection, mut tokens: Vec<i64>) -> Result<(), StoreError> {
    tokens.dedup();
    for tokens in tokens.chunks(ROWS_AT_ONCE) {
        let sql = format!(
            "DELETE FROM token_clients WHERE (token, ended, source, agent) IN (SELECT token, ended, source, agent \
             FROM (SELECT token, ended, source, agent, ROW_NUMBER() OVER (PARTITION BY token, ended \
             ORDER BY last_minute DESC, requests DESC, source, agent) AS place FROM token_clients \
             WHERE token IN {}) AS ranked WHERE place > {CLIENTS_MAX})",
            placeholders(1, tokens.len())
        );
        let query = tokens.iter().fold(sqlx::query(AssertSqlSafe(sql)), |query, token| query.bind(*token));
        query.execute(&mut *connection).await?;
    }
    Ok(())
}

/// Tokens of an account with all that is kept of them, those used or tried last first.
async fn usages(
    connection: &mut AnyConnection,
    account: AccountId,
    only: Option<TokenId>,
    limit: u32,
) -> Result<Vec<TokenUsage>, StoreError> {
    let rows = sqlx::query(
        "SELECT t.id, t.name, t.enabled, t.deleted_ms, u.first_used_minute, u.last_used_minute, \
         u.last_refused_minute FROM (SELECT id, account, name, enabled, -1 AS deleted_ms FROM shipping_tokens \
         UNION ALL SELECT id, account, name, 0, deleted_ms FROM former_tokens) AS t \
         LEFT JOIN token_uses u ON u.token = t.id WHERE t.account = $1 AND t.id BETWEEN $2 AND $3 \
         ORDER BY CASE WHEN COALESCE(u.last_refused_minute, 0) > COALESCE(u.last_used_minute, 0) \
         THEN u.last_refused_minute ELSE COALESCE(u.last_used_minute, 0) END DESC, t.id DESC LIMIT $4",
    )
    .bind(i64::from(account.0))
    .bind(only.map_or(0, |id| i64::from(id.0)))
    .bind(only.map_or(i64::MAX, |id| i64::from(id.0)))
    .bind(i64::from(limit))
    .fetch_all(&mut *connection)
    .await?;
    let mut found = Found::new(rows.iter().map(usage_of).collect::<Result<_, _>>()?);
    let days = "SELECT token, requests, lines, bytes, refused_lines FROM token_days WHERE token IN {}";
    found
        .with(connection, days, |usage, row| {
            usage.sums.add(sums_of(row)?);
            Ok(())
        })
        .await?;
    let refusals = "SELECT token, reason, requests FROM token_refusals WHERE token IN {}";
    found
        .with(connection, refusals, |usage, row| {
            *usage.refusals.entry(row.try_get("reason")?).or_default() += number::<u64>(row, "requests")?;
            Ok(())
        })
        .await?;
    let clients = "SELECT token, ended, source, agent, requests, last_minute FROM token_clients WHERE token IN {} \
                   ORDER BY requests DESC, source, agent";
    found
        .with(connection, clients, |usage, row| {
            let ended = row.try_get::<i64, _>("ended")? == 1;
            let clients = if ended { &mut usage.clients_after_end } else { &mut usage.clients };
            clients.push(client_of(row)?);
            Ok(())
        })
        .await?;
    Ok(found.usages)
}

/// Tokens to which what is kept of them is added.
struct Found {
    usages: Vec<TokenUsage>,
    /// Where each is, by its number.
    places: BTreeMap<u32, usize>,
}

impl Found {
    fn new(usages: Vec<TokenUsage>) -> Self {
        let places = usages.iter().enumerate().map(|(at, usage)| (usage.id.0, at)).collect();
        Self { usages, places }
    }

    /// Adds each row of `sql`, in which `{}` stands for the tokens' numbers, to its token.
    async fn with(
        &mut self,
        connection: &mut AnyConnection,
        sql: &str,
        add: fn(&mut TokenUsage, &AnyRow) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let ids: Vec<_> = self.places.keys().copied().collect();
        for ids in ids.chunks(ROWS_AT_ONCE) {
            let sql = sql.replace("{}", &placeholders(1, ids.len()));
            let query =
                ids.iter().fold(sqlx::query(AssertSqlSafe(sql)), |query, id| query.bind(i64::from(*id)));
            for row in &query.fetch_all(&mut *connection).await? {
                if let Some(at) = self.places.get(&number(row, "token")?) {
                    add(&mut self.usages[*at], row)?;
                }
            }
        }
        Ok(())
    }
}

fn usage_of(row: &AnyRow) -> Result<TokenUsage, StoreError> {
    let state = match (row.try_get::<i64, _>("deleted_ms")?, row.try_get::<i64, _>("enabled")?) {
        (-1, 1) => TokenState::Enabled,
        (-1, _) => TokenState::Disabled,
        (deleted_ms, _) => TokenState::Deleted { deleted_ms: deleted_ms.unsigned_abs() },
    };
    Ok(TokenUsage {
        id: TokenId(number(row, "id")?),
        name: row.try_get("name")?,
        state,
        first_used_minute: number_or_none(row, "first_used_minute")?,
        last_used_minute: number_or_none(row, "last_used_minute")?,
        last_refused_minute: number_or_none(row, "last_refused_minute")?,
        sums: Sums::default(),
        refusals: BTreeMap::new(),
        clients: vec![],
        clients_after_end: vec![],
    })
}

fn sums_of(row: &AnyRow) -> Result<Sums, StoreError> {
    Ok(Sums {
        requests: number(row, "requests")?,
        lines: number(row, "lines")?,
        bytes: number(row, "bytes")?,
        refused_lines: number(row, "refused_lines")?,
    })
}

fn client_of(row: &AnyRow) -> Result<ClientUse, StoreError> {
    Ok(ClientUse {
        source: row.try_get::<String, _>("source")?.parse().map_err(|_| StoreError::Damaged("source"))?,
        agent: row.try_get("agent")?,
        requests: number(row, "requests")?,
        last_minute: number(row, "last_minute")?,
    })
}
