//! What a token is created, replaced and changed with: a value of one's own, and terms.

use super::super::ClientError;
use crate::domain::terms::Network;
use crate::domain::token::TokenDigest;
use clap::{ArgAction, Args};
use serde_json::{Value, json};
use std::io::Read;
use std::path::PathBuf;

/// A value that shippers have already.
#[derive(Debug, Args)]
pub struct Brought {
    /// File with the value that shippers have already, 16 to 128 characters of A-Z a-z 0-9 _ -; "-" is standard input
    #[arg(long, value_name = "FILE", conflicts_with = "digest")]
    value_file: Option<PathBuf>,
    /// SHA-256 of that value, as 64 hexadecimal digits: the server then never knows the value itself
    #[arg(long, value_name = "HEX", value_parser = digest)]
    digest: Option<String>,
}

impl Brought {
    pub(super) fn add_to(&self, body: &mut Value) -> Result<(), ClientError> {
        if let Some(path) = &self.value_file {
            let read = || match path.to_str() {
                Some("-") => {
                    let mut text = String::new();
                    std::io::stdin().read_to_string(&mut text).map(|_| text)
                }
                _ => std::fs::read_to_string(path),
            };
            let text = read().map_err(|source| ClientError::ValueFile { path: path.clone(), source })?;
            if text.trim().is_empty() {
                // Without a value the server would make one up.
                return Err(ClientError::NoValue(path.clone()));
            }
            body["token"] = json!(text.trim());
        }
        if let Some(digest) = &self.digest {
            body["digest"] = json!(digest);
        }
        Ok(())
    }
}

/// From where, through which doors and for which logs a token ships.
#[derive(Debug, Args)]
#[group(id = "scope", multiple = true)]
struct ScopeFlags {
    /// Ship only from this address or network, such as 10.0.0.0/8; may be repeated
    #[arg(long = "scope-source", value_name = "NETWORK", value_parser = network)]
    sources: Vec<String>,
    /// Ship only logs of this type; may be repeated
    #[arg(long = "scope-type", value_name = "TYPE")]
    types: Vec<String>,
    /// Ship only through this door, such as bulk; may be repeated
    #[arg(long = "scope-door", value_name = "DOOR")]
    doors: Vec<String>,
}

impl ScopeFlags {
    /// `None`: nothing was said.
    fn scope(&self) -> Option<Value> {
        let Self { sources, types, doors } = self;
        let said = !(sources.is_empty() && types.is_empty() && doors.is_empty());
        said.then(|| json!({ "sources": sources, "types": types, "doors": doors }))
    }
}

/// The terms of a new token.
#[derive(Debug, Args)]
pub struct NewTerms {
    /// In which time it expires, such as 30d; it lasts unless this is said
    #[arg(long, value_name = "TIME", value_parser = lifetime)]
    expires_in: Option<u64>,
    #[command(flatten)]
    scope: ScopeFlags,
    /// A dry run: it ships, and what its disabling would stop is counted
    #[arg(long)]
    would_refuse: bool,
}

impl NewTerms {
    pub(super) fn add_to(&self, body: &mut Value) {
        if let Some(seconds) = self.expires_in {
            body["expiresIn"] = json!(seconds);
        }
        if let Some(scope) = self.scope.scope() {
            body["scope"] = scope;
        }
        if self.would_refuse {
            body["wouldRefuse"] = json!(true);
        }
    }
}

/// New terms of a token. What is not said stays as it is.
#[derive(Debug, Args)]
pub struct ChangedTerms {
    /// In which time from now it expires, such as 30d
    #[arg(long, value_name = "TIME", value_parser = lifetime, conflicts_with = "no_expiry")]
    expires_in: Option<u64>,
    /// Let it last; if it is being retired, that is called off
    #[arg(long)]
    no_expiry: bool,
    #[command(flatten)]
    scope: ScopeFlags,
    /// Let it ship everything from everywhere
    #[arg(long, conflicts_with = "scope")]
    no_scope: bool,
    /// Whether it is in a dry run: it ships, and what its disabling would stop is counted
    #[arg(long, value_name = "yes|no", action = ArgAction::Set, value_parser = yes_or_no)]
    would_refuse: Option<bool>,
}

impl ChangedTerms {
    pub(super) fn body(&self) -> Result<Value, ClientError> {
        let mut body = json!({});
        if self.no_expiry {
            body["expiresAt"] = Value::Null;
        } else if let Some(seconds) = self.expires_in {
            body["expiresIn"] = json!(seconds);
        }
        if self.no_scope {
            body["scope"] = Value::Null;
        } else if let Some(scope) = self.scope.scope() {
            body["scope"] = scope;
        }
        if let Some(would_refuse) = self.would_refuse {
            body["wouldRefuse"] = json!(would_refuse);
        }
        if body == json!({}) { Err(ClientError::NothingToChange) } else { Ok(body) }
    }
}

/// A time in whole seconds, such as `90s`, `15m`, `1h`, `30d` or `2w`.
pub(in crate::client) fn seconds(text: &str) -> Result<u64, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = match unit {
        "s" => Some(1),
        "m" => Some(60),
        "h" => Some(3_600),
        "d" => Some(86_400),
        "w" => Some(7 * 86_400),
        _ => None,
    };
    let seconds =
        unit.zip(number.parse().ok()).and_then(|(unit, number): (u64, u64)| unit.checked_mul(number));
    seconds.ok_or_else(|| "a time is a whole number with s, m, h, d or w, such as 30d".to_owned())
}

/// For how long a token that is replaced ships on.
pub(super) fn overlap(text: &str) -> Result<u64, String> {
    match seconds(text)? {
        seconds @ 1..=2_592_000 => Ok(seconds),
        _ => Err("it is between 1s and 30d".to_owned()),
    }
}

fn digest(text: &str) -> Result<String, String> {
    let is_digest = TokenDigest::from_hex(text).is_some();
    is_digest.then(|| text.to_owned()).ok_or_else(|| "a digest has 64 hexadecimal digits".to_owned())
}

fn network(text: &str) -> Result<String, String> {
    Network::parse(text).map(|_| text.to_owned()).map_err(|error| error.to_string())
}

/// In which time something expires.
pub(in crate::client) fn lifetime(text: &str) -> Result<u64, String> {
    match seconds(text)? {
        0 => Err("it would be over at once".to_owned()),
        seconds => Ok(seconds),
    }
}

/// A choice as people type it.
pub(in crate::client) fn yes_or_no(text: &str) -> Result<bool, String> {
    match text {
        "yes" | "true" => Ok(true),
        "no" | "false" => Ok(false),
        _ => Err("there are yes and no".to_owned()),
    }
}
