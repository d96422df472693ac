//! The end of a token's life: replaced by a successor and retired, or expired.
//!
//! A rotation gives an account a second token in the place of one, for as long as its shippers move over: the successor
//! counts against the plan's limit, the one being retired does not. That one ends at its deadline, or when it has been
//! quiet for long enough. An instant that has come is acted upon by whichever transaction comes first: one that changes a
//! token of the account, or the control plane's own ([`Store::end_due_tokens`]).

use super::super::rules::{self, Name, Refusal};
use super::super::write::Write;
use super::super::{By, Inner, Store, StoreError, number_or_none};
use super::rows::{
    TOKEN_COLUMNS, audited, counts, default_token, directory_change, find, insert_token, is_taken, save,
    set_default, subject, token_of,
};
use super::{NewToken, Retirement, Token};
use crate::domain::account::{AccountId, TokenId};
use crate::domain::timestamp::rfc3339_millis;
use crate::domain::token::TokenValue;
use sqlx::AssertSqlSafe;
use sqlx::any::AnyRow;

/// How a token is to be replaced.
#[derive(Debug)]
pub struct Rotation {
    /// The successor's.
    pub value: TokenValue,
    /// How long the old token ships on, at most.
    pub overlap_ms: u64,
    /// After how long without use it ends sooner; `None`: not before its deadline.
    pub quiet_for_ms: Option<u64>,
}

/// A rotation begun: both tokens ship.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotated {
    pub successor: Token,
    /// Its deadline is its expiry.
    pub retiring: Token,
}

/// How much later than it is known here a token may have been used: use is known to the minute, and reported in a while.
const USE_UNKNOWN_MS: i64 = 90_000;

/// How many tokens end in one transaction, which others wait for.
const ENDING_AT_ONCE: i64 = 256;

/// Tokens that are being retired and end when they have been quiet, and of each when that is, as far as is known.
const QUIET: &str = "(SELECT t.id AS token, t.quiet_for_ms + CASE WHEN u.last_used_minute * 60000 > t.retiring_since_ms \
     THEN u.last_used_minute * 60000 ELSE t.retiring_since_ms END AS quiet_ms \
     FROM shipping_tokens t LEFT JOIN token_uses u ON u.token = t.id \
     WHERE t.retiring_since_ms IS NOT NULL AND t.quiet_for_ms IS NOT NULL) AS quiet";

impl Store {
    /// Makes a successor of an enabled token, with its name, terms and rank, and begins to retire the token itself.
    pub async fn rotate_token(
        &self,
        account: AccountId,
        id: TokenId,
        rotation: Rotation,
        by: &By,
    ) -> Result<Rotated, StoreError> {
        rules::check_rotation(rotation.overlap_ms, rotation.quiet_for_ms)?;
        let mut write = Write::begin(&self.0, by).await?;
        end_due(&self.0, &mut write, Some(account)).await?;
        let before = find(&self.0, &mut write, account, id).await?;
        if before.retirement.is_some() {
            return Err(Refusal::AlreadyRetiring.into());
        }
        if !before.enabled {
            return Err(Refusal::RotatesDisabled.into());
        }
        counts(&mut write.tx, account).await?.may_retire_another()?;
        let now_ms = write.at_ms.unsigned_abs();
        let deadline_ms = now_ms.saturating_add(rotation.overlap_ms);
        let deadline_ms =
            before.terms.expires_ms.map_or(deadline_ms, |expires_ms| expires_ms.min(deadline_ms));
        let name = Name::parse(&before.name)?;
        let mut retiring = before.clone();
        retiring.name = retired_name(&mut write, account, &before.name, deadline_ms).await?;
        retiring.terms.expires_ms = Some(deadline_ms);
        retiring.updated_ms = now_ms;
        write.actor().clone_into(&mut retiring.updated_by);
        // The name must be free before the successor takes it.
        save(&mut write, &retiring).await?;
        let new = NewToken {
            name: name.as_str(),
            enabled: true,
            value: rotation.value,
            terms: before.terms.clone(),
        };
        let successor = insert_token(&self.0, &mut write, account, &name, new).await?;
        let quiet_for_ms = rotation.quiet_for_ms;
        retiring.retirement = Some(Retirement { since_ms: now_ms, successor: successor.id, quiet_for_ms });
        save(&mut write, &retiring).await?;
        let (was, is) = (Some(audited(&before)), Some(audited(&retiring)));
        write.audit(account, "shipping-token.rotate", subject(id), was, is).await?;
        write.change(directory_change(account, &retiring));
        let default = default_token(&mut write, account).await?;
        if default == Some(i64::from(id.0)) {
            set_default(&mut write, account, default, i64::from(successor.id.0)).await?;
        }
        write.commit().await?;
        Ok(Rotated { successor, retiring })
    }

    /// Ends the tokens whose instant has come, and returns how many milliseconds it is until the next one's, if that is
    /// known: use of a token that is being retired puts it off.
    pub async fn end_due_tokens(&self) -> Result<Option<u64>, StoreError> {
        let by = time();
        loop {
            let now_ms = self.0.clock.unix_ms();
            match self.next_end_ms().await? {
                Some(end_ms) if end_ms <= now_ms => {
                    let mut write = Write::begin(&self.0, &by).await?;
                    end_due(&self.0, &mut write, None).await?;
                    write.commit().await?;
                }
                next => return Ok(next.map(|end_ms| end_ms - now_ms)),
            }
        }
    }

    async fn next_end_ms(&self) -> Result<Option<u64>, StoreError> {
        let expiry = sqlx::query(
            "SELECT MIN(expires_ms) AS next_ms FROM shipping_tokens WHERE enabled = 1 AND expires_ms IS NOT NULL",
        );
        let expires_ms = number_or_none(&expiry.fetch_one(&self.0.readers).await?, "next_ms")?;
        if !self.0.gateways.are_all_heard(self.0.clock.unix_ms()) {
            // Nobody knows how quiet it is.
            return Ok(expires_ms);
        }
        let quiet = AssertSqlSafe(format!("SELECT MIN(quiet_ms) + $1 AS next_ms FROM {QUIET}"));
        let quiet = sqlx::query(quiet).bind(USE_UNKNOWN_MS);
        let quiet_ms = number_or_none(&quiet.fetch_one(&self.0.readers).await?, "next_ms")?;
        Ok([expires_ms, quiet_ms].into_iter().flatten().min())
    }
}

/// Who ends a token when its time has come, in whosever transaction that happens.
fn time() -> By {
    By { actor: "shipgate".to_owned(), ..By::default() }
}

/// Disables tokens whose instant has come: all those of one account, or some of all accounts. None of them is one that an
/// account must keep.
pub(super) async fn end_due(
    inner: &Inner,
    write: &mut Write<'_>,
    account: Option<AccountId>,
) -> Result<(), StoreError> {
    for row in expired(write, account).await? {
        end(inner, write, &row, "shipping-token.expire").await?;
    }
    if inner.gateways.are_all_heard(inner.clock.unix_ms()) {
        for row in quiet(write, account).await? {
            end(inner, write, &row, "shipping-token.retire").await?;
        }
    }
    Ok(())
}

async fn expired(write: &mut Write<'_>, account: Option<AccountId>) -> Result<Vec<AnyRow>, StoreError> {
    let (which, bound) = some(account);
    let sql = format!(
        "SELECT {TOKEN_COLUMNS} FROM shipping_tokens WHERE enabled = 1 AND expires_ms <= $1 {which} $2"
    );
    let query = sqlx::query(AssertSqlSafe(sql)).bind(write.at_ms).bind(bound);
    Ok(query.fetch_all(&mut *write.tx).await?)
}

async fn quiet(write: &mut Write<'_>, account: Option<AccountId>) -> Result<Vec<AnyRow>, StoreError> {
    let (which, bound) = some(account);
    let sql = format!(
        "SELECT {TOKEN_COLUMNS} FROM shipping_tokens \
         WHERE id IN (SELECT token FROM {QUIET} WHERE quiet_ms + $1 <= $2) {which} $3"
    );
    let query = sqlx::query(AssertSqlSafe(sql)).bind(USE_UNKNOWN_MS).bind(write.at_ms).bind(bound);
    Ok(query.fetch_all(&mut *write.tx).await?)
}

/// All of an account's, or not too many of all accounts': how a query goes on, and with which number.
fn some(account: Option<AccountId>) -> (&'static str, i64) {
    account.map_or(("LIMIT", ENDING_AT_ONCE), |account| ("AND account =", i64::from(account.0)))
}

async fn end(
    inner: &Inner,
    write: &mut Write<'_>,
    row: &AnyRow,
    action: &'static str,
) -> Result<(), StoreError> {
    let account = AccountId(super::super::number(row, "account")?);
    let before = token_of(inner, row)?;
    let after = Token {
        enabled: false,
        retirement: None,
        updated_ms: write.at_ms.unsigned_abs(),
        updated_by: time().actor,
        ..before.clone()
    };
    save(write, &after).await?;
    let change = [Some(audited(&before)), Some(audited(&after))];
    write.audit_by(&time(), account, action, subject(after.id), change).await?;
    write.change(directory_change(account, &after));
    Ok(())
}

/// What a token is called while its successor has its name: `NAME (until 2026-01-31)`, or the like.
async fn retired_name(
    write: &mut Write<'_>,
    account: AccountId,
    name: &str,
    deadline_ms: u64,
) -> Result<String, StoreError> {
    let instant = rfc3339_millis(deadline_ms);
    let day = instant.split('T').next().unwrap_or_default();
    for number in 1_u32.. {
        let name = rules::retired_name(name, day, number)?;
        if !is_taken(write, account, &name, None).await? {
            return Ok(name.as_str().to_owned());
        }
    }
    Err(Refusal::TokenNameTaken.into())
}
