//! The named runs: one command for each row of the README's table, and for the runs of every day.
//!
//! A scenario is one or more runs and the figures that follow from them together. Flags change single values of all its runs.
//! The bounds are those of a two-core machine; missing one is reported, but only a broken promise fails a run.

use std::collections::BTreeMap;

use clap::ValueEnum;

use crate::plan::{BadReaders, Plan, Spread};
use crate::report::table::median;
use crate::report::{Bound, Comparison, RunReport, StormReport, round3};
use crate::run::spec::{Connecting, Feed, Pace, Promises, Source, Spec, Storm};

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scenario {
    /// 20 s, small, for CI: 200 clients with churn; nothing lost, repeated or out of order
    Smoke,
    /// 1,000 clients: delivery p99 below 100 ms, Redis pub/sub below 50 ms
    Thousand,
    /// A trading day in a minute: 2,000 clients, zipf, poll cycles, churn, slow and stuck readers
    Market,
    /// 15,000 clients connect as fast as they can, with and without subscribing, three times
    Storm,
    /// The market for half an hour, watching the server's memory
    Soak,
    /// 1,000 clients on 1 symbol, 50 updates/s
    S1,
    /// 5,000 clients on 1 symbol, 10 updates/s
    S1b,
    /// 2,000 clients on 20 of 500 symbols (zipf 1), 625 updates/s
    S2,
    /// S2's updates as single messages, then as messages of 500
    Cycles,
    /// 10,000 idle clients on 5 symbols: memory per connection
    S3,
    /// 4 KB updates, without and with 1 % of clients that stop reading
    S4,
    /// 500,000 updates/s, in messages of 100, of symbols that nobody watches
    Unwatched,
    /// S2 with one shard, then with two
    Shards,
    /// 500 clients, in peace and under attack: stuck and half-open clients, floods, compression bombs
    Hostile,
}

impl Scenario {
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
    }

    /// Whether its figures are the point, so that a run which the load test limited fails (exit code 3).
    pub(crate) fn measures(self) -> bool {
        self != Scenario::Smoke
    }

    /// Its runs, in order.
    pub(crate) fn runs(self) -> Vec<Spec> {
        match self {
            Scenario::Smoke => vec![smoke()],
            Scenario::Thousand => vec![thousand()],
            Scenario::Market => vec![market()],
            Scenario::Storm => vec![storm()],
            Scenario::Soak => vec![Spec { name: "soak".to_owned(), duration_s: 1_800.0, ..market() }],
            Scenario::S1 => vec![s1()],
            Scenario::S1b => vec![s1b()],
            Scenario::S2 => vec![s2()],
            Scenario::Cycles => vec![
                Spec { name: "cycles: singly".to_owned(), ..s2() },
                with_feed(Spec { name: "cycles: 500 a message".to_owned(), ..s2() }, |feed| feed.cycle = 500),
            ],
            Scenario::S3 => vec![s3()],
            Scenario::S4 => vec![s4("s4: all read", 0.0), s4("s4: 1 % stuck", 0.01)],
            Scenario::Unwatched => vec![unwatched()],
            Scenario::Shards => vec![shards(1), shards(2)],
            Scenario::Hostile => vec![hostile("hostile: in peace", false), hostile("hostile: under attack", true)],
        }
    }

    /// What follows from its runs.
    pub(crate) fn compare(self, runs: &[RunReport]) -> Vec<Comparison> {
        let compared = match (self, runs) {
            (Scenario::Cycles, [singly, cycles]) => compare_cycles(singly, cycles),
            (Scenario::S3, [run]) => vec![per_connection(run, Some(Bound::AtMost(800.0)))],
            (Scenario::S4, [well, stuck]) => compare_stuck(well, stuck),
            (Scenario::Unwatched, [run]) => {
                vec![figure("CPU per update", run.per_update_us(), "µs", Some(Bound::AtMost(1.5)))]
            }
            (Scenario::Shards, [one, two]) => compare_shards(one, two),
            (Scenario::Storm, [run]) => compare_storm(run),
            (Scenario::Hostile, [peace, attack]) => compare_attack(peace, attack),
            (Scenario::Soak, [run]) => vec![growth(run)],
            _ => Vec::new(),
        };
        compared.into_iter().flatten().collect()
    }
}

/// Many clients of one symbol, a quote 50 times a second: what the others vary.
pub(crate) fn s1() -> Spec {
    Spec {
        name: "s1".to_owned(),
        source: Source::Redis,
        plan: plan(1_000, 1, 1, Spread::Uniform),
        feed: Feed { pace: Pace::PerSecond(50.0), cycle: 1, bytes: 0, probe_redis: false },
        connect: Connecting { per_second: None, in_flight: 256, timeout_s: 60.0 },
        storm: None,
        reconnects_per_second: 0.0,
        resubscribes_per_second: 0.0,
        attacked: false,
        idle_s: 0.0,
        warmup_s: 2.0,
        duration_s: 10.0,
        drain_s: 10.0,
        server_env: BTreeMap::new(),
        promises: Promises::default(),
    }
}

fn plan(clients: u32, symbols: u32, per_client: u32, spread: Spread) -> Plan {
    Plan { clients, symbols, per_client, spread, seed: 1, bad_readers: BadReaders::default() }
}

fn with_feed(mut spec: Spec, change: impl FnOnce(&mut Feed)) -> Spec {
    change(&mut spec.feed);
    spec
}

fn s1b() -> Spec {
    let spec = Spec { name: "s1b".to_owned(), plan: plan(5_000, 1, 1, Spread::Uniform), ..s1() };
    with_feed(spec, |feed| feed.pace = Pace::PerSecond(10.0))
}

fn s2() -> Spec {
    let spec = Spec { name: "s2".to_owned(), plan: plan(2_000, 500, 20, Spread::Zipf(1.0)), ..s1() };
    with_feed(spec, |feed| feed.pace = Pace::PerSecond(625.0))
}

fn s3() -> Spec {
    let spec = Spec {
        name: "s3".to_owned(),
        plan: plan(10_000, 500, 5, Spread::Zipf(1.0)),
        idle_s: 60.0,
        warmup_s: 0.0,
        duration_s: 0.0,
        ..s1()
    };
    with_feed(spec, |feed| feed.pace = Pace::Silent)
}

fn s4(name: &str, stuck: f64) -> Spec {
    // By the window's start the stuck clients' kernel buffers are full; before its end they are cut: 10 s of no byte
    // taken, 2 s for the good-bye.
    let mut spec = Spec { name: name.to_owned(), warmup_s: 6.0, duration_s: 14.0, ..s1() };
    spec.plan.bad_readers.stuck = stuck;
    spec.server_env = BTreeMap::from([("TICKCAST__GATEWAY__SLOW_CLIENT_TIMEOUT_S".to_owned(), "10".to_owned())]);
    with_feed(spec, |feed| feed.bytes = 4_096)
}

fn unwatched() -> Spec {
    let mut spec = Spec { name: "unwatched".to_owned(), plan: plan(0, 500, 0, Spread::Uniform), ..s1() };
    spec.promises.counted_by_server = true;
    with_feed(spec, |feed| (feed.pace, feed.cycle) = (Pace::PerSecond(500_000.0), 100))
}

fn hostile(name: &str, attacked: bool) -> Spec {
    let mut spec = Spec {
        name: name.to_owned(),
        plan: plan(500, 100, 5, Spread::Uniform),
        attacked,
        // Those that never read are cut after 10 s and come again, so that the window sees all of their life.
        warmup_s: 12.0,
        duration_s: 15.0,
        ..s1()
    };
    // The documented limits: what holds attackers off. Healthy clients come from many addresses.
    let env = [
        ("LIMITS__CONNECTIONS_PER_IP", "256"),
        ("LIMITS__CONNECTS_PER_IP_PER_SECOND", "20"),
        ("LIMITS__CONNECT_BURST", "100"),
        ("GATEWAY__SLOW_CLIENT_TIMEOUT_S", "10"),
    ];
    spec.server_env = env.map(|(name, value)| (format!("TICKCAST__{name}"), value.to_owned())).into();
    with_feed(spec, |feed| (feed.pace, feed.bytes) = (Pace::PerSecond(200.0), 1_024))
}

fn shards(count: u32) -> Spec {
    let server_env = BTreeMap::from([("TICKCAST__GATEWAY__SHARDS".to_owned(), count.to_string())]);
    Spec { name: format!("shards: {count}"), server_env, ..s2() }
}

fn smoke() -> Spec {
    let spec = Spec {
        name: "smoke".to_owned(),
        plan: plan(200, 50, 5, Spread::Zipf(1.0)),
        reconnects_per_second: 2.0,
        resubscribes_per_second: 2.0,
        duration_s: 12.0,
        drain_s: 20.0,
        ..s1()
    };
    with_feed(spec, |feed| feed.pace = Pace::PerSecond(200.0))
}

fn thousand() -> Spec {
    let mut spec =
        Spec { name: "thousand".to_owned(), plan: plan(1_000, 100, 5, Spread::Uniform), duration_s: 15.0, ..s1() };
    (spec.promises.p99_ms, spec.promises.redis_p99_ms) = (Some(100.0), Some(50.0));
    with_feed(spec, |feed| (feed.pace, feed.probe_redis) = (Pace::PerSecond(200.0), true))
}

fn market() -> Spec {
    let mut spec = Spec {
        name: "market".to_owned(),
        reconnects_per_second: 5.0,
        resubscribes_per_second: 5.0,
        warmup_s: 5.0,
        duration_s: 60.0,
        ..s2()
    };
    spec.plan.bad_readers = BadReaders { stuck: 0.002, slow: 0.005, slow_bytes_per_s: 2_000 };
    with_feed(spec, |feed| (feed.pace, feed.cycle, feed.probe_redis) = (Pace::PerSecond(500.0), 10, true))
}

fn storm() -> Spec {
    Spec {
        name: "storm".to_owned(),
        plan: plan(15_000, 500, 5, Spread::Zipf(1.0)),
        storm: Some(Storm { rounds: 3 }),
        ..with_feed(s1(), |feed| feed.pace = Pace::Silent)
    }
}

/// A comparison, when both figures it needs were measured.
fn figure(what: &str, value: Option<f64>, unit: &str, bound: Option<Bound>) -> Option<Comparison> {
    value.filter(|value| value.is_finite()).map(|value| Comparison {
        what: what.to_owned(),
        value: round3(value),
        unit: unit.to_owned(),
        bound,
    })
}

fn ratio(numerator: Option<f64>, denominator: Option<f64>) -> Option<f64> {
    Some(numerator? / denominator?)
}

fn per_connection(run: &RunReport, bound: Option<Bound>) -> Option<Comparison> {
    figure("memory per connection", run.memory.per_connection, "bytes", bound)
}

fn compare_cycles(singly: &RunReport, cycles: &RunReport) -> Vec<Option<Comparison>> {
    let cost = ratio(cycles.per_delivery_us(), singly.per_delivery_us());
    vec![figure("CPU per delivery, messages of 500 against single ones", cost, "×", Some(Bound::AtMost(0.15)))]
}

fn compare_stuck(well: &RunReport, stuck: &RunReport) -> Vec<Option<Comparison>> {
    let (with, without) = (stuck.latency(), well.latency());
    let p50 = ratio(with.map(|latency| latency.p50_ms), without.map(|latency| latency.p50_ms));
    let p99 = ratio(with.map(|latency| latency.p99_ms), without.map(|latency| latency.p99_ms));
    let loaded = |run: &RunReport| Some(run.memory.window_start? as f64 - run.memory.connected? as f64);
    let readers = stuck.delivery.as_ref().and_then(|delivery| delivery.stuck.as_ref());
    let held = loaded(stuck)
        .zip(loaded(well))
        .zip(readers)
        .map(|((with, without), readers)| (with - without).max(0.0) / readers.clients.max(1) as f64);
    let cut = readers.map(|readers| 100.0 * readers.cut as f64 / readers.clients.max(1) as f64);
    let after = readers.and_then(|readers| readers.cut_after).map(|after| after.p50_ms / 1e3);
    vec![
        figure("healthy p50, with stuck clients against without", p50, "×", Some(Bound::AtMost(1.15))),
        figure("healthy p99, with stuck clients against without", p99, "×", Some(Bound::AtMost(1.5))),
        figure("memory held per stuck client", held, "bytes", Some(Bound::AtMost(65_536.0))),
        figure("stuck clients cut", cut, "%", Some(Bound::AtLeast(100.0))),
        figure("stuck clients cut after (median)", after, "s", None),
    ]
}

fn compare_attack(peace: &RunReport, attack: &RunReport) -> Vec<Option<Comparison>> {
    let p99 = |run: &RunReport| run.latency().map(|latency| latency.p99_ms);
    let grown = |run: &RunReport| Some((run.memory.window_end? as f64 - run.memory.base? as f64) / 1_048_576.0);
    let more = grown(attack).zip(grown(peace)).map(|(with, without)| with - without);
    let files = attack.files.map(|files| files.left as f64 - files.base as f64);
    vec![
        figure(
            "healthy p99, under attack against in peace",
            ratio(p99(attack), p99(peace)),
            "×",
            Some(Bound::AtMost(2.0)),
        ),
        figure("memory that the attack took", more, "MiB", Some(Bound::AtMost(20.0))),
        figure("files left open when everybody is gone", files, "", Some(Bound::AtMost(0.0))),
    ]
}

/// What a shard carries is what its core has time for; `n` shards carry `n` times that when each delivery costs the same and
/// the work is spread evenly. Both can be measured where cores are short.
fn compare_shards(one: &RunReport, two: &RunReport) -> Vec<Option<Comparison>> {
    let cost = ratio(one.per_delivery_us(), two.per_delivery_us());
    let threads = two.cpu.as_ref().and_then(|cpu| cpu.server.as_ref()).map(|server| &server.threads);
    let shards: Vec<f64> =
        threads.into_iter().flatten().filter(|t| t.name.contains("shard")).map(|thread| thread.share).collect();
    let busiest = shards.iter().copied().fold(0.0, f64::max);
    let spread = (shards.len() == 2).then(|| shards.iter().sum::<f64>() / busiest);
    let carried = cost.zip(spread).map(|(cost, spread)| cost * spread);
    vec![
        figure("CPU per delivery, one shard against two", cost, "×", None),
        figure("work of both shards against the busier one's", spread, "×", None),
        figure("throughput of two shards against one, each with a core", carried, "×", Some(Bound::AtLeast(1.8))),
    ]
}

fn compare_storm(run: &RunReport) -> Vec<Option<Comparison>> {
    let of = |subscribed: bool, each: &dyn Fn(&StormReport) -> Option<f64>| {
        median(run.storm.iter().filter(|storm| storm.subscribed == subscribed).filter_map(each).collect())
    };
    let mut all = Vec::new();
    for (subscribed, kind) in [(false, "upgrades alone"), (true, "with subscriptions")] {
        let rate = of(subscribed, &|storm| Some(storm.connect.per_second));
        let cpu = of(subscribed, &|storm| storm.connect.cpu_us.map(|cpu| cpu.total));
        let leaving = of(subscribed, &|storm| storm.leaving_cpu_us.map(|cpu| cpu.total));
        let (rate_bound, cpu_bound) = if subscribed { (None, None) } else { (Some(12_000.0), Some(60.0)) };
        all.push(figure(&format!("connects per second, {kind}"), rate, "/s", rate_bound.map(Bound::AtLeast)));
        all.push(figure(&format!("CPU per connect, {kind}"), cpu, "µs", cpu_bound.map(Bound::AtMost)));
        all.push(figure(&format!("CPU per leaving, {kind}"), leaving, "µs", None));
    }
    all
}

fn growth(run: &RunReport) -> Option<Comparison> {
    // The first quarter may warm up; what grows after it has no reason to stop.
    let trend = &run.memory.trend[run.memory.trend.len() / 4..];
    let (first, last) = (trend.first()?, trend.last()?);
    let hours = (last.0 - first.0) / 3_600.0;
    let per_hour = (last.1 as f64 - first.1 as f64) / hours / 1_048_576.0;
    figure("growth of memory", (hours > 0.0).then_some(per_hour), "MiB/h", None)
}
