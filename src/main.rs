//! The tickcast command: arguments → configuration → role.

use std::io::{self, Write as _};
use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;
use tickcast::cli::report::Report;
use tickcast::cli::{self, Cli, Command, Common, Exit};
use tickcast::config::{self, Flag, Purpose, Role};
use tickcast::logging::{self, Traces};
use tickcast::roles;

fn main() -> ExitCode {
    let exit = match Cli::try_parse() {
        Ok(cli) => run(&cli).unwrap_or_else(|error| {
            tell(&format!("tickcast: {error:#}\n"));
            Exit::of(error.as_ref())
        }),
        Err(error) => {
            // a reader who left early changes nothing about what was asked
            let _ = error.print();
            if error.use_stderr() { Exit::Usage } else { Exit::Ok }
        }
    };
    exit.into()
}

fn run(cli: &Cli) -> anyhow::Result<Exit> {
    match &cli.command {
        Command::Serve(args) => run_role(&cli.common, Role::Serve, args.flags()),
        Command::Gateway(args) => run_role(&cli.common, Role::Gateway, args.flags()),
        Command::Publisher(args) => run_role(&cli.common, Role::Publisher, args.flags()),
        Command::Tail(args) => {
            small_runtime()?.block_on(cli::tail::run(args))?;
            Ok(Exit::Ok)
        }
        Command::Control(args) => hand_out(small_runtime()?.block_on(cli::control::run(&cli.common, args))?),
        Command::Quota(args) => hand_out(small_runtime()?.block_on(cli::quota::run(&cli.common, args))?),
        Command::Config(args) => {
            let output = cli::config::run(&cli.common, args)?;
            tell(&output.warnings);
            print(&output.listing)?;
            Ok(Exit::Ok)
        }
        Command::Healthcheck(args) => {
            let verdict = small_runtime()?.block_on(cli::healthcheck::run(&cli.common, args))?;
            print(&format!("{}\n", verdict.line))?;
            Ok(if verdict.is_healthy { Exit::Ok } else { Exit::Unhealthy })
        }
        Command::Completions(args) => {
            print(&cli::shell::completions(args))?;
            Ok(Exit::Ok)
        }
        Command::Man(args) => {
            print(&cli::shell::man(args)?)?;
            Ok(Exit::Ok)
        }
    }
}

/// Runs a role on a runtime with a thread per core.
fn run_role(common: &Common, role: Role, flags: Vec<Flag>) -> anyhow::Result<Exit> {
    let loaded = config::load(&common.input(role, Purpose::Run, flags))?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("runtime")?;
    let log = &loaded.config.log;
    let traces = log.otlp_endpoint.as_deref();
    let traces = traces.map(|endpoint| Traces::start(endpoint, role.as_str(), runtime.handle().clone())).transpose()?;
    let levels = logging::start(log, traces.as_ref())?;
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    let ended = runtime.block_on(roles::run(role, &loaded.config, levels));
    if let Some(traces) = traces {
        traces.finish();
    }
    ended?;
    Ok(Exit::Ok)
}

/// For commands that talk to a role.
fn small_runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("runtime")
}

/// Each part of a report where it belongs.
fn hand_out(report: Report) -> anyhow::Result<Exit> {
    print(&report.told)?;
    for note in report.notes {
        tell(&format!("tickcast: {note}\n"));
    }
    report.problem.map_or(Ok(Exit::Ok), |problem| Err(problem.into()))
}

/// Writes to standard output. A reader who has seen enough (`| head`) is no failure.
fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

/// Writes to standard error. Where that is closed, nobody is left to be told.
fn tell(text: &str) {
    let _ = io::stderr().write_all(text.as_bytes());
}
