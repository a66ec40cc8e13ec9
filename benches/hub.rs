//! Board and outbox without sockets: how many instructions a delivery costs in user space.
//!
//! `cargo bench --bench hub` prints time per delivery for each case (a rough figure on a shared machine);
//! `scripts/instructions.sh` runs the same cases under callgrind and prints instructions per delivery, which repeat to the
//! digit and are held against `benches/instructions.json`.
//!
//! `hub CASE ROUNDS` runs one case so many rounds and prints the deliveries made: what the script calls, twice, so that the
//! setting-up cancels out.

#![allow(missing_docs, reason = "a bench has no readers but its output")]

use std::hint::black_box;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use hashbrown::DefaultHashBuilder;
use tickcast::hub::{Arrival, Hub, LaneId, Watched};
use tickcast::market::Symbol;
use tickcast::protocol::message::Terms;
use tickcast::protocol::publication::{Form, Publication};

const LIVE: Terms = Terms { min_gap_ms: 0, snapshot: false };

/// A hub, its lanes, and the updates to come.
struct Scene {
    hub: Hub,
    watched: Arc<Watched>,
    lanes: Vec<LaneId>,
    seq: u64,
}

impl Scene {
    fn new(lanes: usize) -> Scene {
        let watched = Arc::new(Watched::new(DefaultHashBuilder::default()));
        let mut hub = Hub::new(Arc::clone(&watched));
        let lanes = (0..lanes).map(|_| hub.attach(Form::default())).collect();
        Scene { hub, watched, lanes, seq: 0 }
    }

    fn publish(&mut self, symbol: Symbol) {
        self.seq += 1;
        let json = format!(
            r#"{{"type":"price_update","symbol":"{symbol}","data":{{"symbol":"{symbol}","price":178.50,"change":2.35,"changePercent":1.33,"volume":1234567,"timestamp":"2026-11-21T10:00:00.000Z","source":"bench"}},"timestamp":"2026-11-21T10:00:00.000Z","seq":{}}}"#,
            self.seq
        );
        let publication = Publication::new(symbol, Some(self.seq), &json, self.watched.hash(symbol), 0);
        self.hub.publish(&Arc::new(publication), Arrival::Live, 0);
    }

    /// Flushes every dirty lane into a socket that takes everything.
    fn flush(&mut self) {
        while let Some(flushed) = self.hub.flush_next(|_, slices| Ok(slices.iter().map(|slice| slice.len()).sum())) {
            black_box(&flushed);
        }
    }
}

fn symbol(number: usize) -> Symbol {
    Symbol::parse(&format!("S{number}")).expect("letters and digits")
}

/// One symbol, a thousand watchers, one update a turn: a write per delivery.
fn single(rounds: usize) -> u64 {
    let mut scene = Scene::new(1000);
    for lane in scene.lanes.clone() {
        scene.hub.watch(lane, symbol(0), LIVE);
    }
    for _ in 0..rounds {
        scene.publish(symbol(0));
        scene.flush();
    }
    scene.hub.counters().deliveries
}

/// The same with fifty updates a turn: a write per fifty deliveries.
fn burst(rounds: usize) -> u64 {
    let mut scene = Scene::new(1000);
    for lane in scene.lanes.clone() {
        scene.hub.watch(lane, symbol(0), LIVE);
    }
    for _ in 0..rounds {
        for _ in 0..50 {
            scene.publish(symbol(0));
        }
        scene.flush();
    }
    scene.hub.counters().deliveries
}

/// A poll cycle: 500 symbols at once, 2,000 clients of 20 symbols each.
fn cycle(rounds: usize) -> u64 {
    let mut scene = Scene::new(2000);
    for (client, lane) in scene.lanes.clone().into_iter().enumerate() {
        for at in 0..20 {
            scene.hub.watch(lane, symbol((client * 7 + at * at * 13) % 500), LIVE);
        }
    }
    for _ in 0..rounds {
        for number in 0..500 {
            scene.publish(symbol(number));
        }
        scene.flush();
    }
    scene.hub.counters().deliveries
}

/// A thousand clients whose sockets are full: an update marks each of them.
fn conflate(rounds: usize) -> u64 {
    let mut scene = Scene::new(1000);
    for lane in scene.lanes.clone() {
        scene.hub.watch(lane, symbol(0), LIVE);
    }
    scene.publish(symbol(0));
    while scene.hub.flush_next(|_, _| Err(io::ErrorKind::WouldBlock.into())).is_some() {}
    for _ in 0..rounds {
        scene.publish(symbol(0));
    }
    scene.hub.counters().conflated
}

/// Clients that come, watch five symbols and leave; counted by subscriptions.
fn churn(rounds: usize) -> u64 {
    let mut scene = Scene::new(1000);
    for lane in scene.lanes.clone() {
        for number in 0..50 {
            scene.hub.watch(lane, symbol(number), LIVE);
        }
    }
    for round in 0..rounds {
        let lane = scene.hub.attach(Form::default());
        for at in 0..5 {
            scene.hub.watch(lane, symbol((round + at * 11) % 50), LIVE);
        }
        scene.hub.detach(lane);
    }
    5 * rounds as u64
}

/// A case: how many of what it counts so many rounds make.
type Case = fn(usize) -> u64;

const CASES: [(&str, Case, usize); 5] = [
    ("single", single, 200),
    ("burst", burst, 10),
    ("cycle", cycle, 5),
    ("conflate", conflate, 500),
    ("churn", churn, 20_000),
];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    if let [name, rounds] = &arguments[..] {
        let case = CASES.iter().find(|(known, ..)| known == name).map(|(_, case, _)| case);
        let (Some(case), Ok(rounds)) = (case, rounds.parse()) else {
            eprintln!("usage: hub CASE ROUNDS; cases: {:?}", CASES.map(|(name, ..)| name));
            return;
        };
        println!("{}", case(rounds));
        return;
    }
    for (name, case, rounds) in CASES {
        case(rounds);
        let started = Instant::now();
        let counted = case(4 * rounds);
        let taken = started.elapsed();
        #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
        let each = taken.as_nanos() as f64 / counted as f64;
        println!("{name:<10} {each:>8.1} ns each, {counted} in all");
    }
}
