//! What stays the same over all runs of an invocation: the server's whereabouts, Redis, pins, and where to keep files.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use anyhow::Context;
use rustix::thread::{CpuSet, sched_setaffinity};
use tempfile::TempDir;

use crate::cli::values::Cores;
use crate::host::interrupt::Interrupt;
use crate::host::redis::Redis;
use crate::progress::Progress;
use crate::wire::RedisAddress;

/// What the command line says about it.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    pub(crate) server: ServerChoice,
    /// `None` starts a private one.
    pub(crate) redis: Option<RedisAddress>,
    pub(crate) channel: String,
    /// What clients ask for, such as `/ws`.
    pub(crate) path: String,
    /// At least so many client processes.
    pub(crate) workers: u32,
    pub(crate) pins: Pins,
    /// Added to a started server's environment, below what a run adds.
    pub(crate) server_env: BTreeMap<String, String>,
}

/// The server under test.
#[derive(Debug, Clone)]
pub(crate) enum ServerChoice {
    /// Started for each run by this command line.
    Command(String),
    /// Running already.
    Running { target: SocketAddr, ops: Option<SocketAddr>, pid: Option<u32> },
}

/// Who runs on which cores.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pins {
    pub(crate) server: Option<Cores>,
    /// Clients, publisher, and this process.
    pub(crate) client: Option<Cores>,
    pub(crate) redis: Option<Cores>,
}

/// See the module.
pub(crate) struct Host {
    pub(crate) redis: Option<Redis>,
    pub(crate) directory: TempDir,
    pub(crate) interrupt: Interrupt,
    pub(crate) progress: Progress,
}

impl Host {
    /// Catches signals, pins this process, starts or finds Redis unless only floors are measured.
    pub(crate) fn prepare(setup: &Setup, with_redis: bool, progress: Progress) -> anyhow::Result<Host> {
        let interrupt = Interrupt::catch()?;
        if let Some(cores) = &setup.pins.client {
            let mut set = CpuSet::new();
            cores.iter().for_each(|core| set.set(core));
            sched_setaffinity(None, &set).with_context(|| format!("pinning to cores {cores}: do they exist?"))?;
        }
        let directory = tempfile::Builder::new().prefix("tickcast-loadtest-").tempdir()?;
        let redis = match (&setup.redis, with_redis) {
            (_, false) => None,
            (Some(address), true) => Some(Redis::at(address.clone())?),
            (None, true) => Some(Redis::start(directory.path(), setup.pins.redis.as_ref(), &interrupt)?),
        };
        Ok(Host { redis, directory, interrupt, progress })
    }
}

impl Pins {
    /// How many cores clients, publisher and Redis share, when they share any.
    pub(crate) fn client_cores(&self) -> Option<usize> {
        self.client.as_ref().map(|cores| cores.iter().count())
    }
}
