//! The plan of the main account, which its sub-accounts share. An operator sets it, never an admin.

use super::api_tokens::main_account;
use super::write::Write;
use super::{By, Store, StoreError, number};
use crate::domain::plan::Plan;
use serde_json::json;
use sqlx::Row;

/// Why the plan stays as it is.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    #[error(
        "plan {} allows {} enabled log shipping token(s) in an account, and these have more: {accounts}: disable some first",
        plan.name(),
        plan.enabled_tokens_max()
    )]
    TooManyEnabled {
        plan: Plan,
        /// Their numbers and names, and how many tokens each has enabled.
        accounts: String,
    },
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<sqlx::Error> for PlanError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

impl Store {
    /// Gives the main account another plan and returns the one it had. Not found: the store has no account yet.
    pub async fn set_plan(&self, plan: Plan, by: &By) -> Result<Plan, PlanError> {
        let mut write = Write::begin(&self.0, by).await?;
        let main = main_account(&mut write).await?;
        let row = sqlx::query("SELECT plan FROM accounts WHERE id = $1")
            .bind(i64::from(main.0))
            .fetch_one(&mut *write.tx)
            .await?;
        let before = Plan::from_name(row.try_get("plan")?).ok_or(StoreError::Damaged("plan"))?;
        if before == plan {
            return Ok(before);
        }
        refuse_too_many_enabled(&mut write, plan).await?;
        sqlx::query("UPDATE accounts SET plan = $1 WHERE id = $2")
            .bind(plan.name())
            .bind(i64::from(main.0))
            .execute(&mut *write.tx)
            .await?;
        let value = |plan: Plan| Some(json!({ "plan": plan.name() }));
        write.audit(main, "account.plan", format!("account:{main}"), value(before), value(plan)).await?;
        write.commit().await?;
        Ok(before)
    }
}

/// Every account must fit into the new plan as it is.
async fn refuse_too_many_enabled(write: &mut Write<'_>, plan: Plan) -> Result<(), PlanError> {
    let rows = sqlx::query(
        "SELECT a.id, a.name, COUNT(*) AS enabled FROM accounts a \
         JOIN shipping_tokens t ON t.account = a.id AND t.enabled = 1 \
         GROUP BY a.id, a.name HAVING COUNT(t.retiring_since_ms) > $1 OR COUNT(*) - COUNT(t.retiring_since_ms) > $1 \
         ORDER BY a.id",
    )
    .bind(i64::from(plan.enabled_tokens_max()))
    .fetch_all(&mut *write.tx)
    .await?;
    if rows.is_empty() {
        return Ok(());
    }
    let mut accounts = Vec::with_capacity(rows.len());
    for row in &rows {
        let (id, enabled): (u32, u32) = (number(row, "id")?, number(row, "enabled")?);
        accounts.push(format!("{id} {:?} ({enabled})", row.try_get::<&str, _>("name")?));
    }
    Err(PlanError::TooManyEnabled { plan, accounts: accounts.join(", ") })
}
