//! The ledger: who used which token, how much, and who still tries with one that is no more. Gateways count, and what
//! they send is added here, once however often it is sent.
//!
//! It is kept out of the queue of writers: counting delays no admin on a database that can do both at once, and writes
//! many rows with one statement. It is bounded: days and clients are dropped after [`DAYS_MAX`] days, and of each token's
//! clients the few seen last are kept.

mod counted;

use super::gateways::{placeholders, signed};
use super::tokens::Token;
use super::write::Write;
use super::{Store, StoreError, number, number_or_none};
use crate::domain::account::{AccountId, TokenId};
use crate::domain::token::TokenDigest;
use crate::domain::usage::{ClientUse, Sums, Usage, day_of, minute_of};
use counted::{Rows, known_digests};
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, AssertSqlSafe, Row};
use std::collections::BTreeMap;

/// How many days are kept, and for how long clients are.
pub const DAYS_MAX: u32 = 90;
/// How many clients of a token are kept, of each kind.
const CLIENTS_MAX: u32 = 20;
/// How many clients are kept that came with tokens which never were.
const UNKNOWN_MAX: u32 = 200;
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
    pub account: AccountId,
    pub id: TokenId,
    pub name: String,
    pub state: TokenState,
    /// Minutes since the Unix epoch, of accepted batches; they outlive the days.
    pub first_used_minute: Option<u32>,
    pub last_used_minute: Option<u32>,
    /// The last batch that was refused because of the token itself.
    pub last_refused_minute: Option<u32>,
    pub sums: Sums,
    /// Lines accepted on the day it is, by UTC.
    pub lines_today: u64,
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
        let today = day_of(minute_of(self.unix_ms()));
        let wanted = Wanted::Token(account, id);
        let found = usages(&mut tx, wanted, today, 1).await?.pop().ok_or(StoreError::NotFound)?;
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
        usages(&mut tx, Wanted::Account(account), day_of(minute_of(self.unix_ms())), limit).await
    }

    /// The tokens of `main` and its sub-accounts that were used after their end, those last tried first.
    pub async fn refused_tokens(&self, main: AccountId, limit: u32) -> Result<Vec<TokenUsage>, StoreError> {
        let mut tx = self.0.moment().await?;
        usages(&mut tx, Wanted::Refused(main), day_of(minute_of(self.unix_ms())), limit).await
    }

    /// Who came with tokens that are and were nobody's, those seen last first. Which tokens those were is kept nowhere.
    pub async fn unknown_clients(&self, limit: u32) -> Result<Vec<ClientUse>, StoreError> {
        sqlx::query(
            "SELECT source, agent, requests, last_minute FROM unknown_clients \
             ORDER BY last_minute DESC, requests DESC, source, agent LIMIT $1",
        )
        .bind(i64::from(limit))
        .fetch_all(&self.0.readers)
        .await?
        .iter()
        .map(client_of)
        .collect()
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
            ("DELETE FROM unknown_clients WHERE last_minute < $1", minutes_ago(DAYS_MAX)),
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

/// Whose use is asked for.
#[derive(Clone, Copy)]
enum Wanted {
    Token(AccountId, TokenId),
    Account(AccountId),
    /// Of an account and its sub-accounts: those used after their end.
    Refused(AccountId),
}

/// Tokens with all that is kept of them, those used or tried last first.
async fn usages(
    connection: &mut AnyConnection,
    wanted: Wanted,
    today: u32,
    limit: u32,
) -> Result<Vec<TokenUsage>, StoreError> {
    let (account, only, condition) = match wanted {
        Wanted::Token(account, id) => (account, Some(i64::from(id.0)), "t.account = $1"),
        Wanted::Account(account) => (account, None, "t.account = $1"),
        Wanted::Refused(main) => (
            main,
            None,
            "u.last_refused_minute IS NOT NULL AND \
             (t.account = $1 OR t.account IN (SELECT id FROM accounts WHERE parent = $1))",
        ),
    };
    let last = match wanted {
        Wanted::Refused(_) => "u.last_refused_minute",
        _ => {
            "CASE WHEN COALESCE(u.last_refused_minute, 0) > COALESCE(u.last_used_minute, 0) \
             THEN u.last_refused_minute ELSE COALESCE(u.last_used_minute, 0) END"
        }
    };
    let sql = format!(
        "SELECT t.id, t.account, t.name, t.enabled, t.deleted_ms, u.first_used_minute, u.last_used_minute, \
         u.last_refused_minute FROM (SELECT id, account, name, enabled, -1 AS deleted_ms FROM shipping_tokens \
         UNION ALL SELECT id, account, name, 0, deleted_ms FROM former_tokens) AS t \
         LEFT JOIN token_uses u ON u.token = t.id WHERE {condition} AND t.id BETWEEN $2 AND $3 \
         ORDER BY {last} DESC, t.id DESC LIMIT $4"
    );
    // Made of constants only.
    let rows = sqlx::query(AssertSqlSafe(sql))
        .bind(i64::from(account.0))
        .bind(only.unwrap_or(0))
        .bind(only.unwrap_or(i64::MAX))
        .bind(i64::from(limit))
        .fetch_all(&mut *connection)
        .await?;
    let mut found = Found::new(rows.iter().map(usage_of).collect::<Result<_, _>>()?);
    let days = "SELECT token, day, requests, lines, bytes, refused_lines FROM token_days WHERE token IN {}";
    found
        .with(connection, days, |usage, row| {
            let sums = sums_of(row)?;
            usage.sums.add(sums);
            if number::<u32>(row, "day")? == today {
                usage.lines_today = sums.lines;
            }
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
        add: impl Fn(&mut TokenUsage, &AnyRow) -> Result<(), StoreError>,
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
        account: AccountId(number(row, "account")?),
        id: TokenId(number(row, "id")?),
        name: row.try_get("name")?,
        state,
        first_used_minute: number_or_none(row, "first_used_minute")?,
        last_used_minute: number_or_none(row, "last_used_minute")?,
        last_refused_minute: number_or_none(row, "last_refused_minute")?,
        sums: Sums::default(),
        lines_today: 0,
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
