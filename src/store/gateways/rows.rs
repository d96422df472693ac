//! Gateways in the database: a row each.

use super::{Gateway, placeholders, signed};
use crate::store::{StoreError, number, number_or_none};
use sqlx::any::AnyRow;
use sqlx::{AnyPool, AssertSqlSafe, Row};

const COLUMNS: [&str; 16] = [
    "id",
    "instance",
    "number",
    "address",
    "software",
    "store",
    "revision",
    "started_ms",
    "first_seen_ms",
    "seen_ms",
    "left_ms",
    "requests",
    "requests_per_1000_s",
    "lines",
    "lines_per_1000_s",
    "refusals_json",
];

/// Every gateway that is written down. A row that cannot be read is a gateway that reports again.
pub(super) async fn load(readers: &AnyPool) -> Result<Vec<Gateway>, sqlx::Error> {
    let sql = format!("SELECT {} FROM gateways", COLUMNS.join(", "));
    // Made of constants only.
    let rows = sqlx::query(AssertSqlSafe(sql)).fetch_all(readers).await?;
    Ok(rows.iter().filter_map(|row| gateway_of(row).ok()).collect())
}

/// Writes gateways down, in place of what was.
pub(super) async fn save(writer: &AnyPool, gateways: &[Gateway]) -> Result<(), sqlx::Error> {
    let updates: Vec<_> = COLUMNS[1..].iter().map(|column| format!("{column} = excluded.{column}")).collect();
    let sql = format!(
        "INSERT INTO gateways ({}) VALUES {} ON CONFLICT (id) DO UPDATE SET {}",
        COLUMNS.join(", "),
        placeholders(gateways.len(), COLUMNS.len()),
        updates.join(", ")
    );
    // Made of constants only; what gateways sent is bound.
    let mut query = sqlx::query(AssertSqlSafe(sql));
    for gateway in gateways {
        query = query
            .bind(&gateway.id)
            .bind(&gateway.instance)
            .bind(signed(gateway.number))
            .bind(&gateway.address)
            .bind(&gateway.software)
            .bind(&gateway.store)
            .bind(signed(gateway.revision))
            .bind(signed(gateway.started_ms))
            .bind(signed(gateway.first_seen_ms))
            .bind(signed(gateway.seen_ms))
            .bind(gateway.left_ms.map(signed))
            .bind(signed(gateway.requests))
            .bind((gateway.requests_per_second * 1_000.0) as i64)
            .bind(signed(gateway.lines))
            .bind((gateway.lines_per_second * 1_000.0) as i64)
            // Of a map whose keys are texts: it is always JSON.
            .bind(serde_json::to_string(&gateway.refusals).unwrap_or_default());
    }
    query.execute(writer).await.map(drop)
}

fn gateway_of(row: &AnyRow) -> Result<Gateway, StoreError> {
    let per_second = |column| Ok::<_, StoreError>(row.try_get::<i64, _>(column)? as f64 / 1_000.0);
    let refusals = row.try_get::<&str, _>("refusals_json")?;
    Ok(Gateway {
        id: row.try_get("id")?,
        instance: row.try_get("instance")?,
        number: number(row, "number")?,
        address: row.try_get("address")?,
        software: row.try_get("software")?,
        store: row.try_get("store")?,
        revision: number(row, "revision")?,
        started_ms: number(row, "started_ms")?,
        first_seen_ms: number(row, "first_seen_ms")?,
        seen_ms: number(row, "seen_ms")?,
        left_ms: number_or_none(row, "left_ms")?,
        requests: number(row, "requests")?,
        requests_per_second: per_second("requests_per_1000_s")?,
        lines: number(row, "lines")?,
        lines_per_second: per_second("lines_per_1000_s")?,
        refusals: serde_json::from_str(refusals).map_err(|_| StoreError::Damaged("refusals_json"))?,
    })
}
