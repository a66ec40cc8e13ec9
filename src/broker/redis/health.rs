//! How the links to Redis are doing, put together for [`Status`] and for the log.
//!
//! The one place that tells of it: the same trouble is logged when it begins and then every [`LOG_INTERVAL`], however
//! often it is met. Texts come from Redis or from here; none holds a secret.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::broker::{Kind, Status};

/// How often an unchanged trouble is logged.
const LOG_INTERVAL: Duration = Duration::from_secs(30);

/// The parts' reports, and what follows from them.
pub(super) struct Health {
    label: String,
    parts: Mutex<Parts>,
    status: watch::Sender<Status>,
}

struct Parts {
    commands: Link,
    delivery: Link,
    /// Why the last write was refused.
    refused: Option<Arc<str>>,
    canary: Option<Duration>,
    reconnects: u64,
    /// The trouble logged last, and when.
    told: Option<(Arc<str>, Instant)>,
    /// Whether the first connection was logged.
    greeted: bool,
    /// What goes away now goes on purpose.
    stopped: bool,
}

/// One of the two connections.
#[derive(Clone)]
enum Link {
    /// Not needed.
    Idle,
    /// Being made for the first time; no trouble yet.
    Starting,
    Up,
    Down(Arc<str>),
}

impl Health {
    pub(super) fn new(label: String) -> Health {
        let parts = Parts {
            commands: Link::Starting,
            delivery: Link::Idle,
            refused: None,
            canary: None,
            reconnects: 0,
            told: None,
            greeted: false,
            stopped: false,
        };
        let status = watch::Sender::new(parts.status());
        Health { label, parts: Mutex::new(parts), status }
    }

    pub(super) fn status(&self) -> watch::Receiver<Status> {
        self.status.subscribe()
    }

    /// What is wrong, for a caller that cannot be served.
    pub(super) fn problem(&self) -> String {
        self.status.borrow().problem.as_deref().unwrap_or("not connected").to_owned()
    }

    pub(super) fn commands_up(&self) {
        self.change(|parts| parts.commands = Link::Up);
    }

    pub(super) fn commands_down(&self, why: &str) {
        self.change(|parts| parts.commands = Link::Down(why.into()));
    }

    pub(super) fn stopped(&self) {
        self.change(|parts| {
            parts.stopped = true;
            parts.commands = Link::Down("the broker was shut down".into());
        });
    }

    pub(super) fn delivery_idle(&self) {
        self.change(|parts| parts.delivery = Link::Idle);
    }

    pub(super) fn delivery_starts(&self) {
        self.change(|parts| parts.delivery = Link::Starting);
    }

    pub(super) fn delivery_up(&self) {
        self.change(|parts| parts.delivery = Link::Up);
    }

    pub(super) fn delivery_down(&self, why: &str) {
        self.change(|parts| parts.delivery = Link::Down(why.into()));
    }

    /// A link was made that had been there before.
    pub(super) fn reconnected(&self) {
        self.change(|parts| parts.reconnects += 1);
    }

    pub(super) fn canary(&self, took: Duration) {
        self.change(|parts| parts.canary = Some(took));
    }

    pub(super) fn written(&self) {
        self.change(|parts| parts.refused = None);
    }

    pub(super) fn write_refused(&self, why: &str) {
        self.change(|parts| parts.refused = Some(why.into()));
    }

    fn change(&self, change: impl FnOnce(&mut Parts)) {
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut parts);
        let status = parts.status();
        parts.log(&self.label, &status);
        // Sent with the parts locked, so that a newer status is never overtaken by an older one.
        self.status.send_if_modified(|last| std::mem::replace(last, status.clone()) != status);
    }
}

impl Parts {
    fn status(&self) -> Status {
        let links = [&self.commands, &self.delivery];
        let down = links.iter().find_map(|link| match link {
            Link::Down(why) => Some(why),
            Link::Idle | Link::Starting | Link::Up => None,
        });
        Status {
            kind: Kind::Redis,
            connected: links.iter().all(|link| matches!(link, Link::Idle | Link::Up)),
            writable: self.refused.is_none(),
            canary: self.canary,
            reconnects: self.reconnects,
            problem: down.or(self.refused.as_ref()).cloned(),
        }
    }

    fn log(&mut self, label: &str, status: &Status) {
        if self.stopped {
            return;
        }
        let Some(problem) = &status.problem else {
            if status.connected && (self.told.take().is_some() || !self.greeted) {
                self.greeted = true;
                tracing::info!(redis = label, "connected to redis");
            }
            return;
        };
        let now = Instant::now();
        let is_due = |(text, at): &(Arc<str>, Instant)| text != problem || now - *at >= LOG_INTERVAL;
        if self.told.as_ref().is_none_or(is_due) {
            let Status { connected, writable, .. } = status;
            tracing::warn!(redis = label, connected, writable, %problem, "trouble with redis");
            self.told = Some((problem.clone(), now));
        }
    }
}
