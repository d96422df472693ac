//! The command line's side of the REST API: `shipgate token …` and `shipgate account …`.
//!
//! A thin client: every rule is the server's, and what it answers is shown as a table or as it came. It reads no
//! configuration of the server and opens no file.

mod api;
mod table;

#[cfg(test)]
mod tests;

use api::Api;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::fmt;

const TOKENS: &str = "/v1/log-shipping/tokens";
const ACCOUNTS: &str = "/v1/account-management/time-based-accounts";
/// The largest page the server gives.
const PAGE_SIZE: usize = 1_000;

/// The sub-commands that talk to a control plane.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Manage log shipping tokens
    Token(TokenCommand),
    /// Manage accounts (with the main account's API token)
    Account(AccountCommand),
}

#[derive(Debug, Args)]
pub struct TokenCommand {
    #[command(subcommand)]
    action: TokenAction,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Args)]
pub struct AccountCommand {
    #[command(subcommand)]
    action: AccountAction,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Subcommand)]
enum TokenAction {
    /// List the account's tokens
    List,
    /// Create a token
    Create {
        name: String,
        /// Create it disabled
        #[arg(long)]
        disabled: bool,
    },
    /// Give a token another name
    Rename {
        /// The token's id or name
        token: String,
        /// Its new name
        name: String,
    },
    /// Let a token ship
    Enable {
        /// The token's id or name
        token: String,
    },
    /// Stop a token from shipping, at once
    Disable {
        /// The token's id or name
        token: String,
    },
    /// Delete a token for good
    Delete {
        /// The token's id or name
        token: String,
    },
}

#[derive(Debug, Subcommand)]
enum AccountAction {
    /// List the main account and its sub-accounts
    List,
    /// Create a sub-account
    Create {
        name: String,
        /// How long its logs are kept, in days
        #[arg(long, default_value_t = 7)]
        retention_days: u32,
    },
}

#[derive(Debug, Args)]
struct Connection {
    /// Where the control plane's API listens
    #[arg(long, global = true, env = "SHIPGATE_URL", default_value = "http://127.0.0.1:8072")]
    url: String,
    /// The account's API token. Safer in the environment: other users of a machine can read command lines
    #[arg(long, global = true, env = "SHIPGATE_API_TOKEN", hide_env_values = true)]
    api_token: Option<Secret>,
    /// Print the API's JSON instead of a table
    #[arg(long, global = true)]
    json: bool,
}

/// A text that is not shown.
#[derive(Clone)]
struct Secret(String);

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.trim().to_owned())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Why a command did not succeed, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("no API token: set SHIPGATE_API_TOKEN (the first start of the server printed it)")]
    NoApiToken,
    #[error("the API token has characters that no API token has")]
    MalformedApiToken,
    #[error("{0} is not an address such as http://127.0.0.1:8072")]
    MalformedUrl(String),
    #[error("https is not supported yet: reach {0} by http on its own machine, or through a tunnel")]
    Https(String),
    #[error(
        "no control plane answers at {url}: is it running, and is that the address it listens on? \
         (set SHIPGATE_URL or --url)"
    )]
    Unreachable { url: String, source: Box<dyn std::error::Error + Send + Sync> },
    #[error("{0} took too long to answer: the change may or may not have happened, list to see")]
    TimedOut(String),
    #[error("{0} answers, but not as a Shipgate control plane does: is that its API's address?")]
    NotShipgate(String),
    #[error(
        "the API token is not accepted for this: check SHIPGATE_API_TOKEN; accounts need the main account's"
    )]
    Forbidden,
    #[error("{0}")]
    Refused(String),
    #[error(
        "the account has no log shipping token with the id or name {0}: `shipgate token list` shows them"
    )]
    NoSuchToken(String),
    #[error(
        "{0} is the id of one log shipping token and the name of another: use the other's id {1}, or rename it"
    )]
    Ambiguous(String, u64),
}

impl ClientError {
    /// What the process should end with: 2 when the command itself is wrong, else 1.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::NoApiToken | Self::MalformedApiToken | Self::MalformedUrl(_) | Self::Https(_) => 2,
            _ => 1,
        }
    }
}

/// Carries out a command and returns what to print.
pub async fn run(command: Command) -> Result<String, ClientError> {
    match command {
        Command::Token(command) => tokens(command).await,
        Command::Account(command) => accounts(command).await,
    }
}

async fn tokens(TokenCommand { action, connection }: TokenCommand) -> Result<String, ClientError> {
    let api = Api::new(&connection)?;
    let answer = match action {
        TokenAction::List => Value::Array(all_tokens(&api).await?),
        TokenAction::Create { name, disabled } => {
            api.post(TOKENS, &json!({ "name": name, "enabled": !disabled })).await?
        }
        TokenAction::Rename { token, name } => {
            api.put(&path_of(&api, &token).await?, &json!({ "name": name })).await?
        }
        TokenAction::Enable { token } => {
            api.put(&path_of(&api, &token).await?, &json!({ "enabled": true })).await?
        }
        TokenAction::Disable { token } => {
            api.put(&path_of(&api, &token).await?, &json!({ "enabled": false })).await?
        }
        TokenAction::Delete { token } => api.delete(&path_of(&api, &token).await?).await?,
    };
    Ok(show(&connection, &answer, table::tokens))
}

async fn accounts(AccountCommand { action, connection }: AccountCommand) -> Result<String, ClientError> {
    let api = Api::new(&connection)?;
    match action {
        AccountAction::List => Ok(show(&connection, &api.get(ACCOUNTS).await?, table::accounts)),
        AccountAction::Create { name, retention_days } => {
            let new = json!({ "accountName": name, "retentionDays": retention_days });
            Ok(show(&connection, &api.post(ACCOUNTS, &new).await?, table::created_account))
        }
    }
}

fn show(connection: &Connection, answer: &Value, table: impl Fn(&Value) -> String) -> String {
    if connection.json { format!("{answer:#}") } else { table(answer) }
}

async fn all_tokens(api: &Api) -> Result<Vec<Value>, ClientError> {
    let mut tokens = vec![];
    for number in 1.. {
        let page = json!({ "pagination": { "pageNumber": number, "pageSize": PAGE_SIZE } });
        let mut found = api.post(&format!("{TOKENS}/search"), &page).await?;
        let Some(Value::Array(page)) = found.get_mut("results").map(Value::take) else {
            return Err(api.not_shipgate());
        };
        let last = page.len() < PAGE_SIZE;
        tokens.extend(page);
        if last {
            break;
        }
    }
    Ok(tokens)
}

/// Finds the token that `text` names, by id or by name.
async fn path_of(api: &Api, text: &str) -> Result<String, ClientError> {
    let tokens = all_tokens(api).await?;
    let id_of = |token: &Value| token["id"].as_u64();
    let by_id = tokens.iter().filter_map(id_of).find(|id| id.to_string() == text);
    let by_name = tokens.iter().find(|token| token["name"] == text.trim()).and_then(id_of);
    match (by_id, by_name) {
        (Some(id), Some(other)) if id != other => Err(ClientError::Ambiguous(text.to_owned(), other)),
        (Some(id), _) | (None, Some(id)) => Ok(format!("{TOKENS}/{id}")),
        (None, None) => Err(ClientError::NoSuchToken(text.to_owned())),
    }
}
