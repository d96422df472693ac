//! The command line's side of the REST API: `shipgate token …`, `account …`, `api-token …`, `shared-token …`, `filter …`,
//! `gateways`, `audit` and `logs …`.
//!
//! A thin client: every rule is the server's, and what it answers is shown in words, as a table or as it came. It reads
//! no configuration of the server, and no file but the one that holds a token's own value and the one of authorities.

mod accounts;
mod api;
mod api_tokens;
mod audit;
mod error;
mod examples;
mod gateways;
mod logs;
mod sharing;
mod table;
mod tokens;
mod users;

#[cfg(test)]
mod tests;

use accounts::AccountAction;
use api::Api;
use api_tokens::ApiTokenAction;
use audit::AuditCommand;
use clap::{Args, Subcommand};
use error::{ClientError, Failure};
use gateways::GatewaysCommand;
use logs::LogsCommand;
use serde_json::Value;
use sharing::{FilterAction, SharedTokenAction};
use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use tokens::TokenAction;
use users::UserAction;

/// The sub-commands that talk to a control plane.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Manage log shipping tokens: what shippers send logs with
    #[command(after_help = examples::TOKEN)]
    Token {
        #[command(subcommand)]
        action: TokenAction,
        #[command(flatten)]
        connection: Connection,
    },
    /// Manage accounts (all but `show` without an account need the main account's API token)
    #[command(after_help = examples::ACCOUNT)]
    Account {
        #[command(subcommand)]
        action: Box<AccountAction>,
        #[command(flatten)]
        connection: Connection,
    },
    /// Manage API tokens: what this command line and other API clients sign in with
    #[command(after_help = examples::API_TOKEN)]
    ApiToken {
        #[command(subcommand)]
        action: ApiTokenAction,
        #[command(flatten)]
        connection: Connection,
    },
    /// Manage users: who signs in to the console
    #[command(after_help = examples::USER)]
    User {
        #[command(subcommand)]
        action: UserAction,
        #[command(flatten)]
        connection: Connection,
    },
    /// Manage shared tokens: read-only access to the account's logs, by a link
    #[command(after_help = examples::SHARED_TOKEN)]
    SharedToken {
        #[command(subcommand)]
        action: SharedTokenAction,
        #[command(flatten)]
        connection: Connection,
    },
    /// Manage filters: what limits shared tokens
    #[command(after_help = examples::FILTER)]
    Filter {
        #[command(subcommand)]
        action: FilterAction,
        #[command(flatten)]
        connection: Connection,
    },
    /// Show the gateways: what each enforces, and when it was last heard of (needs the main account's API token)
    #[command(after_help = examples::GATEWAYS)]
    Gateways {
        #[command(flatten)]
        command: GatewaysCommand,
        #[command(flatten)]
        connection: Connection,
    },
    /// Show who changed what, newest first
    #[command(after_help = examples::AUDIT)]
    Audit {
        #[command(flatten)]
        command: AuditCommand,
        #[command(flatten)]
        connection: Connection,
    },
    /// Read the account's log: search, follow, export
    Logs {
        #[command(flatten)]
        command: LogsCommand,
        #[command(flatten)]
        connection: Connection,
    },
}

/// Where the API is and who asks.
#[derive(Debug, Args)]
pub struct Connection {
    /// Where the control plane's API listens
    #[arg(long, global = true, env = "SHIPGATE_URL", default_value = "http://127.0.0.1:8072")]
    url: String,
    /// PEM file of the authorities that certify an https:// control plane
    #[arg(
        long,
        global = true,
        env = "SHIPGATE_CA_FILE",
        value_name = "FILE",
        default_value = "/etc/ssl/certs/ca-certificates.crt"
    )]
    ca_file: PathBuf,
    /// The account's API token, which the server's first start printed. Safer in the environment: other users of a machine can read command lines
    #[arg(long, global = true, env = "SHIPGATE_API_TOKEN", hide_env_values = true)]
    api_token: Option<Secret>,
    /// Print the API's JSON instead of words and tables; errors too, on standard error
    #[arg(long, global = true)]
    json: bool,
}

/// Reads the whole numbers of an option. The library's own parser tells of digits, and not which numbers there are.
fn whole(numbers: RangeInclusive<u32>) -> impl Fn(&str) -> Result<u32, String> + Clone {
    move |text| match text.trim().parse() {
        Ok(number) if numbers.contains(&number) => Ok(number),
        _ => Err(format!("there are whole numbers from {} to {}", numbers.start(), numbers.end())),
    }
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

/// What the API answered, and how people read it.
struct Shown {
    json: Value,
    text: String,
}

impl Shown {
    fn new(json: Value, text: impl FnOnce(&Value) -> String) -> Self {
        Self { text: text(&json), json }
    }
}

/// Carries out a command and returns what to print, which is nothing if it is printed already.
pub async fn run(command: Command) -> Result<String, Failure> {
    let (Command::Token { connection, .. }
    | Command::Account { connection, .. }
    | Command::ApiToken { connection, .. }
    | Command::User { connection, .. }
    | Command::SharedToken { connection, .. }
    | Command::Filter { connection, .. }
    | Command::Gateways { connection, .. }
    | Command::Audit { connection, .. }
    | Command::Logs { connection, .. }) = &command;
    let json = connection.json;
    let failed = |error| Failure { error, json };
    if let Command::Logs { command, connection } = command {
        return logs::run(&connection, command).await.map(|()| String::new()).map_err(failed);
    }
    let api = Api::new(connection).map_err(failed)?;
    let done = match command {
        Command::Token { action, .. } => tokens::run(&api, action).await,
        Command::Account { action, .. } => accounts::run(&api, *action).await,
        Command::ApiToken { action, .. } => api_tokens::run(&api, action).await,
        Command::User { action, .. } => users::run(&api, action).await,
        Command::SharedToken { action, .. } => sharing::run(&api, action).await,
        Command::Filter { action, .. } => sharing::run_filter(&api, action).await,
        Command::Gateways { command, .. } => gateways::run(&api, command).await,
        Command::Audit { command, .. } => audit::run(&api, command).await,
        // Done above.
        Command::Logs { .. } => return Ok(String::new()),
    };
    match done {
        Ok(shown) if json => Ok(format!("{:#}", shown.json)),
        Ok(shown) => Ok(shown.text),
        Err(ClientError::Forbidden) => Err(failed(why_forbidden(&api).await)),
        Err(error) => Err(failed(error)),
    }
}

/// The API does not tell a wrong API token from one without the right; whether it knows the token does.
async fn why_forbidden(api: &Api) -> ClientError {
    match api.get("/v2/whoami").await {
        Ok(account) => ClientError::SubAccount(table::text(&account["accountName"])),
        Err(ClientError::Forbidden) => api.wrong_api_token(),
        Err(error) => error,
    }
}

/// One of many things, as a user names it: by id or by name.
struct Named {
    what: &'static str,
    /// The command that lists them.
    list: &'static str,
    id: &'static str,
    name: &'static str,
}

impl Named {
    fn find(&self, things: &[Value], text: &str) -> Result<(u64, String), ClientError> {
        let id_of = |thing: &Value| thing[self.id].as_u64();
        let found = |thing: &Value| Some((id_of(thing)?, table::text(&thing[self.name])));
        let by_id = things.iter().filter_map(found).find(|(id, _)| id.to_string() == text);
        let by_name = things.iter().find(|thing| thing[self.name] == text.trim()).and_then(found);
        match (by_id, by_name) {
            (Some((id, _)), Some((other, _))) if id != other => {
                Err(ClientError::Ambiguous { what: self.what, text: text.to_owned(), id: other })
            }
            (Some(found), _) | (None, Some(found)) => Ok(found),
            (None, None) => {
                Err(ClientError::NotFound { what: self.what, text: text.to_owned(), list: self.list })
            }
        }
    }
}
