//! Three publishers and two gateways on one Redis, and a vendor of five calls a minute in fixed windows of unknown phase;
//! all of them are killed, stopped and started again, Redis included, while more is wanted than the budget buys.

use std::sync::Arc;
use std::time::Duration;

use rustix::process::Signal;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::massive::{Call, Massive, settings, tickers};
use super::span;
use super::support::DEADLINE;
use super::support::process::Role;
use super::support::redis::RedisServer;
use super::support::relay::Relay;
use super::support::vendor::MockVendor;
use super::watcher::Watcher;

const LIMIT: usize = 5;
const WINDOW: Duration = Duration::from_secs(60);
/// Each call has ten of them, so that a round takes six; a round is wanted every five seconds.
const SYMBOLS: u8 = 60;

/// What happens, in order, evenly spread over the whole time.
#[derive(Debug, Clone, Copy)]
enum Event {
    /// kill -9, and a new one in its place 5 s later.
    KillLeader,
    /// SIGTERM, and a new one in its place at once.
    StopLeader,
    /// SIGSTOP, and SIGCONT when another has led for a while.
    PauseLeader,
    /// kill -9, and a new one in its place 2 s later.
    KillGateway(usize),
    /// kill -9; it comes back empty 2 s later.
    KillRedis,
}

const EVENTS: [Event; 7] = [
    Event::KillGateway(0),
    Event::KillLeader,
    Event::PauseLeader,
    Event::KillRedis,
    Event::StopLeader,
    Event::KillGateway(1),
    Event::KillLeader,
];
/// The short version's: the last ones cost no more than the first.
const SHORT: [Event; 3] = [Event::KillGateway(0), Event::PauseLeader, Event::KillLeader];

struct Fleet {
    redis: RedisServer,
    vendors: Vec<MockVendor>,
    publishers: Vec<Role>,
    gateways: Vec<Role>,
    relays: Vec<Relay>,
}

impl Fleet {
    async fn start(massive: &Arc<Massive>) -> Fleet {
        let redis = RedisServer::start().await;
        let mut vendors = Vec::new();
        for by in 0..3 {
            vendors.push(massive.serve(by).await);
        }
        let (mut gateways, mut relays) = (Vec::new(), Vec::new());
        for _ in 0..2 {
            let gateway = Role::gateway(&redis.url(), &[]).await;
            relays.push(Relay::to(gateway.address()).await);
            gateways.push(gateway);
        }
        let mut fleet = Fleet { redis, vendors, publishers: Vec::new(), gateways, relays };
        for by in 0..3 {
            let publisher = fleet.publisher(by).await;
            fleet.publishers.push(publisher);
        }
        fleet
    }

    async fn publisher(&self, by: usize) -> Role {
        let (url, mut args) = (self.redis.url(), settings(&self.vendors[by].url()));
        args.extend(["--set".to_owned(), "providers.massive.batch=10".to_owned()]);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        Role::start(&[&["publisher", "--redis-url", &url][..], &args].concat()).await
    }

    /// Which publisher leads; waits until one does.
    async fn leader(&self) -> usize {
        let found = async {
            loop {
                for (by, publisher) in self.publishers.iter().enumerate() {
                    if publisher.ask("/stats").await["publisher"]["leader"] == true {
                        return by;
                    }
                }
                sleep(Duration::from_millis(100)).await;
            }
        };
        timeout(DEADLINE, found).await.expect("somebody leads")
    }

    async fn replace_publisher(&mut self, by: usize) -> Role {
        let new = self.publisher(by).await;
        std::mem::replace(&mut self.publishers[by], new)
    }

    async fn carry_out(&mut self, event: Event) {
        match event {
            Event::KillLeader => {
                let by = self.leader().await;
                self.publishers[by].signal(Signal::KILL);
                sleep(Duration::from_secs(5)).await;
                self.replace_publisher(by).await.ended().await;
            }
            Event::StopLeader => {
                let by = self.leader().await;
                self.publishers[by].terminate();
                let (status, log) = self.replace_publisher(by).await.ended().await;
                assert!(status.success(), "{log:#?}");
            }
            Event::PauseLeader => {
                let by = self.leader().await;
                self.publishers[by].signal(Signal::STOP);
                sleep(Duration::from_secs(12)).await;
                self.publishers[by].signal(Signal::CONT);
            }
            Event::KillGateway(which) => {
                self.relays[which].set(None);
                self.gateways[which].signal(Signal::KILL);
                sleep(Duration::from_secs(2)).await;
                let new = Role::gateway(&self.redis.url(), &[]).await;
                self.relays[which].set(Some(new.address()));
                std::mem::replace(&mut self.gateways[which], new).ended().await;
            }
            Event::KillRedis => {
                self.redis.kill9();
                sleep(Duration::from_secs(2)).await;
                self.redis.restart().await;
            }
        }
    }
}

/// How often another one polls than before.
fn changes(calls: &[Call]) -> usize {
    calls.windows(2).filter(|pair| pair[0].by != pair[1].by).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn soak_spends_the_budget_and_no_more_whatever_is_killed() {
    let length = span("TICKCAST_SOAK_S", Duration::from_secs(75));
    let events: &[Event] = if length >= Duration::from_secs(240) { &EVENTS } else { &SHORT };
    let phase = Duration::from_millis(fastrand::u64(..60_000));
    println!("the vendor's windows begin {} s before this", phase.as_secs_f64());
    let massive = Massive::new(LIMIT, WINDOW, phase);
    let mut fleet = Fleet::start(&massive).await;
    let watchers: Vec<Watcher> =
        fleet.relays.iter().map(|relay| Watcher::of(tickers(SYMBOLS), relay.address())).collect();
    timeout(DEADLINE, async {
        while massive.calls().is_empty() {
            sleep(Duration::from_millis(50)).await;
        }
    })
    .await
    .expect("it polls");
    let began = Instant::now();
    for (i, event) in (1u32..).zip(events) {
        sleep_until(began + length * i / u32::try_from(events.len() + 1).unwrap()).await;
        let calls = massive.calls().len();
        println!("{:5.1} s, {calls} calls: {event:?}", began.elapsed().as_secs_f64());
        fleet.carry_out(*event).await;
    }
    sleep_until(began + length).await;

    let calls = massive.calls();
    let refused = calls.iter().filter(|call| !call.is_allowed).count();
    let allowed = calls.len() - refused;
    #[expect(clippy::cast_precision_loss, reason = "a few calls")]
    let share = allowed as f64 / (LIMIT as f64 * length.as_secs_f64() / WINDOW.as_secs_f64());
    let shown: Vec<String> = calls.iter().map(|call| format!("{:.1}:{}", call.at.as_secs_f64(), call.by)).collect();
    println!("calls (s:publisher): {}", shown.join(" "));
    println!("{allowed} allowed, {refused} refused, {:.0} % of the budget", share * 100.0);
    assert_eq!(refused, 0, "429s");
    assert!(share >= 0.95, "{allowed} calls in {length:?}");
    let is_handover = |event: &&Event| matches!(event, Event::KillLeader | Event::StopLeader | Event::PauseLeader);
    let handovers = events.iter().filter(is_handover).count();
    assert!(changes(&calls) <= handovers, "{} changes of who polls, {handovers} hand-overs", changes(&calls));
    for watcher in &watchers {
        let seen = watcher.seen();
        println!("a client saw {} updates over {} connections", seen.updates, seen.connections);
        assert_eq!(seen.disorder, [""; 0], "updates out of order");
        assert_eq!(seen.last.len(), usize::from(SYMBOLS), "every symbol's quote arrived");
    }
}
