//! What only an operator can do, who has the machine: it goes to the store itself, whether the API runs or not, and into
//! the audit trail as `operator`.

use super::first_start::{random_api_token, random_link_token};
use crate::domain::plan::Plan;
use crate::domain::token::{ApiToken, LinkToken};
use crate::store::plans::PlanError;
use crate::store::rules::Refusal;
use crate::store::{By, Store, StoreError};

/// Why it was not done.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    #[error("there is no account yet: the first start makes it")]
    NoAccount,
    #[error("the operating system gives no random numbers")]
    Random(#[from] getrandom::Error),
    #[error("{0}")]
    Refused(Refusal),
    #[error(transparent)]
    Plan(PlanError),
    #[error("the store cannot be changed")]
    Store(#[source] StoreError),
}

impl From<StoreError> for OperatorError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Refused(refusal) => Self::Refused(refusal),
            StoreError::NotFound => Self::NoAccount,
            fault => Self::Store(fault),
        }
    }
}

impl From<PlanError> for OperatorError {
    fn from(error: PlanError) -> Self {
        match error {
            PlanError::Store(error) => error.into(),
            refused @ PlanError::TooManyEnabled { .. } => Self::Plan(refused),
        }
    }
}

/// Gives the main account a new API token named `name`, to be shown once. One that had the name opens nothing any more;
/// others stay as they are.
pub async fn reset_api_token(store: &Store, name: &str) -> Result<ApiToken, OperatorError> {
    let secret = random_api_token()?;
    store.reset_api_token(name, &secret, &operator()).await?;
    Ok(secret)
}

/// How long a set-up link that an operator asks for works, in milliseconds.
const SETUP_LINK_MS: u64 = 24 * 3_600_000;

/// Makes a set-up link's token: for an installation that has no user yet, or whose admins are locked out. It works once, within a
/// day; one from before is void.
pub async fn setup_token(store: &Store) -> Result<LinkToken, OperatorError> {
    let token = random_link_token()?;
    let expires_ms = store.unix_ms().saturating_add(SETUP_LINK_MS);
    store.offer_setup(&token.digest(), Some(expires_ms), &operator()).await?;
    Ok(token)
}

/// Gives the main account, and with it its sub-accounts, another plan, and returns the one it had. A plan that allows
/// fewer enabled tokens than some account has is refused. A running API obeys the new plan at once.
pub async fn set_plan(store: &Store, plan: Plan) -> Result<Plan, OperatorError> {
    Ok(store.set_plan(plan, &operator()).await?)
}

fn operator() -> By {
    By { actor: "operator".to_owned(), ..By::default() }
}
