//! The way out: numbers the quotes that wait and publishes them, while this publisher leads.
//!
//! One publish is under way at a time, so numbers leave in order. What could not be sent goes back to the buffer and is
//! sent first, once the broker confirmed that we still lead; a refusal of the lease's epoch empties the buffer, since
//! somebody else polls by then. It waits for nobody but the broker; who fills the buffer never waits for it.
//!
//! `cache:indices` follows each publish that holds an index: one more command, and none without indices.

use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::field::{Empty, display};
use tracing::{Instrument as _, debug, info_span, warn};

use super::leader::Ask;
use super::seq::Sequence;
use super::shared::{Role, Shared};
use crate::broker::{BrokerError, Epoch, Outgoing, keys};
use crate::cache;
use crate::market::{Quote, Symbol};
use crate::quota::backoff::Backoff;

/// Updates in one publish: about 3 MB, far below what makes Redis cut a subscriber off (8 MB for a minute, 32 MB at once).
const MAX_UPDATES: NonZeroUsize = NonZeroUsize::new(10_000).expect("10000 is not 0");
/// For what still waits when the publisher stops.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// The publishing part.
pub(super) struct Outlet {
    shared: Arc<Shared>,
    cache: cache::Config,
    asks: mpsc::Sender<Ask>,
    sequence: Sequence,
    indices: Indices,
    /// After a failure: when to try again, and the renewal that has to be passed by then.
    failed: u32,
    held: Option<(Instant, u64)>,
    asked_for_epoch: Epoch,
    rng: fastrand::Rng,
}

/// The newest update of each configured index.
struct Indices(Vec<(Symbol, Option<Bytes>)>);

/// Whether to go on sending.
enum Next {
    Send,
    Wait,
}

impl Outlet {
    pub(super) fn new(
        shared: Arc<Shared>,
        cache: cache::Config,
        indices: &[Symbol],
        asks: mpsc::Sender<Ask>,
    ) -> Outlet {
        Outlet {
            shared,
            cache,
            asks,
            sequence: Sequence::default(),
            indices: Indices(indices.iter().map(|symbol| (*symbol, None)).collect()),
            failed: 0,
            held: None,
            asked_for_epoch: Epoch(0),
            rng: fastrand::Rng::new(),
        }
    }

    /// Leaves only so many numbers of `epoch`.
    #[cfg(test)]
    pub(super) fn use_up(&mut self, epoch: Epoch, left: usize) {
        self.sequence.enter(epoch);
        self.sequence.take((1 << 24) - left).expect("a new epoch has all of them");
    }

    /// Publishes what waits until `stop`; then, for a moment, what still waits.
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut role = self.shared.role.subscribe();
        let shared = Arc::clone(&self.shared);
        loop {
            let retry = self.held.map(|(at, _)| at);
            tokio::select! {
                () = stop.cancelled() => break,
                () = shared.filled.notified() => {}
                // The sender is ours: it lives as long as we do.
                _ = role.changed() => {}
                () = sleep_until(retry.unwrap_or_else(Instant::now)), if retry.is_some_and(|at| at > Instant::now()) => {}
            }
            while let Next::Send = self.send().await {}
        }
        self.held = None;
        let flushed = timeout(FLUSH_TIMEOUT, async { while let Next::Send = self.send().await {} }).await;
        let left = self.shared.buffered();
        if flushed.is_err() || left > 0 {
            warn!(quotes = left, "stopped with quotes that were not published");
        }
    }

    /// Publishes one batch, if there is one and it may go.
    async fn send(&mut self) -> Next {
        let Role::Leading { epoch, renewal, .. } = self.shared.role() else {
            let dropped = self.shared.with_buffer(|buffer| {
                let dropped = buffer.len();
                buffer.clear();
                dropped
            });
            self.shared.meters.not_leading.increment(dropped as u64);
            self.held = None;
            return Next::Wait;
        };
        if let Some((at, confirmed)) = self.held
            && (renewal <= confirmed || at > Instant::now())
        {
            return Next::Wait;
        }
        self.sequence.enter(epoch);
        let batch = self.unpaused(self.shared.with_buffer(|buffer| buffer.take(MAX_UPDATES)));
        if batch.is_empty() {
            return if self.shared.buffered() > 0 { Next::Send } else { Next::Wait };
        }
        let first = self.sequence.take(batch.len());
        let is_low = first.is_none() || self.sequence.is_low();
        if is_low && self.asked_for_epoch < epoch && self.ask(Ask::NewEpoch(epoch)) {
            self.asked_for_epoch = epoch;
        }
        let Some(first) = first else {
            self.shared.with_buffer(|buffer| buffer.untake(batch));
            return Next::Wait;
        };
        self.publish(batch, first, epoch, renewal).await
    }

    async fn publish(&mut self, batch: Vec<Quote>, first: u64, epoch: Epoch, renewal: u64) -> Next {
        let now = Timestamp::now();
        let outgoing = |(quote, seq): (&Quote, u64)| Outgoing {
            symbol: quote.symbol,
            json: quote.to_update_json(seq, now).into(),
            ttl: self.cache.quote_ttl(quote.symbol),
        };
        let updates: Vec<Outgoing> = batch.iter().zip(first..).map(outgoing).collect();
        let trace = info_span!(
            target: "traces", parent: None, "publish", otel.kind = "producer", updates = updates.len(),
            otel.status_code = Empty, otel.status_description = Empty,
        );
        let outcome = self.shared.broker.publish.publish(&updates, epoch).instrument(trace.clone()).await;
        if let Err(error) = &outcome {
            trace.record("otel.status_code", "ERROR").record("otel.status_description", display(error));
        }
        drop(trace);
        self.shared.meters.publish(&outcome);
        match outcome {
            Ok(_) => {
                (self.failed, self.held) = (0, None);
                self.shared.note_published(updates.len());
                self.store_indices(&updates).await;
                Next::Send
            }
            Err(BrokerError::Fenced { current }) => {
                self.shared.meters.not_leading.increment(batch.len() as u64);
                self.shared.with_buffer(super::buffer::Buffer::clear);
                // Nothing more with this epoch, until the leader has looked.
                self.held = Some((Instant::now(), renewal));
                self.ask(Ask::StepDown(Epoch(current)));
                Next::Wait
            }
            Err(error @ (BrokerError::Unavailable(_) | BrokerError::Refused(_))) => {
                if self.failed == 0 {
                    warn!(%error, "publishing failed; keeping the newest quote of each symbol");
                }
                self.failed = self.failed.saturating_add(1);
                self.shared.with_buffer(|buffer| buffer.put_back(batch));
                self.hold(renewal);
                Next::Wait
            }
        }
    }

    /// Waits for the backoff, and for the broker to confirm the lease.
    fn hold(&mut self, renewal: u64) {
        let failed = NonZeroU32::new(self.failed).unwrap_or(NonZeroU32::MIN);
        let connected = self.shared.broker.status.borrow().connected;
        // A broker that is gone is waited for by the lease; backoff is for one that is there and refuses.
        let wait = if connected { Backoff::RECONNECT.wait(failed, &mut self.rng) } else { None };
        self.held = Some((Instant::now() + wait.unwrap_or_default(), renewal));
        self.ask(Ask::Confirm);
    }

    /// False when too many questions wait; the next failure asks again.
    fn ask(&self, ask: Ask) -> bool {
        self.asks.try_send(ask).is_ok()
    }

    /// What was paused while it waited is not published.
    fn unpaused(&self, mut batch: Vec<Quote>) -> Vec<Quote> {
        let paused = self.shared.paused.borrow();
        if let Some(state) = &*paused {
            let before = batch.len();
            batch.retain(|quote| !state.covers(quote.source, quote.symbol));
            self.shared.meters.paused_quotes.increment((before - batch.len()) as u64);
        }
        batch
    }

    async fn store_indices(&mut self, updates: &[Outgoing]) {
        let Some(array) = self.indices.take_in(updates) else { return };
        if let Err(error) = self.shared.broker.store.set(keys::INDICES, array, Some(self.cache.ttl_latest)).await {
            debug!(%error, "the indices' quotes could not be stored");
        }
    }
}

impl Indices {
    /// The array to be stored, when one of its updates changed.
    fn take_in(&mut self, updates: &[Outgoing]) -> Option<Bytes> {
        if self.0.is_empty() {
            return None;
        }
        let mut changed = false;
        for update in updates {
            if let Some((_, json)) = self.0.iter_mut().find(|(symbol, _)| *symbol == update.symbol) {
                *json = Some(update.json.clone());
                changed = true;
            }
        }
        if !changed {
            return None;
        }
        let known: Vec<&[u8]> = self.0.iter().filter_map(|(_, json)| json.as_deref()).collect();
        let mut array = Vec::with_capacity(known.iter().map(|json| json.len() + 1).sum::<usize>() + 1);
        array.push(b'[');
        array.extend_from_slice(&known.join(&b','));
        array.push(b']');
        Some(array.into())
    }
}
