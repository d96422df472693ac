//! Answers as tables: one line a thing, columns apart by spaces, so that eyes and `awk` both read them.

use super::sharing::filter_name;
use crate::clock::Clock;
use crate::domain::timestamp::rfc3339_millis;
use comfy_table::{Table, presets};
use serde_json::{Map, Value};

const SHOWN_ONCE: &str = "Keep the API token: it is not shown again.";

/// One token, or an array of them.
pub(super) fn tokens(answer: &Value) -> String {
    let header = ["ID", "NAME", "ENABLED", "TOKEN", "CREATED", "CREATED BY", "TERMS"];
    table(&header, answer, |token| {
        vec![
            text(&token["id"]),
            text(&token["name"]),
            if token["enabled"] == true { "yes" } else { "no" }.to_owned(),
            if token["tokenKnown"] == false { "(not known)".to_owned() } else { text(&token["token"]) },
            instant(&token["createdAt"]),
            text(&token["createdBy"]),
            terms(token),
        ]
    })
}

/// What a token may do less than others.
fn terms(token: &Value) -> String {
    let mut terms = vec![];
    match (&token["retirement"], &token["expiresAt"]) {
        (retirement @ Value::Object(_), deadline) => {
            terms.push(format!("being retired until {}", instant(deadline)));
            if let Some(seconds) = retirement["quietFor"].as_f64() {
                terms.push(format!("or unused for {seconds} s"));
            }
        }
        (_, Value::Null) => {}
        (_, expiry) if is_past(expiry) => terms.push(deadline(expiry)),
        (_, expiry) => terms.push(format!("until {}", instant(expiry))),
    }
    for (key, word) in [("sources", "from"), ("types", "type"), ("doors", "door")] {
        let names: Vec<_> = token["scope"][key].as_array().into_iter().flatten().map(text).collect();
        if !names.is_empty() {
            terms.push(format!("{word} {}", names.join(" ")));
        }
    }
    if token["wouldRefuse"] == true {
        terms.push("dry run".to_owned());
    }
    if terms.is_empty() { "-".to_owned() } else { terms.join(", ") }
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

/// One account: a line a setting.
pub(super) fn account(account: &Value) -> String {
    let bytes = |key: &str, unit: &str| match &account[key] {
        Value::Null => "no bound".to_owned(),
        bytes => format!("{bytes} {unit}"),
    };
    let durability = match &account["durability"] {
        Value::Null => "as the gateway is configured".to_owned(),
        durability => text(durability),
    };
    let default = &account["defaultToken"];
    let mut lines = vec![
        ("id", text(&account["accountId"])),
        ("name", text(&account["accountName"])),
        ("parent", text(&account["parentAccountId"])),
        ("plan", text(&account["plan"])),
        ("retention", format!("{} days", text(&account["retentionDays"]))),
        ("retention size", bytes("retentionBytesMax", "bytes")),
        ("rate", bytes("ingestBytesPerSecondMax", "bytes a second")),
        ("durability", durability),
        ("created", instant(&account["createdAt"])),
    ];
    if default.is_object() {
        lines.push(("default token", format!("{} {}", default["id"], default["name"])));
    }
    let lines: Vec<_> = lines.iter().map(|(name, value)| format!("{name:<16}{value}")).collect();
    lines.join("\n")
}

/// One API token, or an array of them.
pub(super) fn api_tokens(answer: &Value) -> String {
    table(&["ID", "NAME", "CREATED", "IN USE"], answer, |token| {
        let in_use = if token["inUse"] == true { "by this command" } else { "-" };
        vec![text(&token["id"]), text(&token["name"]), instant(&token["createdAt"]), in_use.to_owned()]
    })
}

/// One user, or an array of them.
pub(super) fn users(answer: &Value) -> String {
    table(&["ID", "E-MAIL", "ROLE", "STATE", "CREATED", "LAST SEEN"], answer, |user| {
        let state = if user["suspended"] == true { "suspended".to_owned() } else { text(&user["state"]) };
        let mut row = ["id", "email", "role"].map(|key| text(&user[key])).to_vec();
        row.extend([state, instant(&user["createdAt"]), instant(&user["lastSeen"])]);
        row
    })
}

/// A user with a link to pass on.
pub(super) fn invitation(answer: &Value) -> String {
    let invitation = &answer["invitation"];
    let until = instant(&invitation["expiresAt"]);
    format!(
        "{}\nPass this link on: it works once, until {until}.\n{}",
        users(&answer["user"]),
        text(&invitation["url"])
    )
}

/// A new API token with its secret.
pub(super) fn created_api_token(answer: &Value) -> String {
    let header = ["ID", "NAME", "API TOKEN"];
    let table = table(&header, answer, |token| ["id", "name", "token"].map(|key| text(&token[key])).to_vec());
    format!("{table}\n{SHOWN_ONCE}")
}

/// One shared token, or an array of them, each with its link at this address.
pub(super) fn shared_tokens(answer: &Value, filters: &[Value], url: &str) -> String {
    let header = ["ID", "NAME", "SHARES", "EXPIRES", "LAST USED", "VIEWS", "LINK"];
    table(&header, answer, |token| {
        let instants = [deadline(&token["expirationDate"]), instant(&token["lastUsed"])];
        let mut row = vec![text(&token["id"]), text(&token["name"]), shares(token, filters)];
        row.extend(instants);
        let link = format!("{url}/?embed=true&shareToken={}#/explore", text(&token["token"]));
        row.extend([text(&token["views"]), link]);
        row
    })
}

/// What a shared token lets be read.
fn shares(token: &Value, filters: &[Value]) -> String {
    if token["suspended"] == true {
        return "nothing (suspended)".to_owned();
    }
    let Some(ids) = token["filters"].as_array() else { return "everything".to_owned() };
    let named = |id: &Value| {
        let filter = filters.iter().find(|filter| filter["id"] == *id);
        filter.map_or_else(|| text(id), filter_name)
    };
    ids.iter().map(named).collect::<Vec<_>>().join(&format!(" {} ", text(&token["filtersOperator"])))
}

/// One filter, or an array of them.
pub(super) fn filters(answer: &Value) -> String {
    let header = ["ID", "FIELD", "VALUE", "DESCRIPTION"];
    table(&header, answer, |filter| {
        ["id", "field", "value", "description"].map(|key| text(&filter[key])).to_vec()
    })
}

/// The use of many tokens.
pub(super) fn uses(tokens: &Value) -> String {
    let header = [
        "ID",
        "NAME",
        "STATE",
        "LAST USED",
        "REQUESTS",
        "LINES",
        "BYTES",
        "REFUSED",
        "DRY RUN",
        "SINCE ITS END",
        "BY",
    ];
    table(&header, tokens, |token| {
        let ended = &token["usedAfterEnd"];
        let clients = if ended.is_object() { &ended["clients"] } else { &token["clients"] };
        let mut row = ["id", "name", "state"].map(|key| text(&token[key])).to_vec();
        row.push(instant(&token["lastUsedAt"]));
        row.extend(["requests", "lines", "bytes"].map(|key| text(&token[key])));
        row.extend([refused(token).to_string(), text(&token["wouldRefuse"])]);
        row.extend([text(&ended["requests"]), client(&clients[0])]);
        row
    })
}

/// Requests refused for whatever reason.
fn refused(counted: &Value) -> u64 {
    counted["refusals"].as_object().into_iter().flatten().filter_map(|(_, requests)| requests.as_u64()).sum()
}

/// One token's use.
pub(super) fn usage(token: &Value) -> String {
    let mut parts = vec![uses(token)];
    if token["days"].as_array().is_some_and(|days| !days.is_empty()) {
        let header = ["DAY", "REQUESTS", "LINES", "BYTES", "REFUSED LINES", "DRY RUN", "REFUSALS"];
        parts.push(table(&header, &token["days"], |day| {
            let mut row = ["day", "requests", "lines", "bytes", "refusedLines", "wouldRefuse"]
                .map(|key| text(&day[key]))
                .to_vec();
            row.push(change(&Value::Null, &day["refusals"]));
            row
        }));
    }
    for (when, clients) in
        [("SEEN", &token["clients"]), ("SEEN AFTER ITS END", &token["usedAfterEnd"]["clients"])]
    {
        if clients.as_array().is_some_and(|clients| !clients.is_empty()) {
            parts.push(table(&["SOURCE", "USER AGENT", "REQUESTS", when], clients, |client| {
                let mut row =
                    ["sourceAddress", "userAgent", "requests"].map(|key| text(&client[key])).to_vec();
                row.push(instant(&client["lastSeenAt"]));
                row
            }));
        }
    }
    parts.join("\n\n")
}

fn client(client: &Value) -> String {
    if client.is_null() {
        return "-".to_owned();
    }
    format!("{} {}", text(&client["sourceAddress"]), text(&client["userAgent"])).trim_end().to_owned()
}

/// An array of gateways.
pub(super) fn gateways(answer: &Value) -> String {
    let header = [
        "ID",
        "ADDRESS",
        "VERSION",
        "STATE",
        "REVISION",
        "LAG",
        "LAST SEEN",
        "REQUESTS/S",
        "LINES/S",
        "REFUSED",
    ];
    table(&header, answer, |gateway| {
        let lag = match gateway["lagRevisions"].as_u64() {
            Some(0) => "-".to_owned(),
            _ => format!("{} ({} ms)", text(&gateway["lagRevisions"]), text(&gateway["lagMs"])),
        };
        let mut row =
            ["id", "address", "version", "state", "revision"].map(|key| text(&gateway[key])).to_vec();
        row.extend([lag, instant(&gateway["lastSeenAt"])]);
        let rates = ["requestsPerSecond", "linesPerSecond"];
        row.extend(rates.map(|key| format!("{:.1}", gateway[key].as_f64().unwrap_or_default())));
        row.push(refused(gateway).to_string());
        row
    })
}

/// Entries of the audit trail.
pub(super) fn changes(entries: &Value) -> String {
    let header = ["TIME", "ACCOUNT", "ACTOR", "FROM", "ACTION", "SUBJECT", "CHANGE"];
    table(&header, entries, |entry| {
        let mut row = vec![instant(&entry["at"])];
        let keys = ["accountId", "actor", "sourceAddress", "action", "subject"];
        row.extend(keys.map(|key| text(&entry[key])));
        row.push(change(&entry["before"], &entry["after"]));
        row
    })
}

/// What is different after; all there is of what came or went.
fn change(before: &Value, after: &Value) -> String {
    let Some(fields) = after.as_object().or(before.as_object()) else {
        return "-".to_owned();
    };
    let is_change = before.is_object() && after.is_object();
    let gone: Vec<_> =
        before.as_object().into_iter().flat_map(Map::keys).filter(|key| !fields.contains_key(*key)).collect();
    let changes = fields.keys().chain(gone).filter_map(|key| {
        let [was, is] = [before, after].map(|fields| told(key, fields.get(key)));
        match (was == is, is_change) {
            (true, _) => None,
            (false, true) => Some(format!("{key} {was} -> {is}")),
            (false, false) => Some(format!("{key} {}", if after.is_object() { is } else { was })),
        }
    });
    changes.collect::<Vec<_>>().join(", ")
}

/// A field of the audit trail; `-` where there is none.
fn told(key: &str, value: Option<&Value>) -> String {
    match value {
        Some(seconds) if ["expirationDate", "expiresAt"].contains(&key) => instant(seconds),
        Some(value) => value.to_string(),
        None => "-".to_owned(),
    }
}

/// A new account's secrets.
pub(super) fn created_account(answer: &Value) -> String {
    let header = ["ID", "SHIPPING TOKEN", "API TOKEN"];
    let table = table(&header, answer, |account| {
        ["accountId", "accountToken", "apiToken"].map(|key| text(&account[key])).to_vec()
    });
    format!("{table}\n{SHOWN_ONCE}")
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

pub(super) fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        other => other.to_string(),
    }
}

/// When something ends, or that it has, by this machine's clock.
fn deadline(value: &Value) -> String {
    if is_past(value) { format!("expired {}", instant(value)) } else { instant(value) }
}

fn is_past(seconds: &Value) -> bool {
    let now_ms = Clock::system().unix_ms();
    seconds.as_f64().is_some_and(|seconds| seconds * 1_000.0 <= now_ms as f64)
}

/// Seconds since the Unix epoch, as a date and time.
fn instant(value: &Value) -> String {
    value.as_f64().map_or("-".to_owned(), |seconds| rfc3339_millis((seconds * 1_000.0).round() as u64))
}
