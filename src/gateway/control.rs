//! The gateway's part of the control channel: it tells clients what was paused and resumed, and drains when it is named.
//!
//! What concerns publishing is the publisher's to do, to count and to answer; bad messages too. Waiting messages are
//! bounded by the channel they come in ([`MAX_WAITING`]); what does not fit is dropped where it is put in, with a log.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use metrics::counter;
use tokio::sync::{Mutex, mpsc};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::fanout::Fanout;
use crate::broker::{Channel, GatewayId, Publish, keys};
use crate::protocol::control::{self, Control, Scope, State};
use crate::protocol::publication::Notice;
use crate::protocol::reply::{Reply, Stamp, Status, names};

/// Control messages that may wait.
pub(super) const MAX_WAITING: usize = 64;

/// What this task acts on.
pub(super) struct Controlled {
    pub(super) fanout: Arc<Fanout>,
    pub(super) publish: Arc<dyn Publish>,
    pub(super) gateway: GatewayId,
    /// Cancelled to start a drain.
    pub(super) drain: CancellationToken,
}

/// Obeys control messages until `stop`.
pub(super) async fn run(controlled: &Controlled, messages: &Mutex<mpsc::Receiver<Bytes>>, stop: &CancellationToken) {
    let mut messages = messages.lock().await;
    loop {
        let payload = tokio::select! {
            () = stop.cancelled() => return,
            message = messages.recv() => match message {
                Some(payload) => payload,
                None => return,
            },
        };
        match control::read(&payload) {
            Ok(message) => controlled.obey(message).await,
            Err(refused) => debug!(error = %refused.error, "not a control message"),
        }
    }
}

impl Controlled {
    async fn obey(&self, message: control::Message) {
        match &message.control {
            Control::Pause { scope, reason } => self.tell(Status::Paused, scope, reason.as_deref()),
            Control::Resume { scope } => self.tell(Status::Resumed, scope, None),
            Control::Drain { gateway } => {
                let ours = **gateway == *self.gateway.0 || gateway == "*";
                if !ours {
                    return;
                }
                info!("drain asked for on the control channel");
                counter!("tickcast_control_messages_total", "action" => "drain", "outcome" => "ok").increment(1);
                self.drain.cancel();
                if let Some(id) = &message.id {
                    self.answer(id).await;
                }
            }
            Control::Refresh { .. } | Control::SetInterval { .. } | Control::LogLevel { .. } | Control::Status => {}
        }
    }

    async fn answer(&self, id: &control::Id) {
        let answer = serde_json::json!({"id": id, "action": "drain", "ok": true, "gateway": &*self.gateway.0});
        if let Err(error) = self.publish.send(Channel::Replies, answer.to_string().as_bytes()).await {
            warn!(%error, "a control message could not be answered");
        }
    }

    /// Tells clients of a pause or its end. One of everything also stands for newcomers; a narrower one is news only.
    fn tell(&self, status: Status, scope: &Scope, reason: Option<&str>) {
        let (provider, symbols) = match scope {
            Scope::All => return self.fanout.tell(status, reason),
            Scope::Provider(name) => (Some(name.as_str()), vec![]),
            Scope::Symbols(symbols) => (None, names(symbols)),
        };
        let timestamp = Stamp(Timestamp::now());
        let reply = Reply::Status { status, reason, provider, symbols, reconnect_in_ms: None, timestamp };
        let notice = Arc::new(Notice::new("status: publishing in part", &reply.to_json()));
        for shard in &self.fanout.shards {
            shard.inbox.notify(&notice);
        }
    }
}

/// Tells clients whether publishing is paused, as the store remembers it.
pub(super) async fn restore(fanout: &Fanout) {
    match fanout.store.get_many(&[keys::STATE.to_owned()]).await {
        Ok(values) => {
            let record = values.into_iter().next().flatten();
            match record.map(|json| State::from_json(&json)) {
                Some(Ok(State { all: Some(pause), .. })) => fanout.tell(Status::Paused, pause.reason.as_deref()),
                Some(Ok(_)) | None => fanout.end_pause(),
                Some(Err(error)) => warn!(%error, "the record of what is paused cannot be read"),
            }
        }
        Err(error) => debug!(%error, "the record of what is paused could not be read"),
    }
}
