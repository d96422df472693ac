//! Answers as tables: one line a thing, columns apart by spaces, so that eyes and `awk` both read them.

use crate::domain::timestamp::rfc3339_millis;
use comfy_table::{Table, presets};
use serde_json::Value;

/// One token, or an array of them.
pub(super) fn tokens(answer: &Value) -> String {
    let header = ["ID", "NAME", "ENABLED", "TOKEN", "CREATED", "CREATED BY"];
    table(&header, answer, |token| {
        vec![
            text(&token["id"]),
            text(&token["name"]),
            if token["enabled"] == true { "yes" } else { "no" }.to_owned(),
            text(&token["token"]),
            instant(&token["createdAt"]),
            text(&token["createdBy"]),
        ]
    })
}

/// An array of accounts.
pub(super) fn accounts(answer: &Value) -> String {
    let header = ["ID", "NAME", "PARENT", "PLAN", "RETENTION", "CREATED"];
    table(&header, answer, |account| {
        vec![
            text(&account["accountId"]),
            text(&account["accountName"]),
            text(&account["parentAccountId"]),
            text(&account["plan"]),
            format!("{} days", text(&account["retentionDays"])),
            instant(&account["createdAt"]),
        ]
    })
}

/// A new account's secrets.
pub(super) fn created_account(answer: &Value) -> String {
    let header = ["ID", "SHIPPING TOKEN", "API TOKEN"];
    let table = table(&header, answer, |account| {
        ["accountId", "accountToken", "apiToken"].map(|key| text(&account[key])).to_vec()
    });
    format!("{table}\nKeep the API token: it is not shown again.")
}

fn table(header: &[&str], answer: &Value, row: impl Fn(&Value) -> Vec<String>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(header.to_vec());
    match answer {
        Value::Array(answers) => table.add_rows(answers.iter().map(row)),
        one => table.add_row(row(one)),
    };
    // Every cell stands between two spaces.
    let lines: Vec<_> =
        table.lines().map(|line| line.strip_prefix(' ').unwrap_or(&line).trim_end().to_owned()).collect();
    lines.join("\n")
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        other => other.to_string(),
    }
}

/// Seconds since the Unix epoch, as a date and time.
fn instant(value: &Value) -> String {
    value.as_f64().map_or("-".to_owned(), |seconds| rfc3339_millis((seconds * 1_000.0).round() as u64))
}
