//! Accounts: a main account and its sub-accounts.

use super::api_tokens::insert_api_token;
use super::rules::{self, Name, Refusal};
use super::tokens::rows::{TOKEN_COLUMNS, insert_token, set_default, token_of};
use super::tokens::{NewToken, Token};
use super::write::{Counter, Write};
use super::{By, Inner, Store, StoreError, number, number_or_none};
use crate::domain::account::{AccountGrant, AccountId, Durability, Retention};
use crate::domain::directory::Change;
use crate::domain::plan::Plan;
use crate::domain::terms::Terms;
use crate::domain::token::{ApiToken, ShippingToken, TokenValue};
use serde_json::{Value, json};
use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Row};

/// The name of every account's first shipping token.
const FIRST_TOKEN: &str = "default";
/// The name of every account's first API token.
const FIRST_API_TOKEN: &str = "admin";

/// What an admin may set on an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountSettings {
    pub name: String,
    pub retention: Retention,
    /// `None`: the gateway's configured default.
    pub durability: Option<Durability>,
    /// Bytes of plain log a second; `None`: no bound.
    pub rate_bytes_max: Option<u64>,
}

/// Settings to change; `None` leaves as it is, `Some(None)` clears.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccountUpdate {
    pub name: Option<String>,
    pub retention_days: Option<u32>,
    pub retention_bytes_max: Option<Option<u64>>,
    pub durability: Option<Option<Durability>>,
    pub rate_bytes_max: Option<Option<u64>>,
}

/// An account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    pub id: AccountId,
    /// `None` of a main account.
    pub parent: Option<AccountId>,
    /// Its own, or the one it shares.
    pub plan: Plan,
    pub settings: AccountSettings,
    /// Unix milliseconds.
    pub created_ms: u64,
}

/// The secrets that a new account starts with.
#[derive(Debug, Clone)]
pub struct FirstSecrets {
    pub shipping_token: ShippingToken,
    pub api_token: ApiToken,
}

const SELECT: &str = "SELECT a.id, a.parent, a.name, a.retention_days, a.retention_bytes_max, a.durability, \
     a.rate_bytes_max, a.created_ms, COALESCE(a.plan, p.plan) AS shared_plan FROM accounts a \
     LEFT JOIN accounts p ON p.id = a.parent WHERE a.id = $1";

impl Store {
    /// Makes an empty store's main account with its first tokens; `None` when there are accounts already.
    pub async fn create_first_account(
        &self,
        plan: Plan,
        settings: AccountSettings,
        secrets: FirstSecrets,
        by: &By,
    ) -> Result<Option<Account>, StoreError> {
        let mut write = Write::begin(&self.0, by).await?;
        let any = sqlx::query("SELECT id FROM accounts LIMIT 1").fetch_optional(&mut *write.tx).await?;
        if any.is_some() {
            return Ok(None);
        }
        let account = insert_account(&self.0, &mut write, None, plan, settings, secrets).await?;
        write.commit().await?;
        Ok(Some(account))
    }

    /// Makes a sub-account of `main` with its first tokens.
    pub async fn create_sub_account(
        &self,
        main: AccountId,
        settings: AccountSettings,
        secrets: FirstSecrets,
        by: &By,
    ) -> Result<Account, StoreError> {
        let mut write = Write::begin(&self.0, by).await?;
        let parent = find(&mut write, main).await?;
        let account = insert_account(&self.0, &mut write, Some(main), parent.plan, settings, secrets).await?;
        write.commit().await?;
        Ok(account)
    }

    /// The main account itself and its sub-accounts, oldest first.
    pub async fn accounts(&self, main: AccountId) -> Result<Vec<Account>, StoreError> {
        sqlx::query(AssertSqlSafe(format!("{SELECT} OR a.parent = $1 ORDER BY a.id")))
            .bind(i64::from(main.0))
            .fetch_all(&self.0.readers)
            .await?
            .iter()
            .map(account_of)
            .collect()
    }

    /// One account, whoever asks.
    pub async fn account(&self, id: AccountId) -> Result<Account, StoreError> {
        let row = sqlx::query(SELECT).bind(i64::from(id.0)).fetch_optional(&self.0.readers).await?;
        account_of(&row.ok_or(StoreError::NotFound)?)
    }

    /// The main account itself or one of its sub-accounts.
    pub async fn account_under(&self, main: AccountId, id: AccountId) -> Result<Account, StoreError> {
        let account = self.account(id).await?;
        if account.is_under(main) { Ok(account) } else { Err(StoreError::NotFound) }
    }

    /// Changes the main account itself or one of its sub-accounts.
    pub async fn update_account(
        &self,
        main: AccountId,
        id: AccountId,
        update: AccountUpdate,
        by: &By,
    ) -> Result<Account, StoreError> {
        let mut write = Write::begin(&self.0, by).await?;
        let before = find(&mut write, id).await?;
        if !before.is_under(main) {
            return Err(StoreError::NotFound);
        }
        let mut after = before.clone();
        update.apply(&mut after.settings);
        checked(&mut write, main, Some(id), &mut after.settings).await?;
        if after == before {
            return Ok(before);
        }
        save(&mut write, &after).await?;
        write.audit(id, "account.update", subject(id), Some(audited(&before)), Some(audited(&after))).await?;
        if after.grant() != before.grant() {
            write.change(Change::Account(after.grant()));
        }
        write.commit().await?;
        Ok(after)
    }

    /// The account's default shipping token: always an enabled one.
    pub async fn default_token(&self, account: AccountId) -> Result<Token, StoreError> {
        let row = sqlx::query(AssertSqlSafe(format!(
            "SELECT {TOKEN_COLUMNS} FROM shipping_tokens WHERE id = (SELECT default_token FROM accounts WHERE id = $1)"
        )))
        .bind(i64::from(account.0))
        .fetch_optional(&self.0.readers)
        .await?;
        token_of(&self.0, &row.ok_or(StoreError::NotFound)?)
    }
}

impl Account {
    fn is_under(&self, main: AccountId) -> bool {
        self.id == main || self.parent == Some(main)
    }

    /// What a gateway learns of it.
    fn grant(&self) -> AccountGrant {
        AccountGrant {
            account: self.id,
            durability: self.settings.durability,
            rate_bytes_max: self.settings.rate_bytes_max,
            retention: self.settings.retention,
        }
    }
}

impl AccountUpdate {
    fn apply(self, settings: &mut AccountSettings) {
        let retention = &mut settings.retention;
        settings.name = self.name.unwrap_or_else(|| std::mem::take(&mut settings.name));
        retention.days = self.retention_days.unwrap_or(retention.days);
        retention.bytes_max = self.retention_bytes_max.unwrap_or(retention.bytes_max);
        settings.durability = self.durability.unwrap_or(settings.durability);
        settings.rate_bytes_max = self.rate_bytes_max.unwrap_or(settings.rate_bytes_max);
    }
}

/// Checks settings against the rules, and trims the name. Names are unique among a main account and its sub-accounts.
async fn checked(
    write: &mut Write<'_>,
    main: AccountId,
    except: Option<AccountId>,
    settings: &mut AccountSettings,
) -> Result<(), StoreError> {
    Name::parse(&settings.name)?.as_str().clone_into(&mut settings.name);
    rules::check_bounds(settings.retention, settings.rate_bytes_max)?;
    let taken =
        sqlx::query("SELECT id FROM accounts WHERE (id = $1 OR parent = $1) AND name = $2 AND id <> $3")
            .bind(i64::from(main.0))
            .bind(&settings.name)
            .bind(except.map_or(0, |id| i64::from(id.0)))
            .fetch_optional(&mut *write.tx)
            .await?;
    match taken {
        Some(_) => Err(Refusal::AccountNameTaken.into()),
        None => Ok(()),
    }
}

async fn insert_account(
    inner: &Inner,
    write: &mut Write<'_>,
    parent: Option<AccountId>,
    plan: Plan,
    mut settings: AccountSettings,
    secrets: FirstSecrets,
) -> Result<Account, StoreError> {
    let id = write.draw(Counter::Account).await?;
    let account_id = AccountId(u32::try_from(id).map_err(|_| StoreError::Damaged("account_next"))?);
    checked(write, parent.unwrap_or(account_id), None, &mut settings).await?;
    let account = Account { id: account_id, parent, plan, settings, created_ms: write.at_ms.unsigned_abs() };
    sqlx::query(
        "INSERT INTO accounts (id, parent, name, plan, retention_days, created_ms) VALUES ($1, $2, $3, $4, $5, $6)",
    )
    .bind(id)
    .bind(parent.map(|parent| i64::from(parent.0)))
    .bind(&account.settings.name)
    .bind(parent.is_none().then(|| plan.name()))
    .bind(i64::from(account.settings.retention.days))
    .bind(write.at_ms)
    .execute(&mut *write.tx)
    .await?;
    save(write, &account).await?;
    write.audit(account.id, "account.create", subject(account.id), None, Some(audited(&account))).await?;
    write.change(Change::Account(account.grant()));
    let name = Name::parse(FIRST_TOKEN)?;
    let value = TokenValue::Plaintext(secrets.shipping_token);
    let new = NewToken { name: FIRST_TOKEN, enabled: true, value, terms: Terms::default() };
    let token = insert_token(inner, write, account.id, &name, new).await?;
    set_default(write, account.id, None, i64::from(token.id.0)).await?;
    insert_api_token(write, account.id, &Name::parse(FIRST_API_TOKEN)?, &secrets.api_token).await?;
    Ok(account)
}

async fn save(write: &mut Write<'_>, account: &Account) -> Result<(), StoreError> {
    let settings = &account.settings;
    let bytes = |bytes: Option<u64>| bytes.map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX));
    sqlx::query(
        "UPDATE accounts SET name = $1, retention_days = $2, retention_bytes_max = $3, durability = $4, \
         rate_bytes_max = $5 WHERE id = $6",
    )
    .bind(&settings.name)
    .bind(i64::from(settings.retention.days))
    .bind(bytes(settings.retention.bytes_max))
    .bind(settings.durability.map(durability_name))
    .bind(bytes(settings.rate_bytes_max))
    .bind(i64::from(account.id.0))
    .execute(&mut *write.tx)
    .await?;
    Ok(())
}

async fn find(write: &mut Write<'_>, id: AccountId) -> Result<Account, StoreError> {
    let row = sqlx::query(SELECT).bind(i64::from(id.0)).fetch_optional(&mut *write.tx).await?;
    account_of(&row.ok_or(StoreError::NotFound)?)
}

fn account_of(row: &AnyRow) -> Result<Account, StoreError> {
    let grant = grant_of(row)?;
    Ok(Account {
        id: grant.account,
        parent: number_or_none(row, "parent")?.map(AccountId),
        plan: Plan::from_name(row.try_get("shared_plan")?).ok_or(StoreError::Damaged("plan"))?,
        settings: AccountSettings {
            name: row.try_get("name")?,
            retention: grant.retention,
            durability: grant.durability,
            rate_bytes_max: grant.rate_bytes_max,
        },
        created_ms: number(row, "created_ms")?,
    })
}

pub(super) fn grant_of(row: &AnyRow) -> Result<AccountGrant, StoreError> {
    let durability = match row.try_get::<Option<&str>, _>("durability")? {
        None => None,
        Some("written") => Some(Durability::Written),
        Some("synced") => Some(Durability::Synced),
        Some(_) => return Err(StoreError::Damaged("durability")),
    };
    Ok(AccountGrant {
        account: AccountId(number(row, "id")?),
        durability,
        rate_bytes_max: number_or_none(row, "rate_bytes_max")?,
        retention: Retention {
            days: number(row, "retention_days")?,
            bytes_max: number_or_none(row, "retention_bytes_max")?,
        },
    })
}

fn durability_name(durability: Durability) -> &'static str {
    match durability {
        Durability::Written => "written",
        Durability::Synced => "synced",
    }
}

pub(super) fn subject(account: AccountId) -> String {
    format!("account:{account}")
}

fn audited(account: &Account) -> Value {
    let settings = &account.settings;
    json!({
        "name": settings.name,
        "retentionDays": settings.retention.days,
        "retentionBytesMax": settings.retention.bytes_max,
        "durability": settings.durability,
        "ingestBytesPerSecondMax": settings.rate_bytes_max,
    })
}
