//! `shipgate api-token …`

use super::api::Api;
use super::{ClientError, Named, Shown, table};
use clap::Subcommand;
use serde_json::json;

const API_TOKENS: &str = "/v1/api-tokens";

const API_TOKEN: Named =
    Named { what: "API token of the account", list: "api-token list", id: "id", name: "name" };

#[derive(Debug, Subcommand)]
pub enum ApiTokenAction {
    /// List the account's API tokens, without their secrets
    List {
        /// A sub-account's id; the API token's own account when missing
        #[arg(long, value_name = "ID")]
        account: Option<u32>,
    },
    /// Create an API token and show its secret, this once
    Create {
        /// Its name: unique in the account, and shown in the audit trail
        name: String,
        /// A sub-account's id; the API token's own account when missing
        #[arg(long, value_name = "ID")]
        account: Option<u32>,
    },
    /// Delete an API token, be it the one in use, as long as another is left
    Delete {
        /// The API token's id or name
        token: String,
        /// A sub-account's id; the API token's own account when missing
        #[arg(long, value_name = "ID")]
        account: Option<u32>,
    },
}

pub(super) async fn run(api: &Api, action: ApiTokenAction) -> Result<Shown, ClientError> {
    let query = |account: Option<u32>| account.map_or(String::new(), |id| format!("?accountId={id}"));
    match action {
        ApiTokenAction::List { account } => {
            let list = api.get(&format!("{API_TOKENS}{}", query(account))).await?;
            Ok(Shown::new(list, table::api_tokens))
        }
        ApiTokenAction::Create { name, account } => {
            let created = api.post(API_TOKENS, &json!({ "name": name, "accountId": account })).await?;
            Ok(Shown::new(created, table::created_api_token))
        }
        ApiTokenAction::Delete { token, account } => {
            let list = api.get(&format!("{API_TOKENS}{}", query(account))).await?;
            let (id, _) = API_TOKEN.find(list.as_array().ok_or_else(|| api.not_shipgate())?, &token)?;
            let deleted = api.delete(&format!("{API_TOKENS}/{id}{}", query(account))).await?;
            Ok(Shown::new(deleted, |token| format!("deleted: {} {}", token["id"], token["name"])))
        }
    }
}
