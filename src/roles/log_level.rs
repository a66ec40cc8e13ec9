//! Obeys `log_level` control messages: what this process logs, until its next start.
//!
//! Every process that listens does it for itself, and answers a message that carries an `id`. It keeps nothing.

use serde_json::json;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::broker::{Broker, Channel, Event};
use crate::config::log;
use crate::logging::Levels;
use crate::protocol::control::{self, Code, Control, ControlError, Id, Message, ReplyError};

/// Listens until `stop`. `process` is who answers.
pub(super) async fn obey(process: String, broker: Broker, levels: Levels, stop: CancellationToken) {
    let mut feed = broker.feeds.subscribe(&[Channel::Control]);
    let mut events = Vec::new();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = feed.next(&mut events) => {}
        }
        for event in events.drain(..) {
            let Event::Message(_, payload) = event else { continue };
            let Ok(Message { id, control: Control::LogLevel { level } }) = control::read(&payload) else { continue };
            let done = set(&levels, &level);
            let outcome = if done.is_ok() { "ok" } else { "refused" };
            metrics::counter!("tickcast_control_messages_total", "action" => "log_level", "outcome" => outcome)
                .increment(1);
            if let Some(id) = id {
                answer(&broker, &process, &id, done.err()).await;
            }
        }
    }
}

fn set(levels: &Levels, text: &str) -> Result<(), ControlError> {
    let refused = |code, error: String| {
        warn!(level = text, error, "the log level was not changed");
        Err(ControlError::new(code, format!("log level {error}")))
    };
    let level = match text.parse::<log::Level>() {
        Ok(level) => level,
        Err(error) => return refused(Code::InvalidRequest, error),
    };
    if let Err(error) = levels.set(&level) {
        return refused(Code::Unavailable, error.to_string());
    }
    info!(level = text, "log level changed by a control message");
    Ok(())
}

async fn answer(broker: &Broker, process: &str, id: &Id, refused: Option<ControlError>) {
    let mut answer = json!({"id": id, "action": "log_level", "ok": refused.is_none(), "process": process});
    if let Some(error) = &refused {
        answer["error"] = json!(ReplyError::from(error));
    }
    if let Err(error) = broker.publish.send(Channel::Replies, answer.to_string().as_bytes()).await {
        warn!(%error, "a control message could not be answered");
    }
}
