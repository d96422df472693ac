//! A run: from the command line to the results.
//!
//! Threads of its own send, each with a runtime for its share of the connections; this one watches the time, gathers what
//! happened each second, and looks after side actors.

use super::LoadError;
use super::html;
use super::id::RunId;
use super::ledger::{Header, Ledger};
use super::link;
use super::measure::Interval;
use super::options::Options;
use super::plan::Plan;
use super::process::Usage;
use super::report::{Cost, Moment, Report, Side, Traffic};
use super::side::Actors;
use super::target::Target;
use super::tokens::Tokens;
use super::traffic::{Common, Group};
use crate::clock::{self, Clock};
use crate::shutdown::Shutdown;
use std::collections::BTreeMap;
use std::io::{ErrorKind, IsTerminal, Write};
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What became due so short a time ago may just be on its way.
const UNDER_WAY: Duration = Duration::from_millis(10);
/// How often something is shown and noted.
const TICK: Duration = Duration::from_secs(1);

/// Sends load as the options say, and shows and writes the results.
pub(super) async fn run(options: Options) -> Result<(), LoadError> {
    let plan = Plan::new(&options)?;
    let clock = Clock::system();
    let started_ms = clock.unix_ms();
    let target = Target::resolve(&options.url, &options.ca, options.http).await?;
    reach(&options, &target).await?;
    if let Some(pid) = options.server_pid {
        Usage::of(&pid.to_string()).map_err(|source| LoadError::NoServer { pid, source })?;
    }

    // Runs differ in their ids, whatever their seeds.
    let run = RunId((started_ms ^ (u64::from(std::process::id()) << 20)) as u32);
    let tokens = Tokens::provide(&options, &target, run).await?;
    let common = Arc::new(Common { target, run, seed: options.seed, timeout: options.timeout });
    let ran = ship(&options, &plan, &common, &tokens.values).await;
    tokens.remove().await;
    let (report, groups) = ran?;

    if let Some(path) = &options.ledger {
        let header = Header { run: run.to_string(), target: options.url.clone(), started_ms };
        let books: Vec<_> = groups.iter().flat_map(|group| group.take_books()).collect();
        Ledger::write(path, &header, &books)?;
    }
    show(&options, &report)?;
    if report.traffic.accepted.batches == 0 { Err(LoadError::nothing_accepted(&report)) } else { Ok(()) }
}

/// Makes sure that something is there before threads are started and tokens made.
async fn reach(options: &Options, target: &Target) -> Result<(), LoadError> {
    let url = || options.url.clone();
    match tokio::time::timeout(options.timeout, link::connect(target)).await {
        Ok(Ok(_)) => Ok(()),
        // Reached, but what it showed was not accepted.
        Ok(Err(source)) if source.kind() == ErrorKind::InvalidData => {
            Err(LoadError::Untrusted { url: url(), source })
        }
        Ok(Err(source)) => Err(LoadError::Unreachable { url: url(), source }),
        Err(late) => Err(LoadError::Unreachable { url: url(), source: late.into() }),
    }
}

/// Everybody takes their places, sends while it counts, and leaves.
async fn ship(
    options: &Options,
    plan: &Plan,
    common: &Arc<Common>,
    tokens: &Arc<Vec<String>>,
) -> Result<(Report, Vec<Arc<Group>>), LoadError> {
    let actors = Actors::start(plan.side(), options, common, &tokens[0]).await?;
    if let Some(actors) = &actors {
        actors.take_places().await;
    }
    let groups = plan.groups(common, tokens)?;
    let senders = send(&groups, options.threads)?;
    let measured = watch(options, &groups, actors.as_ref()).await;
    groups.iter().for_each(|group| group.pace.stop());
    // Ends soon: each connection waits for one answer at most.
    let ended = tokio::task::spawn_blocking(|| senders.into_iter().for_each(|sender| drop(sender.join())));
    tokio::select! {
        _ = ended => {}
        _ = tokio::signal::ctrl_c() => return Err(LoadError::Interrupted),
    }
    let mut report = measured.report(options, plan, common, &groups);
    if let Some(actors) = actors {
        report.sides.extend([actors.counts(report.seconds)]);
        actors.stop().await;
    }
    Ok((report, groups))
}

/// Starts the threads that send.
fn send(groups: &[Arc<Group>], threads: u16) -> Result<Vec<JoinHandle<()>>, LoadError> {
    let mut senders = vec![];
    for group in groups.iter().filter(|group| group.pace.is_open()) {
        let group = Arc::clone(group);
        senders.push(spawn("pace", move || group.pace.drive())?);
    }
    for thread in 0..u32::from(threads) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(LoadError::Thread)?;
        let groups = groups.to_vec();
        senders.push(spawn("send", move || {
            runtime.block_on(async {
                let stage = Shutdown::new();
                for group in &groups {
                    for number in (thread..group.connections).step_by(usize::from(threads)) {
                        stage.tasks().spawn(Arc::clone(group).send(number, stage.tasks()));
                    }
                }
                // Connections end when their pace stops, whenever that is.
                let _ = stage.drain(Duration::MAX).await;
            });
        })?);
    }
    Ok(senders)
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, LoadError> {
    std::thread::Builder::new().name(format!("load-{name}")).spawn(work).map_err(LoadError::Thread)
}

/// What happened while it counted.
struct Measured {
    window: Duration,
    /// The main traffic first, then the side's, as the groups are.
    totals: Vec<Interval>,
    never_begun: u64,
    server: Option<(Usage, Usage)>,
    generator: (Usage, Usage),
    timeline: Vec<Moment>,
}

/// Lets time pass until the run is over, or somebody interrupts it.
async fn watch(options: &Options, groups: &[Arc<Group>], actors: Option<&Actors>) -> Measured {
    let usage = || {
        let server = options.server_pid.and_then(|pid| Usage::of(&pid.to_string()).ok());
        (server, Usage::of("self").unwrap_or_default())
    };
    let begin = clock::monotonic();
    let mut timeline = vec![];
    let mut interrupted = std::pin::pin!(tokio::signal::ctrl_c());
    let mut stop = false;
    let mut phase = async |length: Duration, warm_up: bool| {
        let mut totals = vec![Interval::new(); groups.len()];
        let (phase_begin, mut before) = (clock::monotonic(), clock::monotonic());
        let end = phase_begin + length;
        while !stop && before < end {
            let next = (before + TICK).min(end);
            tokio::select! {
                () = tokio::time::sleep_until(next.into()) => {}
                _ = &mut interrupted => stop = true,
            }
            let now = clock::monotonic();
            for (at, (group, total)) in groups.iter().zip(&mut totals).enumerate() {
                let interval = group.take_interval();
                if at == 0 {
                    let moment = Moment::of(&interval, now - begin, now - before, warm_up);
                    progress(&moment);
                    timeline.push(moment);
                }
                *total += &interval;
            }
            before = now;
        }
        (totals, before - phase_begin)
    };
    phase(options.warm_up, true).await;
    if let Some(actors) = actors {
        actors.begin_counting();
    }
    let (server_begin, generator_begin) = usage();
    let (mut totals, window) = phase(options.duration, false).await;
    let (server_end, generator_end) = usage();
    let never_begun = miss(&groups[0], &mut totals[0], clock::monotonic());
    Measured {
        window,
        totals,
        never_begun,
        server: server_begin.zip(server_end),
        generator: (generator_begin, generator_end),
        timeline,
    }
}

/// Charges the server for the batches that were due and never begun.
fn miss(group: &Group, total: &mut Interval, now: Instant) -> u64 {
    let mut count = 0;
    for due in group.pace.missed(now - UNDER_WAY) {
        total.missed(now.saturating_duration_since(due));
        count += 1;
    }
    count
}

impl Measured {
    fn report(mut self, options: &Options, plan: &Plan, common: &Common, groups: &[Arc<Group>]) -> Report {
        for (group, total) in groups.iter().zip(&mut self.totals) {
            // Begun while it counted, answered after: too late for the rate, but not for the latency.
            total.add_latencies(&group.take_interval());
        }
        let accepted = self.totals[0].accepted;
        let sides = groups.iter().zip(&self.totals).skip(1);
        let sides: BTreeMap<_, _> = sides.map(|(group, total)| (group.name, side(total))).collect();
        Report {
            run: common.run.to_string(),
            scenario: options.scenario.to_string(),
            target: options.url.clone(),
            settings: plan.settings(options, groups[0].tokens.len()),
            seconds: self.window.as_secs_f64(),
            traffic: Traffic::of(&self.totals[0], self.never_begun, self.window),
            sides,
            server: self.server.map(|(begin, end)| Cost::between(begin, end, accepted)),
            generator: Cost::between(self.generator.0, self.generator.1, accepted),
            timeline: self.timeline,
        }
    }
}

fn side(total: &Interval) -> Side {
    let by_status =
        total.by_status.iter().map(|(status, volume)| (format!("answered {status}"), volume.batches));
    let others = [("unanswered", total.unanswered.batches), ("connects failed", total.connects_failed)];
    let others = others.into_iter().filter(|(_, count)| *count > 0);
    Side(by_status.chain(others.map(|(what, count)| (what.to_owned(), count))).collect())
}

/// On a terminal only: a line that is written over again.
fn progress(moment: &Moment) {
    let mut terminal = std::io::stderr();
    if terminal.is_terminal() {
        let _ = write!(terminal, "\r\x1b[K{moment}");
        let _ = terminal.flush();
    }
}

/// Prints the results and writes them where they are wanted.
fn show(options: &Options, report: &Report) -> Result<(), LoadError> {
    if std::io::stderr().is_terminal() {
        eprintln!("\r\x1b[K");
    }
    match &options.json {
        Some(path) if path == Path::new("-") => {
            eprint!("{report}");
            println!("{}", json(report));
        }
        other => {
            print!("{report}");
            if let Some(path) = other {
                write(path, &json(report))?;
            }
        }
    }
    match &options.report {
        Some(path) => write(path, &html::page(report)),
        None => Ok(()),
    }
}

fn json(report: &Report) -> String {
    serde_json::to_string_pretty(report).unwrap_or_default()
}

fn write(path: &Path, text: &str) -> Result<(), LoadError> {
    std::fs::write(path, text).map_err(|source| LoadError::Unwritable { path: path.to_owned(), source })
}
