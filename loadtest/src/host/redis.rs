//! The Redis of a run: a private one, or one that is there already.

use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

use crate::cli::values::Cores;
use crate::proc::family;
use crate::source::redis::{ask_redis, connect_redis};
use crate::wire::RedisAddress;

use super::guard::Guard;
use super::interrupt::{Interrupt, LOOK_EVERY};
use super::{launch, server};

const PATIENCE: Duration = Duration::from_secs(10);

/// A Redis to publish through.
#[derive(Debug)]
pub(crate) struct Redis {
    pub(crate) address: RedisAddress,
    /// Its process, when that is on this machine.
    pub(crate) pid: Option<u32>,
    pub(crate) version: String,
    started: Option<Guard>,
}

impl Redis {
    /// Starts `redis-server` on a free port, with nothing on disk and its own defaults otherwise.
    pub(crate) fn start(directory: &Path, pin: Option<&Cores>, interrupt: &Interrupt) -> anyhow::Result<Redis> {
        let port = server::free_port()?;
        let mut command = launch::command(pin)?;
        command.args(["exec", "--", "redis-server", "--port", &port.to_string(), "--bind", "127.0.0.1"]);
        command.args(["--save", "", "--appendonly", "no", "--dir"]).arg(directory);
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let mut guard = Guard::start("redis-server", &mut command)?;
        let socket = SocketAddr::from(([127, 0, 0, 1], port));
        let began = Instant::now();
        while TcpStream::connect(socket).is_err() {
            interrupt.check()?;
            if let Some(status) = guard.wait(LOOK_EVERY)? {
                bail!("redis-server ended at once ({status}); is it installed? --redis URL uses one that runs");
            }
            ensure!(began.elapsed() < PATIENCE, "redis-server does not listen after {} s", PATIENCE.as_secs());
        }
        let address = RedisAddress { socket, password: None };
        Ok(Redis { pid: Some(guard.pid()), version: version(&address)?, address, started: Some(guard) })
    }

    /// One that is there already.
    pub(crate) fn at(address: RedisAddress) -> anyhow::Result<Redis> {
        let mut stream = connect_redis(&address)?;
        let info = ask_redis(&mut stream, &[&b"INFO"[..], b"server"])?;
        // Its number is a process of this machine only when that process is a Redis or one of its kin.
        let kin = |pid: &u32| {
            let name = family::name(*pid).unwrap_or_default();
            address.socket.ip().is_loopback()
                && ["redis", "valkey", "keydb", "dragonfly"].iter().any(|k| name.contains(k))
        };
        let pid = info_field(&info, "process_id").and_then(|pid| pid.parse().ok()).filter(kin);
        Ok(Redis { pid, version: version(&address)?, address, started: None })
    }

    /// Whether this run started it.
    pub(crate) fn is_private(&self) -> bool {
        self.started.is_some()
    }

    /// How many connections subscribe `channel` or a pattern.
    pub(crate) fn subscribers(&self, channel: &str) -> anyhow::Result<u64> {
        let mut stream = connect_redis(&self.address)?;
        let exact = ask_redis(&mut stream, &[&b"PUBSUB"[..], b"NUMSUB", channel.as_bytes()])?;
        let patterns = ask_redis(&mut stream, &[&b"PUBSUB"[..], b"NUMPAT"])?;
        let number = |text: &str| text.rsplit(' ').next().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
        Ok(number(&exact) + number(&patterns))
    }
}

/// Reads `redis://[:password@]host[:port]` or `host:port`.
pub(crate) fn parse_url(url: &str) -> anyhow::Result<RedisAddress> {
    let rest = url.strip_prefix("redis://").unwrap_or(url);
    ensure!(!rest.contains("://"), "{url}: the load test publishes to a plain redis:// address only");
    let rest = rest.split('/').next().unwrap_or(rest);
    let (password, host) = match rest.rsplit_once('@') {
        Some((user, host)) => (user.rsplit_once(':').map(|(_, password)| password.to_owned()), host),
        None => (None, rest),
    };
    let host = if host.contains(':') { host.to_owned() } else { format!("{host}:6379") };
    let mut addresses = host.to_socket_addrs().with_context(|| format!("{url}: no such host"))?;
    let socket = addresses.next().with_context(|| format!("{url}: no such host"))?;
    Ok(RedisAddress { socket, password })
}

fn version(address: &RedisAddress) -> anyhow::Result<String> {
    let info = ask_redis(&mut connect_redis(address)?, &[&b"INFO"[..], b"server"])?;
    Ok(info_field(&info, "redis_version").unwrap_or("unknown").to_owned())
}

fn info_field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redis_addresses_are_read_in_their_usual_spellings() {
        let read = |url: &str| parse_url(url).map(|a| (a.socket.to_string(), a.password));
        assert_eq!(read("redis://127.0.0.1:6400/0").unwrap(), ("127.0.0.1:6400".to_owned(), None));
        assert_eq!(read("127.0.0.1").unwrap(), ("127.0.0.1:6379".to_owned(), None));
        let with_password = ("127.0.0.1:1".to_owned(), Some("a@b".to_owned()));
        assert_eq!(read("redis://user:a@b@127.0.0.1:1").unwrap(), with_password);
        assert!(read("rediss://127.0.0.1").is_err());
    }
}
