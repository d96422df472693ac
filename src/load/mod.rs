//! The load harness: `shipgate load` and `shipgate load verify`.
//!
//! It measures a server from outside, over the network, as shippers see it: what it accepts, how fast, at what cost of its
//! CPU, and whether everything it acknowledged is in its logs. It shares no code with what it measures, reads none of the
//! server's settings, and needs nothing from it but its doors and its API.
//!
//! ```text
//! options -> scenario -> plan -> groups of connections -> seconds -> report
//!                                          |
//!                                        ledger -> verify <- log files
//! ```

mod api;
mod body;
mod html;
mod id;
mod ledger;
mod lines;
mod link;
mod measure;
mod options;
mod pace;
mod plan;
mod process;
mod random;
mod report;
mod run;
mod scenario;
mod side;
mod target;
mod tokens;
mod traffic;
mod verify;

pub use options::Command;

use api::ApiError;
use ledger::LedgerError;
use lines::SampleError;
use options::{Action, Verify};
use report::Report;
use std::io;
use std::path::PathBuf;
use target::TargetError;
use verify::{Findings, VerifyError};

/// Why there are no results, or none that are good; and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error(transparent)]
    Target(#[from] TargetError),
    #[error(transparent)]
    Api(#[from] ApiError),
    #[error(transparent)]
    Sample(#[from] SampleError),
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    #[error(transparent)]
    Verify(#[from] VerifyError),
    #[error(
        "nothing answers at {url}: is the server running, and is that the address it listens on? (--url)"
    )]
    Unreachable { url: String, source: io::Error },
    #[error(
        "the certificate of {url} is not trusted: name its issuer, or a self-signed certificate itself, with --ca"
    )]
    Untrusted { url: String, source: io::Error },
    #[error(
        "no shipping token: set SHIPPING_TOKEN, or use --token, --tokens, --create-tokens or --create-accounts"
    )]
    NoToken,
    #[error("{0} needs several tokens: use --tokens, or --create-accounts with a main account's API token")]
    OneToken(String),
    #[error("cannot read the tokens in {path}")]
    Tokens { path: PathBuf, source: io::Error },
    #[error("there is no process {pid} on this machine whose use of it could be read (--server-pid)")]
    NoServer { pid: u32, source: io::Error },
    #[error("cannot make the bodies")]
    Bodies(#[source] io::Error),
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
    #[error("cannot write {path}")]
    Unwritable { path: PathBuf, source: io::Error },
    #[error("interrupted before all answers were there")]
    Interrupted,
    #[error("nothing was accepted: {0}")]
    NothingAccepted(String),
    #[error("the logs do not match the ledger")]
    NotClean,
}

impl LoadError {
    /// What the process should end with: 2 when the command itself is wrong, else 1.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::NoToken | Self::OneToken(_) => 2,
            Self::Target(TargetError::MalformedUrl(_)) => 2,
            Self::Api(ApiError::NoApiToken | ApiError::MalformedApiToken) => 2,
            _ => 1,
        }
    }

    fn nothing_accepted(report: &Report) -> Self {
        let traffic = &report.traffic;
        let most = traffic.answered_by_status.iter().max_by_key(|(_, volume)| volume.batches);
        Self::NothingAccepted(match most.map(|(status, _)| *status) {
            None if traffic.unanswered.batches > 0 => {
                "no batch was answered in time: see the server's log, or give it more time (--timeout)"
                    .to_owned()
            }
            None => "no connection could be opened any more: did the server end?".to_owned(),
            Some(401) => {
                "401, the tokens are not valid there: are they enabled, and of this server?".to_owned()
            }
            Some(404) => "404, nothing takes logs at this path: check --url".to_owned(),
            Some(413) => "413, the batches are too large: use fewer --batch-lines or --line-bytes".to_owned(),
            Some(400) => {
                "400, the lines are not what the server takes: check --sample and --line-bytes".to_owned()
            }
            Some(status) => format!("the server answered {status}: see its log"),
        })
    }
}

/// Carries out a command; results go to standard output, progress to standard error.
pub fn run(command: Command) -> Result<(), LoadError> {
    match command.action {
        Some(Action::Verify(verify)) => prove(&verify),
        None => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = runtime.map_err(LoadError::Thread)?;
            let ran = runtime.block_on(run::run(command.load));
            // Whoever interrupts twice does not wait for threads that wait for answers.
            runtime.shutdown_background();
            ran
        }
    }
}

fn prove(options: &Verify) -> Result<(), LoadError> {
    let findings = verify::verify(&options.ledger, &options.logs)?;
    match options.json {
        true => println!("{}", serde_json::to_string_pretty(&findings).unwrap_or_default()),
        false => println!("{findings}"),
    }
    if Findings::is_clean(&findings) { Ok(()) } else { Err(LoadError::NotClean) }
}
