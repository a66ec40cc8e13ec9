//! The connection that carries commands.
//!
//! Every call ends within [`COMMAND_TIMEOUT`]. A call that got no answer, while no other call got one since it was
//! made, marks the connection as hung: it is dropped, its pending calls end, and another is dialled. While there is
//! none, calls fail at once. Nothing is repeated: a command whose answer was lost may have been carried out.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use fred::clients::Client;
use fred::error::ErrorKind;
use fred::interfaces::{FredResult, LuaInterface};
use fred::prelude::Error;
use fred::types::{Key, Value};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::health::Health;
use super::link::{Connection, Dialer, describe};
use super::script::Script;
use crate::broker::{BrokerError, Result};

/// How long a command may take. Below the 5 s in which a frozen Redis has to be noticed, with the second between probes.
pub(super) const COMMAND_TIMEOUT: Duration = Duration::from_secs(3);
/// How long a connection to a server that takes no writes is kept. After a fail-over it may lead to what is a replica
/// now, while the name leads elsewhere. Longer than a fail-over takes, so that a plain read-only Redis costs little.
const READ_ONLY_PATIENCE: Duration = Duration::from_secs(15);

/// Carries commands.
pub(super) struct Commander {
    dialer: Arc<Dialer>,
    health: Arc<Health>,
    client: watch::Sender<Option<Client>>,
    /// When the last answer came.
    answered: Mutex<Option<Instant>>,
    /// When the command was sent that shows the connection to hang.
    hung: watch::Sender<Option<Instant>>,
    /// Since when the server says that it is read-only.
    read_only: watch::Sender<Option<Instant>>,
}

impl Commander {
    pub(super) fn new(dialer: Arc<Dialer>, health: Arc<Health>) -> Commander {
        Commander {
            dialer,
            health,
            client: watch::Sender::new(None),
            answered: Mutex::new(None),
            hung: watch::Sender::new(None),
            read_only: watch::Sender::new(None),
        }
    }

    /// Keeps a connection until told to stop.
    pub(super) async fn run(&self, stop: &CancellationToken) {
        let mut made_before = false;
        let mut replacement = None;
        loop {
            let failed = |why: &str| self.health.commands_down(why);
            let dialled = match replacement.take() {
                Some(connection) => Some(connection),
                None => self.dialer.dial(1, stop, failed).await,
            };
            let Some(mut connection) = dialled else { break };
            let since = Instant::now();
            if made_before {
                self.health.reconnected();
            }
            made_before = true;
            self.read_only.send_replace(None);
            self.client.send_replace(Some(connection.client.clone()));
            self.health.commands_up();
            let why = tokio::select! {
                why = connection.ended() => why,
                () = self.hangs(since) => "no answer in time".to_owned(),
                // The old one serves until the new one is there.
                another = self.elsewhere(stop) => {
                    replacement = another;
                    continue;
                }
                () = stop.cancelled() => break,
            };
            self.client.send_replace(None);
            self.health.commands_down(&why);
        }
        self.client.send_replace(None);
        self.health.stopped();
    }

    /// The connection's coming and going.
    pub(super) fn connections(&self) -> watch::Receiver<Option<Client>> {
        self.client.subscribe()
    }

    /// Runs `commands` on the connection.
    pub(super) async fn call<T, F>(&self, commands: impl FnOnce(Client) -> F + Send) -> Result<T>
    where
        F: Future<Output = FredResult<T>> + Send,
    {
        let Some(client) = self.client.borrow().clone() else {
            return Err(BrokerError::Unavailable(self.health.problem()));
        };
        let asked = Instant::now();
        let answer = timeout(COMMAND_TIMEOUT, commands(client)).await;
        match answer {
            Ok(Ok(answer)) => {
                self.note_answer();
                Ok(answer)
            }
            Ok(Err(error)) => Err(self.refusal(&error)),
            Err(_) => {
                let last = *self.answered.lock().unwrap_or_else(PoisonError::into_inner);
                if last.is_none_or(|last| last < asked) {
                    self.hung.send_replace(Some(asked));
                }
                Err(BrokerError::Unavailable(format!("no answer within {COMMAND_TIMEOUT:?}")))
            }
        }
    }

    /// Runs a script, by its digest when Redis knows it.
    pub(super) async fn eval(&self, script: &'static Script, keys: Vec<Key>, args: Vec<Value>) -> Result<Value> {
        self.call(|client| async move {
            match client.evalsha(script.digest.as_str(), keys.clone(), args.clone()).await {
                Err(error) if error.details().starts_with("NOSCRIPT") => client.eval(script.text, keys, args).await,
                answer => answer,
            }
        })
        .await
    }

    /// Notes that Redis refused to write, whoever learned it.
    pub(super) fn note_refused_write(&self, why: &str) {
        self.health.write_refused(why);
        if why.contains("READONLY") {
            self.read_only.send_if_modified(|since| {
                let is_new = since.is_none();
                since.get_or_insert_with(Instant::now);
                is_new
            });
        }
    }

    /// Notes that Redis wrote.
    pub(super) fn note_write(&self) {
        self.health.written();
        self.read_only.send_if_modified(|since| since.take().is_some());
    }

    fn note_answer(&self) {
        *self.answered.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    fn refusal(&self, error: &Error) -> BrokerError {
        let text = describe(error);
        if !is_answer(error) {
            return BrokerError::Unavailable(text);
        }
        self.note_answer();
        if is_refused_write(&text) {
            self.note_refused_write(&text);
        }
        if is_passing(&text) { BrokerError::Unavailable(text) } else { BrokerError::Refused(text) }
    }

    async fn hangs(&self, since: Instant) {
        let mut hung = self.hung.subscribe();
        let is_this_one = |asked: &Option<Instant>| asked.is_some_and(|asked| asked >= since);
        if hung.wait_for(is_this_one).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Another connection, after the server was read-only for too long.
    async fn elsewhere(&self, stop: &CancellationToken) -> Option<Connection> {
        self.stays_read_only().await;
        self.dialer.dial(1, stop, |_| {}).await
    }

    async fn stays_read_only(&self) {
        let mut read_only = self.read_only.subscribe();
        loop {
            let since = *read_only.borrow_and_update();
            let patience = async {
                match since {
                    Some(since) => sleep_until(since + READ_ONLY_PATIENCE).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = patience => return,
                changed = read_only.changed() => if changed.is_err() { std::future::pending().await },
            }
        }
    }
}

/// Whether Redis itself said it: its errors begin with a word in capitals.
fn is_answer(error: &Error) -> bool {
    let is_local = matches!(
        error.kind(),
        ErrorKind::IO
            | ErrorKind::Timeout
            | ErrorKind::Canceled
            | ErrorKind::Routing
            | ErrorKind::Backpressure
            | ErrorKind::Tls
            | ErrorKind::Sentinel
    );
    let code = error.details().split(' ').next().unwrap_or_default();
    !is_local && code.len() > 1 && code.bytes().all(|byte| byte.is_ascii_uppercase())
}

/// Refused for now and for all: another call may do better soon.
fn is_passing(text: &str) -> bool {
    ["LOADING", "BUSY", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "MOVED", "ASK", "UNBLOCKED"]
        .iter()
        .any(|code| text.starts_with(code))
}

/// Whether it is writing that Redis refuses. From within a script the code stands in the middle of the text.
pub(super) fn is_refused_write(text: &str) -> bool {
    ["OOM command", "READONLY", "MISCONF", "NOREPLICAS"].iter().any(|code| text.contains(code))
}
