//! `shipgate gateways`, and what it means to wait for them.

use super::api::Api;
use super::table::{self, text};
use super::{ClientError, Shown};
use clap::{Args, Subcommand};
use serde_json::Value;

const GATEWAYS: &str = "/v1/gateways";

#[derive(Debug, Args)]
pub struct GatewaysCommand {
    #[command(subcommand)]
    action: Option<GatewaysAction>,
}

#[derive(Debug, Subcommand)]
enum GatewaysAction {
    /// Forget a gateway that will not come back: no change waits for it any more
    Forget {
        /// The gateway's id
        id: String,
    },
}

pub(super) async fn run(api: &Api, command: GatewaysCommand) -> Result<Shown, ClientError> {
    match command.action {
        None => Ok(Shown::new(api.get(GATEWAYS).await?, table::gateways)),
        Some(GatewaysAction::Forget { id }) => {
            let name = form_urlencoded::byte_serialize(id.as_bytes()).collect::<String>().replace('+', "%20");
            let forgotten = api.delete(&format!("{GATEWAYS}/{name}")).await?;
            Ok(Shown::new(forgotten, |gateway| format!("forgotten: {}", text(&gateway["id"]))))
        }
    }
}

/// Whether to wait until every gateway enforces a change.
#[derive(Debug, Args)]
pub struct Wait {
    /// Wait until every gateway enforces it, at most so many seconds (5 unless it says otherwise). Ends with 3 if one does
    /// not confirm it in time
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true, default_missing_value = "5",
          value_parser = super::whole(0..=30))]
    wait: Option<u32>,
}

impl Wait {
    pub(super) fn of(&self, path: String) -> String {
        match self.wait {
            None => path,
            Some(seconds) => format!("{path}?wait=enforced&timeout={seconds}"),
        }
    }
}

/// Every gateway has confirmed.
pub(super) fn enforced(enforcement: &Value) -> String {
    let count = enforcement["gateways"].as_array().map_or(0, Vec::len);
    let plural = if count == 1 { "" } else { "s" };
    format!("enforced by {count} gateway{plural} within {} ms", text(&enforcement["tookMs"]))
}

/// Some have not.
pub(super) fn lagging(enforcement: &Value) -> String {
    let mut lines =
        vec!["it is done, but these gateways have not confirmed it and may still act as before:".to_owned()];
    for gateway in enforcement["lagging"].as_array().into_iter().flatten() {
        let [id, address, revision, seconds] =
            ["id", "address", "revision", "seenSecondsAgo"].map(|key| text(&gateway[key]));
        lines.push(format!("  {id} at {address}: last heard of {seconds} s ago, with revision {revision}"));
    }
    lines.join("\n")
}
