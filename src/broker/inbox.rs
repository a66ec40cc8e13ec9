//! What waits for the readers of feeds: one bounded inbox a reader, filled by whichever broker.
//!
//! Whoever delivers never waits. A reader that falls behind by [`MAX_WAITING`] messages or [`MAX_WAITING_BYTES`] loses
//! the oldest and is told how many; whether its link is up is never lost. The hub owns no inbox: a dropped feed is
//! forgotten at the next delivery.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use async_trait::async_trait;
use bytes::Bytes;
use tokio::sync::{Notify, watch};

use super::{Channel, Event, Feed};

/// The most messages that wait for one reader. At the 70,000 messages/s that one Redis connection carries to a busy
/// gateway it is one second of a reader that does not read at all; 4 MiB of bookkeeping.
pub(super) const MAX_WAITING: usize = 65_536;
/// The most bytes that wait for one reader: 1 KiB for each of [`MAX_WAITING`] messages.
pub(super) const MAX_WAITING_BYTES: usize = 64 * 1024 * 1024;
/// The most events one [`Feed::next`] hands over, so that its caller gets to breathe: about 5 ms of parsing.
const MAX_EVENTS_A_CALL: usize = 4096;

/// A set of channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct ChannelSet(u8);

impl ChannelSet {
    pub(super) const NONE: ChannelSet = ChannelSet(0);
    pub(super) const ALL: ChannelSet = ChannelSet(0b1111);

    pub(super) const fn of(channel: Channel) -> ChannelSet {
        match channel {
            Channel::Updates => ChannelSet(1),
            Channel::Subscriptions => ChannelSet(2),
            Channel::Control => ChannelSet(4),
            Channel::Replies => ChannelSet(8),
        }
    }

    pub(super) const fn with(self, other: ChannelSet) -> ChannelSet {
        ChannelSet(self.0 | other.0)
    }

    pub(super) const fn without(self, other: ChannelSet) -> ChannelSet {
        ChannelSet(self.0 & !other.0)
    }

    pub(super) const fn only(self, other: ChannelSet) -> ChannelSet {
        ChannelSet(self.0 & other.0)
    }

    pub(super) const fn holds(self, other: ChannelSet) -> bool {
        self.0 & other.0 == other.0
    }

    pub(super) fn iter(self) -> impl Iterator<Item = Channel> {
        let all = [Channel::Updates, Channel::Subscriptions, Channel::Control, Channel::Replies];
        all.into_iter().filter(move |channel| self.holds(ChannelSet::of(*channel)))
    }
}

/// Delivers to all feeds of one broker.
pub(super) struct Hub {
    inner: Mutex<HubState>,
    wanted: watch::Sender<ChannelSet>,
}

struct HubState {
    inboxes: Vec<Weak<Inbox>>,
    proved: ChannelSet,
}

impl Hub {
    /// A hub whose link is proved to carry these channels.
    pub(super) fn new(proved: ChannelSet) -> Hub {
        let inner = Mutex::new(HubState { inboxes: Vec::new(), proved });
        Hub { inner, wanted: watch::Sender::new(ChannelSet::NONE) }
    }

    /// A feed of these channels; it is told at once whether the link is up.
    pub(super) fn subscribe(&self, channels: &[Channel]) -> InboxFeed {
        let channels = channels.iter().fold(ChannelSet::NONE, |set, channel| set.with(ChannelSet::of(*channel)));
        let inbox = Arc::new(Inbox { channels, waiting: Mutex::default(), wake: Notify::new() });
        let mut hub = self.lock();
        inbox.prove(hub.proved);
        hub.inboxes.push(Arc::downgrade(&inbox));
        let wanted = hub.wanted();
        drop(hub);
        self.wanted.send_if_modified(|set| std::mem::replace(set, wanted) != wanted);
        InboxFeed { inbox }
    }

    /// The channels that any feed wants, as it changes.
    pub(super) fn wanted(&self) -> watch::Receiver<ChannelSet> {
        self.wanted.subscribe()
    }

    /// Delivers messages in order. Returns how many feeds there are for the first message's channel.
    pub(super) fn deliver(&self, messages: &[(Channel, Bytes)]) -> u64 {
        let Some((first, _)) = messages.first() else { return 0 };
        let mut receivers = 0;
        self.for_each(|inbox, _| {
            receivers += u64::from(inbox.channels.holds(ChannelSet::of(*first)));
            inbox.push(messages);
        });
        receivers
    }

    /// Tells every feed that this many messages were lost before they reached the hub.
    pub(super) fn lost(&self, messages: u64) {
        self.for_each(|inbox, _| inbox.lose(messages));
    }

    /// Which channels are proved to carry messages now. Feeds whose channels became or ceased to be all proved are told.
    pub(super) fn prove(&self, proved: ChannelSet) {
        self.lock().proved = proved;
        self.for_each(|inbox, proved| inbox.prove(proved));
    }

    fn for_each(&self, mut each: impl FnMut(&Inbox, ChannelSet)) {
        let mut hub = self.lock();
        let proved = hub.proved;
        let before = hub.inboxes.len();
        hub.inboxes.retain(|inbox| inbox.upgrade().map(|inbox| each(&inbox, proved)).is_some());
        if hub.inboxes.len() != before {
            let wanted = hub.wanted();
            drop(hub);
            self.wanted.send_if_modified(|set| std::mem::replace(set, wanted) != wanted);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HubState> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl HubState {
    fn wanted(&self) -> ChannelSet {
        let live = self.inboxes.iter().filter_map(Weak::upgrade);
        live.fold(ChannelSet::NONE, |set, inbox| set.with(inbox.channels))
    }
}

/// One reader's inbox.
struct Inbox {
    channels: ChannelSet,
    waiting: Mutex<Waiting>,
    wake: Notify,
}

#[derive(Default)]
struct Waiting {
    /// Messages lost before the oldest event.
    lost: u64,
    /// The last word on the link among the events that were lost.
    link: Option<Event>,
    events: VecDeque<Event>,
    messages: usize,
    bytes: usize,
    /// What the reader was, or will be, told last.
    up: bool,
}

impl Inbox {
    fn push(&self, messages: &[(Channel, Bytes)]) {
        let mut waiting = self.lock();
        for (channel, bytes) in messages {
            if self.channels.holds(ChannelSet::of(*channel)) {
                waiting.push(*channel, bytes.clone());
            }
        }
        self.wake_if_due(&waiting);
    }

    fn lose(&self, messages: u64) {
        let mut waiting = self.lock();
        // What waits was sent before what is lost now, but its reader re-reads the same quotes either way.
        waiting.lost += messages;
        self.wake_if_due(&waiting);
    }

    fn prove(&self, proved: ChannelSet) {
        let mut waiting = self.lock();
        let up = proved.holds(self.channels);
        if up != waiting.up {
            waiting.up = up;
            waiting.events.push_back(if up { Event::Resumed } else { Event::Interrupted });
        }
        self.wake_if_due(&waiting);
    }

    fn wake_if_due(&self, waiting: &Waiting) {
        if waiting.lost > 0 || !waiting.events.is_empty() {
            self.wake.notify_one();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    fn push(&mut self, channel: Channel, bytes: Bytes) {
        self.messages += 1;
        self.bytes += bytes.len();
        self.events.push_back(Event::Message(channel, bytes));
        while self.messages > MAX_WAITING || self.bytes > MAX_WAITING_BYTES {
            match self.events.pop_front() {
                Some(Event::Message(_, bytes)) => {
                    self.forget(&bytes);
                    self.lost += 1;
                }
                Some(link) => self.link = Some(link),
                None => break,
            }
        }
    }

    fn forget(&mut self, bytes: &Bytes) {
        self.messages -= 1;
        self.bytes -= bytes.len();
    }

    fn take(&mut self, events: &mut Vec<Event>) {
        if self.lost > 0 {
            events.push(Event::Lagged(std::mem::take(&mut self.lost)));
        }
        events.extend(self.link.take());
        let batch = self.events.len().min(MAX_EVENTS_A_CALL);
        for event in self.events.drain(..batch) {
            if let Event::Message(_, bytes) = &event {
                self.messages -= 1;
                self.bytes -= bytes.len();
            }
            events.push(event);
        }
    }
}

/// The reading end.
pub(super) struct InboxFeed {
    inbox: Arc<Inbox>,
}

#[async_trait]
impl Feed for InboxFeed {
    async fn next(&mut self, events: &mut Vec<Event>) {
        let before = events.len();
        loop {
            self.inbox.lock().take(events);
            if events.len() > before {
                return;
            }
            // A permit is kept for the one reader, so nothing that arrives in between is slept through.
            self.inbox.wake.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(number: usize) -> (Channel, Bytes) {
        (Channel::Updates, Bytes::from(number.to_string()))
    }

    async fn next(feed: &mut InboxFeed) -> Vec<Event> {
        let mut events = Vec::new();
        feed.next(&mut events).await;
        events
    }

    #[tokio::test]
    async fn a_reader_that_falls_behind_loses_the_oldest_and_is_told() {
        let hub = Hub::new(ChannelSet::ALL);
        let mut feed = hub.subscribe(&[Channel::Updates]);
        for number in 0..MAX_WAITING + 3 {
            hub.deliver(&[message(number)]);
        }
        let events = next(&mut feed).await;
        assert_eq!(events[..2], [Event::Lagged(3), Event::Resumed]);
        let (channel, bytes) = message(3);
        assert_eq!(events[2], Event::Message(channel, bytes));
    }

    #[tokio::test]
    async fn big_messages_are_bounded_by_their_bytes() {
        let hub = Hub::new(ChannelSet::ALL);
        let mut feed = hub.subscribe(&[Channel::Updates]);
        let big = Bytes::from(vec![b' '; MAX_WAITING_BYTES / 4]);
        for _ in 0..6 {
            hub.deliver(&[(Channel::Updates, big.clone())]);
        }
        let events = next(&mut feed).await;
        assert_eq!(events[0], Event::Lagged(2));
        assert_eq!(events.len(), 2 + 4);
    }

    #[tokio::test]
    async fn a_feed_is_up_when_all_its_channels_are() {
        let hub = Hub::new(ChannelSet::NONE);
        let mut feed = hub.subscribe(&[Channel::Updates, Channel::Control]);
        hub.prove(ChannelSet::of(Channel::Updates));
        hub.prove(ChannelSet::ALL);
        hub.prove(ChannelSet::NONE);
        assert_eq!(next(&mut feed).await, [Event::Resumed, Event::Interrupted]);
    }

    #[tokio::test]
    async fn a_dropped_feed_is_forgotten_and_its_channels_are_no_longer_wanted() {
        let hub = Hub::new(ChannelSet::ALL);
        let wanted = hub.wanted();
        let feed = hub.subscribe(&[Channel::Updates]);
        assert_eq!(hub.deliver(&[message(1)]), 1);
        assert_eq!(*wanted.borrow(), ChannelSet::of(Channel::Updates));
        drop(feed);
        assert_eq!(hub.deliver(&[message(2)]), 0);
        assert_eq!(*wanted.borrow(), ChannelSet::NONE);
    }

    #[tokio::test]
    async fn events_come_in_bounded_batches_and_in_order() {
        let hub = Hub::new(ChannelSet::ALL);
        let mut feed = hub.subscribe(&[Channel::Updates]);
        let messages: Vec<_> = (0..MAX_EVENTS_A_CALL * 2).map(message).collect();
        hub.deliver(&messages);
        let mut events = next(&mut feed).await;
        assert_eq!(events.len(), MAX_EVENTS_A_CALL);
        while events.len() < messages.len() + 1 {
            feed.next(&mut events).await;
        }
        let expected: Vec<_> = messages.into_iter().map(|(channel, bytes)| Event::Message(channel, bytes)).collect();
        assert_eq!(events[1..], expected);
    }
}
