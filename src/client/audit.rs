//! `shipgate audit`

use super::api::Api;
use super::{ClientError, Shown, table};
use clap::Args;

#[derive(Debug, Args)]
pub struct AuditCommand {
    /// How many changes to show, 1000 at most
    #[arg(long, value_name = "NUMBER", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    limit: u32,
}

pub(super) async fn run(api: &Api, command: AuditCommand) -> Result<Shown, ClientError> {
    let trail = api.get(&format!("/v1/audit-trail?limit={}", command.limit)).await?;
    Ok(Shown::new(trail, |trail| table::changes(&trail["entries"])))
}
