//! The first thing a started process does: tie its life to ours, take its cores, then become what it is to be.
//!
//! `tickcast-loadtest helper …` runs it, since none of it can be done between fork and exec without unsafe code. What it
//! sets survives the exec.

use std::os::unix::process::{CommandExt, parent_id};
use std::process::Command;

use anyhow::{Context, bail, ensure};
use rustix::process::{Signal, set_parent_process_death_signal};
use rustix::thread::{CpuSet, sched_setaffinity};

use crate::cli::values::Cores;

/// How a command is started: pinned, and tied to this process.
pub(crate) fn command(pin: Option<&Cores>) -> anyhow::Result<Command> {
    let myself = std::env::current_exe().context("the path of this program")?;
    let mut command = Command::new(myself);
    command.arg("helper").args(["--parent", &std::process::id().to_string()]);
    if let Some(cores) = pin {
        command.args(["--pin", &cores.to_string()]);
    }
    Ok(command)
}

/// What the started process does first. The signal comes when the starting *thread* ends; only the main one starts
/// processes.
///
/// # Errors
/// When the parent has gone already or the cores do not exist.
pub(crate) fn settle(parent: u32, pin: Option<&Cores>) -> anyhow::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL)).context("asking to die with the parent")?;
    ensure!(parent_id() == parent, "the parent has gone");
    if let Some(cores) = pin {
        let mut set = CpuSet::new();
        cores.iter().for_each(|core| set.set(core));
        sched_setaffinity(None, &set).with_context(|| format!("pinning to cores {cores}: do they exist?"))?;
    }
    Ok(())
}

/// Becomes `command`.
///
/// # Errors
/// When it cannot be executed.
pub(crate) fn become_command(command: &[String]) -> anyhow::Result<()> {
    let Some((program, arguments)) = command.split_first() else { bail!("no command") };
    let error = Command::new(program).args(arguments).exec();
    Err(error).with_context(|| format!("cannot execute {program}"))
}
