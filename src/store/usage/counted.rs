//! What a gateway counted, on its way into the tables: whose digests those were, and a row for each sum.

use super::{CLIENTS_MAX, DELETED, DISABLED, EXPIRED, ROWS_AT_ONCE, UNKNOWN_MAX};
use crate::domain::token::TokenDigest;
use crate::domain::usage::{ClientUse, Sums, Usage, day_of};
use crate::store::StoreError;
use crate::store::gateways::{placeholders, signed};
use sqlx::any::{Any, AnyArguments};
use sqlx::query::Query;
use sqlx::{AnyConnection, AssertSqlSafe, Row};
use std::collections::BTreeMap;

/// A token that is or was, and why its use is refused.
pub(super) type Known = (i64, &'static str);

/// Of the digests that the gateway's directory did not hold, those that are or were tokens.
pub(super) async fn known_digests(
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
pub(super) struct Rows {
    /// First and last use, last refusal.
    uses: BTreeMap<i64, [Option<u32>; 3]>,
    days: BTreeMap<(i64, u32), Sums>,
    refusals: BTreeMap<(i64, u32, String), u64>,
    /// Requests and the last minute.
    clients: BTreeMap<(i64, i64, String, String), (u64, u32)>,
    /// Likewise, of those with tokens which are and were nobody's.
    unknown: BTreeMap<(String, String), (u64, u32)>,
}

impl Rows {
    pub fn of(usage: &Usage, known: &BTreeMap<TokenDigest, Known>) -> Self {
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
            let Some((token, reason)) = known.get(&used.digest) else {
                this.unknown(&used.clients);
                continue;
            };
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

    fn unknown(&mut self, clients: &[ClientUse]) {
        for client in clients {
            let key = (client.source.to_canonical().to_string(), client.agent.clone());
            let (requests, last_minute) = self.unknown.entry(key).or_default();
            *requests += client.requests;
            *last_minute = client.last_minute.max(*last_minute);
        }
    }

    pub async fn write(self, connection: &mut AnyConnection) -> Result<(), StoreError> {
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
        if !self.unknown.is_empty() {
            write_unknown(connection, &self.unknown).await?;
        }
        let tokens: Vec<i64> =
            self.uses.keys().chain(self.clients.keys().map(|(token, ..)| token)).copied().collect();
        drop_clients_beyond(connection, tokens).await
    }
}

/// Adds clients that nobody's token came from, and keeps those seen last.
async fn write_unknown(
    connection: &mut AnyConnection,
    clients: &BTreeMap<(String, String), (u64, u32)>,
) -> Result<(), StoreError> {
    let into = "unknown_clients (source, agent, requests, last_minute)";
    let set = "(source, agent) DO UPDATE SET requests = unknown_clients.requests + excluded.requests, \
               last_minute = CASE WHEN unknown_clients.last_minute > excluded.last_minute \
               THEN unknown_clients.last_minute ELSE excluded.last_minute END";
    upsert(connection, into, 4, set, clients, |query, ((source, agent), (requests, last))| {
        query.bind(source.clone()).bind(agent.clone()).bind(signed(*requests)).bind(i64::from(*last))
    })
    .await?;
    let sql = format!(
        "DELETE FROM unknown_clients WHERE (source, agent) NOT IN (SELECT source, agent FROM unknown_clients \
         ORDER BY last_minute DESC, requests DESC, source, agent LIMIT {UNKNOWN_MAX})"
    );
    sqlx::query(AssertSqlSafe(sql)).execute(&mut *connection).await?;
    Ok(())
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
