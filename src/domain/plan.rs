//! Plans: what an account has paid for.

use serde::{Deserialize, Serialize};

/// The plan of a main account; its sub-accounts share it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Plan {
    Community,
    Pro,
    Enterprise,
}

impl Plan {
    /// How many of an account's log shipping tokens may be enabled at the same time.
    pub fn enabled_tokens_max(self) -> u32 {
        match self {
            Plan::Community => 1,
            Plan::Pro | Plan::Enterprise => 15,
        }
    }

    /// `community`, `pro` or `enterprise`.
    pub fn name(self) -> &'static str {
        match self {
            Plan::Community => "community",
            Plan::Pro => "pro",
            Plan::Enterprise => "enterprise",
        }
    }

    /// Reads what [`Self::name`] wrote, in any case.
    pub fn from_name(name: &str) -> Option<Self> {
        [Plan::Community, Plan::Pro, Plan::Enterprise]
            .into_iter()
            .find(|plan| plan.name().eq_ignore_ascii_case(name))
    }
}
