//! The calls about accounts: who am I, my settings, and, for a main account's API token, its sub-accounts.

use super::access::{Admin, MainAdmin};
use super::error::{ApiError, Area, ErrorBody};
use super::first_start::{RETENTION_DAYS_DEFAULT, random_secrets};
use super::input::{Body, PathId, nullable, refuse};
use super::terms::seconds;
use super::tokens::TokenObject;
use crate::domain::account::{Durability, Retention};
use crate::store::accounts::{Account, AccountSettings, AccountUpdate};
use axum::Json;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Identity {
    account_name: String,
    #[schema(value_type = i32)]
    account_id: u32,
}

/// Show whose API token this is.
#[utoipa::path(
    operation_id = "whoami",
    get, path = "/v2/whoami", tag = "accounts", security(("apiToken" = [])),
    responses(
        (status = 200, description = "The account", body = Identity),
        (status = 403, description = "No API token, or a wrong one", body = ErrorBody),
    )
)]
pub(super) async fn whoami_v2(admin: Admin) -> Result<Json<Identity>, ApiError> {
    whoami(admin).await
}

/// Show whose API token this is.
#[utoipa::path(
    operation_id = "whoamiV1",
    get, path = "/v1/whoami", tag = "accounts", security(("apiToken" = [])),
    responses(
        (status = 200, description = "The account", body = Identity),
        (status = 403, description = "No API token, or a wrong one", body = ErrorBody),
    )
)]
pub(super) async fn whoami_v1(admin: Admin) -> Result<Json<Identity>, ApiError> {
    whoami(admin).await
}

async fn whoami(admin: Admin) -> Result<Json<Identity>, ApiError> {
    let account = admin.store.account(admin.account).await.map_err(ApiError::of(Area::Accounts))?;
    Ok(Json(Identity { account_name: account.settings.name, account_id: account.id.0 }))
}

/// What a 200 to this account's shippers promises: `written` survives the end of the process, `synced` a power cut.
#[derive(Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum DurabilityName {
    Written,
    Synced,
}

impl From<DurabilityName> for Durability {
    fn from(name: DurabilityName) -> Self {
        match name {
            DurabilityName::Written => Self::Written,
            DurabilityName::Synced => Self::Synced,
        }
    }
}

impl From<Durability> for DurabilityName {
    fn from(durability: Durability) -> Self {
        match durability {
            Durability::Written => Self::Written,
            Durability::Synced => Self::Synced,
        }
    }
}

/// An account.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct AccountObject {
    #[schema(value_type = i32)]
    account_id: u32,
    account_name: String,
    /// `null` of a main account.
    #[schema(value_type = Option<i32>)]
    parent_account_id: Option<u32>,
    /// `community`, `pro` or `enterprise`; sub-accounts share their main account's.
    plan: &'static str,
    retention_days: u32,
    /// `null`: no bound.
    retention_bytes_max: Option<u64>,
    /// `null`: no bound.
    ingest_bytes_per_second_max: Option<u64>,
    /// `null`: as the gateway is configured.
    durability: Option<DurabilityName>,
    /// Seconds since the Unix epoch.
    created_at: f64,
}

impl From<Account> for AccountObject {
    fn from(account: Account) -> Self {
        let settings = account.settings;
        Self {
            account_id: account.id.0,
            account_name: settings.name,
            parent_account_id: account.parent.map(|parent| parent.0),
            plan: account.plan.name(),
            retention_days: settings.retention.days,
            retention_bytes_max: settings.retention.bytes_max,
            ingest_bytes_per_second_max: settings.rate_bytes_max,
            durability: settings.durability.map(Into::into),
            created_at: seconds(account.created_ms),
        }
    }
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Settings {
    #[serde(flatten)]
    account: AccountObject,
    default_token: TokenObject,
    listener: ListenerObject,
}

/// Where the account's shippers post.
#[derive(Serialize, ToSchema)]
struct ListenerObject {
    /// In plain HTTP, such as `http://logs.example.com:8070`; `null` where it is only served over TLS.
    http: Option<String>,
    /// Over TLS; `null` where it is not served so.
    https: Option<String>,
}

/// Show the account's settings, among them its default log shipping token.
#[utoipa::path(
    operation_id = "showSettings",
    get, path = "/v1/account-management/settings", tag = "accounts", security(("apiToken" = [])),
    responses(
        (status = 200, description = "The account, its default token, and where its shippers post", body = Settings),
        (status = 403, description = "No API token, or a wrong one", body = ErrorBody),
    )
)]
pub(super) async fn settings(admin: Admin) -> Result<Json<Settings>, ApiError> {
    let account = admin.store.account(admin.account).await.map_err(ApiError::of(Area::Accounts))?;
    let default_token =
        admin.store.default_token(admin.account).await.map_err(ApiError::of(Area::Accounts))?;
    let [http, https] = admin.listener.seen_from(admin.way.origin.as_ref());
    let listener = ListenerObject { http, https };
    Ok(Json(Settings { account: account.into(), default_token: default_token.into(), listener }))
}

/// Fields that are not here are passed over: published clients send many.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct NewAccount {
    /// Unique among the main account and its sub-accounts, at most 100 characters.
    #[schema(min_length = 1, max_length = 100, pattern = r"\S")]
    account_name: String,
    /// 7 unless it says otherwise.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 3650)]
    retention_days: Option<u32>,
    #[serde(default)]
    #[schema(minimum = 1, maximum = 9223372036854775807_i64)]
    retention_bytes_max: Option<u64>,
    #[serde(default)]
    #[schema(minimum = 1, maximum = 9223372036854775807_i64)]
    ingest_bytes_per_second_max: Option<u64>,
    #[serde(default)]
    durability: Option<DurabilityName>,
    #[serde(default, rename = "plan", deserialize_with = "set_by_operator")]
    #[schema(ignore)]
    _plan: (),
}

/// Who asks for another plan learns who can give it.
fn set_by_operator<'de, D: Deserializer<'de>>(deserializer: D) -> Result<(), D::Error> {
    refuse(deserializer, "the plan is set by the operator of this server: shipgate set-plan")
}

#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct CreatedAccount {
    #[schema(value_type = i32)]
    account_id: u32,
    /// Its first log shipping token.
    account_token: String,
    /// Its API token, shown this once.
    api_token: String,
}

/// Create a sub-account.
#[utoipa::path(
    operation_id = "createAccount",
    post, path = "/v1/account-management/time-based-accounts", tag = "accounts", security(("apiToken" = [])),
    request_body = NewAccount,
    responses(
        (status = 200, description = "Created, with an enabled token named `default`", body = CreatedAccount),
        (status = 400, description = "The name is empty or taken, a bound is not possible, or a field is unknown", body = ErrorBody),
        (status = 403, description = "Not an API token of a main account", body = ErrorBody),
    )
)]
pub(super) async fn create(
    MainAdmin(admin): MainAdmin,
    Body(new): Body<NewAccount>,
) -> Result<Json<CreatedAccount>, ApiError> {
    let settings = AccountSettings {
        name: new.account_name,
        retention: Retention {
            days: new.retention_days.unwrap_or(RETENTION_DAYS_DEFAULT),
            bytes_max: new.retention_bytes_max,
        },
        durability: new.durability.map(Into::into),
        rate_bytes_max: new.ingest_bytes_per_second_max,
    };
    let secrets = random_secrets()?;
    let account = admin.store.create_sub_account(admin.account, settings, secrets.clone(), &admin.by).await;
    let account = account.map_err(ApiError::of(Area::Accounts))?;
    Ok(Json(CreatedAccount {
        account_id: account.id.0,
        account_token: secrets.shipping_token.expose().to_owned(),
        api_token: secrets.api_token.expose().to_owned(),
    }))
}

/// List the main account and its sub-accounts.
#[utoipa::path(
    operation_id = "listAccounts",
    get, path = "/v1/account-management/time-based-accounts", tag = "accounts", security(("apiToken" = [])),
    responses(
        (status = 200, description = "The main account first", body = Vec<AccountObject>),
        (status = 403, description = "Not an API token of a main account", body = ErrorBody),
    )
)]
pub(super) async fn list(MainAdmin(admin): MainAdmin) -> Result<Json<Vec<AccountObject>>, ApiError> {
    let accounts = admin.store.accounts(admin.account).await.map_err(ApiError::of(Area::Accounts))?;
    Ok(Json(accounts.into_iter().map(Into::into).collect()))
}

/// Show the main account or a sub-account.
#[utoipa::path(
    operation_id = "showAccount",
    get, path = "/v1/account-management/time-based-accounts/{id}", tag = "accounts", security(("apiToken" = [])),
    params(("id" = i32, Path, description = "The account's id")),
    responses(
        (status = 200, description = "The account", body = AccountObject),
        (status = 403, description = "Not an API token of a main account", body = ErrorBody),
        (status = 404, description = "Neither the main account nor a sub-account of it", body = ErrorBody),
    )
)]
pub(super) async fn show(MainAdmin(admin): MainAdmin, id: PathId) -> Result<Json<AccountObject>, ApiError> {
    let account = admin.store.account_under(admin.account, id.account()?).await;
    account.map(|account| Json(account.into())).map_err(ApiError::of(Area::Accounts))
}

/// Missing fields are left as they are; `null` takes a bound away.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct AccountChange {
    #[serde(default)]
    #[schema(min_length = 1, max_length = 100, pattern = r"\S")]
    account_name: Option<String>,
    #[serde(default)]
    #[schema(minimum = 1, maximum = 3650)]
    retention_days: Option<u32>,
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<u64>, minimum = 1, maximum = 9223372036854775807_i64)]
    retention_bytes_max: Option<Option<u64>>,
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<u64>, minimum = 1, maximum = 9223372036854775807_i64)]
    ingest_bytes_per_second_max: Option<Option<u64>>,
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<DurabilityName>)]
    durability: Option<Option<DurabilityName>>,
    #[serde(default, rename = "plan", deserialize_with = "set_by_operator")]
    #[schema(ignore)]
    _plan: (),
}

/// Change the main account or a sub-account.
#[utoipa::path(
    operation_id = "updateAccount",
    put, path = "/v1/account-management/time-based-accounts/{id}", tag = "accounts", security(("apiToken" = [])),
    params(("id" = i32, Path, description = "The account's id")),
    request_body = AccountChange,
    responses(
        (status = 200, description = "The account", body = AccountObject),
        (status = 400, description = "The name is empty or taken, a bound is not possible, or a field is unknown", body = ErrorBody),
        (status = 403, description = "Not an API token of a main account", body = ErrorBody),
        (status = 404, description = "Neither the main account nor a sub-account of it", body = ErrorBody),
    )
)]
pub(super) async fn update(
    MainAdmin(admin): MainAdmin,
    id: PathId,
    Body(change): Body<AccountChange>,
) -> Result<Json<AccountObject>, ApiError> {
    let update = AccountUpdate {
        name: change.account_name,
        retention_days: change.retention_days,
        retention_bytes_max: change.retention_bytes_max,
        durability: change.durability.map(|durability| durability.map(Into::into)),
        rate_bytes_max: change.ingest_bytes_per_second_max,
    };
    if update == AccountUpdate::default() {
        return Err(ApiError::Malformed(
            "Nothing to change: an account's fields are accountName, retentionDays, retentionBytesMax, \
             ingestBytesPerSecondMax and durability"
                .to_owned(),
        ));
    }
    let account = admin.store.update_account(admin.account, id.account()?, update, &admin.by).await;
    account.map(|account| Json(account.into())).map_err(ApiError::of(Area::Accounts))
}
