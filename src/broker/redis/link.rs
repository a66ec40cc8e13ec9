//! One connection at a time, made by hand.
//!
//! The client library's own reconnecting is off: it waits without jitter at its cap, repeats commands that may have
//! been carried out, and keeps subscriptions only while nothing goes wrong. Here a connection that fails is dropped
//! with everything in it, and its owner dials again. Its unresponsive check is off as well: each command it writes
//! restarts the wait, so a busy connection to a frozen server never counts as unresponsive. Owners watch for answers
//! themselves.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fred::clients::Client;
use fred::error::ErrorKind;
use fred::interfaces::ClientLike;
use fred::prelude::Error;
use fred::socket2::TcpKeepalive;
use fred::types::config::{Config as FredConfig, ConnectionConfig, PerformanceConfig, TcpConfig};
use fred::types::{ConnectHandle, RespVersion};
use tokio::sync::{Notify, broadcast};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::target::Target;

/// How long a connection may take: address, TCP and TLS.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(4);
/// How long its first commands (HELLO, SELECT) may take.
const GREETING_TIMEOUT: Duration = Duration::from_secs(3);
/// Events of other kinds that the library holds before anybody looks: a handful a connection.
const LIBRARY_EVENTS: usize = 16;
/// Commands that wait for the connection to take them; more are refused at once. At 64 KiB each, 64 MiB.
const MAX_QUEUED_COMMANDS: usize = 1024;
/// The longest wait between two attempts within the first minute: who returns from a restart is found within half a
/// second.
const MAX_WAIT_AT_FIRST: Duration = Duration::from_millis(500);
/// The longest wait afterwards.
const MAX_WAIT: Duration = Duration::from_secs(5);
/// How long an outage is young.
const AT_FIRST: Duration = Duration::from_secs(60);

/// Makes connections to one target.
pub(super) struct Dialer {
    target: Target,
    /// The server refused HELLO 3: it is older, or something that only speaks like Redis.
    only_resp2: AtomicBool,
    /// One of the links was made: whoever waits may try at once.
    made: Notify,
}

/// A connection. Dropped, it closes at once and its pending commands are answered with an error.
pub(super) struct Connection {
    pub(super) client: Client,
    task: AbortOnDropHandle<Result<(), Error>>,
}

impl Dialer {
    pub(super) fn new(target: Target) -> Dialer {
        Dialer { target, only_resp2: AtomicBool::new(false), made: Notify::new() }
    }

    /// Connects, as often as it takes; tells `failed` of each failure. `None` when it was told to stop. The library holds
    /// so many messages for the connection's reader.
    pub(super) async fn dial(
        &self,
        queued_messages: usize,
        stop: &CancellationToken,
        mut failed: impl FnMut(&str),
    ) -> Option<Connection> {
        let mut backoff = Backoff::new(Instant::now());
        loop {
            let attempt = tokio::select! {
                attempt = self.try_once(queued_messages) => attempt,
                () = stop.cancelled() => return None,
            };
            match attempt {
                Ok(connection) => {
                    self.made.notify_waiters();
                    return Some(connection);
                }
                Err(error) if refuses_resp3(&error) && !self.only_resp2.swap(true, Ordering::Relaxed) => continue,
                Err(error) => failed(&describe(&error)),
            }
            tokio::select! {
                () = sleep(backoff.next(Instant::now())) => {}
                () = self.made.notified() => {}
                () = stop.cancelled() => return None,
            }
        }
    }

    async fn try_once(&self, queued_messages: usize) -> Result<Connection, Error> {
        let version = if self.only_resp2.load(Ordering::Relaxed) { RespVersion::RESP2 } else { RespVersion::RESP3 };
        let config = FredConfig { version, ..self.target.config.clone() };
        let performance = PerformanceConfig { broadcast_channel_capacity: LIBRARY_EVENTS, ..Default::default() };
        let client = Client::new(config, Some(performance), Some(connection_config()), None);
        // One capacity holds for nine channels, which makes 50 MiB of the one that needs to be large.
        client.inner().notifications.pubsub.store(Arc::new(broadcast::Sender::new(queued_messages)));
        // Joined before it is sent on, unlike `wait_for_connect`.
        let mut connected = client.inner().notifications.connect.load().subscribe();
        let mut task = AbortOnDropHandle::new(client.connect());
        tokio::select! {
            // A failure is told twice, and best by the task's end.
            Ok(Ok(())) = connected.recv() => Ok(Connection { client, task }),
            ended = &mut task => Err(why_ended(ended)),
        }
    }
}

impl Connection {
    /// Waits until the connection has ended, and says why.
    pub(super) async fn ended(&mut self) -> String {
        describe(&why_ended((&mut self.task).await))
    }
}

fn why_ended(ended: <ConnectHandle as Future>::Output) -> Error {
    match ended {
        Ok(Ok(())) => Error::new(ErrorKind::IO, "connection closed"),
        Ok(Err(error)) => error,
        Err(_) => Error::new(ErrorKind::IO, "the connection's task failed"),
    }
}

fn connection_config() -> ConnectionConfig {
    // Keep-alive ends what nobody probes, such as the link of a process that waits for a lease.
    let keepalive = TcpKeepalive::new().with_time(Duration::from_secs(15)).with_interval(Duration::from_secs(5));
    ConnectionConfig {
        connection_timeout: CONNECT_TIMEOUT,
        internal_command_timeout: GREETING_TIMEOUT,
        max_command_attempts: 1,
        max_command_buffer_len: MAX_QUEUED_COMMANDS,
        reconnect_on_auth_error: true,
        tcp: TcpConfig { nodelay: Some(true), keepalive: Some(keepalive), ..TcpConfig::default() },
        ..ConnectionConfig::default()
    }
}

fn refuses_resp3(error: &Error) -> bool {
    let text = error.details().to_ascii_lowercase();
    text.contains("noproto") || (text.contains("unknown command") && text.contains("hello"))
}

/// An error in words for an operator.
pub(super) fn describe(error: &Error) -> String {
    let details = error.details();
    if *error.kind() == ErrorKind::Timeout {
        return "no answer in time".to_owned();
    }
    // The library shows the system's errors as Rust does: Os { code: 111, kind: …, message: "Connection refused" }.
    let quoted = details.split_once("message: \"").or_else(|| details.split_once("error: \""));
    if let Some((told, _)) = quoted.and_then(|(_, rest)| rest.split_once('"')) {
        return told.to_owned();
    }
    let hint = match details.split(' ').next().unwrap_or_default() {
        "WRONGPASS" => " (check user and password in redis.url)",
        "NOAUTH" => " (redis.url needs a password)",
        "NOPERM" => " (the user may not do that; see ACL LIST)",
        _ => "",
    };
    format!("{details}{hint}")
}

/// Exponential, half of it jitter, so that processes that lost the same Redis do not return as one.
struct Backoff {
    began: Instant,
    attempts: u32,
}

impl Backoff {
    fn new(began: Instant) -> Backoff {
        Backoff { began, attempts: 0 }
    }

    fn next(&mut self, now: Instant) -> Duration {
        let cap = if now - self.began < AT_FIRST { MAX_WAIT_AT_FIRST } else { MAX_WAIT };
        let wait = Duration::from_millis(20).saturating_mul(1 << self.attempts.min(16)).min(cap);
        self.attempts = self.attempts.saturating_add(1);
        wait / 2 + wait.mul_f64(fastrand::f64() / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operator_reads_words() {
        let refused =
            Error::new(ErrorKind::IO, r#"Os { code: 111, kind: ConnectionRefused, message: "Connection refused" }"#);
        assert_eq!(describe(&refused), "Connection refused");
        let wrong = Error::new(ErrorKind::Auth, "WRONGPASS invalid username-password pair");
        assert!(describe(&wrong).ends_with("pair (check user and password in redis.url)"));
    }

    #[test]
    fn waits_grow_to_their_cap_with_jitter() {
        let began = Instant::now();
        let mut backoff = Backoff::new(began);
        let first: Vec<Duration> = (0..12).map(|_| backoff.next(began)).collect();
        assert!(first[0] <= Duration::from_millis(20));
        assert!(first[11] > MAX_WAIT_AT_FIRST / 3 && first[11] <= MAX_WAIT_AT_FIRST);
        let late: Vec<Duration> = (0..32).map(|_| backoff.next(began + AT_FIRST)).collect();
        assert!(late.iter().all(|wait| *wait > MAX_WAIT / 3 && *wait <= MAX_WAIT));
        assert!(late.iter().any(|wait| *wait != late[0]), "no jitter");
    }
}
