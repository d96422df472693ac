//! Why a command did not succeed, and what to do about it.

use crate::tls::TrustError;
use serde_json::{Value, json};
use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("no API token: set SHIPGATE_API_TOKEN (the first start of the server printed it)")]
    NoApiToken,
    #[error("no credential: set SHIPGATE_API_TOKEN, or SHIPGATE_SHARED_TOKEN for what a shared token shows")]
    NoCredential,
    #[error("the API token has characters that no API token has (check SHIPGATE_API_TOKEN)")]
    MalformedApiToken,
    #[error("the shared token has characters that no shared token has (check SHIPGATE_SHARED_TOKEN)")]
    MalformedSharedToken,
    #[error("--from is not before --to: no log lies between them")]
    NoTimeBetween,
    #[error("{0} is not an address such as http://127.0.0.1:8072")]
    MalformedUrl(String),
    #[error(
        "{0}: name the file of the authority that certified the control plane with --ca-file or SHIPGATE_CA_FILE"
    )]
    Trust(#[from] TrustError),
    #[error(
        "no control plane answers at {url}: is it running, and is that the address it listens on? \
         (set SHIPGATE_URL or --url)"
    )]
    Unreachable { url: String, source: Box<dyn std::error::Error + Send + Sync> },
    #[error(
        "{url} is not certified by an authority that is trusted here: name the file of its authority with --ca-file or \
         SHIPGATE_CA_FILE"
    )]
    Untrusted { url: String, source: Box<dyn std::error::Error + Send + Sync> },
    #[error("{0} took too long to answer: the change may or may not have happened, list to see")]
    TimedOut(String),
    #[error("{0} answers, but not as a Shipgate control plane does: is that its API's address?")]
    NotShipgate(String),
    /// Before it is known which of the next two it is.
    #[error("the API token is not accepted")]
    Forbidden,
    #[error(
        "the API token is wrong: no account at {0} has it (check SHIPGATE_API_TOKEN; `shipgate reset-api-token` on the \
         server makes another)"
    )]
    WrongApiToken(String),
    #[error(
        "the API token is right, but it is one of the sub-account {0:?}: this needs one of its main account"
    )]
    SubAccount(String),
    /// The API's own refusal.
    #[error("{}", told(.0))]
    Refused(Value),
    /// A query that is none, with a mark below its mistake.
    #[error("{message}\n  {query}\n  {}^", " ".repeat(column.saturating_sub(1)))]
    Query { message: String, query: String, column: usize, answer: Value },
    #[error("{0} broke the answer off in the middle: what has arrived is not whole")]
    BrokeOff(String),
    #[error("the tail has ended: the token was {0}")]
    TailEnded(String),
    #[error("cannot write: {0}")]
    Output(#[source] std::io::Error),
    #[error("cannot write {}: {source}", path.display())]
    File { path: PathBuf, source: std::io::Error },
    #[error("{} is there already: name another file, or write over it with --force", .0.display())]
    Exists(PathBuf),
    #[error("{} is not a file that could be written: `-o -` writes to standard output", .0.display())]
    NoFile(PathBuf),
    #[error("{error}; what has arrived is in {}", part.display())]
    Unfinished { error: Box<ClientError>, part: PathBuf },
    #[error("there is no {what} with the id or name {text}: `shipgate {list}` shows them")]
    NotFound { what: &'static str, text: String, list: &'static str },
    #[error("{text} is the id of one {what} and the name of another: use the other's id {id}, or rename it")]
    Ambiguous { what: &'static str, text: String, id: u64 },
    #[error("nothing to change: name a setting, as --help lists them")]
    NothingToChange,
    /// The change stands, but was waited for in vain.
    #[error("{text}")]
    NotEnforced { text: String, answer: Value },
    #[error("cannot read {}: {source}", path.display())]
    ValueFile { path: PathBuf, source: std::io::Error },
    #[error("{} holds no value", .0.display())]
    NoValue(PathBuf),
}

impl ClientError {
    /// What the process should end with: 2 when the command itself is wrong, 3 when it was done but not enforced everywhere
    /// in time, else 1.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::NoApiToken
            | Self::NoCredential
            | Self::Query { .. }
            | Self::MalformedApiToken
            | Self::MalformedSharedToken
            | Self::NoTimeBetween
            | Self::MalformedUrl(_)
            | Self::Trust(_)
            | Self::Exists(_)
            | Self::NoFile(_)
            | Self::NothingToChange => 2,
            Self::NotEnforced { .. } => 3,
            _ => 1,
        }
    }

    /// A refusal of something that holds `query`.
    pub(super) fn refused_query(answer: Value, query: &str) -> Self {
        let column = answer["parameters"]["column"].as_u64().and_then(|column| usize::try_from(column).ok());
        match column {
            Some(column) if answer["errorCode"] == "Logs/QUERY" && !query.contains(char::is_control) => {
                Self::Query { message: told(&answer), query: query.to_owned(), column, answer }
            }
            _ => Self::Refused(answer),
        }
    }

    /// For programs: the API's own words where it refused.
    fn json(&self) -> Value {
        match self {
            Self::Refused(answer) | Self::NotEnforced { answer, .. } | Self::Query { answer, .. } => {
                answer.clone()
            }
            other => json!({ "message": other.to_string() }),
        }
    }
}

/// The sentence of a refusal; of a fault also the name under which the server's log tells more.
fn told(answer: &Value) -> String {
    let message = answer["message"].as_str().unwrap_or_default();
    match answer["requestId"].as_str() {
        Some(id) if answer["code"].as_u64() >= Some(500) => format!("{message} (requestId {id})"),
        _ => message.to_owned(),
    }
}

/// A command that failed, and how its user wants to read of it.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct Failure {
    pub(super) error: ClientError,
    pub(super) json: bool,
}

impl Failure {
    /// What the process should end with.
    pub fn exit_code(&self) -> u8 {
        self.error.exit_code()
    }

    /// What belongs on standard error: one line.
    pub fn line(&self) -> String {
        if self.json { self.error.json().to_string() } else { format!("shipgate: {}", self.error) }
    }
}
