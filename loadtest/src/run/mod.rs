//! One run from start to verdict: connect, idle, publish, measure in a window, wait for the last delivery, judge.
//!
//! [`spec`] says what a run is, [`setup`] what all runs share, [`stand`] is what one stands on, [`sample`] what it used,
//! [`judge`] what to think of it. [`storm`] and [`search`] are runs of another order.

pub(crate) mod judge;
pub(crate) mod sample;
pub(crate) mod search;
pub(crate) mod setup;
pub(crate) mod spec;
pub(crate) mod stand;
pub(crate) mod storm;

use std::collections::BTreeMap;
use std::ops::Range;

use anyhow::{Context, bail};

use crate::clock::{Ns, seconds};
use crate::host::helper::Event;
use crate::host::http;
use crate::report::{
    ConnectReport, DeliveryReport, MemoryReport, PublishReport, RunReport, Split, StuckReport, round3,
};
use crate::wire::{
    ConnectOutcome, SourceOrder, SourceOutcome, SourceReport, SwarmOrder, SwarmOutcome, SwarmReport, Watch,
};

use self::sample::{Cast, Sample};
use self::setup::{Host, Setup};
use self::spec::{Pace, Source, Spec};
use self::stand::Stand;

/// From the order to publish until the first update is due: time for the order to arrive everywhere.
const HEAD_START: Ns = 300_000_000;
/// How long a source may take for its last word after its last update.
const SOURCE_PATIENCE: Ns = 20_000_000_000;
/// Between two looks at the server's memory in a long window.
const TREND_EVERY: Ns = 10_000_000_000;
/// How often progress is shown.
const SHOW_EVERY: Ns = 250_000_000;

/// Runs `spec`.
///
/// # Errors
/// When it could not be run at all; what the server did wrong is in the report.
pub(crate) fn run(spec: &Spec, setup: &Setup, host: &Host) -> anyhow::Result<RunReport> {
    let mut report = RunReport {
        spec: spec.clone(),
        connect: None,
        storm: Vec::new(),
        publish: None,
        delivery: None,
        cpu: None,
        memory: MemoryReport::default(),
        files: None,
        attack: BTreeMap::new(),
        counters: BTreeMap::new(),
        invalid: Vec::new(),
        disturbed: Vec::new(),
        violated: Vec::new(),
        notes: Vec::new(),
    };
    host.progress.begin(&format!("{}: starting", spec.name), 1);
    let mut stand = Stand::open(spec, setup, host)?;
    report.memory.base = stand.settled_memory()?;
    if spec.storm.is_some() {
        storm::rage(spec, &mut stand, &mut report)?;
    } else {
        connect_all(spec, &mut stand, &mut report)?;
        idle(spec, &mut stand, &mut report)?;
        if spec.feed.pace != Pace::Silent {
            let ops = stand.server.as_ref().and_then(|server| server.ops);
            let before = ops.map(http::counters).unwrap_or_default();
            publish(spec, setup, host, &mut stand, &mut report)?;
            report.counters = growth(&before, &ops.map(http::counters).unwrap_or_default());
        }
        leave(&mut stand, &mut report)?;
    }
    report.violated.extend(stand.close()?);
    judge::judge(&mut report, setup.pins.client_cores());
    host.progress.clear();
    Ok(report)
}

fn connect_all(spec: &Spec, stand: &mut Stand<'_>, report: &mut RunReport) -> anyhow::Result<()> {
    if spec.plan.clients == 0 {
        return Ok(());
    }
    stand.progress.begin(&format!("{}: connecting", spec.name), spec.plan.clients.into());
    let cast = stand.cast();
    let before = cast.sample(stand.clock);
    let outcome = stand.connect(spec, true)?;
    let after = cast.sample(stand.clock);
    report.memory.connected = stand.memory();
    let connect = connect_report(&outcome, &cast, &before, &after);
    let missing = u64::from(spec.plan.clients) - connect.connected;
    let failed = connect.failed.clone();
    report.connect = Some(connect);
    if missing > 0 {
        bail!(
            "{missing} of {} clients could not connect: {failed:?}. Are the server's limits per address and its connect \
             rate high enough for a load test?",
            spec.plan.clients
        );
    }
    Ok(())
}

fn connect_report(outcome: &ConnectOutcome, cast: &Cast, before: &Sample, after: &Sample) -> ConnectReport {
    let wave_s = (outcome.ended - outcome.began) as f64 / 1e9;
    let cpu = after.server_since(before);
    ConnectReport {
        connected: outcome.connected,
        failed: outcome.failed.clone(),
        seconds: round3(wave_s),
        per_second: round3(outcome.connected as f64 / wave_s.max(1e-9)),
        cpu_us: if cast.server.is_empty() { None } else { Split::per(cpu, outcome.connected) },
        upgraded: outcome.upgraded.percentiles(),
        subscribed: outcome.subscribed.percentiles(),
    }
}

fn idle(spec: &Spec, stand: &mut Stand<'_>, report: &mut RunReport) -> anyhow::Result<()> {
    if spec.idle_s <= 0.0 {
        return Ok(());
    }
    let (cast, start) = (stand.cast(), stand.clock.now());
    let before = cast.sample(stand.clock);
    watch_time(stand, &format!("{}: idle", spec.name), start..start + seconds(spec.idle_s), |_, _| {})?;
    report.memory.idle = stand.memory();
    if spec.feed.pace == Pace::Silent {
        report.cpu = Some(cast.report(&before, &cast.sample(stand.clock), 0, 0));
    }
    Ok(())
}

/// Lets time pass, showing it; `each` is called every [`SHOW_EVERY`]. The source's outcome if it came early.
fn watch_time(
    stand: &mut Stand<'_>,
    phase: &str,
    time: Range<Ns>,
    mut each: impl FnMut(&mut Stand<'_>, Ns),
) -> anyhow::Result<Option<SourceOutcome>> {
    stand.progress.begin(phase, (time.end - time.start) / 1_000_000);
    let mut outcome = None;
    loop {
        let now = stand.clock.now();
        if now >= time.end {
            return Ok(outcome);
        }
        let seen = stand.updates_seen();
        let message = if seen > 0 { format!("{seen} deliveries") } else { String::new() };
        stand.progress.show(now.saturating_sub(time.start) / 1_000_000, &message);
        each(stand, now);
        outcome = stand.wait_until((now + SHOW_EVERY).min(time.end))?.or(outcome);
    }
}

fn publish(
    spec: &Spec,
    setup: &Setup,
    host: &Host,
    stand: &mut Stand<'_>,
    report: &mut RunReport,
) -> anyhow::Result<()> {
    if spec.source == Source::Redis {
        let redis = host.redis.as_ref().context("no Redis to publish through")?;
        stand.start_publisher(spec, setup, redis)?;
    }
    if spec.attacked {
        stand.start_attack(spec, setup)?;
    }
    let start = stand.clock.now() + HEAD_START;
    let window = start + seconds(spec.warmup_s)..start + seconds(spec.warmup_s + spec.duration_s);
    let Some(schedule) = spec.schedule(start) else { return Ok(()) };
    let swarms = f64::from(stand.swarms());
    stand.order_swarms(&SwarmOrder::Watch(Watch {
        schedule,
        window: window.clone(),
        reconnects_per_second: spec.reconnects_per_second / swarms,
        resubscribes_per_second: spec.resubscribes_per_second / swarms,
    }))?;
    stand.order_source(&SourceOrder::Start { schedule, until: window.end, window: window.clone() })?;

    let cast = stand.cast();
    let early = watch_time(stand, &format!("{}: warming up", spec.name), start..window.start, |_, _| {})?;
    let before = cast.sample(stand.clock);
    report.memory.window_start = stand.memory();
    let (mut trend, mut trend_at) = (Vec::new(), window.start + TREND_EVERY);
    let in_window = watch_time(stand, &format!("{}: measuring", spec.name), window.clone(), |stand, now| {
        if now >= trend_at {
            trend_at += TREND_EVERY;
            let elapsed_s = round3((now - window.start) as f64 / 1e9);
            trend.extend(stand.memory().map(|bytes| (elapsed_s, bytes)));
        }
    })?;
    let after = cast.sample(stand.clock);
    report.memory.window_end = stand.memory();
    report.memory.trend = trend;

    let source = match early.or(in_window) {
        Some(source) => source,
        None => last_word(stand, window.end + SOURCE_PATIENCE)?,
    };
    report.attack = stand.end_attack()?;
    let outcome = finish(spec, stand, source.published)?;
    report.memory.drained = stand.memory();
    let deliveries = if spec.plan.clients > 0 { outcome.window_updates } else { 0 };
    let in_window = match spec.feed.pace {
        Pace::PerSecond(rate) => whole(rate * spec.duration_s),
        Pace::Unpaced | Pace::Silent => 0,
    };
    report.cpu = Some(cast.report(&before, &after, deliveries, in_window));
    report.publish = Some(PublishReport {
        updates: source.published,
        messages: source.messages,
        fewest_receivers: source.fewest_receivers,
        lateness: source.lateness.percentiles(),
        redis: source.redis.percentiles(),
    });
    report.delivery = (spec.plan.clients > 0).then(|| delivery_report(&outcome, spec.duration_s));
    Ok(())
}

fn last_word(stand: &mut Stand<'_>, deadline: Ns) -> anyhow::Result<SourceOutcome> {
    loop {
        match stand.wait_for(deadline, "the publisher does not finish: is Redis overloaded?")? {
            Event::Source(SourceReport::Done(outcome)) => return Ok(*outcome),
            _ => continue,
        }
    }
}

/// Waits until everything published has arrived, or the time for it is over.
fn finish(spec: &Spec, stand: &mut Stand<'_>, published: u64) -> anyhow::Result<SwarmOutcome> {
    stand.progress.begin(&format!("{}: waiting for the last delivery", spec.name), 1);
    let mut outcome = SwarmOutcome::default();
    if spec.plan.clients == 0 {
        return Ok(outcome);
    }
    let deadline = stand.clock.now() + seconds(spec.drain_s);
    stand.order_swarms(&SwarmOrder::Finish { published, deadline })?;
    let mut waiting = stand.swarms();
    while waiting > 0 {
        match stand.wait_for(deadline + SOURCE_PATIENCE, "the clients do not report")? {
            Event::Swarm(_, SwarmReport::Done(part)) => {
                outcome.merge(&part);
                waiting -= 1;
            }
            _ => continue,
        }
    }
    Ok(outcome)
}

fn leave(stand: &mut Stand<'_>, report: &mut RunReport) -> anyhow::Result<()> {
    stand.disconnect()?;
    stand.wait_until_all_left()?;
    report.memory.left = stand.memory();
    report.files = stand.files();
    let clients = report.spec.plan.clients;
    let memory = &mut report.memory;
    if let (Some(base), Some(connected), true) = (memory.base, memory.idle.or(memory.connected), clients > 0) {
        memory.per_connection = Some(round3((connected as f64 - base as f64) / f64::from(clients)));
    }
    Ok(())
}

fn delivery_report(outcome: &SwarmOutcome, window_s: f64) -> DeliveryReport {
    let per_second = |count: u64| round3(count as f64 / window_s.max(1e-9));
    DeliveryReport {
        window_s,
        deliveries: outcome.window_updates,
        per_second: per_second(outcome.window_updates),
        latency: outcome.latencies.percentiles(),
        updates_per_read: round3(outcome.window_updates as f64 / (outcome.window_reads.max(1)) as f64),
        bytes_per_second: per_second(outcome.window_bytes),
        tally: outcome.tally,
        snapshots: outcome.snapshots,
        told_conflated: outcome.told_conflated,
        closes: outcome.closes.clone(),
        errors: outcome.errors.clone(),
        reconnects: outcome.reconnects,
        resubscribes: outcome.resubscribes,
        reconnected: outcome.reconnected.percentiles(),
        stuck: (outcome.stuck.clients > 0).then(|| StuckReport {
            clients: outcome.stuck.clients,
            cut: outcome.stuck.cut,
            cut_after: outcome.stuck.cut_after.percentiles(),
            ends: outcome.stuck.ends.clone(),
        }),
    }
}

fn growth(before: &BTreeMap<String, f64>, after: &BTreeMap<String, f64>) -> BTreeMap<String, f64> {
    let since = |(name, value): (&String, &f64)| (name.clone(), value - before.get(name).copied().unwrap_or(0.0));
    after.iter().map(since).collect()
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "`as` saturates and the value is not negative"
)]
fn whole(value: f64) -> u64 {
    value.round() as u64
}
