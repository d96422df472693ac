//! `shipgate user …`

use super::api::Api;
use super::{ClientError, Named, Shown, table};
use clap::Subcommand;
use serde_json::{Map, Value, json};

const USERS: &str = "/v1/users";

const USER: Named = Named { what: "user of the account", list: "user list", id: "id", name: "email" };

#[derive(Debug, Subcommand)]
pub enum UserAction {
    /// List the account's users
    List {
        /// A sub-account's id; the API token's own account when missing
        #[arg(long, value_name = "ID")]
        account: Option<u32>,
    },
    /// Invite somebody, or a user again to replace the password: shows the link to pass on, which works once, for seven days
    Invite {
        /// Their e-mail address
        email: String,
        /// What they may do: admin, all there is; user, search and share links
        #[arg(long, value_name = "admin|user", default_value = "user", value_parser = ["admin", "user"])]
        role: String,
        /// A sub-account's id; the API token's own account when missing
        #[arg(long, value_name = "ID")]
        account: Option<u32>,
    },
    /// Change a user's role, suspend a user, or end that
    Set {
        /// The user's id or e-mail address
        user: String,
        /// What they may do
        #[arg(long, value_name = "admin|user", value_parser = ["admin", "user"])]
        role: Option<String>,
        /// Whether they may do nothing for now; their sessions end at once
        #[arg(long, value_name = "yes|no", value_parser = ["yes", "no"])]
        suspended: Option<String>,
        /// A sub-account's id; the API token's own account when missing
        #[arg(long, value_name = "ID")]
        account: Option<u32>,
    },
    /// Remove a user for good; their sessions end at once
    Remove {
        /// The user's id or e-mail address
        user: String,
        /// A sub-account's id; the API token's own account when missing
        #[arg(long, value_name = "ID")]
        account: Option<u32>,
    },
}

pub(super) async fn run(api: &Api, action: UserAction) -> Result<Shown, ClientError> {
    match action {
        UserAction::List { account } => Ok(Shown::new(Value::Array(all(api, account).await?), table::users)),
        UserAction::Invite { email, role, account } => {
            let email = email.trim().to_lowercase();
            let known = all(api, account).await?.into_iter().find(|user| user["email"] == email.as_str());
            let invited = match known {
                Some(user) => api.post(&format!("{USERS}/{}/invitation", user["id"]), &json!({})).await?,
                None => {
                    let new = json!({ "email": email, "role": role, "accountId": account });
                    api.post(USERS, &new).await?
                }
            };
            Ok(Shown::new(invited, table::invitation))
        }
        UserAction::Set { user, role, suspended, account } => {
            let mut change = Map::new();
            change.extend(role.map(|role| ("role".to_owned(), role.into())));
            change.extend(suspended.map(|word| ("suspended".to_owned(), (word == "yes").into())));
            if change.is_empty() {
                return Err(ClientError::NothingToChange);
            }
            let path = path_of(api, account, &user).await?;
            Ok(Shown::new(api.put(&path, &change.into()).await?, table::users))
        }
        UserAction::Remove { user, account } => {
            let removed = api.delete(&path_of(api, account, &user).await?).await?;
            Ok(Shown::new(removed, |user| format!("removed: {} {}", user["id"], table::text(&user["email"]))))
        }
    }
}

async fn all(api: &Api, account: Option<u32>) -> Result<Vec<Value>, ClientError> {
    let query = account.map_or(String::new(), |id| format!("?accountId={id}"));
    match api.get(&format!("{USERS}{query}")).await? {
        Value::Array(users) => Ok(users),
        _ => Err(api.not_shipgate()),
    }
}

async fn path_of(api: &Api, account: Option<u32>, text: &str) -> Result<String, ClientError> {
    let (id, _) = USER.find(&all(api, account).await?, &text.to_lowercase())?;
    Ok(format!("{USERS}/{id}"))
}
