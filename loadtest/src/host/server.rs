//! The server under test: started by a command line, or one that runs already.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

use crate::cli::values::Cores;
use crate::proc::family::{exists, family, open_file_limit};

use super::guard::Guard;
use super::interrupt::{Interrupt, LOOK_EVERY};
use super::redis::Redis;
use super::{http, launch};

/// How long a server may take until its port accepts and its health is good.
const START_PATIENCE: Duration = Duration::from_secs(30);
/// Longer than a gateway's drain window (20 s) and what follows it.
const STOP_PATIENCE: Duration = Duration::from_secs(40);
const LOG_TAIL_BYTES: u64 = 4_096;
const LOWEST_PORT: u16 = 10_240;
const PORT_TRIES: usize = 100;

/// What is measured.
#[derive(Debug)]
pub(crate) struct Server {
    /// Where clients connect.
    pub(crate) target: SocketAddr,
    /// Where its metrics are, if it has any.
    pub(crate) ops: Option<SocketAddr>,
    /// Its first process, when it is on this machine and known.
    pub(crate) pid: Option<u32>,
    started: Option<(Guard, PathBuf)>,
}

/// The server died while it was used.
#[derive(Debug, thiserror::Error)]
#[error("the server ended with {status}\n{last_words}")]
pub(crate) struct Died {
    status: ExitStatus,
    last_words: String,
}

/// How to start one.
#[derive(Debug)]
pub(crate) struct Start<'a> {
    pub(crate) command: &'a str,
    /// Added to what [`environment`] gives.
    pub(crate) environment: &'a BTreeMap<String, String>,
    pub(crate) channel: &'a str,
    pub(crate) redis: &'a Redis,
    pub(crate) directory: &'a Path,
    pub(crate) pin: Option<&'a Cores>,
}

impl Server {
    /// Starts the command with free ports and waits until it is ready.
    pub(crate) fn start(start: &Start<'_>, interrupt: &Interrupt) -> anyhow::Result<Server> {
        let (port, ops_port) = (free_port()?, free_port()?);
        let redis = start.redis.address.socket;
        let mut environment = environment(port, ops_port, redis, start.channel);
        environment.extend(start.environment.iter().map(|(name, value)| (name.clone(), value.clone())));
        let shell = without_shell(&fill_in(start.command, port, ops_port, redis, start.channel));
        let log = start.directory.join("server.log");
        let output = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let mut command = launch::command(start.pin)?;
        command.args(["exec", "--", "/bin/sh", "-c", &shell]).envs(&environment).stdin(Stdio::null());
        command.stdout(output.try_clone()?).stderr(output);
        let mut guard = Guard::start("server", &mut command)?;
        let target = SocketAddr::from(([127, 0, 0, 1], port));
        let began = Instant::now();
        while !is_ready(target) {
            interrupt.check()?;
            if let Some(status) = guard.wait(LOOK_EVERY)? {
                bail!("`{shell}` ended with {status} before it was ready\n{}", tail(&log));
            }
            ensure!(
                began.elapsed() < START_PATIENCE,
                "`{shell}` is not ready on port {port} (given to it as PORT and WS_PORT) after {} s\n{}",
                START_PATIENCE.as_secs(),
                tail(&log)
            );
        }
        let ops = SocketAddr::from(([127, 0, 0, 1], ops_port));
        let has_ops = TcpStream::connect(ops).is_ok();
        Ok(Server { target, ops: has_ops.then_some(ops), pid: Some(guard.pid()), started: Some((guard, log)) })
    }

    /// One that runs already.
    pub(crate) fn at(target: SocketAddr, ops: Option<SocketAddr>, pid: Option<u32>) -> anyhow::Result<Server> {
        TcpStream::connect(target).with_context(|| format!("nobody listens at {target}"))?;
        if let Some(pid) = pid.filter(|pid| !exists(*pid)) {
            bail!("--server-pid {pid}: there is no such process");
        }
        Ok(Server { target, ops, pid, started: None })
    }

    /// Its processes; none when it is not known where it runs.
    pub(crate) fn family(&self) -> Vec<u32> {
        self.pid.map(family).unwrap_or_default()
    }

    /// # Errors
    /// When it may not open as many files as `clients` need.
    pub(crate) fn ensure_room_for(&self, clients: u32) -> anyhow::Result<()> {
        // The last of the family is the server itself, the first may be a shell.
        let limit = self.family().last().copied().and_then(open_file_limit).unwrap_or(u64::MAX);
        ensure!(
            u64::from(clients) + 20 <= limit,
            "the server may open {limit} files and {clients} clients connect: start it under a higher `ulimit -n`"
        );
        Ok(())
    }

    /// # Errors
    /// When it has died; with the end of its log.
    pub(crate) fn ensure_alive(&mut self) -> anyhow::Result<()> {
        if let Some((guard, log)) = &mut self.started
            && let Some(status) = guard.ended()?
        {
            return Err(Died { status, last_words: tail(log) }.into());
        }
        Ok(())
    }

    /// Ends it if it was started here; what was wrong with its end.
    pub(crate) fn stop(self, interrupt: &Interrupt) -> anyhow::Result<Option<String>> {
        let Some((guard, log)) = self.started else { return Ok(None) };
        let (status, took) = match guard.stop(STOP_PATIENCE, interrupt) {
            Ok(end) => end,
            Err(error) => {
                interrupt.check()?;
                return Ok(Some(error.to_string()));
            }
        };
        let took = took.as_secs_f64();
        Ok((!status.success())
            .then(|| format!("the server ended {took:.1} s after SIGTERM with {status}\n{}", tail(&log))))
    }
}

/// What a started server is told: its ports, its Redis, and, in tickcast's names, limits that let one machine be a crowd.
fn environment(port: u16, ops_port: u16, redis: SocketAddr, channel: &str) -> BTreeMap<String, String> {
    let own = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    BTreeMap::from([
        own("PORT", &port.to_string()),
        own("WS_PORT", &port.to_string()),
        own("HEALTH_PORT", &ops_port.to_string()),
        own("REDIS_URL", &format!("redis://{redis}")),
        own("CHANNEL", channel),
        own("REDIS_CHANNEL_UPDATES", channel),
        own("LOG_LEVEL", "warn"),
        own("TICKCAST__LIMITS__CONNECTIONS_PER_IP", "100000"),
        own("TICKCAST__LIMITS__CONNECTS_PER_IP_PER_SECOND", "100000"),
        own("TICKCAST__LIMITS__CONNECT_BURST", "100000"),
        own("TICKCAST__DRAIN__WINDOW_S", "1"),
    ])
}

/// Puts values in the place of `{port}`, `{ops_port}`, `{redis_port}`, `{redis_url}` and `{channel}`.
fn fill_in(command: &str, port: u16, ops_port: u16, redis: SocketAddr, channel: &str) -> String {
    let places = [
        ("{port}", port.to_string()),
        ("{ops_port}", ops_port.to_string()),
        ("{redis_port}", redis.port().to_string()),
        ("{redis_url}", format!("redis://{redis}")),
        ("{channel}", channel.to_owned()),
    ];
    places.iter().fold(command.to_owned(), |command, (place, value)| command.replace(place, value))
}

/// A plain command line takes the shell's place, so that the process that is measured and ended is the server itself.
fn without_shell(command: &str) -> String {
    let first = command.split_whitespace().next().unwrap_or_default();
    let plain = !command.contains([';', '&', '|', '\n']) && !first.contains('=') && first != "exec";
    if plain { format!("exec {command}") } else { command.to_owned() }
}

/// A port that is free now, and that no outgoing connection will take: below the range the system gives to those.
pub(crate) fn free_port() -> anyhow::Result<u16> {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let first = range.split_ascii_whitespace().next().and_then(|first| first.parse().ok()).unwrap_or(32_768);
    let port = || fastrand::u16(LOWEST_PORT..first.max(LOWEST_PORT + 1));
    let free = |port: &u16| TcpListener::bind(("127.0.0.1", *port)).is_ok();
    std::iter::repeat_with(port).take(PORT_TRIES).find(free).context("no free port below the outgoing ones")
}

/// The port accepts, and `/health` says 200 or is not known there.
fn is_ready(target: SocketAddr) -> bool {
    match http::get(target, "/health") {
        Ok((status, _)) => status == 200 || status == 404,
        Err(_) => false,
    }
}

fn tail(log: &Path) -> String {
    let read = || -> std::io::Result<String> {
        let mut file = File::open(log)?;
        let start = file.metadata()?.len().saturating_sub(LOG_TAIL_BYTES);
        file.seek(SeekFrom::Start(start))?;
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        Ok(String::from_utf8_lossy(&text).trim_end().to_owned())
    };
    match read() {
        Ok(text) if text.is_empty() => "it wrote nothing".to_owned(),
        Ok(text) => format!("it wrote:\n{text}"),
        Err(error) => format!("its log cannot be read: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_plain_command_line_takes_the_shells_place() {
        assert_eq!(without_shell("tickcast gateway"), "exec tickcast gateway");
        for kept in ["exec node x.js", "A=1 node x.js", "cd x && node y.js", "a; b"] {
            assert_eq!(without_shell(kept), kept);
        }
    }

    #[test]
    fn a_free_port_can_be_listened_on() {
        let port = free_port().unwrap();
        assert!(port >= LOWEST_PORT);
    }

    #[test]
    fn a_command_line_gets_its_values() {
        let redis = "127.0.0.1:3".parse().unwrap();
        let line = fill_in("x --port {port} --redis {redis_url} {channel} {ops_port} {redis_port}", 1, 2, redis, "c");
        assert_eq!(line, "x --port 1 --redis redis://127.0.0.1:3 c 2 3");
    }
}
