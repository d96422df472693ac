//! The program: arguments, configuration, exit codes. What it does with them is in `program`.

mod greeting;
mod program;

use clap::error::{ContextKind, ContextValue};
use clap::{CommandFactory, Parser, Subcommand};
use shipgate::config::role::Role;
use shipgate::config::{Config, Mistakes};
use shipgate::control::operator::{reset_api_token, set_plan, setup_token};
use shipgate::domain::plan::Plan;
use shipgate::domain::token::GatewayCredential;
use shipgate::telemetry::chain;
use shipgate::{client, load, ops};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

/// Memory that nobody uses goes back to the operating system within seconds.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// A log ingestion gateway: checks the shipping token of every batch, makes the batch durable, answers, and carries it to
/// its account's log.
///
/// Without a command it starts everything on this machine: ingest on port 8070, the API on 8072, metrics and health on 8073,
/// data in ./data. The first start creates an account and prints its tokens.
#[derive(Parser)]
#[command(version, after_help = AFTER_HELP)]
struct Arguments {
    /// The server's settings that differ from the defaults, in TOML; for the commands that start one or act on its machine.
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

const AFTER_HELP: &str = "\
To begin:
  shipgate                                             # start a server; it prints the tokens to use
  export SHIPGATE_API_TOKEN=...                        # the API token that it printed
  shipgate token list                                  # each command's --help has examples
  shipgate logs search --since 1h

Settings may also come from the environment: SHIPGATE__GATEWAY__HTTP=127.0.0.1:8070 sets gateway.http.
`shipgate check-config --defaults` prints every setting with its default and the reason for it.";

#[derive(Subcommand)]
enum Command {
    /// Run the control plane alone: the API, and the directory for gateways. Several may share one PostgreSQL database.
    Control,
    /// Run a gateway alone: ingest, with tokens from control planes (sync.control_urls) or from a file.
    Gateway {
        /// Accounts and digests of tokens, TOML or JSON, in place of a control plane. Watched: changes apply at once.
        #[arg(long, value_name = "FILE")]
        tokens: Option<PathBuf>,
    },
    /// Check the configuration, reporting every mistake at once. Starts nothing.
    CheckConfig {
        /// Print every setting with its default and its reason instead.
        #[arg(long)]
        defaults: bool,
        /// Check it as `shipgate control` or `shipgate gateway` will.
        #[arg(long, value_parser = role, value_name = "control|gateway")]
        role: Option<Role>,
    },
    /// Give the main account a new API token, shown once: when all are lost. Run it on the server's machine, with its configuration;
    /// the server may be running.
    ResetApiToken {
        /// The token's name; one that has it already opens nothing any more.
        #[arg(default_value = "admin")]
        name: String,
    },
    /// Make a link by which somebody becomes an admin in the console, once, within a day: the first one, or one who is locked out. Run it
    /// on the server's machine, with its configuration; the server may be running.
    SetupLink,
    /// Set the plan of the main account and its sub-accounts. Run it on the server's machine, with its configuration.
    SetPlan {
        /// community (one enabled shipping token an account), pro or enterprise (fifteen).
        #[arg(value_parser = plan)]
        plan: Plan,
    },
    /// Ask a running Shipgate on this machine whether it is ready. Exits with 0 if it is, 1 if not.
    Healthcheck,
    #[command(flatten)]
    Client(Box<client::Command>),
    Load(Box<load::Command>),
}

/// Prints an answer. A reader that has seen enough, such as `head`, is no failure.
fn say(answer: &str) -> std::io::Result<()> {
    if answer.is_empty() {
        return Ok(());
    }
    match writeln!(std::io::stdout(), "{answer}") {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        said => said,
    }
}

fn plan(name: &str) -> Result<Plan, &'static str> {
    Plan::from_name(name).ok_or("must be community, pro or enterprise")
}

fn role(name: &str) -> Result<Role, &'static str> {
    match name {
        "control" => Ok(Role::Control),
        "gateway" => Ok(Role::Gateway),
        _ => Err("must be control or gateway"),
    }
}

/// What `--tokens` sets.
const TOKENS_FILE: &str = "SHIPGATE__SYNC__TOKENS_FILE";

/// Bad configuration, as sysexits.h has it for wrong usage.
const EXIT_BAD_CONFIG: u8 = 64;

/// A wrong command line, as the library that reads it has it.
const EXIT_USAGE: u8 = 2;

fn main() -> ExitCode {
    let arguments = Arguments::try_parse().unwrap_or_else(|error| with_usage(error).exit());
    match run(arguments) {
        Ok(code) => code,
        Err(error) if error.is::<Mistakes>() => {
            eprintln!("shipgate: {error}");
            ExitCode::from(EXIT_BAD_CONFIG)
        }
        Err(error) => {
            eprintln!("shipgate: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// A wrong command line's error with the command's own usage. By itself it would call everything that comes from the environment or by
/// default, such as an API token, part of what has to be typed.
fn with_usage(mut error: clap::Error) -> clap::Error {
    if error.get(ContextKind::Usage).is_some() {
        let mut command = Arguments::command();
        command.build();
        let mut named = &command;
        for word in std::env::args_os().skip(1) {
            named = named.find_subcommand(&word).unwrap_or(named);
        }
        let usage = named.clone().render_usage();
        error.insert(ContextKind::Usage, ContextValue::StyledStr(usage));
    }
    error
}

fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    // For what starts nothing.
    let config = || read_config(arguments.config.as_ref(), None, None);
    let start =
        |role, tokens| program::run(read_config(arguments.config.as_ref(), Some(role), tokens)?, role);
    match arguments.command {
        None => start(Role::AllInOne, None)?,
        Some(Command::Control) => start(Role::Control, None)?,
        Some(Command::Gateway { tokens }) => start(Role::Gateway, tokens)?,
        Some(Command::CheckConfig { defaults: true, .. }) => say(shipgate::config::DEFAULTS.trim_end())?,
        Some(Command::CheckConfig { defaults: false, role }) => {
            let role = role.unwrap_or(Role::AllInOne);
            let config = read_config(arguments.config.as_ref(), Some(role), None)?;
            for (section, tls) in [("gateway.tls", config.gateway.tls), ("control.tls", config.control.tls)] {
                let unusable = |error| Mistakes([format!("{section}: {}", chain(&error))].into());
                tls.as_ref().map_or(Ok(()), shipgate::tls::check).map_err(unusable)?;
            }
            say("the configuration is valid")?;
        }
        Some(Command::Healthcheck) => {
            let ready = program::block_on(ops::probe(config()?.ops.http))?;
            say(ready.as_ref().map_or_else(|reason| reason.as_str(), |()| "ready"))?;
            return Ok(if ready.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        Some(Command::ResetApiToken { name }) => {
            let token =
                program::with_store(&config()?, async |store| Ok(reset_api_token(store, &name).await?))?;
            say(token.expose())?;
        }
        Some(Command::SetupLink) => {
            let config = config()?;
            let token = program::with_store(&config, async |store| Ok(setup_token(store).await?))?;
            let console = greeting::console(config.control.public_url.as_ref(), config.control.http);
            say(&greeting::setup_link(&console, &token))?;
        }
        Some(Command::SetPlan { plan }) => {
            let before = program::with_store(&config()?, async |store| Ok(set_plan(store, plan).await?))?;
            say(&format!("the plan is {}, and was {}", plan.name(), before.name()))?;
        }
        Some(Command::Client(_)) if arguments.config.is_some() => {
            eprintln!("shipgate: --config is for the server: name it with --url or SHIPGATE_URL");
            return Ok(ExitCode::from(EXIT_USAGE));
        }
        Some(Command::Client(command)) => match program::block_on(client::run(*command))? {
            Ok(answer) => say(&answer)?,
            Err(failure) => {
                eprintln!("{}", failure.line());
                return Ok(ExitCode::from(failure.exit_code()));
            }
        },
        Some(Command::Load(command)) => {
            program::raise_file_limit();
            if let Err(error) = load::run(*command) {
                let code = error.exit_code();
                eprintln!("shipgate: {:#}", anyhow::Error::from(error));
                return Ok(ExitCode::from(code));
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn read_config(
    file: Option<&PathBuf>,
    role: Option<Role>,
    tokens: Option<PathBuf>,
) -> anyhow::Result<Config> {
    let text = match file {
        None => None,
        Some(path) => {
            let unreadable = |error| Mistakes([format!("{}: {error}", path.display())].into());
            Some((path.as_path(), std::fs::read_to_string(path).map_err(unreadable)?))
        }
    };
    let environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.to_string_lossy().into_owned())));
    // An argument wins over the environment.
    let tokens = tokens.map(|file| (TOKENS_FILE.to_owned(), file.to_string_lossy().into_owned()));
    let environment = environment.chain(tokens);
    let file = text.as_ref().map(|(path, text)| (*path, text.as_str()));
    Ok(Config::load(file, environment, role, GatewayCredential::from_entropy(&program::entropy()?))?)
}
