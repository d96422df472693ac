//! `shipgate token …`

pub(super) mod terms;

use super::api::Api;
use super::gateways::{self, Wait};
use super::table::{self, text};
use super::{ClientError, Named, Shown};
use clap::Subcommand;
use serde_json::{Value, json};
use terms::{Brought, ChangedTerms, NewTerms, overlap, seconds};

const TOKENS: &str = "/v1/log-shipping/tokens";
const SETTINGS: &str = "/v1/account-management/settings";
/// The largest page the server gives.
const PAGE_SIZE: usize = 1_000;

const TOKEN: Named =
    Named { what: "log shipping token of the account", list: "token list", id: "id", name: "name" };

#[derive(Debug, Subcommand)]
pub enum TokenAction {
    /// List the account's tokens
    List,
    /// Show one token
    Show {
        /// The token's id or name
        token: String,
    },
    /// Show how many tokens may be enabled at a time, and how many are
    Limits,
    /// Show who uses the account's tokens and who still tries with dead ones; of one token also how much each day
    Usage {
        /// The token's id or name; the id of a deleted one will do
        token: Option<String>,
    },
    /// Create a token
    #[command(after_help = super::examples::TOKEN)]
    Create {
        /// Its name: unique in the account
        name: String,
        /// Create it disabled
        #[arg(long)]
        disabled: bool,
        #[command(flatten)]
        value: Brought,
        #[command(flatten)]
        terms: NewTerms,
        #[command(flatten)]
        wait: Wait,
    },
    /// Change a token's terms: until when, from where and for which logs it ships
    Set {
        /// The token's id or name
        token: String,
        #[command(flatten)]
        terms: ChangedTerms,
        #[command(flatten)]
        wait: Wait,
    },
    /// Replace a token: its successor ships from now on, and the token itself for an overlap
    Rotate {
        /// The token's id or name
        token: String,
        /// How long the old token ships on, at most 30d [default: 7d]
        #[arg(long, value_name = "TIME", value_parser = overlap)]
        overlap: Option<u64>,
        /// After how long without use it ends sooner, such as 1h
        #[arg(long, value_name = "TIME", value_parser = seconds)]
        quiet_for: Option<u64>,
        #[command(flatten)]
        value: Brought,
        #[command(flatten)]
        wait: Wait,
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
        #[command(flatten)]
        wait: Wait,
    },
    /// Stop a token from shipping, at once
    Disable {
        /// The token's id or name
        token: String,
        #[command(flatten)]
        wait: Wait,
    },
    /// Delete a token for good
    Delete {
        /// The token's id or name
        token: String,
        #[command(flatten)]
        wait: Wait,
    },
}

pub(super) async fn run(api: &Api, action: TokenAction) -> Result<Shown, ClientError> {
    match action {
        TokenAction::List => Ok(Shown::new(Value::Array(all(api).await?), table::tokens)),
        TokenAction::Show { token } => {
            let (id, _) = find(api, &token).await?;
            Ok(Shown::new(api.get(&path(id)).await?, table::tokens))
        }
        TokenAction::Limits => Ok(Shown::new(api.get(&format!("{TOKENS}/limits")).await?, |limits| {
            let [max, enabled] = ["maxAllowedTokens", "numOfEnabledTokens"].map(|key| text(&limits[key]));
            let retiring =
                limits["numOfRetiringTokens"].as_u64().map(|number| format!(", {number} being retired"));
            format!("{enabled} of at most {max} enabled{}", retiring.unwrap_or_default())
        })),
        TokenAction::Usage { token } => usage(api, token).await,
        TokenAction::Create { name, disabled, value, terms, wait } => {
            let mut new = json!({ "name": name, "enabled": !disabled });
            value.add_to(&mut new)?;
            terms.add_to(&mut new);
            enforced(Shown::new(api.post(&wait.of(TOKENS.to_owned()), &new).await?, table::tokens))
        }
        TokenAction::Set { token, terms, wait } => {
            let (id, _) = find(api, &token).await?;
            enforced(Shown::new(api.put(&wait.of(path(id)), &terms.body()?).await?, table::tokens))
        }
        TokenAction::Rotate { token, overlap, quiet_for, value, wait } => {
            let (id, _) = find(api, &token).await?;
            let mut rotation = json!({ "overlap": overlap, "quietFor": quiet_for });
            value.add_to(&mut rotation)?;
            let rotated = api.post(&wait.of(format!("{}/rotate", path(id))), &rotation).await?;
            enforced(Shown::new(rotated, |rotated| {
                table::tokens(&json!([rotated["successor"], rotated["retiring"]]))
            }))
        }
        TokenAction::Rename { token, name } => {
            let (id, old) = find(api, &token).await?;
            let renamed = api.put(&path(id), &json!({ "name": name })).await?;
            Ok(Shown::new(renamed, |token| format!("renamed: {id} {old:?} is now {}", token["name"])))
        }
        TokenAction::Enable { token, wait } => {
            let (id, _) = find(api, &token).await?;
            let enabled = api.put(&wait.of(path(id)), &json!({ "enabled": true })).await?;
            enforced(Shown::new(enabled, |token| done("enabled", token)))
        }
        TokenAction::Disable { token, wait } => {
            let (id, _) = find(api, &token).await?;
            let default = default_token(api).await?;
            let disabled = api.put(&wait.of(path(id)), &json!({ "enabled": false })).await?;
            stopped(api, "disabled", disabled, &default).await
        }
        TokenAction::Delete { token, wait } => {
            let (id, _) = find(api, &token).await?;
            let default = default_token(api).await?;
            let deleted = api.delete(&wait.of(path(id))).await?;
            stopped(api, "deleted", deleted, &default).await
        }
    }
}

async fn usage(api: &Api, token: Option<String>) -> Result<Shown, ClientError> {
    let Some(token) = token else {
        return Ok(Shown::new(api.get("/v1/log-shipping/usage").await?, |usage| {
            table::uses(&usage["tokens"])
        }));
    };
    let id = match (find(api, &token).await, token.parse()) {
        (Ok((id, _)), _) => id,
        // It may be a deleted one.
        (Err(ClientError::NotFound { .. }), Ok(id)) => id,
        (Err(error), _) => return Err(error),
    };
    Ok(Shown::new(api.get(&format!("{}/usage", path(id))).await?, table::usage))
}

fn path(id: u64) -> String {
    format!("{TOKENS}/{id}")
}

fn done(what: &str, token: &Value) -> String {
    format!("{what}: {} {}", token["id"], token["name"])
}

/// What became of a token, and which is the account's default one now if that was it.
async fn stopped(api: &Api, what: &str, token: Value, default: &Value) -> Result<Shown, ClientError> {
    let mut text = done(what, &token);
    // It is done: that the rest cannot be said is no failure.
    if token["id"] == default["id"]
        && let Ok(heir) = default_token(api).await
        && heir["id"] != default["id"]
    {
        text += &format!("\nthe account's default token is now {} {}", heir["id"], heir["name"]);
    }
    enforced(Shown { json: token, text })
}

/// Adds who enforces a change, if that was waited for; one that not all do is told as such.
fn enforced(mut shown: Shown) -> Result<Shown, ClientError> {
    match &shown.json["enforcement"] {
        Value::Null => Ok(shown),
        enforcement if enforcement["enforced"] == true => {
            shown.text += &format!("\n{}", gateways::enforced(enforcement));
            Ok(shown)
        }
        enforcement => {
            let text = format!("{}\n{}", shown.text, gateways::lagging(enforcement));
            Err(ClientError::NotEnforced { text, answer: shown.json })
        }
    }
}

async fn default_token(api: &Api) -> Result<Value, ClientError> {
    Ok(api.get(SETTINGS).await?["defaultToken"].take())
}

async fn find(api: &Api, text: &str) -> Result<(u64, String), ClientError> {
    TOKEN.find(&all(api).await?, text)
}

async fn all(api: &Api) -> Result<Vec<Value>, ClientError> {
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
