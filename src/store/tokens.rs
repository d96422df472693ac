//! Log shipping tokens of one account: create, find, change, enable, disable, delete, replace.

pub mod rotation;
pub(super) mod rows;

use super::rules::{self, Name, Refusal, TokenCounts};
use super::usage::remember;
use super::write::Write;
use super::{By, Store, StoreError, number};
use crate::domain::account::{AccountId, TokenId};
use crate::domain::directory::Change;
use crate::domain::terms::{Scope, Terms};
use crate::domain::token::TokenValue;
use rotation::end_due;
use rows::{
    TOKEN_COLUMNS, audited, by_id, counts, directory_change, find, insert_token, is_taken, save, subject,
    succeed_default, token_of,
};
use sqlx::AssertSqlSafe;

/// A log shipping token as its account's admins see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    pub id: TokenId,
    pub name: String,
    pub value: TokenValue,
    pub enabled: bool,
    pub terms: Terms,
    /// Of a token that a rotation replaces, as long as it still ships.
    pub retirement: Option<Retirement>,
    /// Unix milliseconds.
    pub created_ms: u64,
    pub created_by: String,
    /// Unix milliseconds.
    pub updated_ms: u64,
    pub updated_by: String,
}

/// How a token is being retired. Its deadline is its expiry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retirement {
    /// Unix milliseconds.
    pub since_ms: u64,
    pub successor: TokenId,
    /// After how long without use it ends before its deadline.
    pub quiet_for_ms: Option<u64>,
}

/// A token to be created.
#[derive(Debug)]
pub struct NewToken<'a> {
    pub name: &'a str,
    pub enabled: bool,
    pub value: TokenValue,
    pub terms: Terms,
}

/// What to change of a token; `None` leaves as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TokenUpdate<'a> {
    pub name: Option<&'a str>,
    pub enabled: Option<bool>,
    /// `Some(None)`: it lasts.
    pub expires_ms: Option<Option<u64>>,
    pub scope: Option<Scope>,
    pub would_refuse: Option<bool>,
}

/// How many tokens may be enabled at a time, and how many are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenLimits {
    pub enabled_max: u32,
    /// But for those being retired.
    pub enabled: u32,
    pub retiring: u32,
}

/// By what found tokens are ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SortField {
    CreatedAt,
    Name,
}

/// Which tokens to find, and which stretch of them.
#[derive(Debug, Clone, Default)]
pub struct TokenSearch {
    pub enabled: Option<bool>,
    /// The field, and whether it descends; the first decides, the next break ties. None: oldest first.
    pub sort: Vec<(SortField, bool)>,
    pub offset: u64,
    pub limit: u32,
}

/// A stretch of what was found, and how many there are in all.
#[derive(Debug, Clone)]
pub struct FoundTokens {
    pub total: u64,
    pub tokens: Vec<Token>,
}

impl Store {
    /// Creates a token.
    pub async fn create_token(
        &self,
        account: AccountId,
        new: NewToken<'_>,
        by: &By,
    ) -> Result<Token, StoreError> {
        let name = Name::parse(new.name)?;
        let mut write = Write::begin(&self.0, by).await?;
        end_due(&self.0, &mut write, Some(account)).await?;
        rules::check_scope(&new.terms.scope)?;
        if let Some(expires_ms) = new.terms.expires_ms {
            rules::check_expiry(expires_ms, write.at_ms.unsigned_abs())?;
        }
        refuse_taken_name(&mut write, account, &name, None).await?;
        if new.enabled {
            counts(&mut write.tx, account).await?.may_enable_another()?;
        }
        let token = insert_token(&self.0, &mut write, account, &name, new).await?;
        write.commit().await?;
        Ok(token)
    }

    /// The account's token with this number.
    pub async fn token(&self, account: AccountId, id: TokenId) -> Result<Token, StoreError> {
        let row = sqlx::query(by_id())
            .bind(i64::from(account.0))
            .bind(i64::from(id.0))
            .fetch_optional(&self.0.readers)
            .await?;
        token_of(&self.0, &row.ok_or(StoreError::NotFound)?)
    }

    /// Changes a token: its name, its terms, and whether it is enabled.
    pub async fn update_token(
        &self,
        account: AccountId,
        id: TokenId,
        update: TokenUpdate<'_>,
        by: &By,
    ) -> Result<Token, StoreError> {
        let name = update.name.map(Name::parse).transpose()?;
        let mut write = Write::begin(&self.0, by).await?;
        end_due(&self.0, &mut write, Some(account)).await?;
        let before = find(&self.0, &mut write, account, id).await?;
        let mut after = update.applied_to(&before);
        if let Some(name) = name {
            refuse_taken_name(&mut write, account, &name, Some(id)).await?;
            name.as_str().clone_into(&mut after.name);
        }
        if after == before {
            return Ok(before);
        }
        let counts = counts(&mut write.tx, account).await?;
        check_update(&before, &after, counts, write.at_ms.unsigned_abs())?;
        after.updated_ms = write.at_ms.unsigned_abs();
        write.actor().clone_into(&mut after.updated_by);
        save(&mut write, &after).await?;
        audit_update(&mut write, account, &before, &after).await?;
        if after.enabled != before.enabled || after.enabled && after.terms != before.terms {
            write.change(directory_change(account, &after));
            succeed_default(&mut write, account).await?;
        }
        write.commit().await?;
        Ok(after)
    }

    /// Deletes a token and returns what it was.
    pub async fn delete_token(&self, account: AccountId, id: TokenId, by: &By) -> Result<Token, StoreError> {
        let mut write = Write::begin(&self.0, by).await?;
        end_due(&self.0, &mut write, Some(account)).await?;
        let token = find(&self.0, &mut write, account, id).await?;
        let counts = counts(&mut write.tx, account).await?;
        match token.enabled {
            true => counts.may_lose_one(token.lasts())?,
            false => counts.may_delete_disabled()?,
        }
        sqlx::query("DELETE FROM shipping_tokens WHERE account = $1 AND id = $2")
            .bind(i64::from(account.0))
            .bind(i64::from(id.0))
            .execute(&mut *write.tx)
            .await?;
        remember(&mut write, account, &token).await?;
        write.audit(account, "shipping-token.delete", subject(id), Some(audited(&token)), None).await?;
        if token.enabled {
            write.change(Change::Revoke { digest: token.value.digest() });
            succeed_default(&mut write, account).await?;
        }
        write.commit().await?;
        Ok(token)
    }

    pub async fn token_limits(&self, account: AccountId) -> Result<TokenLimits, StoreError> {
        let mut tx = self.0.moment().await?;
        let TokenCounts { enabled_max, enabled, retiring, .. } = counts(&mut tx, account).await?;
        Ok(TokenLimits { enabled_max, enabled, retiring })
    }

    pub async fn search_tokens(
        &self,
        account: AccountId,
        search: &TokenSearch,
    ) -> Result<FoundTokens, StoreError> {
        const WHERE: &str = "FROM shipping_tokens WHERE account = $1 AND enabled BETWEEN $2 AND $3";
        let (least, most) = match search.enabled {
            None => (0, 1),
            Some(enabled) => (i64::from(enabled), i64::from(enabled)),
        };
        let mut tx = self.0.moment().await?;
        let row = sqlx::query(AssertSqlSafe(format!("SELECT COUNT(*) AS total {WHERE}")))
            .bind(i64::from(account.0))
            .bind(least)
            .bind(most)
            .fetch_one(&mut *tx)
            .await?;
        // Made of constants only; what the client sent is bound.
        let sql =
            format!("SELECT {TOKEN_COLUMNS} {WHERE} ORDER BY {} LIMIT $4 OFFSET $5", order_by(&search.sort));
        let rows = sqlx::query(AssertSqlSafe(sql))
            .bind(i64::from(account.0))
            .bind(least)
            .bind(most)
            .bind(i64::from(search.limit))
            .bind(i64::try_from(search.offset).unwrap_or(i64::MAX))
            .fetch_all(&mut *tx)
            .await?;
        Ok(FoundTokens {
            total: number(&row, "total")?,
            tokens: rows.iter().map(|row| token_of(&self.0, row)).collect::<Result<_, _>>()?,
        })
    }
}

/// Numbers are handed out in order, so they break ties between tokens of one millisecond.
fn order_by(sort: &[(SortField, bool)]) -> String {
    let mut terms = Vec::with_capacity(2 * sort.len() + 1);
    for (at, (field, descending)) in sort.iter().enumerate() {
        if sort[..at].iter().any(|(earlier, _)| earlier == field) {
            continue;
        }
        let columns: &[&str] = match field {
            SortField::CreatedAt => &["created_ms", "id"],
            SortField::Name => &["name"],
        };
        let direction = if *descending { " DESC" } else { "" };
        terms.extend(columns.iter().map(|column| format!("{column}{direction}")));
    }
    terms.push("id".to_owned());
    terms.join(", ")
}

impl Token {
    /// Whether it ships until somebody ends it. An account always has an enabled token that lasts.
    fn lasts(&self) -> bool {
        self.terms.expires_ms.is_none()
    }
}

impl TokenUpdate<'_> {
    /// All but the name, which has to be parsed. A token that is disabled, or that lasts again, is not being retired any more.
    fn applied_to(self, before: &Token) -> Token {
        let mut after = before.clone();
        after.enabled = self.enabled.unwrap_or(before.enabled);
        after.terms.expires_ms = self.expires_ms.unwrap_or(before.terms.expires_ms);
        after.terms.scope = self.scope.unwrap_or_else(|| before.terms.scope.clone());
        after.terms.would_refuse = self.would_refuse.unwrap_or(before.terms.would_refuse);
        after.retirement = before.retirement.filter(|_| after.enabled && !after.lasts());
        after
    }
}

/// Asks the rules about a change of a token's state and terms.
fn check_update(before: &Token, after: &Token, counts: TokenCounts, now_ms: u64) -> Result<(), Refusal> {
    if after.terms.scope != before.terms.scope {
        rules::check_scope(&after.terms.scope)?;
    }
    if let Some(expires_ms) = after.terms.expires_ms {
        if after.terms.expires_ms != before.terms.expires_ms {
            rules::check_expiry(expires_ms, now_ms)?;
        } else if after.enabled && expires_ms <= now_ms {
            return Err(Refusal::Expired);
        }
        if let Some(retirement) = after.retirement {
            rules::check_deadline(retirement.since_ms, expires_ms)?;
        }
    }
    let counted = |token: &Token| token.enabled && token.retirement.is_none();
    if counted(after) && !counted(before) {
        counts.may_enable_another()?;
    }
    let is_kept = |token: &Token| token.enabled && token.lasts();
    if is_kept(before) && !is_kept(after) { counts.may_lose_one(true) } else { Ok(()) }
}

/// A new name, new terms and a new state are an entry each, with what it changed alone.
async fn audit_update(
    write: &mut Write<'_>,
    account: AccountId,
    before: &Token,
    after: &Token,
) -> Result<(), StoreError> {
    let renamed = Token { name: after.name.clone(), ..before.clone() };
    let agreed = Token { terms: after.terms.clone(), retirement: after.retirement, ..renamed.clone() };
    let switch = if after.enabled { "shipping-token.enable" } else { "shipping-token.disable" };
    let steps = [
        ("shipping-token.rename", before, &renamed, renamed.name != before.name),
        ("shipping-token.terms", &renamed, &agreed, agreed.terms != renamed.terms),
        (switch, &agreed, after, after.enabled != before.enabled),
    ];
    for (action, was, is, differs) in steps {
        if differs {
            let (was, is) = (Some(audited(was)), Some(audited(is)));
            write.audit(account, action, subject(after.id), was, is).await?;
        }
    }
    Ok(())
}

async fn refuse_taken_name(
    write: &mut Write<'_>,
    account: AccountId,
    name: &Name,
    except: Option<TokenId>,
) -> Result<(), StoreError> {
    match is_taken(write, account, name, except).await? {
        true => Err(Refusal::TokenNameTaken.into()),
        false => Ok(()),
    }
}
