//! `shipgate logs …`: reading the account's log.
//!
//! What is found goes to standard output as it comes, so that a long export needs no memory and `head` ends it; what is said
//! about it goes to standard error.

mod export;
mod follow;
mod show;

use super::api::{Api, Credential};
use super::{ClientError, Connection, Secret};
use crate::clock::Clock;
use crate::domain::moment;
use clap::{Args, Subcommand, ValueEnum};
use export::ExportCommand;
use serde_json::value::RawValue;
use show::Look;
use std::io::{self, IsTerminal, Write};

/// The largest page the server gives.
const PAGE_SIZE: usize = 1_000;
const LIMIT_MAX: u32 = 100_000;

const LANGUAGE: &str = "\
Queries:
  timeout                        the word, in any field
  level:error                    a field's value; a.b.c looks into objects
  level:(error OR fatal)         AND, OR, NOT, parentheses; terms side by side must all match
  msg:\"connection refused\"       words one after the other
  host:web-* -host:web-3         what begins so; - and NOT exclude
  took:>500  status:[500 TO 599] numbers, times and texts in order
  @timestamp:>=now-1h  trace:*   date math; whether the field is there at all

Times: 2026-01-31, 2026-01-31T12:34:56Z, milliseconds since the epoch, now, now-15m, or 15m for now-15m (s m h d w).

Examples:
  shipgate logs search level:error --since 1h
  shipgate logs search 'status:>=500 NOT path:/health*' --limit 5000 --json | jq .path
  shipgate logs tail 'level:(warn OR error)'
  shipgate logs export type:nginx --from 2026-01-01 --to 2026-02-01 -o january.ndjson.zst

`docs/search.md` describes the whole language.";

#[derive(Debug, Args)]
#[command(after_help = LANGUAGE)]
pub struct LogsCommand {
    #[command(subcommand)]
    action: LogsAction,
    /// A shared token: see what its recipients see. Wins over the API token
    #[arg(long, global = true, env = "SHIPGATE_SHARED_TOKEN", hide_env_values = true)]
    shared_token: Option<Secret>,
    /// When to use colours
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    color: Color,
    /// No colours, whatever the terminal can show: what NO_COLOR asks for
    #[arg(long, global = true, env = "NO_COLOR", hide = true)]
    no_color: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Color {
    /// On a terminal, unless NO_COLOR is set
    Auto,
    Always,
    Never,
}

#[derive(Debug, Subcommand)]
enum LogsAction {
    /// Show the newest logs that match, the newest last
    #[command(after_help = LANGUAGE)]
    Search {
        #[command(flatten)]
        which: Which,
        /// How many logs to show, 100000 at most
        #[arg(long, short = 'n', value_name = "NUMBER", default_value_t = 100, value_parser = super::whole(1..=LIMIT_MAX))]
        limit: u32,
    },
    /// Show matching logs as they come, until interrupted
    #[command(after_help = LANGUAGE)]
    Tail {
        #[command(flatten)]
        query: QueryText,
    },
    /// Write all matching logs to a file or standard output, a log a line, in the order in which they came
    #[command(after_help = LANGUAGE)]
    Export(ExportCommand),
}

/// What to look for.
#[derive(Debug, Args)]
struct QueryText {
    /// What to look for, in one word of the shell or in several; everything if it is not there
    #[arg(value_name = "QUERY")]
    typed: Vec<String>,
    /// The same as an option, for queries that begin with a dash
    #[arg(
        long = "query",
        short = 'q',
        value_name = "QUERY",
        conflicts_with = "typed",
        allow_hyphen_values = true
    )]
    named: Option<String>,
}

impl QueryText {
    fn text(&self) -> String {
        self.named.clone().unwrap_or_else(|| self.typed.join(" "))
    }
}

/// What to look for, and when.
#[derive(Debug, Args)]
struct Which {
    #[command(flatten)]
    query: QueryText,
    /// From when on
    #[arg(long, visible_alias = "since", value_name = "TIME", value_parser = time)]
    from: Option<String>,
    /// Until when, exclusive
    #[arg(long, visible_alias = "until", value_name = "TIME", value_parser = time)]
    to: Option<String>,
}

impl Which {
    fn parameters(&self) -> Result<Vec<(&'static str, String)>, ClientError> {
        let now_ms = Clock::system().unix_ms();
        let [from, to] = [&self.from, &self.to].map(|time| moment::instant_ms(time.as_deref()?, now_ms));
        if from.zip(to).is_some_and(|(from, to)| from >= to) {
            return Err(ClientError::NoTimeBetween);
        }
        let mut parameters = vec![("query", self.query.text())];
        for (name, time) in [("from", &self.from), ("to", &self.to)] {
            parameters.extend(time.clone().map(|time| (name, time)));
        }
        Ok(parameters)
    }
}

/// A time as the API takes it. `15m` is 15 minutes ago.
pub(super) fn time(text: &str) -> Result<String, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let time = match (digits, &text[digits..]) {
        (1.., "s" | "m" | "h" | "d" | "w") => format!("now-{text}"),
        _ => text.to_owned(),
    };
    let is_time = moment::instant_ms(&time, Clock::system().unix_ms()).is_some();
    is_time.then_some(time).ok_or_else(|| format!("it is no time: {}, or 15m for now-15m", moment::WRITTEN))
}

fn path(route: &str, parameters: &[(&str, String)]) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs(parameters.iter().filter(|(_, value)| !value.is_empty()));
    format!("{route}?{}", query.finish())
}

/// Carries a command out. What it shows is shown already.
pub(super) async fn run(connection: &Connection, command: LogsCommand) -> Result<(), ClientError> {
    let shared = command.shared_token.as_ref().filter(|secret| !secret.0.is_empty());
    let own = connection.api_token.as_ref().filter(|secret| !secret.0.is_empty());
    let credential = match (shared, own) {
        (Some(secret), _) => Credential::SharedToken(secret),
        (None, Some(secret)) => Credential::ApiToken(secret),
        (None, None) => return Err(ClientError::NoCredential),
    };
    let api = Api::with(connection, credential)?;
    let is_terminal = io::stdout().is_terminal();
    let no_color = command.no_color.as_ref().is_some_and(|value| !value.is_empty());
    let coloured = match command.color {
        Color::Auto => is_terminal && !no_color,
        Color::Always => true,
        Color::Never => false,
    };
    let look = if connection.json { Look::Raw } else { Look::Line { coloured, broken: is_terminal } };
    let done = async {
        if shared.is_some() {
            tell_if_suspended(&api).await?;
        }
        match &command.action {
            LogsAction::Search { which, limit } => search(&api, which, *limit as usize, look).await,
            LogsAction::Tail { query } => follow::run(&api, &query.text(), look).await,
            LogsAction::Export(command) => export::run(&api, command).await,
        }
    };
    match done.await {
        // A reader that has seen enough, such as `head`, is no failure.
        Err(ClientError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(ClientError::Forbidden) => Err(api.wrong_api_token()),
        Err(ClientError::Refused(answer)) => Err(ClientError::refused_query(answer, &command.action.query())),
        done => done,
    }
}

/// Tells why nothing will be shown, of a shared token that lost its filters. It counts as no view of its link.
async fn tell_if_suspended(api: &Api) -> Result<(), ClientError> {
    let share = api.get("/v1/share?again=true").await?;
    if let Some(notice) = share["notice"].as_str() {
        eprintln!("shipgate: {notice}");
    }
    Ok(())
}

impl LogsAction {
    fn query(&self) -> String {
        match self {
            Self::Search { which, .. } => which.query.text(),
            Self::Tail { query } => query.text(),
            Self::Export(command) => command.which.query.text(),
        }
    }
}

#[derive(serde::Deserialize)]
struct Page {
    logs: Vec<Found>,
    cursor: Option<String>,
    partial: bool,
}

#[derive(serde::Deserialize)]
struct Found {
    time: u64,
    log: Box<RawValue>,
}

async fn search(api: &Api, which: &Which, limit: usize, look: Look) -> Result<(), ClientError> {
    let (mut found, mut cursor, mut partial) = (Vec::new(), String::new(), false);
    loop {
        let mut parameters = which.parameters()?;
        parameters.push(("limit", PAGE_SIZE.min(limit - found.len()).to_string()));
        parameters.push(("cursor", cursor));
        let answer = api.get_bytes(&path("/v1/logs", &parameters)).await?;
        let page: Page = serde_json::from_slice(&answer).map_err(|_| api.not_shipgate())?;
        found.extend(page.logs);
        partial |= page.partial;
        match page.cursor {
            // An answer may be empty and still have more behind it.
            Some(next) if found.len() < limit => cursor = next,
            _ => break,
        }
    }
    let mut out = io::BufWriter::new(io::stdout().lock());
    for Found { time, log } in found.iter().rev() {
        look.write(&mut out, Some(*time), log.get()).map_err(ClientError::Output)?;
    }
    out.flush().map_err(ClientError::Output)?;
    if partial {
        eprintln!(
            "shipgate: logs may be missing: there was no time for all, or a place in the log is damaged; a shorter time, with --from and --to, may help"
        );
    } else if found.is_empty() && io::stderr().is_terminal() {
        eprintln!("shipgate: no log matches");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_may_be_typed_in_several_words() {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            which: Which,
        }
        for (line, expect) in [
            (&["level:error", "timeout"][..], "level:error timeout"),
            (&["level:error timeout", "--from", "1h"], "level:error timeout"),
            (&["--from", "1h", "a", "b"], "a b"),
            (&["-q", "-level:info"], "-level:info"),
            (&[], ""),
        ] {
            let line: Line = clap::Parser::parse_from([&["shipgate"], line].concat());
            assert_eq!(line.which.query.text(), expect);
        }
    }

    #[test]
    fn a_length_of_time_is_counted_from_now() {
        for (time, expect) in [
            ("15m", "now-15m"),
            ("2w", "now-2w"),
            ("now-1h", "now-1h"),
            ("2026-01-31", "2026-01-31"),
            ("15", "15"),
        ] {
            assert_eq!(super::time(time).as_deref(), Ok(expect));
        }
    }

    #[test]
    fn what_is_asked_survives_the_way_into_an_address() {
        let parameters = [("query", "a&b:\"c d\"".to_owned()), ("cursor", String::new())];
        assert_eq!(path("/v1/logs", &parameters), "/v1/logs?query=a%26b%3A%22c+d%22");
    }
}
