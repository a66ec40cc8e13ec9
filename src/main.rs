//! The tickcast command: arguments → configuration → role.

use std::io::{self, Write as _};
use std::process::ExitCode;

use anyhow::{Context as _, anyhow};
use clap::Parser as _;
use tickcast::cli::{self, Cli, Command, Common, Exit};
use tickcast::config::{self, Flag, Loaded, Purpose, Role};
use tickcast::logging;
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
        Command::Tail(_) => Err(not_built("tail")),
        Command::Control(_) => Err(not_built("control")),
        Command::Quota(_) => Err(not_built("quota")),
        Command::Config(args) => {
            let output = cli::config::run(&cli.common, args)?;
            tell(&output.warnings);
            print(&output.listing)?;
            Ok(Exit::Ok)
        }
        Command::Healthcheck(args) => {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("runtime")?;
            let verdict = runtime.block_on(cli::healthcheck::run(&cli.common, args))?;
            print(&format!("{}\n", verdict.line))?;
            Ok(if verdict.is_healthy { Exit::Ok } else { Exit::Unhealthy })
        }
    }
}

/// Runs a role on a runtime with a thread per core.
fn run_role(common: &Common, role: Role, flags: Vec<Flag>) -> anyhow::Result<Exit> {
    let (loaded, levels) = start(common, role, flags)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("runtime")?;
    runtime.block_on(roles::run(role, &loaded.config, levels))?;
    Ok(Exit::Ok)
}

/// What every role begins with: its configuration, its log.
fn start(common: &Common, role: Role, flags: Vec<Flag>) -> anyhow::Result<(Loaded, logging::Levels)> {
    let loaded = config::load(&common.input(role, Purpose::Run, flags))?;
    let levels = logging::start(&loaded.config.log)?;
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    Ok((loaded, levels))
}

fn not_built(command: &str) -> anyhow::Error {
    anyhow!("`{command}` is not built into this binary yet")
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
