//! A plain Redis subscriber beside the publisher: what part of the latency is Redis' own.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::ops::Range;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::JoinHandle;

use anyhow::{Context, anyhow, bail, ensure};

use crate::clock::{Clock, Ns};
use crate::latency::Latencies;
use crate::source::resp::{Reply, put_command, read_reply};
use crate::update::read_update;
use crate::wire::RedisAddress;

use super::redis::connect_redis;

/// A reading thread of its own, ended by [`Probe::finish`].
pub(crate) struct Probe {
    stream: TcpStream,
    window: std::sync::mpsc::SyncSender<Range<Ns>>,
    reader: JoinHandle<anyhow::Result<Latencies>>,
}

impl Probe {
    /// Subscribes `channel` and waits for the confirmation.
    pub(crate) fn start(redis: &RedisAddress, channel: &str, clock: Clock) -> anyhow::Result<Probe> {
        let mut stream = connect_redis(redis)?;
        let mut command = Vec::new();
        put_command(&mut command, &[b"SUBSCRIBE", channel.as_bytes()]);
        stream.write_all(&command)?;
        let mut reading = stream.try_clone()?;
        let (window, windows) = sync_channel(1);
        let (confirmed, confirmation) = sync_channel(1);
        let reader = std::thread::Builder::new().name("redis-probe".to_owned()).spawn(move || {
            let mut subscription = Subscription { buffer: Vec::new(), latencies: Latencies::default(), window: None };
            loop {
                let mut chunk = [0; 64 * 1024];
                let bytes = match reading.read(&mut chunk) {
                    // Redis may have been sending when this end was closed.
                    Ok(0) => return Ok(subscription.latencies),
                    Err(error) if error.kind() == ErrorKind::ConnectionReset => return Ok(subscription.latencies),
                    read => read.context("the Redis subscriber")?,
                };
                subscription.buffer.extend_from_slice(&chunk[..bytes]);
                if subscription.take(clock.now(), &windows)? {
                    let _ = confirmed.try_send(());
                }
            }
        })?;
        if confirmation.recv().is_err() {
            reader.join().map_err(|_| anyhow!("the Redis subscriber panicked"))??;
            bail!("Redis ended the subscription");
        }
        Ok(Probe { stream, window, reader })
    }

    /// Latencies of updates due in `window` count.
    pub(crate) fn watch(&self, window: Range<Ns>) {
        drop(self.window.try_send(window));
    }

    pub(crate) fn finish(self) -> anyhow::Result<Latencies> {
        ensure!(!self.reader.is_finished(), "Redis ended the subscription of the probe");
        self.stream.shutdown(Shutdown::Both).context("closing the Redis subscriber")?;
        self.reader.join().map_err(|_| anyhow!("the Redis subscriber panicked"))?
    }
}

struct Subscription {
    buffer: Vec<u8>,
    latencies: Latencies,
    window: Option<Range<Ns>>,
}

impl Subscription {
    /// Takes all whole messages; whether one of them confirmed the subscription.
    fn take(&mut self, now: Ns, windows: &Receiver<Range<Ns>>) -> anyhow::Result<bool> {
        self.window = windows.try_recv().ok().or(self.window.take());
        let (mut used, mut confirmed) = (0, false);
        while let Some((reply, bytes)) = read_reply(&self.buffer[used..])? {
            used += bytes;
            match reply {
                Reply::Array(parts) => match parts.as_slice() {
                    [Reply::Bulk(b"message"), _, Reply::Bulk(payload)] => {
                        // The last object of an array will do: all have the same due time.
                        let end = payload.strip_suffix(b"]").unwrap_or(payload);
                        let due = last_object(end).and_then(read_update).map(|update| update.due);
                        if let (Some(due), Some(window)) = (due, &self.window)
                            && window.contains(&due)
                        {
                            self.latencies.record(now.saturating_sub(due));
                        }
                    }
                    [Reply::Bulk(b"subscribe"), ..] => confirmed = true,
                    _ => {}
                },
                Reply::Error(text) => bail!("Redis: {}", String::from_utf8_lossy(text)),
                Reply::Simple(_) | Reply::Number(_) | Reply::Bulk(_) | Reply::Nil => {}
            }
        }
        self.buffer.drain(..used);
        Ok(confirmed)
    }
}

fn last_object(payload: &[u8]) -> Option<&[u8]> {
    let start = memchr::memmem::rfind(payload, br#"{"type":"#)?;
    Some(&payload[start..])
}
