//! Obeys operators: pause, resume, refresh, set_interval, status.
//!
//! Every publisher hears every message and keeps what is paused, so that whoever takes over goes on with it; only the
//! leader refreshes. A pause works at once and is then written to `publisher:state`, again and again until that
//! succeeds; it is read at the start, before anything is polled, and after every interruption of the feed. A record that
//! is gone was lost (a resume leaves one behind), and is written anew.
//!
//! Messages that carry an `id` are answered. Every message is counted; bad ones are logged once in [`LOG_EVERY`].
//! Commands for the cycle wait in a channel of [`MAX_COMMANDS`]; when it is full, the message is refused.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::meters::{ControlMeters, Obeyed};
use super::shared::Shared;
use super::stats::Handle;
use crate::broker::{Channel, Event, Feed, keys};
use crate::market::Symbol;
use crate::protocol::control::{self, Code, Control, ControlError, Id, Message, Reply, ReplyError, Scope, State};
use crate::provider::Name;
use crate::quota::backoff::Backoff;

/// Commands that may wait for the cycle.
pub(super) const MAX_COMMANDS: usize = 64;
/// At most one log line about bad messages in this span; the others are counted.
const LOG_EVERY: Duration = Duration::from_secs(5);
/// How soon a state that could not be read or written is tried again, at most.
const RETRY: Backoff = Backoff::RECONNECT;

/// What operators want of the cycle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Command {
    /// Poll these now, or everything when there are none.
    Refresh(Vec<Symbol>),
    /// Poll this often: one lane, or all.
    SetInterval(Option<usize>, Duration),
}

/// The operators' ear.
pub(super) struct Ear {
    shared: Arc<Shared>,
    commands: mpsc::Sender<Command>,
    meters: ControlMeters,
    /// What is to be done to the record, and when it is tried again.
    record: Record,
    failed: u32,
    retry_at: Option<Instant>,
    logged_at: Option<Instant>,
    not_logged: u64,
    rng: fastrand::Rng,
}

/// How what we know stands to what is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Record {
    /// As we know it.
    Same,
    /// It may be newer than what we know.
    ToRead,
    /// It is older than what we know.
    ToWrite,
}

impl Ear {
    pub(super) fn new(shared: Arc<Shared>, commands: mpsc::Sender<Command>) -> Ear {
        Ear {
            shared,
            commands,
            meters: ControlMeters::new(),
            record: Record::ToRead,
            failed: 0,
            retry_at: None,
            logged_at: None,
            not_logged: 0,
            rng: fastrand::Rng::new(),
        }
    }

    /// Listens until `stop`.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut feed: Box<dyn Feed> = self.shared.broker.feeds.subscribe(&[Channel::Control]);
        let mut events = Vec::new();
        self.catch_up().await;
        loop {
            let retry_at = self.retry_at;
            tokio::select! {
                () = stop.cancelled() => return,
                () = feed.next(&mut events) => {}
                () = sleep_until(retry_at.unwrap_or_else(Instant::now)), if retry_at.is_some() => self.catch_up().await,
            }
            for event in events.drain(..) {
                match event {
                    Event::Message(Channel::Control, payload) => self.hear(&payload).await,
                    Event::Resumed | Event::Lagged(_) => {
                        if self.record == Record::Same {
                            self.record = Record::ToRead;
                        }
                        self.catch_up().await;
                    }
                    Event::Message(_, _) | Event::Interrupted => {}
                }
            }
        }
    }

    /// Reads or writes the record, as is due.
    async fn catch_up(&mut self) {
        let done = match self.record {
            Record::Same => Ok(()),
            Record::ToRead => self.read().await,
            Record::ToWrite => self.write().await,
        };
        match done {
            Ok(()) => (self.failed, self.retry_at) = (0, None),
            Err(error) => {
                if self.failed == 0 {
                    warn!(%error, "what is paused could not be read or written; trying again");
                }
                self.failed = self.failed.saturating_add(1);
                let failed = NonZeroU32::new(self.failed).unwrap_or(NonZeroU32::MIN);
                let wait = RETRY.wait(failed, &mut self.rng).unwrap_or(RETRY.cap);
                self.retry_at = Some(Instant::now() + wait);
            }
        }
    }

    async fn read(&mut self) -> Result<(), crate::broker::BrokerError> {
        let values = self.shared.broker.store.get_many(&[keys::STATE.to_owned()]).await?;
        self.record = Record::Same;
        match values.into_iter().next().flatten().map(|json| State::from_json(&json)) {
            Some(Ok(state)) => {
                if state.is_all_paused() && self.shared.paused.borrow().is_none() {
                    let reason = state.all.as_ref().and_then(|pause| pause.reason.clone()).unwrap_or_default();
                    info!(reason, "paused since before this start");
                }
                self.set_state(state);
                Ok(())
            }
            Some(Err(error)) => {
                error!(%error, "publisher:state cannot be read; keeping what is known and writing it anew");
                self.restore().await
            }
            None => self.restore().await,
        }
    }

    /// The record is gone: writes what we know, if that is anything.
    async fn restore(&mut self) -> Result<(), crate::broker::BrokerError> {
        let known = self.shared.paused.borrow().clone().unwrap_or_default();
        let anything = known != State::default();
        self.set_state(known);
        if anything {
            self.record = Record::ToWrite;
            return self.write().await;
        }
        Ok(())
    }

    async fn write(&mut self) -> Result<(), crate::broker::BrokerError> {
        let json = Bytes::from(self.shared.paused.borrow().clone().unwrap_or_default().to_json());
        self.shared.broker.store.set(keys::STATE, json, None).await?;
        self.record = Record::Same;
        Ok(())
    }

    fn set_state(&self, state: State) {
        self.shared.meters.paused.set(if state.is_all_paused() { 1.0 } else { 0.0 });
        self.shared.paused.send_if_modified(|known| {
            let changed = known.as_ref() != Some(&state);
            *known = Some(state);
            changed
        });
    }

    async fn hear(&mut self, payload: &[u8]) {
        match control::read(payload) {
            Ok(Message { id, control }) => {
                let action = control.action();
                let obeyed = self.obey(control).await;
                let outcome = match &obeyed {
                    Ok(true) => Obeyed::Ok,
                    Ok(false) => Obeyed::Ignored,
                    Err(_) => Obeyed::Refused,
                };
                self.meters.count(Some(action), outcome);
                if let Err(error) = &obeyed {
                    self.log_refused(error);
                }
                if let Some(id) = id.filter(|_| outcome != Obeyed::Ignored) {
                    self.answer(id, Some(action.as_str()), obeyed.as_ref().err()).await;
                }
            }
            Err(refused) => {
                self.log_refused(&refused.error);
                self.meters.count(refused.action, Obeyed::Refused);
                if let Some(id) = refused.id {
                    self.answer(id, refused.action.map(control::Action::as_str), Some(&refused.error)).await;
                }
            }
        }
    }

    /// True when it was done, false when it is for others.
    async fn obey(&mut self, control: Control) -> Result<bool, ControlError> {
        match control {
            Control::Pause { scope, reason } => {
                let scope = known(scope)?;
                let mut state = self.state();
                state.pause(&scope, reason.as_deref(), Timestamp::now())?;
                info!(?scope, reason, "paused");
                self.change(state).await;
            }
            Control::Resume { scope } => {
                let scope = known(scope)?;
                let mut state = self.state();
                state.resume(&scope);
                info!(?scope, "resumed");
                self.change(state).await;
            }
            Control::Refresh { .. } if !self.shared.role().is_leading() => return Ok(false),
            Control::Refresh { symbols } => self.refresh(symbols)?,
            Control::SetInterval { provider, interval } => self.set_interval(provider.as_deref(), interval)?,
            Control::Status => {}
            Control::Drain { .. } | Control::LogLevel { .. } => return Ok(false),
        }
        Ok(true)
    }

    fn state(&self) -> State {
        self.shared.paused.borrow().clone().unwrap_or_default()
    }

    async fn change(&mut self, state: State) {
        self.set_state(state);
        self.record = Record::ToWrite;
        self.catch_up().await;
    }

    fn refresh(&self, symbols: Vec<Symbol>) -> Result<(), ControlError> {
        let state = self.state();
        if state.is_all_paused() {
            return Err(ControlError::new(Code::Paused, "everything is paused; resume first"));
        }
        if let Some(symbol) = symbols.iter().find(|symbol| state.symbols.contains_key(*symbol)) {
            return Err(ControlError::new(Code::Paused, format!("{symbol} is paused; resume it first")));
        }
        self.command(Command::Refresh(symbols))
    }

    fn set_interval(&self, provider: Option<&str>, interval: Duration) -> Result<(), ControlError> {
        let lane = match provider {
            None => None,
            Some(text) => {
                let name = provider_name(text)?;
                let lane = self.shared.lanes.iter().position(|lane| lane.provider.name() == name);
                Some(lane.ok_or_else(|| {
                    let ours: Vec<&str> = self.shared.lanes.iter().map(|lane| lane.provider.name().as_str()).collect();
                    let message = format!("{name} is not asked for quotes here; {} is", ours.join(", "));
                    ControlError::new(Code::UnknownProvider, message)
                })?)
            }
        };
        info!(provider, interval_s = interval.as_secs_f64(), "poll interval changed until the next start");
        self.command(Command::SetInterval(lane, interval))
    }

    fn command(&self, command: Command) -> Result<(), ControlError> {
        let busy = |_| ControlError::new(Code::Unavailable, "too many commands wait already; try again in a second");
        self.commands.try_send(command).map_err(busy)
    }

    async fn answer(&self, id: Id, action: Option<&str>, error: Option<&ControlError>) {
        let state = self.state();
        let mut shown = json!({
            "state": if state.is_all_paused() { "paused" } else { "running" },
            "leader": self.shared.role().is_leading(),
            "paused": state,
            "saved": self.record == Record::Same,
        });
        if action == Some(control::Action::Status.as_str()) {
            shown["providers"] = json!(Handle(Arc::clone(&self.shared)).stats().providers);
        }
        let reply = Reply {
            id,
            action: action.map(Into::into),
            ok: error.is_none(),
            error: error.map(ReplyError::from),
            publisher: self.shared.name.clone(),
            state: shown,
        };
        let json = serde_json::to_vec(&reply).expect("strings, flags and numbers always serialise");
        if let Err(error) = self.shared.broker.publish.send(Channel::Replies, &json).await {
            warn!(%error, "a control message could not be answered");
        }
    }

    fn log_refused(&mut self, error: &ControlError) {
        let now = Instant::now();
        if self.logged_at.is_some_and(|at| now - at < LOG_EVERY) {
            self.not_logged += 1;
            return;
        }
        warn!(code = error.code.as_str(), not_logged = self.not_logged, "control message refused: {}", error.message);
        (self.logged_at, self.not_logged) = (Some(now), 0);
    }
}

/// The scope with its provider's own name.
fn known(scope: Scope) -> Result<Scope, ControlError> {
    Ok(match scope {
        Scope::Provider(text) => Scope::Provider(provider_name(&text)?.as_str().into()),
        Scope::All | Scope::Symbols(_) => scope,
    })
}

fn provider_name(text: &str) -> Result<Name, ControlError> {
    text.parse().map_err(|error| {
        let names = Name::ALL.map(Name::as_str).join(", ");
        ControlError::new(Code::UnknownProvider, format!("{error}; there are {names}"))
    })
}
