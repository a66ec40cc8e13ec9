//! Whether a run counts, and whether the server kept its promises. Pure: reads a report, adds its verdicts.

use crate::report::RunReport;
use crate::wire::Counts;

/// A process or a set of cores busier than this was a limit itself.
const SATURATED: f64 = 0.90;
/// A publisher later than this at its 99th percentile no longer keeps an open-loop timetable: a quarter of the latency bound
/// of 100 ms that its runs are judged by.
const LATE_P99_MS: f64 = 25.0;
/// What the host, or other processes, may take of one core before it is worth a note, and before the figures do not count.
const DISTURBED: f64 = 0.10;
const SPOILED: f64 = 0.40;

/// Fills in what is invalid, violated and notable. `client_cores`: how many cores clients, publisher and Redis were pinned to
/// together, if they were.
pub(crate) fn judge(run: &mut RunReport, client_cores: Option<usize>) {
    let limits = saturation(run, client_cores);
    if run.spec.is_floor() {
        // A floor's cost per delivery stands whoever else was busy; its throughput is the reader's.
        run.notes.extend(limits.into_iter().map(|limit| format!("throughput is not the floor's limit: {limit}")));
    } else {
        run.invalid.extend(limits);
    }
    if let Some(lateness) = run.publish.as_ref().and_then(|publish| publish.lateness)
        && lateness.p99_ms > LATE_P99_MS
    {
        run.invalid.push(format!("the publisher fell behind its timetable by {:.0} ms (p99)", lateness.p99_ms));
    }
    if let Some(delivery) = &run.delivery
        && delivery.tally.owed != delivery.tally.fates()
    {
        run.invalid.push(format!("the load test's own books do not balance: {:?}", delivery.tally));
    }
    disturbances(run);
    run.violated.extend(broken_connections(run));
    run.violated.extend(broken_deliveries(run));
    run.violated.extend(broken_bounds(run));
}

fn saturation(run: &RunReport, client_cores: Option<usize>) -> Vec<String> {
    let mut limits = Vec::new();
    let mut check = |what: &str, share: f64| {
        if share >= SATURATED {
            limits.push(format!("{what} used {:.0} % of a core", share * 100.0));
        }
    };
    for storm in &run.storm {
        check("the clients", storm.client_core_share);
    }
    let Some(cpu) = &run.cpu else { return limits };
    for share in &cpu.clients {
        check("a client process", *share);
    }
    check("the publisher", cpu.publisher.unwrap_or(0.0));
    check("Redis", cpu.redis.unwrap_or(0.0));
    if let Some(cores) = client_cores {
        let together = cpu.clients.iter().sum::<f64>() + cpu.publisher.unwrap_or(0.0) + cpu.redis.unwrap_or(0.0);
        check("per pinned core, clients, publisher and Redis together", together / cores as f64);
    }
    limits
}

fn disturbances(run: &mut RunReport) {
    let Some(cpu) = &run.cpu else { return };
    let others = (cpu.others, format!("other processes and interrupts took {:.0} % of a core", cpu.others * 100.0));
    let stolen =
        cpu.cores.iter().enumerate().map(|(number, core)| {
            (core.stolen, format!("the host took {:.0} % of core {number}", core.stolen * 100.0))
        });
    for (share, text) in std::iter::once(others).chain(stolen) {
        match share {
            spoiled if spoiled >= SPOILED => run.disturbed.push(text),
            disturbed if disturbed >= DISTURBED => run.notes.push(text),
            _ => {}
        }
    }
}

fn broken_connections(run: &RunReport) -> Vec<String> {
    let waves = run.connect.iter().chain(run.storm.iter().map(|storm| &storm.connect));
    let failed =
        waves.flat_map(|wave| wave.failed.iter().map(|(why, count)| format!("{count} could not connect: {why}")));
    let closes = run.delivery.iter().flat_map(|delivery| named(&delivery.closes, "connections ended by the server"));
    let errors = run.delivery.iter().flat_map(|delivery| named(&delivery.errors, "errors"));
    failed.chain(closes).chain(errors).collect()
}

fn named<'a>(counts: &'a Counts, what: &'a str) -> impl Iterator<Item = String> + 'a {
    counts.iter().map(move |(name, count)| format!("{count} {what}: {name}"))
}

fn broken_deliveries(run: &RunReport) -> Vec<String> {
    let Some(delivery) = &run.delivery else { return Vec::new() };
    let tally = &delivery.tally;
    let conflated = if run.spec.promises.allow_conflation { 0 } else { tally.conflated };
    let faults = [
        (tally.lost, "lost"),
        (tally.undelivered, "not delivered in time"),
        (conflated, "conflated for clients that read well"),
        (tally.duplicated, "delivered twice"),
        (tally.out_of_order, "out of order"),
        (tally.unsolicited, "not subscribed, or before the ack"),
    ];
    let mut broken: Vec<String> = faults
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, fault)| format!("{count} of {} updates {fault}", tally.owed))
        .collect();
    if let Some(publish) = &run.publish
        && publish.fewest_receivers == Some(0)
    {
        broken.push("Redis had no subscriber for some messages".to_owned());
    }
    broken
}

fn broken_bounds(run: &RunReport) -> Vec<String> {
    let promises = &run.spec.promises;
    let mut broken = Vec::new();
    let mut at_most = |what: &str, measured: Option<f64>, bound: Option<f64>| match (measured, bound) {
        (Some(measured), Some(bound)) if measured >= bound => {
            broken.push(format!("{what} p99 is {measured:.1} ms, not below {bound} ms"));
        }
        _ => {}
    };
    at_most("delivery", run.latency().map(|latency| latency.p99_ms), promises.p99_ms);
    let redis = run.publish.as_ref().and_then(|publish| publish.redis);
    at_most("Redis", redis.map(|latency| latency.p99_ms), promises.redis_p99_ms);
    let panics: f64 =
        run.counters.iter().filter(|(name, _)| name.starts_with("tickcast_panics_total")).map(|(_, n)| n).sum();
    if panics > 0.0 {
        broken.push(format!("the server panicked {panics} times"));
    }
    if promises.counted_by_server {
        let published = run.publish.as_ref().map_or(0, |publish| publish.updates);
        match run.counters.get("tickcast_updates_received_total") {
            Some(&counted) if counted < published as f64 => {
                broken.push(format!("the server counted {counted} of {published} updates"));
            }
            Some(_) => {}
            None => broken.push("the server has no tickcast_updates_received_total to count updates by".to_owned()),
        }
    }
    broken
}
