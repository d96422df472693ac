//! Filters of one account: each an exact `field: value` match, by which its shared tokens are limited.
//!
//! A filter is made and deleted, never changed: a change would show every link that has it something else.

use super::rules::{FILTERS_MAX, Refusal, check_filter};
use super::shared_tokens::Share;
use super::write::{Counter, Write};
use super::{By, Store, StoreError, number};
use crate::domain::account::AccountId;
use crate::domain::filter::{Filter, FilterId};
use serde_json::{Value, json};
use sqlx::Row;
use sqlx::any::AnyRow;

/// A filter as its account's admins see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredFilter {
    pub id: FilterId,
    pub filter: Filter,
    /// May be empty.
    pub description: String,
}

/// A filter that is no more.
#[derive(Debug)]
pub struct DeletedFilter {
    pub filter: StoredFilter,
    /// The shared tokens that had it, as they were.
    pub taken_from: Vec<Share>,
}

impl Store {
    /// The account's filters, oldest first.
    pub async fn filters(&self, account: AccountId) -> Result<Vec<StoredFilter>, StoreError> {
        sqlx::query("SELECT id, field, value, description FROM filters WHERE account = $1 ORDER BY id")
            .bind(i64::from(account.0))
            .fetch_all(&self.0.readers)
            .await?
            .iter()
            .map(stored)
            .collect()
    }

    /// The account's filter with this number.
    pub async fn filter(&self, account: AccountId, id: FilterId) -> Result<StoredFilter, StoreError> {
        let row =
            sqlx::query("SELECT id, field, value, description FROM filters WHERE account = $1 AND id = $2")
                .bind(i64::from(account.0))
                .bind(i64::from(id.0))
                .fetch_optional(&self.0.readers)
                .await?;
        stored(&row.ok_or(StoreError::NotFound)?)
    }

    /// Creates a filter. It limits nothing until a shared token has it.
    pub async fn create_filter(
        &self,
        account: AccountId,
        filter: Filter,
        description: &str,
        by: &By,
    ) -> Result<StoredFilter, StoreError> {
        check_filter(&filter.field, &filter.value, description)?;
        let mut write = Write::begin(&self.0, by).await?;
        refuse_another(&mut write, account, &filter).await?;
        let id = write.draw(Counter::Filter).await?;
        let filter = StoredFilter {
            id: FilterId(u32::try_from(id).map_err(|_| StoreError::Damaged("filter_next"))?),
            filter,
            description: description.to_owned(),
        };
        sqlx::query(
            "INSERT INTO filters (id, account, field, value, description, created_ms, created_by) \
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(id)
        .bind(i64::from(account.0))
        .bind(&filter.filter.field)
        .bind(&filter.filter.value)
        .bind(&filter.description)
        .bind(write.at_ms)
        .bind(write.actor())
        .execute(&mut *write.tx)
        .await?;
        write.audit(account, "filter.create", subject(filter.id), None, Some(audited(&filter))).await?;
        write.commit().await?;
        Ok(filter)
    }

    /// Deletes a filter, at once on every link that has it, and returns what it was. A shared token that loses its last
    /// one shows nothing until its filters are saved again; one that needs all of its filters shows what the others let through.
    pub async fn delete_filter(
        &self,
        account: AccountId,
        id: FilterId,
        by: &By,
    ) -> Result<DeletedFilter, StoreError> {
        let mut write = Write::begin(&self.0, by).await?;
        let row =
            sqlx::query("SELECT id, field, value, description FROM filters WHERE account = $1 AND id = $2")
                .bind(i64::from(account.0))
                .bind(i64::from(id.0))
                .fetch_optional(&mut *write.tx)
                .await?;
        let filter = stored(&row.ok_or(StoreError::NotFound)?)?;
        let taken_from = write.take_from_shared_tokens(&self.0, account, id).await?;
        sqlx::query("DELETE FROM filters WHERE id = $1")
            .bind(i64::from(id.0))
            .execute(&mut *write.tx)
            .await?;
        write.audit(account, "filter.delete", subject(id), Some(audited(&filter)), None).await?;
        write.change_sharing();
        write.commit().await?;
        Ok(DeletedFilter { filter, taken_from })
    }
}

/// One of each, and not too many of them.
async fn refuse_another(
    write: &mut Write<'_>,
    account: AccountId,
    filter: &Filter,
) -> Result<(), StoreError> {
    let row = sqlx::query("SELECT COUNT(*) AS filters FROM filters WHERE account = $1")
        .bind(i64::from(account.0))
        .fetch_one(&mut *write.tx)
        .await?;
    if number::<u64>(&row, "filters")? >= FILTERS_MAX {
        return Err(Refusal::FiltersMax.into());
    }
    let same = sqlx::query("SELECT id FROM filters WHERE account = $1 AND field = $2 AND value = $3")
        .bind(i64::from(account.0))
        .bind(&filter.field)
        .bind(&filter.value)
        .fetch_optional(&mut *write.tx)
        .await?;
    match same {
        Some(row) => Err(Refusal::FilterTaken { id: FilterId(number(&row, "id")?) }.into()),
        None => Ok(()),
    }
}

fn stored(row: &AnyRow) -> Result<StoredFilter, StoreError> {
    Ok(StoredFilter {
        id: FilterId(number(row, "id")?),
        filter: Filter { field: row.try_get("field")?, value: row.try_get("value")? },
        description: row.try_get("description")?,
    })
}

fn subject(id: FilterId) -> String {
    format!("filter:{id}")
}

fn audited(filter: &StoredFilter) -> Value {
    let Filter { field, value } = &filter.filter;
    json!({ "field": field, "value": value, "description": filter.description })
}
