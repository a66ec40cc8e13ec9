//! A broker on the test bench, and a reader of its feeds.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use tickcast::broker::{Broker, Channel, Config, Event, Feed, GatewayId, Status, Timing, memory, redis};
use tickcast::market::Symbol;
use tokio::time::{Instant, sleep, timeout};

use super::DEADLINE;
use super::redis::RedisServer;

/// Short, so that leases and delays run out within a test; long enough that a busy machine keeps up.
pub const SHORT: Timing = Timing { lease: Duration::from_secs(3), leave_delay: Duration::from_secs(2) };

/// A broker, and what it needs to live.
pub struct Bench {
    pub broker: Broker,
    server: Option<RedisServer>,
}

impl Bench {
    pub fn memory(timing: Timing) -> Bench {
        Bench { broker: memory::start(timing), server: None }
    }

    /// A broker on a Redis of its own.
    pub async fn redis(timing: Timing) -> Bench {
        Bench::on(RedisServer::start().await, timing)
    }

    pub fn on(server: RedisServer, timing: Timing) -> Bench {
        let broker = redis::start(&server.url().into(), &config(timing)).expect("the URL is good");
        Bench { broker, server: Some(server) }
    }

    /// A broker at this URL, whoever is there.
    pub fn at(url: String, timing: Timing) -> Bench {
        let broker = redis::start(&url.into(), &config(timing)).expect("the URL is good");
        Bench { broker, server: None }
    }

    /// Waits until the broker is well.
    pub async fn connected(&self) {
        self.status(|status| status.connected).await;
    }

    /// Waits for a status.
    pub async fn status(&self, holds: impl FnMut(&Status) -> bool) -> Status {
        let mut status = self.broker.status.clone();
        let found = timeout(DEADLINE, status.wait_for(holds)).await;
        let found = found.unwrap_or_else(|_| panic!("not within {DEADLINE:?}; {:?}", self.broker.status.borrow()));
        found.expect("the broker lives").clone()
    }

    /// The server below, of a bench that has one.
    pub fn server(&mut self) -> &mut RedisServer {
        self.server.as_mut().expect("this bench has a server")
    }

    /// A reader that has seen its link proved.
    pub async fn reader(&self, channels: &[Channel]) -> Reader {
        let mut reader = Reader::new(self.broker.feeds.subscribe(channels));
        assert_eq!(reader.event().await, Event::Resumed);
        reader
    }

    pub async fn report(&self, gateway: &str, counts: &[(&str, u32)]) -> u64 {
        let counts: Vec<_> = counts.iter().map(|(text, count)| (Symbol::parse(text).unwrap(), *count)).collect();
        self.broker.registry.report(&GatewayId(gateway.into()), &counts).await.unwrap()
    }

    /// What is watched, in order.
    pub async fn watched(&self) -> Vec<(String, u64)> {
        let watched = self.broker.registry.watched().await.unwrap();
        let mut watched: Vec<_> = watched.into_iter().map(|(symbol, count)| (symbol.to_string(), count)).collect();
        watched.sort();
        watched
    }

    /// The next message, while `gateway` keeps reporting as a gateway does.
    pub async fn next_event_while_reporting(&self, reader: &mut Reader, gateway: &str) -> String {
        self.next_event_while(reader, async || {
            self.report(gateway, &[]).await;
        })
        .await
    }

    /// The next message, while something is done again and again.
    pub async fn next_event_while(&self, reader: &mut Reader, doing: impl AsyncFn()) -> String {
        let repeat = async {
            loop {
                doing().await;
                sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::select! {
            text = reader.text() => text,
            () = repeat => unreachable!("it repeats for ever"),
        }
    }

    pub async fn until(&self, what: &str, holds: impl AsyncFn() -> bool) {
        self.until_some(what, async || holds().await.then_some(())).await;
    }

    /// Asks again and again, up to the deadline.
    pub async fn until_some<T>(&self, what: &str, ask: impl AsyncFn() -> Option<T>) -> T {
        let end = Instant::now() + DEADLINE;
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            assert!(Instant::now() < end, "not within {DEADLINE:?}: {what}");
            sleep(Duration::from_millis(10)).await;
        }
    }
}

/// Probes come often, so that a test need not wait for them.
pub fn config(timing: Timing) -> Config {
    Config { timing, probe_interval: Duration::from_millis(200), ..Config::default() }
}

/// Reads a feed one event at a time.
pub struct Reader {
    feed: Box<dyn Feed>,
    events: VecDeque<Event>,
}

impl Reader {
    pub fn new(feed: Box<dyn Feed>) -> Reader {
        Reader { feed, events: VecDeque::new() }
    }

    /// The next event, whatever it is.
    pub async fn event(&mut self) -> Event {
        while self.events.is_empty() {
            let mut events = Vec::new();
            let next = timeout(DEADLINE, self.feed.next(&mut events)).await;
            next.unwrap_or_else(|_| panic!("no event within {DEADLINE:?}"));
            self.events.extend(events);
        }
        self.events.pop_front().expect("not empty")
    }

    /// Reads on until this event; what comes before it is of no interest.
    pub async fn until(&mut self, event: &Event) {
        while self.event().await != *event {}
    }

    /// The next event, which must be a message.
    pub async fn message(&mut self) -> (Channel, Bytes) {
        match self.event().await {
            Event::Message(channel, bytes) => (channel, bytes),
            other => panic!("{other:?} instead of a message"),
        }
    }

    /// The next message's text.
    pub async fn text(&mut self) -> String {
        String::from_utf8(self.message().await.1.to_vec()).expect("a test's messages are text")
    }
}
