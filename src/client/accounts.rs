//! `shipgate account …`

use super::api::Api;
use super::{ClientError, Named, Shown, table};
use clap::{Args, Subcommand};
use serde_json::{Map, Value};

const ACCOUNTS: &str = "/v1/account-management/time-based-accounts";
const SETTINGS: &str = "/v1/account-management/settings";

const ACCOUNT: Named =
    Named { what: "account of yours", list: "account list", id: "accountId", name: "accountName" };

#[derive(Debug, Subcommand)]
pub enum AccountAction {
    /// List the main account and its sub-accounts
    List,
    /// Show an account and its settings
    Show {
        /// The account's id or name; the API token's own account when missing
        account: Option<String>,
    },
    /// Create a sub-account
    Create {
        /// Its name: unique among the main account and its sub-accounts
        name: String,
        #[command(flatten)]
        settings: Settings,
    },
    /// Change an account's settings; what is not named stays as it is
    #[command(visible_alias = "set")]
    Update {
        /// The account's id or name
        account: String,
        /// Its new name
        #[arg(long, value_name = "NAME")]
        name: Option<String>,
        #[command(flatten)]
        settings: Settings,
    },
}

#[derive(Debug, Args)]
pub struct Settings {
    /// How long its logs are kept, in days (of a new account 7 unless you say otherwise)
    #[arg(long, value_name = "DAYS")]
    retention_days: Option<u32>,
    /// How many bytes of its logs are kept, oldest dropped first; `none`: no bound
    #[arg(long, value_name = "BYTES|none", value_parser = bytes_or_none)]
    retention_bytes: Option<Value>,
    /// How many bytes a second it may ship; `none`: no bound
    #[arg(long, value_name = "BYTES|none", value_parser = bytes_or_none)]
    rate_bytes: Option<Value>,
    /// What a 200 promises: `written` survives the end of the process, `synced` a power cut; `none`: as the gateway is
    /// configured
    #[arg(long, value_name = "written|synced|none", value_parser = durability_or_none)]
    durability: Option<Value>,
}

impl Settings {
    fn into_json(self, name: Option<String>) -> Map<String, Value> {
        let fields = [
            ("accountName", name.map(Value::from)),
            ("retentionDays", self.retention_days.map(Value::from)),
            ("retentionBytesMax", self.retention_bytes),
            ("ingestBytesPerSecondMax", self.rate_bytes),
            ("durability", self.durability),
        ];
        fields.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?))).collect()
    }
}

fn bytes_or_none(text: &str) -> Result<Value, String> {
    match text {
        "none" => Ok(Value::Null),
        number => number
            .parse::<u64>()
            .map(Value::from)
            .map_err(|_| "a number of bytes, or none, is needed".to_owned()),
    }
}

fn durability_or_none(text: &str) -> Result<Value, String> {
    match text {
        "none" => Ok(Value::Null),
        "written" | "synced" => Ok(text.into()),
        _ => Err("there are written, synced and none".to_owned()),
    }
}

pub(super) async fn run(api: &Api, action: AccountAction) -> Result<Shown, ClientError> {
    match action {
        AccountAction::List => Ok(Shown::new(api.get(ACCOUNTS).await?, table::accounts)),
        AccountAction::Show { account: None } => Ok(Shown::new(api.get(SETTINGS).await?, table::account)),
        AccountAction::Show { account: Some(account) } => {
            Ok(Shown::new(api.get(&path_of(api, &account).await?).await?, table::account))
        }
        AccountAction::Create { name, settings } => {
            let new = settings.into_json(Some(name)).into();
            Ok(Shown::new(api.post(ACCOUNTS, &new).await?, table::created_account))
        }
        AccountAction::Update { account, name, settings } => {
            let change = settings.into_json(name);
            if change.is_empty() {
                return Err(ClientError::NothingToChange);
            }
            let path = path_of(api, &account).await?;
            Ok(Shown::new(api.put(&path, &change.into()).await?, table::account))
        }
    }
}

async fn path_of(api: &Api, text: &str) -> Result<String, ClientError> {
    let accounts = api.get(ACCOUNTS).await?;
    let accounts = accounts.as_array().ok_or_else(|| api.not_shipgate())?;
    let (id, _) = ACCOUNT.find(accounts, text)?;
    Ok(format!("{ACCOUNTS}/{id}"))
}
