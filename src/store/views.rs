//! Saved views: what somebody looked at in the console, under a name, for everybody of the account.

use super::rules::{Name, Place, Refusal, VIEWS_MAX};
use super::users::UserId;
use super::write::{Counter, Write};
use super::{By, Store, StoreError, number, number_or_none};
use crate::domain::account::AccountId;
use serde_json::{Value, json};
use sqlx::Row;
use sqlx::any::AnyRow;

/// A view's number: never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ViewId(pub u32);

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct View {
    pub id: ViewId,
    /// Unique in the account.
    pub name: String,
    /// Where in the console it is, such as `explore?query=level:error`.
    pub place: String,
    /// The user who made it; `None` of one that an API token made.
    pub owner: Option<UserId>,
    pub created_by: String,
    /// Unix milliseconds.
    pub created_ms: u64,
}

/// What to change; `None` leaves as it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ViewUpdate<'a> {
    pub name: Option<&'a str>,
    pub place: Option<&'a str>,
}

const SELECT: &str =
    "SELECT id, name, place, owner, created_by, created_ms FROM saved_views WHERE account = $1";

impl Store {
    /// The account's views, by name.
    pub async fn views(&self, account: AccountId) -> Result<Vec<View>, StoreError> {
        sqlx::query(sqlx::AssertSqlSafe(format!("{SELECT} ORDER BY name")))
            .bind(i64::from(account.0))
            .fetch_all(&self.0.readers)
            .await?
            .iter()
            .map(view_of)
            .collect()
    }

    pub async fn view(&self, account: AccountId, id: ViewId) -> Result<View, StoreError> {
        let row = sqlx::query(sqlx::AssertSqlSafe(format!("{SELECT} AND id = $2")))
            .bind(i64::from(account.0))
            .bind(i64::from(id.0))
            .fetch_optional(&self.0.readers)
            .await?;
        view_of(&row.ok_or(StoreError::NotFound)?)
    }

    pub async fn create_view(
        &self,
        account: AccountId,
        name: &str,
        place: &str,
        owner: Option<UserId>,
        by: &By,
    ) -> Result<View, StoreError> {
        let (name, place) = (Name::parse(name)?, Place::parse(place)?);
        let mut write = Write::begin(&self.0, by).await?;
        let before = all(&mut write, account).await?;
        if before.len() >= VIEWS_MAX {
            return Err(Refusal::ViewsMax.into());
        }
        let view = View {
            id: ViewId(0),
            name: name.as_str().to_owned(),
            place: place.as_str().to_owned(),
            owner,
            created_by: write.actor().to_owned(),
            created_ms: write.at_ms.unsigned_abs(),
        };
        refuse_namesakes(&before, &view)?;
        let id = write.draw(Counter::View).await?;
        let view =
            View { id: ViewId(u32::try_from(id).map_err(|_| StoreError::Damaged("view_next"))?), ..view };
        sqlx::query(
            "INSERT INTO saved_views (id, account, name, place, owner, created_by, created_ms) \
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(id)
        .bind(i64::from(account.0))
        .bind(&view.name)
        .bind(&view.place)
        .bind(owner.map(|owner| i64::from(owner.0)))
        .bind(&view.created_by)
        .bind(write.at_ms)
        .execute(&mut *write.tx)
        .await?;
        write.audit(account, "view.create", subject(view.id), None, Some(audited(&view))).await?;
        write.commit().await?;
        Ok(view)
    }

    pub async fn update_view(
        &self,
        account: AccountId,
        id: ViewId,
        update: ViewUpdate<'_>,
        by: &By,
    ) -> Result<View, StoreError> {
        let name = update.name.map(Name::parse).transpose()?;
        let place = update.place.map(Place::parse).transpose()?;
        let mut write = Write::begin(&self.0, by).await?;
        let all = all(&mut write, account).await?;
        let before = all.iter().find(|view| view.id == id).ok_or(StoreError::NotFound)?;
        let mut after = before.clone();
        after.name = name.map_or(after.name, |name| name.as_str().to_owned());
        after.place = place.map_or(after.place, |place| place.as_str().to_owned());
        if after == *before {
            return Ok(after);
        }
        refuse_namesakes(&all, &after)?;
        sqlx::query("UPDATE saved_views SET name = $1, place = $2 WHERE id = $3")
            .bind(&after.name)
            .bind(&after.place)
            .bind(i64::from(id.0))
            .execute(&mut *write.tx)
            .await?;
        write
            .audit(account, "view.update", subject(id), Some(audited(before)), Some(audited(&after)))
            .await?;
        write.commit().await?;
        Ok(after)
    }

    /// Deletes a view and returns what it was.
    pub async fn delete_view(&self, account: AccountId, id: ViewId, by: &By) -> Result<View, StoreError> {
        let mut write = Write::begin(&self.0, by).await?;
        let all = all(&mut write, account).await?;
        let view = all.into_iter().find(|view| view.id == id).ok_or(StoreError::NotFound)?;
        sqlx::query("DELETE FROM saved_views WHERE id = $1")
            .bind(i64::from(id.0))
            .execute(&mut *write.tx)
            .await?;
        write.audit(account, "view.delete", subject(id), Some(audited(&view)), None).await?;
        write.commit().await?;
        Ok(view)
    }
}

async fn all(write: &mut Write<'_>, account: AccountId) -> Result<Vec<View>, StoreError> {
    let rows = sqlx::query(SELECT).bind(i64::from(account.0)).fetch_all(&mut *write.tx).await?;
    rows.iter().map(view_of).collect()
}

fn refuse_namesakes(all: &[View], view: &View) -> Result<(), Refusal> {
    match all.iter().any(|other| other.name == view.name && other.id != view.id) {
        true => Err(Refusal::ViewNameTaken),
        false => Ok(()),
    }
}

fn view_of(row: &AnyRow) -> Result<View, StoreError> {
    Ok(View {
        id: ViewId(number(row, "id")?),
        name: row.try_get("name")?,
        place: row.try_get("place")?,
        owner: number_or_none(row, "owner")?.map(UserId),
        created_by: row.try_get("created_by")?,
        created_ms: number(row, "created_ms")?,
    })
}

fn subject(id: ViewId) -> String {
    format!("view:{}", id.0)
}

fn audited(view: &View) -> Value {
    json!({ "name": view.name, "view": view.place })
}
