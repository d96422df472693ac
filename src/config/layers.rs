//! A file and the environment laid onto the defaults, which know every key and its type.

use std::collections::BTreeSet;
use toml::{Table, Value};

/// Lays `over` onto `under`, which knows every key and its type.
pub(super) fn merge(under: &mut Table, over: Table, prefix: &str, mistakes: &mut BTreeSet<String>) {
    for (key, value) in over {
        let name = format!("{prefix}{key}");
        match (under.get_mut(&key), value) {
            (None, _) => {
                mistakes.insert(format!(
                    "{name}: no such key; `shipgate check-config --defaults` lists them all"
                ));
            }
            (Some(Value::Table(under)), Value::Table(over)) => {
                merge(under, over, &format!("{name}."), mistakes);
            }
            (Some(known), value) if known.same_type(&value) => *known = value,
            (Some(known), value) => {
                let (expected, found) = (known.type_str(), value.type_str());
                mistakes.insert(format!("{name}: expected {expected}, found {found}"));
            }
        }
    }
}

/// Sets the key that a variable names.
pub(super) fn set(
    settings: &mut Table,
    variable: &str,
    key: &str,
    text: &str,
    mistakes: &mut BTreeSet<String>,
) {
    let (path, last) = key.rsplit_once("__").unwrap_or(("", key));
    let mut steps = path.split("__").filter(|step| !step.is_empty());
    let table = steps.try_fold(settings, |table, step| table.get_mut(step)?.as_table_mut());
    let mistake = match table.and_then(|table| table.get_mut(last)) {
        None | Some(Value::Table(_)) => {
            Some("no such key; `shipgate check-config --defaults` lists them all")
        }
        Some(Value::String(known)) => {
            *known = text.to_owned();
            None
        }
        Some(Value::Integer(known)) => match text.parse() {
            Ok(number) => {
                *known = number;
                None
            }
            Err(_) => Some("expected integer"),
        },
        Some(Value::Array(known)) => {
            let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
            *known = parts.map(|part| Value::String(part.to_owned())).collect();
            None
        }
        Some(_) => Some("cannot be set by a variable"),
    };
    mistakes.extend(mistake.map(|mistake| format!("{variable}: {mistake}")));
}
