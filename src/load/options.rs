//! The command line of the harness, and what it says of itself.

use super::body::Encoding;
use super::lines::Shape;
use super::link::Http;
use super::scenario::Scenario;
use clap::{Args, Subcommand};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

const AFTER_HELP: &str = "\
Examples:
  Ship as fast as 32 connections can, for ten seconds, with the token of the environment:
      export SHIPPING_TOKEN=…
      shipgate load

  What does a batch cost the server? (the server runs on this machine)
      shipgate load steady --server-pid PID --report load.html

  What is the latency at 2,000 batches a second? (counted from when each was due)
      shipgate load --rate 2000 --duration 60s

  Is anything lost when the server is killed? Kill it, start it, stop it in mid-run as you like; then:
      shipgate load --ledger run.ledger
      shipgate load verify --ledger run.ledger --logs data/logs

  A million tokens, made once (this takes a while) and used again. A plan allows 15 enabled tokens an account:
      shipgate load many-tokens --create-accounts 66667 --tokens-each 15 --save-tokens million.txt
      shipgate load many-tokens --tokens million.txt

  Your own logs, compressed, over TLS:
      shipgate load --sample my.ndjson --encoding gzip --url https://logs.example.com:8071 --ca ca.pem

Exit codes: 0 it ran (and, for verify, all is well); 1 nothing was accepted, the server could not be reached, or
verify found something; 2 the command line is wrong.";

/// Measure a server: send it load, and show what it accepted, how fast, and at what cost.
///
/// Every line carries the run, its connection and a number, so that `shipgate load verify` can prove from the log that
/// nothing was lost, doubled or kept though refused. The server needs nothing special: these are ordinary batches of ordinary
/// tokens, and they end up in those accounts' logs.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, args_override_self = true, after_long_help = AFTER_HELP)]
pub struct Command {
    #[command(subcommand)]
    pub(super) action: Option<Action>,
    #[command(flatten)]
    pub(super) load: Options,
}

#[derive(Debug, Subcommand)]
pub(super) enum Action {
    /// Compare a run's ledger with the logs: what was lost, doubled, or kept though refused?
    ///
    /// Reads an account's log files, or those of all accounts, as any reader of zstd would. A server that was killed has the
    /// last batches in its journal: start it and stop it first.
    Verify(Verify),
}

#[derive(Debug, Args)]
pub(super) struct Verify {
    /// What `shipgate load --ledger` wrote
    #[arg(long, value_name = "FILE")]
    pub ledger: PathBuf,
    /// An account's folder of .ndjson.zst files, or a folder of such folders: data/logs. May be given several times
    #[arg(long, value_name = "DIR", required = true)]
    pub logs: Vec<PathBuf>,
    /// Print the findings as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub(super) struct Options {
    /// What to do. Everything below changes the scenario's own choice
    #[arg(value_enum, default_value_t = Scenario::Steady)]
    pub scenario: Scenario,

    /// Where to send: any address that takes newline-separated JSON. A path and a query are kept
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8070", help_heading = "Target")]
    pub url: String,
    /// A shipping token. Safer in the environment: other users of a machine can read command lines
    #[arg(long, env = "SHIPPING_TOKEN", hide_env_values = true, help_heading = "Target")]
    pub token: Option<Secret>,
    /// Shipping tokens, one a line: every batch takes one of them by chance
    #[arg(long, value_name = "FILE", help_heading = "Target")]
    pub tokens: Option<PathBuf>,
    /// Create so many tokens in the API token's account, and delete them afterwards
    #[arg(long, value_name = "N", help_heading = "Target")]
    pub create_tokens: Option<usize>,
    /// Create so many sub-accounts and ship with their tokens. They stay: the API deletes no account
    #[arg(long, value_name = "N", help_heading = "Target")]
    pub create_accounts: Option<usize>,
    /// Enabled tokens of each created sub-account
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=15), help_heading = "Target")]
    pub tokens_each: u16,
    /// Write the tokens of created sub-accounts there, for the --tokens of later runs
    #[arg(long, value_name = "FILE", requires = "create_accounts", help_heading = "Target")]
    pub save_tokens: Option<PathBuf>,
    /// Where the control plane's API listens
    #[arg(
        long,
        value_name = "URL",
        env = "SHIPGATE_URL",
        default_value = "http://127.0.0.1:8072",
        help_heading = "Target"
    )]
    pub api: String,
    /// An account's API token; a main account's for --create-accounts
    #[arg(long, env = "SHIPGATE_API_TOKEN", hide_env_values = true, help_heading = "Target")]
    pub api_token: Option<Secret>,
    /// The HTTP version to speak
    #[arg(long, value_enum, default_value = "1", help_heading = "Target")]
    pub http: Http,
    /// Certificates to trust for https, in PEM
    #[arg(
        long,
        value_name = "FILE",
        default_value = "/etc/ssl/certs/ca-certificates.crt",
        help_heading = "Target"
    )]
    pub ca: PathBuf,

    /// Connections, each with one batch under way at a time
    #[arg(long, short, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=50_000), help_heading = "Load")]
    pub connections: Option<u32>,
    /// Batches a second, due whether or not the server keeps up. Without: each connection sends when it has its answer
    #[arg(long, value_name = "BATCHES", value_parser = positive, help_heading = "Load")]
    pub rate: Option<f64>,
    /// For the side actors of a scenario: connections, or clients
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=50_000), help_heading = "Load")]
    pub side_connections: Option<u32>,
    /// For the side actors of a scenario: batches, or token changes, a second
    #[arg(long, value_name = "N", value_parser = positive, help_heading = "Load")]
    pub side_rate: Option<f64>,
    /// Not counted, before it counts
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "2s", help_heading = "Load")]
    pub warm_up: Duration,
    /// How long it counts: 500ms, 30s, 5m
    #[arg(long, short, value_name = "TIME", value_parser = duration, default_value = "10s", help_heading = "Load")]
    pub duration: Duration,
    /// For a batch to be answered
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "30s", help_heading = "Load")]
    pub timeout: Duration,
    /// Threads that send
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=256), help_heading = "Load")]
    pub threads: u16,
    /// The same seed sends the same lines
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "Load")]
    pub seed: u64,

    /// Lines of a batch
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000), help_heading = "Lines")]
    pub batch_lines: Option<u32>,
    /// Bytes of a line, without its line end; a line is no shorter than its fields need
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u32).range(1..=64_000_000), help_heading = "Lines")]
    pub line_bytes: Option<u32>,
    /// What lines look like
    #[arg(long, value_enum, help_heading = "Lines")]
    pub shape: Option<Shape>,
    /// Send the lines of this file instead: JSON objects, one a line
    #[arg(long, value_name = "FILE", conflicts_with_all = ["shape", "line_bytes"], help_heading = "Lines")]
    pub sample: Option<PathBuf>,
    /// How many of a batch's lines are no JSON objects
    #[arg(long, value_name = "N", help_heading = "Lines")]
    pub bad_lines: Option<u32>,
    /// Compress bodies. This costs more than all else here: watch what the report says of the harness itself
    #[arg(long, value_enum, default_value_t, help_heading = "Lines")]
    pub encoding: Encoding,

    /// A server on this machine whose CPU time, memory and disk writes to show
    #[arg(long, value_name = "PID", help_heading = "Results")]
    pub server_pid: Option<u32>,
    /// Write the results there as JSON; - for standard output
    #[arg(long, value_name = "FILE", help_heading = "Results")]
    pub json: Option<PathBuf>,
    /// Write a page there that shows the run: one file, which needs nothing else
    #[arg(long, value_name = "FILE", help_heading = "Results")]
    pub report: Option<PathBuf>,
    /// Write there what became of every line, for `shipgate load verify`
    #[arg(long, value_name = "FILE", help_heading = "Results")]
    pub ledger: Option<PathBuf>,
}

/// A text that is not shown.
#[derive(Clone)]
pub(super) struct Secret(pub String);

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.trim().to_owned())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// `500ms`, `30s`, `5m`, `1h`; a bare number is seconds.
fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let seconds = match unit {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3_600.0,
        _ => return Err("a time is a number with ms, s, m or h".to_owned()),
    };
    let number: f64 = number.parse().map_err(|_| "a time is a number with ms, s, m or h".to_owned())?;
    let time = Duration::try_from_secs_f64(number * seconds).map_err(|error| error.to_string())?;
    (time <= Duration::from_secs(7 * 86_400)).then_some(time).ok_or_else(|| "at most a week".to_owned())
}

fn positive(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    (1e-3..=1e7)
        .contains(&number)
        .then_some(number)
        .ok_or_else(|| "a rate is between 0.001 and 10,000,000".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read() {
        for (text, expect) in [
            ("500ms", Some(500)),
            ("30s", Some(30_000)),
            ("1.5", Some(1_500)),
            ("5m", Some(300_000)),
            ("0", Some(0)),
            ("", None),
            ("s", None),
            ("-1s", None),
            ("3 weeks", None),
            ("1.2.3s", None),
            ("1000h", None),
        ] {
            assert_eq!(duration(text).ok(), expect.map(Duration::from_millis), "{text}");
        }
    }

    #[test]
    fn rates_are_positive() {
        for (text, fits) in
            [("1", true), ("0.5", true), ("0", false), ("-1", false), ("inf", false), ("NaN", false)]
        {
            assert_eq!(positive(text).is_ok(), fits, "{text}");
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        assert!(!format!("{:?}", Secret::from("hidden")).contains("hidden"));
    }
}
