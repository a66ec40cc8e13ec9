//! What a panic costs: the connection it happened in, which gets 1011; when it is nobody's and comes again and again,
//! every connection of this shard. Never the shard, and never a quote: what is watched is read again from the cache.
//!
//! A panic is a defect; its log line has the place (`tickcast_panics_total` counts). A delivery pays one store for
//! this, which says whose work is being done.

use std::collections::BinaryHeap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use mio::Events;
use tracing::error;

use super::connection::Phase;
use super::{Shard, State};
use crate::hub::{FlushStats, Hub, LaneId};
use crate::protocol::message::{Close, CloseCode};

const CRASHED: Close = Close::new(CloseCode::Internal, "internal error; reconnect");
/// More panics that are nobody's within [`SPAN_MS`]: the shard's state is not to be trusted.
const MANY: u32 = 8;
const SPAN_MS: u64 = 1000;

/// How often it has panicked of late in nobody's name.
#[derive(Debug, Default)]
pub(super) struct Crashes {
    since_ms: u64,
    count: u32,
}

impl Crashes {
    /// Counts one; true when they are many.
    fn add(&mut self, now_ms: u64) -> bool {
        if now_ms >= self.since_ms + SPAN_MS {
            *self = Crashes { since_ms: now_ms, count: 0 };
        }
        self.count += 1;
        self.count > MANY
    }
}

impl Shard {
    /// Runs until [`Order::Stop`](crate::gateway::inbox::Order::Stop), whatever panics.
    pub(in crate::gateway) fn run(mut self) {
        let mut events = Events::with_capacity(1024);
        loop {
            if catch_unwind(AssertUnwindSafe(|| self.turns(&mut events))).is_ok() {
                return;
            }
            self.now = self.parts.clock.now();
            let contained = match self.at_hand.take() {
                Some(lane) => self.give_up(lane),
                None => !self.crashes.add(self.now.mono_ms),
            };
            if !contained && catch_unwind(AssertUnwindSafe(|| self.start_over())).is_err() {
                error!(shard = self.parts.index, "this shard cannot start over; it ends");
                return;
            }
            self.parts.snapshots.ask_recovery();
        }
    }

    /// Closes a connection; ends it, if that panics or was tried before. False: neither can be done.
    fn give_up(&mut self, lane: LaneId) -> bool {
        let Some(connection) = self.connection(lane) else { return true };
        let open = connection.phase == Phase::Open;
        let closed = open && catch_unwind(AssertUnwindSafe(|| self.close(lane, CRASHED))).is_ok();
        closed || catch_unwind(AssertUnwindSafe(|| self.end(lane, CRASHED.code.number()))).is_ok()
    }

    /// Lets go of every connection and all that was known of them.
    fn start_over(&mut self) {
        error!(shard = self.parts.index, connections = self.open, "this shard starts over without its connections");
        for mut connection in std::mem::take(&mut self.connections).into_iter().flatten() {
            // The kernel forgets a closed descriptor anyway.
            let _ = self.poll.registry().deregister(connection.socket.stream_mut());
            self.inbox.ended();
            self.metrics.closed(CRASHED.code.number());
        }
        self.parts.watched.clear();
        self.parts.interest.forget(self.parts.index);
        self.hub = Hub::new(Arc::clone(&self.parts.watched));
        self.metrics.start_over();
        (self.open, self.unread, self.timers) = (0, Vec::new(), BinaryHeap::new());
        let State { adopted, orders, .. } = std::mem::take(&mut self.taken);
        (self.taken.adopted, self.taken.orders) = (adopted, orders);
        (self.dirty_since_ms, self.pace_due_ms, self.stale_due_ms) = (None, None, None);
        self.stats = FlushStats::default();
        self.look_again = true;
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{Ipv4Addr, TcpListener, TcpStream};
    use std::time::Duration;

    use hashbrown::DefaultHashBuilder;
    use jiff::Timestamp;

    use super::*;
    use crate::gateway::admission::{Admission, Verdict};
    use crate::gateway::clock::Clock;
    use crate::gateway::config::tests::limits;
    use crate::gateway::forwarded::Origin;
    use crate::gateway::inbox::{Inbox, Order};
    use crate::gateway::shard::{Adopted, ClientId, Parts};
    use crate::gateway::snapshots::Snapshots;
    use crate::hub::Watched;
    use crate::protocol::auth::{Access, Grant, Unauthorized, Verify};
    use crate::protocol::message::Selection;
    use crate::protocol::publication::{Coding, Dialect, Form};
    use crate::protocol::reader::{Binary, ReadLimits};
    use crate::protocol::session::{Rate, Rules, Talk, Wildcard};

    /// A defect that one client's message brings out.
    struct Defect;

    impl Verify for Defect {
        fn verify(&self, _token: &str, _now: Timestamp) -> Result<Grant, Unauthorized> {
            panic!("a defect");
        }
    }

    fn rules() -> Rules {
        Rules {
            name: "test".into(),
            api_base: None,
            read: ReadLimits { message_bytes: 1024, fragments: 1, binary: Binary::Refuse },
            symbols_per_client: 8,
            messages: Rate { per_second: 10, burst: 10 },
            pings: Rate { per_second: 10, burst: 10 },
            wildcard: Wildcard::Refused,
            ping_interval: Duration::from_secs(3600),
            pong_timeout: Duration::from_secs(3600),
            talk: Talk::Quotes,
            verify: Some(Arc::new(Defect)),
        }
    }

    /// What a shard of a test is made of.
    pub(in crate::gateway::shard) fn parts() -> Parts {
        Parts {
            index: 0,
            rules: Arc::new(rules()),
            clock: Clock::start(),
            watched: Arc::new(Watched::new(DefaultHashBuilder::default())),
            interest: Arc::default(),
            snapshots: Arc::new(Snapshots::default()),
            flush_window: Duration::ZERO,
            slow_client_timeout: Duration::from_secs(3600),
            stale_after: Duration::ZERO,
        }
    }

    struct Stand {
        inbox: Arc<Inbox>,
        watched: Arc<Watched>,
        admission: Arc<Admission>,
        listener: TcpListener,
        thread: std::thread::JoinHandle<()>,
    }

    impl Stand {
        fn start() -> Stand {
            let parts = parts();
            let watched = Arc::clone(&parts.watched);
            let (shard, inbox) = Shard::new(parts).unwrap();
            let thread = std::thread::spawn(move || shard.run());
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            Stand { inbox, watched, admission: Arc::new(Admission::new(&limits(), 10)), listener, thread }
        }

        /// A client that has been told `connected`.
        fn connect(&self) -> TcpStream {
            let mut client = TcpStream::connect(self.listener.local_addr().unwrap()).unwrap();
            client.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
            let (stream, peer) = self.listener.accept().unwrap();
            stream.set_nonblocking(true).unwrap();
            let Verdict::Admitted(permit) = self.admission.knock(Origin::Client(peer.ip()), 0) else { panic!() };
            self.inbox.adopt(Adopted {
                stream,
                tls: None,
                early: bytes::Bytes::new(),
                client_id: ClientId::Random(1),
                form: Form { dialect: Dialect::default(), coding: Coding::Plain },
                wanted: Selection::default(),
                access: Access::granted(Grant::default()),
                peer: peer.ip(),
                permit,
            });
            assert!(text(&mut client).contains("connected"));
            client
        }

        fn stop(self) {
            self.inbox.order(Order::Stop);
            self.thread.join().expect("the shard did not panic");
        }
    }

    /// One unmasked frame: its first byte and payload.
    fn frame(client: &mut TcpStream) -> (u8, Vec<u8>) {
        let mut head = [0; 2];
        client.read_exact(&mut head).unwrap();
        let length = match head[1] {
            126 => {
                let mut long = [0; 2];
                client.read_exact(&mut long).unwrap();
                usize::from(u16::from_be_bytes(long))
            }
            short => usize::from(short),
        };
        let mut payload = vec![0; length];
        client.read_exact(&mut payload).unwrap();
        (head[0], payload)
    }

    fn text(client: &mut TcpStream) -> String {
        let (first, payload) = frame(client);
        assert_eq!(first, 0x81, "{payload:?}");
        String::from_utf8(payload).unwrap()
    }

    /// Sends a text frame, masked with zeros.
    fn say(client: &mut TcpStream, message: &str) {
        let length = u8::try_from(message.len()).unwrap();
        let mut bytes = vec![0x81, 0x80 | length, 0, 0, 0, 0];
        bytes.extend_from_slice(message.as_bytes());
        client.write_all(&bytes).unwrap();
    }

    const TRIGGER: &str = r#"{"action":"auth","token":"x"}"#;
    const PING: &str = r#"{"action":"ping"}"#;

    #[test]
    fn a_panic_ends_the_connection_it_happened_in_and_no_other() {
        let stand = Stand::start();
        let (mut bad, mut good) = (stand.connect(), stand.connect());
        for _ in 0..2 * MANY {
            say(&mut bad, TRIGGER);
            assert_eq!(frame(&mut bad), (0x88, [&1011u16.to_be_bytes()[..], CRASHED.reason.as_bytes()].concat()));
            bad = stand.connect();
        }
        say(&mut good, PING);
        assert!(text(&mut good).contains("pong"));
        stand.stop();
    }

    #[test]
    fn a_shard_that_keeps_panicking_starts_over_and_serves_again() {
        let stand = Stand::start();
        let mut old = stand.connect();
        say(&mut old, r#"{"action":"subscribe","symbols":["A"]}"#);
        assert!(text(&mut old).contains("subscribed"));
        let hash = stand.watched.hash(crate::market::Symbol::parse("A").unwrap());
        assert!(stand.watched.may_watch(hash));
        for _ in 0..=MANY {
            stand.inbox.order(Order::Panic);
        }
        assert_eq!(old.read(&mut [0]).unwrap_or(0), 0, "it was let go");
        let mut new = stand.connect();
        say(&mut new, PING);
        assert!(text(&mut new).contains("pong"));
        assert!(!stand.watched.may_watch(hash));
        assert_eq!((stand.inbox.load(), stand.admission.open()), (1, 1));
        stand.stop();
    }
}
