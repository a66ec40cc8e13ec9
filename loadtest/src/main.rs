//! Load generator and delivery checker for tickcast, and for any WebSocket gateway of the same job.
//!
//! It opens many clients, publishes through Redis at an open-loop rate, checks every delivery and prints what it cost. It
//! knows the server from outside only: its protocol, its process, its counters. In reading order:
//!
//! - `scenario` the named runs; `cli` the flags; `run` one run from start to verdict, `report` what it found;
//! - `plan`, `schedule`, `verify` who gets what and when, and what is missing: pure, known to all processes alike;
//! - `update`, `frame`, `latency` the bytes and the clock readings: pure;
//! - `client` the swarm of sockets, `source` the publisher and the floor's bare sender, `attack` hostile clients: a process each;
//! - `host` starting and ending processes, `proc` what `/proc` says of them, `wire` what they say to each other.

mod attack;
mod cli;
mod client;
mod clock;
mod frame;
mod host;
mod latency;
mod limits;
mod pacer;
mod plan;
mod proc;
mod progress;
mod report;
mod run;
mod scenario;
mod schedule;
mod source;
mod update;
mod verify;
mod wire;

use std::fs;
use std::io::Write;
use std::process::ExitCode;

use anyhow::Context;
use clap::{CommandFactory, Parser, error::ErrorKind};

use crate::cli::args::{Cli, Command, HelperArgs, HelperKind, TableArgs};
use crate::cli::program::{Output, Program};
use crate::host::interrupt::Interrupted;
use crate::host::server::Died;
use crate::proc::machine::Machine;
use crate::progress::Progress;
use crate::report::{Pinned, Report, RunReport, SearchReport};
use crate::run::setup::{Host, Setup};

const VIOLATED: u8 = 1;
const WRONG_ARGUMENTS: u8 = 2;
const INVALID: u8 = 3;
const NOT_RUN: u8 = 4;
/// What a shell gives to whoever ends by SIGINT.
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    let program = match Cli::parse().command {
        Command::Helper(args) => return exit_code(helper(&args)),
        Command::Table(args) => return exit_code(table(&args)),
        Command::Run(args) => args.program(),
        Command::Floor(args) => args.program(),
    };
    let program = match program {
        Ok(program) => program,
        Err(words) => {
            let error = Cli::command().error(ErrorKind::ArgumentConflict, words);
            // A closed stderr hears nothing; the exit code tells.
            drop(error.print());
            return ExitCode::from(WRONG_ARGUMENTS);
        }
    };
    exit_code(execute(&program))
}

fn exit_code(result: anyhow::Result<ExitCode>) -> ExitCode {
    result.unwrap_or_else(|error| {
        eprintln!("tickcast-loadtest: {error:#}");
        ExitCode::from(match error {
            died if died.is::<Died>() => VIOLATED,
            stopped if stopped.is::<Interrupted>() => INTERRUPTED,
            _ => NOT_RUN,
        })
    })
}

fn helper(args: &HelperArgs) -> anyhow::Result<ExitCode> {
    host::launch::settle(args.parent, args.pin.as_ref())?;
    match &args.kind {
        HelperKind::Swarm => client::swarm::run()?,
        HelperKind::Publisher => source::publisher::run()?,
        HelperKind::Sender => source::sender::run()?,
        HelperKind::Attacker => attack::run()?,
        HelperKind::Exec { command } => host::launch::become_command(command)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn table(args: &TableArgs) -> anyhow::Result<ExitCode> {
    let read = |path: &std::path::PathBuf| -> anyhow::Result<Report> {
        let text = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_slice(&text).with_context(|| format!("{} is no report of this program", path.display()))
    };
    let reports: Vec<Report> = args.files.iter().map(read).collect::<Result<_, _>>()?;
    print!("{}", report::table::markdown(&reports, &args.subject));
    Ok(ExitCode::SUCCESS)
}

fn execute(program: &Program) -> anyhow::Result<ExitCode> {
    let with_redis = program.runs.iter().any(|spec| !spec.is_floor());
    let host = Host::prepare(&program.setup, with_redis, Progress::new(program.output.quiet))?;
    let mut search = None;
    let mut runs = Vec::new();
    for spec in &program.runs {
        match program.search {
            Some(wanted) => {
                let (best, found) = run::search::search(spec, wanted, &program.setup, &host)?;
                runs.extend(best);
                search = Some(found);
            }
            None => {
                host.progress.say(&report::text::describe(spec));
                runs.push(run::run(spec, &program.setup, &host)?);
            }
        }
    }
    let report = conclude(program, &host, runs, search);
    tell(&report, &program.output)?;
    Ok(verdict(program, &report))
}

fn conclude(program: &Program, host: &Host, runs: Vec<RunReport>, search: Option<SearchReport>) -> Report {
    let Setup { pins, .. } = &program.setup;
    let cores = |cores: &Option<cli::values::Cores>| cores.as_ref().map(ToString::to_string);
    let private = |redis: &host::redis::Redis| if redis.is_private() { "private" } else { "given" };
    Report {
        tool: format!("tickcast-loadtest {}", env!("CARGO_PKG_VERSION")),
        label: program.output.label.clone(),
        scenario: program.scenario.map(scenario::Scenario::name),
        command: std::env::args().collect::<Vec<_>>().join(" "),
        date: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        machine: Machine::here(),
        redis: host.redis.as_ref().map(|redis| format!("{} ({})", redis.version, private(redis))),
        pinned: Pinned { server: cores(&pins.server), client: cores(&pins.client), redis: cores(&pins.redis) },
        comparisons: program.scenario.filter(|_| search.is_none()).map_or_else(Vec::new, |s| s.compare(&runs)),
        runs,
        search,
    }
}

fn tell(report: &Report, output: &Output) -> anyhow::Result<()> {
    let json = || serde_json::to_string_pretty(report);
    if let Some(path) = &output.out {
        fs::write(path, json()?).with_context(|| format!("cannot write {}", path.display()))?;
    }
    let text = if output.json { json()? + "\n" } else { report::text::render(report) };
    match std::io::stdout().write_all(text.as_bytes()) {
        // Whoever reads it has seen enough.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        written => written.context("writing the report"),
    }
}

fn verdict(program: &Program, report: &Report) -> ExitCode {
    let measures = program.scenario.is_none_or(scenario::Scenario::measures);
    if let Some(search) = &report.search {
        return if search.rate > 0.0 { ExitCode::SUCCESS } else { ExitCode::from(VIOLATED) };
    }
    if report.is_violated() {
        ExitCode::from(VIOLATED)
    } else if report.is_invalid() && measures {
        ExitCode::from(INVALID)
    } else {
        ExitCode::SUCCESS
    }
}
