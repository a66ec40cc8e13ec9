//! A process of this program that helps a run: orders in, reports out.

use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStdin, Stdio};
use std::sync::mpsc::SyncSender;

use anyhow::Context;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::cli::values::Cores;
use crate::wire::{AttackReport, SourceReport, SwarmReport, read_line};

use super::guard::Guard;
use super::launch;

/// What the leading process hears from its helpers.
#[derive(Debug)]
pub(crate) enum Event {
    Swarm(usize, SwarmReport),
    Source(SourceReport),
    Attack(AttackReport),
    /// A helper's stdout ended: it is gone, or said something unintelligible.
    Gone {
        kind: Kind,
        why: String,
    },
}

/// What a helper is; its name on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Swarm,
    Publisher,
    Sender,
    Attacker,
}

impl Kind {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Kind::Swarm => "swarm",
            Kind::Publisher => "publisher",
            Kind::Sender => "sender",
            Kind::Attacker => "attacker",
        }
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Helper {
    guard: Guard,
    stdin: ChildStdin,
}

impl Helper {
    /// Starts `tickcast-loadtest helper … KIND`, hands it `job` and has its reports sent to `events`. The sending thread
    /// ends with the helper's stdout; a full channel makes the helper wait.
    pub(crate) fn start<J: Serialize, R: DeserializeOwned>(
        kind: Kind,
        job: &J,
        pin: Option<&Cores>,
        events: SyncSender<Event>,
        wrap: impl Fn(R) -> Event + Send + 'static,
    ) -> anyhow::Result<Helper> {
        let mut command = launch::command(pin)?;
        command.arg(kind.name()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut guard = Guard::start(kind.name(), &mut command)?;
        let stdin = guard.child().stdin.take().context("a helper without stdin")?;
        let stdout = guard.child().stdout.take().context("a helper without stdout")?;
        std::thread::Builder::new().name(format!("{}-reports", kind.name())).spawn(move || {
            for line in BufReader::new(stdout).lines() {
                let event = match line.map_err(Into::into).and_then(|line| read_line(&line)) {
                    Ok(report) => wrap(report),
                    Err(error) => Event::Gone { kind, why: error.to_string() },
                };
                if events.send(event).is_err() {
                    return;
                }
            }
            // Nobody listens any more when the run is over, which is as it should be.
            drop(events.send(Event::Gone { kind, why: "it ended before its time".to_owned() }));
        })?;
        let mut helper = Helper { guard, stdin };
        helper.order(job)?;
        Ok(helper)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.guard.pid()
    }

    pub(crate) fn order<T: Serialize>(&mut self, order: &T) -> anyhow::Result<()> {
        let mut line = serde_json::to_vec(order)?;
        line.push(b'\n');
        self.stdin.write_all(&line).with_context(|| format!("the {} is gone", self.guard.name()))
    }
}
