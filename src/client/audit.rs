//! `shipgate audit`

use super::api::Api;
use super::{ClientError, Shown, table};
use clap::Args;
use form_urlencoded::Serializer;

#[derive(Debug, Args)]
pub struct AuditCommand {
    /// How many changes to show, 1000 at most
    #[arg(long, value_name = "NUMBER", default_value_t = 20, value_parser = super::whole(1..=1_000))]
    limit: u32,
    /// A part of who did it, or of the address it came from
    #[arg(long, value_name = "TEXT")]
    who: Option<String>,
    /// A part of what was done or to what, such as token.delete or user:1
    #[arg(long, value_name = "TEXT")]
    what: Option<String>,
    /// A token of whatever kind, by its number or by a name it had
    #[arg(long, value_name = "TOKEN")]
    token: Option<String>,
    /// From when on: RFC 3339, a date, now-7d, or 7d
    #[arg(long, value_name = "TIME", value_parser = super::logs::time)]
    since: Option<String>,
}

pub(super) async fn run(api: &Api, command: AuditCommand) -> Result<Shown, ClientError> {
    let AuditCommand { limit, who, what, token, since } = command;
    let mut query = Serializer::new(String::new());
    query.append_pair("limit", &limit.to_string());
    for (name, text) in [("who", who), ("what", what), ("token", token), ("since", since)] {
        if let Some(text) = text {
            query.append_pair(name, &text);
        }
    }
    let trail = api.get(&format!("/v1/audit-trail?{}", query.finish())).await?;
    Ok(Shown::new(trail, |trail| table::changes(&trail["entries"])))
}
