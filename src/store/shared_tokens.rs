//! Shared tokens of one account: create, find, change, delete; and what one of them lets be read, asked by its digest.
//!
//! A token is limited by the filters that were chosen for it. Whoever never chose any shares everything; a token whose
//! filters were all deleted shares nothing, until somebody saves its filters again.

mod rows;
pub mod uses;

use super::rules::{self, Name, Refusal, SHARED_TOKENS_MAX};
use super::write::{Counter, Write};
use super::{By, Inner, Store, StoreError, number, number_or_none};
use crate::domain::account::AccountId;
use crate::domain::filter::{Access, Filter, FilterId, FilterSet, Operator};
use crate::domain::token::{SharedToken, TokenDigest};
use rows::{audited, find, insert, is_taken, save, shares, subject};
use sqlx::Row;
use tokio::sync::watch;

/// A shared token's number, as the API shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShareId(pub u32);

/// A shared token as its account's members see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Share {
    pub id: ShareId,
    /// Unique in its account.
    pub name: String,
    pub secret: SharedToken,
    /// `None`: it shares everything. Empty: it lost its last filter, and shares nothing.
    pub filters: Option<Vec<FilterId>>,
    pub operator: Operator,
    /// Unix milliseconds.
    pub expires_ms: Option<u64>,
    /// Whether who opens the link is given a query bar. It limits nothing.
    pub query_bar: bool,
    /// Unix milliseconds.
    pub last_used_ms: Option<u64>,
    /// How often its link was opened.
    pub views: u64,
}

impl Share {
    /// It lost its last filter, and shares nothing until its filters are saved again.
    pub fn is_suspended(&self) -> bool {
        self.filters.as_ref().is_some_and(Vec::is_empty)
    }
}

/// A shared token to be created.
#[derive(Debug)]
pub struct NewShare<'a> {
    pub name: &'a str,
    /// None of them: it shares everything.
    pub filters: Vec<FilterId>,
    pub operator: Operator,
    pub expires_ms: Option<u64>,
    pub query_bar: bool,
    pub secret: SharedToken,
}

/// What to change of a shared token; `None` leaves as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ShareUpdate<'a> {
    pub name: Option<&'a str>,
    /// None in the list: it shares everything.
    pub filters: Option<Vec<FilterId>>,
    pub operator: Option<Operator>,
    /// `Some(None)`: it lasts.
    pub expires_ms: Option<Option<u64>>,
    pub query_bar: Option<bool>,
}

/// What a shared token opens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened {
    pub id: ShareId,
    pub account: AccountId,
    pub account_name: String,
    pub name: String,
    pub access: Access,
    /// The operator that was chosen, also of a token without filters.
    pub operator: Operator,
    /// Unix milliseconds.
    pub expires_ms: Option<u64>,
    pub query_bar: bool,
}

/// What became of a text that somebody sent as a shared token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    Opened(Box<Opened>),
    Expired,
    /// Unknown, or deleted.
    Nothing,
}

impl Store {
    /// What the shared token with this digest lets be read now.
    pub async fn open_share(&self, digest: &TokenDigest) -> Result<Found, StoreError> {
        // One statement: token and filters as they were at one moment.
        let rows = sqlx::query(
            "SELECT t.id, t.account, a.name AS account_name, t.name, t.filtered, t.operator, t.expires_ms, \
             t.query_bar, f.field, f.value FROM shared_tokens t JOIN accounts a ON a.id = t.account \
             LEFT JOIN shared_token_filters l ON l.token = t.id LEFT JOIN filters f ON f.id = l.filter \
             WHERE t.digest = $1 ORDER BY l.place",
        )
        .bind(digest.to_hex())
        .fetch_all(&self.0.readers)
        .await?;
        let Some(row) = rows.first() else { return Ok(Found::Nothing) };
        let expires_ms = number_or_none(row, "expires_ms")?;
        if expires_ms.is_some_and(|expires_ms| expires_ms <= self.unix_ms()) {
            return Ok(Found::Expired);
        }
        let mut filters = vec![];
        for row in &rows {
            if let Some(field) = row.try_get::<Option<String>, _>("field")? {
                filters.push(Filter { field, value: row.try_get("value")? });
            }
        }
        let operator = rows::operator_of(row)?;
        let filtered = row.try_get::<i64, _>("filtered")? != 0;
        let access = match FilterSet::new(operator, filters) {
            Some(filters) => Access::Only(filters),
            None if filtered => Access::Nothing,
            None => Access::Everything,
        };
        Ok(Found::Opened(Box::new(Opened {
            id: ShareId(number(row, "id")?),
            account: AccountId(number(row, "account")?),
            account_name: row.try_get("account_name")?,
            name: row.try_get("name")?,
            access,
            operator,
            expires_ms,
            query_bar: row.try_get::<i64, _>("query_bar")? == 1,
        })))
    }

    /// Wakes whoever reads after each commit that changed what may be read with a token, here or at another replica.
    pub fn sharing_changes(&self) -> watch::Receiver<u64> {
        self.0.sharing.subscribe()
    }

    /// The account's shared tokens, oldest first.
    pub async fn shares(&self, account: AccountId) -> Result<Vec<Share>, StoreError> {
        let mut tx = self.0.moment().await?;
        shares(&self.0, &mut tx, account, None).await
    }

    /// The account's shared token with this number.
    pub async fn share(&self, account: AccountId, id: ShareId) -> Result<Share, StoreError> {
        let mut tx = self.0.moment().await?;
        find(&self.0, &mut tx, account, id).await
    }

    /// Creates a shared token.
    pub async fn create_share(
        &self,
        account: AccountId,
        new: NewShare<'_>,
        by: &By,
    ) -> Result<Share, StoreError> {
        let name = Name::parse(new.name)?;
        let mut write = Write::begin(&self.0, by).await?;
        if let Some(expires_ms) = new.expires_ms {
            check_expiration(expires_ms, write.at_ms.unsigned_abs())?;
        }
        refuse_taken_name(&mut write, account, &name, None).await?;
        refuse_too_many(&mut write, account).await?;
        let filters = known(&mut write, account, new.filters).await?;
        let id = write.draw(Counter::SharedToken).await?;
        let share = Share {
            id: ShareId(u32::try_from(id).map_err(|_| StoreError::Damaged("shared_token_next"))?),
            name: name.as_str().to_owned(),
            secret: new.secret,
            filters: Some(filters).filter(|filters| !filters.is_empty()),
            operator: new.operator,
            expires_ms: new.expires_ms,
            query_bar: new.query_bar,
            last_used_ms: None,
            views: 0,
        };
        insert(&self.0, &mut write, account, &share).await?;
        write.audit(account, "shared-token.create", subject(share.id), None, Some(audited(&share))).await?;
        write.commit().await?;
        Ok(share)
    }

    /// Changes a shared token, at once on every link that has it.
    pub async fn update_share(
        &self,
        account: AccountId,
        id: ShareId,
        update: ShareUpdate<'_>,
        by: &By,
    ) -> Result<Share, StoreError> {
        let name = update.name.map(Name::parse).transpose()?;
        let mut write = Write::begin(&self.0, by).await?;
        let before = find(&self.0, &mut write.tx, account, id).await?;
        let mut after = before.clone();
        if let Some(name) = name {
            refuse_taken_name(&mut write, account, &name, Some(id)).await?;
            name.as_str().clone_into(&mut after.name);
        }
        if let Some(filters) = update.filters {
            let filters = known(&mut write, account, filters).await?;
            after.filters = Some(filters).filter(|filters| !filters.is_empty());
        }
        after.operator = update.operator.unwrap_or(before.operator);
        after.expires_ms = update.expires_ms.unwrap_or(before.expires_ms);
        after.query_bar = update.query_bar.unwrap_or(before.query_bar);
        if after == before {
            return Ok(before);
        }
        // One that is past may be sent back as it was read.
        if let Some(expires_ms) = after.expires_ms.filter(|_| after.expires_ms != before.expires_ms) {
            check_expiration(expires_ms, write.at_ms.unsigned_abs())?;
        }
        save(&mut write, &before, &after).await?;
        let (was, is) = (Some(audited(&before)), Some(audited(&after)));
        write.audit(account, "shared-token.update", subject(id), was, is).await?;
        write.change_sharing();
        write.commit().await?;
        Ok(after)
    }

    /// Deletes a shared token, which opens nothing any more, and returns what it was.
    pub async fn delete_share(&self, account: AccountId, id: ShareId, by: &By) -> Result<Share, StoreError> {
        let mut write = Write::begin(&self.0, by).await?;
        let share = find(&self.0, &mut write.tx, account, id).await?;
        for sql in
            ["DELETE FROM shared_token_filters WHERE token = $1", "DELETE FROM shared_tokens WHERE id = $1"]
        {
            sqlx::query(sql).bind(i64::from(id.0)).execute(&mut *write.tx).await?;
        }
        write.audit(account, "shared-token.delete", subject(id), Some(audited(&share)), None).await?;
        write.change_sharing();
        write.commit().await?;
        Ok(share)
    }
}

impl Write<'_> {
    /// Takes a filter from every shared token that has it, and returns those as they were.
    pub(super) async fn take_from_shared_tokens(
        &mut self,
        inner: &Inner,
        account: AccountId,
        filter: FilterId,
    ) -> Result<Vec<Share>, StoreError> {
        let mut taken_from = vec![];
        for before in shares(inner, &mut self.tx, account, None).await? {
            let Some(filters) = before.filters.as_ref().filter(|filters| filters.contains(&filter)) else {
                continue;
            };
            let left = filters.iter().copied().filter(|left| *left != filter).collect();
            let after = Share { filters: Some(left), ..before.clone() };
            let (was, is) = (Some(audited(&before)), Some(audited(&after)));
            self.audit(account, "shared-token.update", subject(after.id), was, is).await?;
            taken_from.push(before);
        }
        sqlx::query("DELETE FROM shared_token_filters WHERE filter = $1")
            .bind(i64::from(filter.0))
            .execute(&mut *self.tx)
            .await?;
        Ok(taken_from)
    }
}

fn check_expiration(expires_ms: u64, now_ms: u64) -> Result<(), Refusal> {
    rules::check_expiry(expires_ms, now_ms).map_err(|_| Refusal::ExpirationDate)
}

async fn refuse_taken_name(
    write: &mut Write<'_>,
    account: AccountId,
    name: &Name,
    except: Option<ShareId>,
) -> Result<(), StoreError> {
    match is_taken(write, account, name, except).await? {
        true => Err(Refusal::SharedTokenNameTaken.into()),
        false => Ok(()),
    }
}

async fn refuse_too_many(write: &mut Write<'_>, account: AccountId) -> Result<(), StoreError> {
    let row = sqlx::query("SELECT COUNT(*) AS tokens FROM shared_tokens WHERE account = $1")
        .bind(i64::from(account.0))
        .fetch_one(&mut *write.tx)
        .await?;
    match number::<u64>(&row, "tokens")? {
        SHARED_TOKENS_MAX.. => Err(Refusal::SharedTokensMax.into()),
        _ => Ok(()),
    }
}

/// The filters asked for, each once, all of them the account's.
async fn known(
    write: &mut Write<'_>,
    account: AccountId,
    asked: Vec<FilterId>,
) -> Result<Vec<FilterId>, StoreError> {
    if asked.is_empty() {
        return Ok(asked);
    }
    let rows = sqlx::query("SELECT id FROM filters WHERE account = $1")
        .bind(i64::from(account.0))
        .fetch_all(&mut *write.tx)
        .await?;
    let ids: Vec<u32> = rows.iter().map(|row| number(row, "id")).collect::<Result<_, _>>()?;
    let mut filters = Vec::with_capacity(asked.len().min(ids.len()));
    for id in asked {
        if !ids.contains(&id.0) {
            return Err(Refusal::UnknownFilter { id, account }.into());
        }
        if !filters.contains(&id) {
            filters.push(id);
        }
    }
    Ok(filters)
}
