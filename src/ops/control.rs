//! Asks publishers and gateways to do something, and waits for their answers.
//!
//! The message goes out on the control channel with an `id`; whoever acts on it answers on the replies channel. Used by
//! the ops port and by the command line, so both say and check the same.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};

use crate::broker::{Broker, BrokerError, Channel, Event};
use crate::protocol::control::{self, ControlError};

/// How long answers are waited for. Publishers answer at once; the contract gives an effect one second.
pub const PATIENCE: Duration = Duration::from_secs(2);
/// After the first answer, how long others may take.
const GATHERING: Duration = Duration::from_millis(300);

/// What came of a control message.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// How many processes listen on the control channel.
    pub receivers: u64,
    /// What they answered, in the order it came.
    pub replies: Vec<Value>,
}

/// Why a control message was not sent.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// It is none.
    #[error(transparent)]
    Refused(#[from] ControlError),
    /// The broker could not take it.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// The broker is not there.
    #[error("the broker is not reachable")]
    Away,
}

impl Outcome {
    /// Whether anyone answered, and nobody with a refusal.
    #[must_use]
    pub fn is_ok(&self) -> bool {
        !self.replies.is_empty() && self.replies.iter().all(|reply| reply["ok"] == true)
    }

    /// As JSON.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({"ok": self.is_ok(), "receivers": self.receivers, "replies": self.replies})
    }
}

/// Checks `message`, sends it and gathers the answers.
///
/// # Errors
/// [`AskError`]; nothing was sent then.
pub async fn ask(broker: &Broker, message: &[u8]) -> Result<Outcome, AskError> {
    let checked = control::read(message).map_err(|refused| refused.error)?;
    let mut value: Value = serde_json::from_slice(message).map_err(|_| AskError::Away)?;
    let id = match checked.id {
        Some(id) => json!(id),
        None => json!(format!("ask-{:016x}", fastrand::u64(..))),
    };
    value["id"] = id.clone();
    let mut feed = broker.feeds.subscribe(&[Channel::Replies]);
    let mut deadline = Instant::now() + PATIENCE;
    let mut events = Vec::new();
    let mut listening = false;
    let mut outcome = Outcome { receivers: 0, replies: Vec::new() };
    while timeout_at(deadline, feed.next(&mut events)).await.is_ok() {
        for event in events.drain(..) {
            match event {
                Event::Resumed if !listening => {
                    listening = true;
                    outcome.receivers = broker.publish.send(Channel::Control, value.to_string().as_bytes()).await?;
                    deadline = Instant::now() + PATIENCE;
                }
                Event::Message(Channel::Replies, payload) => {
                    let reply: Option<Value> = serde_json::from_slice(&payload).ok();
                    if let Some(reply) = reply.filter(|reply| reply["id"] == id) {
                        outcome.replies.push(reply);
                        deadline = deadline.min(Instant::now() + GATHERING);
                    }
                }
                Event::Message(..) | Event::Interrupted | Event::Resumed | Event::Lagged(_) => {}
            }
        }
    }
    if listening { Ok(outcome) } else { Err(AskError::Away) }
}
