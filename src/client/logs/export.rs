//! `shipgate logs export`: all that matches, to a file that has its name only once it is whole; until then, and if it never is, it is
//! called `….part`.

use super::{Api, ClientError, Which, path};
use crate::clock::monotonic;
use clap::{Args, ValueEnum};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// How long nothing may arrive.
const SILENCE: Duration = Duration::from_secs(120);
const PROGRESS: Duration = Duration::from_millis(250);

#[derive(Debug, Args)]
pub(super) struct ExportCommand {
    #[command(flatten)]
    pub which: Which,
    /// Where to write; `-` is standard output
    #[arg(long, short = 'o', value_name = "FILE", default_value = "-")]
    output: PathBuf,
    /// Write over a file that is there already
    #[arg(long)]
    force: bool,
    /// The form of the file; without it, compressed if the file's name ends so
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    #[value(name = "ndjson")]
    Plain,
    #[value(name = "ndjson.zst")]
    Zstd,
}

impl ExportCommand {
    fn format(&self) -> &'static str {
        let is_zst = self.output.extension().is_some_and(|ending| ending == "zst");
        match self.format {
            Some(Format::Zstd) => "ndjson.zst",
            None if is_zst => "ndjson.zst",
            Some(Format::Plain) | None => "ndjson",
        }
    }

    /// Refuses what would be lost, before the server is asked for anything. A device or a pipe is no file to put another in the place of.
    fn may_write(&self) -> Result<(), ClientError> {
        match std::fs::metadata(&self.output) {
            _ if self.output.as_os_str() == "-" => Ok(()),
            Ok(there) if !there.is_file() => Err(ClientError::NoFile(self.output.clone())),
            Ok(_) if !self.force => Err(ClientError::Exists(self.output.clone())),
            _ => Ok(()),
        }
    }
}

pub(super) async fn run(api: &Api, command: &ExportCommand) -> Result<(), ClientError> {
    let mut parameters = command.which.parameters()?;
    parameters.push(("format", command.format().to_owned()));
    command.may_write()?;
    let body = api.open(&path("/v1/logs/export", &parameters)).await?;
    if command.output.as_os_str() == "-" {
        let mut out = io::stdout().lock();
        copy(api, body, &mut out).await?;
        return out.flush().map_err(ClientError::Output);
    }
    let mut part = command.output.clone().into_os_string();
    part.push(".part");
    let part = PathBuf::from(part);
    let file = File::create(&part).map_err(|error| not_written(&part, error))?;
    if let Err(error) = write(api, body, file).await {
        return Err(kept(error, &part));
    }
    std::fs::rename(&part, &command.output).map_err(|error| kept(not_written(&command.output, error), &part))
}

async fn write(api: &Api, body: Incoming, mut file: File) -> Result<(), ClientError> {
    copy(api, body, &mut file).await?;
    file.sync_all().map_err(ClientError::Output)
}

fn not_written(path: &Path, error: io::Error) -> ClientError {
    ClientError::File { path: path.to_owned(), source: error }
}

/// The error that left a part of a file, and where that is; without content it is not kept.
fn kept(error: ClientError, part: &Path) -> ClientError {
    let error = match error {
        ClientError::Output(error) => not_written(part, error),
        error => error,
    };
    match std::fs::metadata(part) {
        Ok(file) if file.len() > 0 => {
            ClientError::Unfinished { error: Box::new(error), part: part.to_owned() }
        }
        _ => {
            let _ = std::fs::remove_file(part);
            error
        }
    }
}

async fn copy(api: &Api, mut body: Incoming, out: &mut impl Write) -> Result<(), ClientError> {
    let mut progress = Progress::new();
    loop {
        match timeout(SILENCE, body.frame()).await {
            Ok(None) => break,
            Ok(Some(Ok(frame))) => {
                let Ok(data) = frame.into_data() else { continue };
                out.write_all(&data).map_err(ClientError::Output)?;
                progress.add(data.len());
            }
            Ok(Some(Err(_))) | Err(_) => {
                progress.end();
                return Err(api.broke_off());
            }
        }
    }
    progress.end();
    Ok(())
}

/// How much has arrived, on standard error where that is a terminal.
struct Progress {
    begun: Instant,
    shown: Instant,
    bytes: usize,
    is_shown: bool,
}

impl Progress {
    fn new() -> Self {
        let now = monotonic();
        Self { begun: now, shown: now, bytes: 0, is_shown: io::stderr().is_terminal() }
    }

    fn add(&mut self, bytes: usize) {
        self.bytes += bytes;
        if self.is_shown && self.shown.elapsed() >= PROGRESS {
            self.shown = monotonic();
            self.show();
        }
    }

    fn show(&self) {
        let megabytes = self.bytes as f64 / 1e6;
        let rate = megabytes / self.begun.elapsed().as_secs_f64().max(0.001);
        eprint!("\r{megabytes:.1} MB, {rate:.1} MB/s \u{1b}[K");
    }

    fn end(&self) {
        if self.is_shown {
            self.show();
            eprintln!();
        }
    }
}
