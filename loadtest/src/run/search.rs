//! The highest rate a server carries: doubling until a run is bad, then halving the interval.
//!
//! Each step is a whole run with a fresh server and fresh clients, so that no step inherits a backlog. A bad step is tried
//! once more before it counts: one hiccup of a shared machine is not the server's limit.
//!
//! A step is good when nothing is missing and p99 is below its bound. Latency runs from the due time, so a busy client or a late
//! publisher can only make a step look worse: a good one proves what it says whoever was busy. A bad one that the load test had a
//! part in makes the answer a lower bound.

use std::ops::Range;

use crate::host::server::Died;
use crate::report::{RunReport, SearchReport, StepReport, round3};

use super::setup::{Host, Setup};
use super::spec::{Pace, Spec};

/// When the first rate is bad already, rates down to this part of it are tried.
const LOOK_BELOW: f64 = 64.0;

/// What to search.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Search {
    /// Good is a p99 below this.
    pub(crate) p99_ms: f64,
    /// Stop when the highest good and the lowest bad rate differ by less than this share.
    pub(crate) precision: f64,
    /// Never above this rate.
    pub(crate) highest: f64,
}

/// Searches from the rate of `spec` upwards. The report of the best run, if any was good, and of the search.
pub(crate) fn search(
    spec: &Spec,
    search: Search,
    setup: &Setup,
    host: &Host,
) -> anyhow::Result<(Option<RunReport>, SearchReport)> {
    let Pace::PerSecond(first) = spec.feed.pace else { anyhow::bail!("only a paced feed has a highest rate") };
    let mut steps = Vec::new();
    let mut interval = Interval { good: 0.0, bad: f64::INFINITY };
    let (mut best, mut limited_by, mut lower_bound) = (None, Vec::new(), false);
    let mut rate = first.min(search.highest);
    let lowest = rate / LOOK_BELOW;
    let mut disturbed_steps = 0;
    loop {
        let (step, run) = attempt(spec, search.p99_ms, rate, setup, host)?;
        disturbed_steps += usize::from(run.as_ref().is_some_and(|run| !run.disturbed.is_empty()));
        if step.good {
            interval.good = rate;
            best = run;
        } else {
            interval.bad = rate;
            lower_bound = run.is_some_and(|run| !run.invalid.is_empty());
            limited_by.clone_from(&step.why_not);
        }
        steps.push(step);
        match interval.next(search.precision, lowest..search.highest, rate) {
            Some(next) => rate = next,
            None => break,
        }
    }
    let deliveries = best.as_ref().and_then(|run| run.delivery.as_ref()).map_or(0.0, |delivery| delivery.per_second);
    let report = SearchReport {
        rate: interval.good,
        deliveries_per_second: deliveries,
        limited_by,
        lower_bound,
        disturbed_steps,
        steps,
    };
    Ok((best, report))
}

/// One step, tried twice at most; no run when the server died of it.
fn attempt(
    spec: &Spec,
    p99_ms: f64,
    rate: f64,
    setup: &Setup,
    host: &Host,
) -> anyhow::Result<(StepReport, Option<RunReport>)> {
    let mut spec = spec.clone();
    spec.feed.pace = Pace::PerSecond(rate);
    spec.name = format!("{} at {rate:.0}/s", spec.name);
    let mut tries = 0;
    loop {
        let (step, run) = match super::run(&spec, setup, host) {
            Ok(run) => (step_report(rate, p99_ms, &run), Some(run)),
            Err(error) if error.is::<Died>() => (deadly_step(rate, &error), None),
            Err(error) => return Err(error),
        };
        host.progress.say(&line(&step));
        tries += 1;
        if step.good || tries == 2 {
            return Ok((step, run));
        }
    }
}

fn deadly_step(rate: f64, error: &anyhow::Error) -> StepReport {
    StepReport {
        rate: round3(rate),
        deliveries_per_second: 0.0,
        p99_ms: None,
        server_share: 0.0,
        client_share: 0.0,
        updates_per_read: 0.0,
        good: false,
        why_not: vec![error.to_string()],
    }
}

fn step_report(rate: f64, p99_ms: f64, run: &RunReport) -> StepReport {
    let measured = run.latency().map(|latency| latency.p99_ms);
    let mut why_not = run.violated.clone();
    match measured {
        Some(measured) if measured < p99_ms => {}
        Some(measured) => why_not.push(format!("p99 is {measured:.1} ms")),
        None => why_not.push("nothing was delivered in the window".to_owned()),
    }
    let good = why_not.is_empty();
    if !good {
        why_not.extend_from_slice(&run.invalid);
    }
    let cpu = run.cpu.as_ref();
    let client = cpu
        .map_or(0.0, |cpu| cpu.clients.iter().sum::<f64>() + cpu.publisher.unwrap_or(0.0) + cpu.redis.unwrap_or(0.0));
    StepReport {
        rate: round3(rate),
        deliveries_per_second: run.delivery.as_ref().map_or(0.0, |delivery| delivery.per_second),
        p99_ms: measured,
        server_share: cpu.and_then(|cpu| cpu.server.as_ref()).map_or(0.0, |server| server.share),
        client_share: round3(client),
        updates_per_read: run.delivery.as_ref().map_or(0.0, |delivery| delivery.updates_per_read),
        good,
        why_not,
    }
}

fn line(step: &StepReport) -> String {
    let verdict = if step.good { "good".to_owned() } else { format!("bad: {}", step.why_not.join("; ")) };
    format!(
        "{:>9.0} updates/s {:>10.0} deliveries/s  p99 {:>8.2} ms  server {:>3.0} %  clients, publisher, Redis {:>3.0} %  \
         {:.1} updates/read  {verdict}",
        step.rate,
        step.deliveries_per_second,
        step.p99_ms.unwrap_or(f64::NAN),
        step.server_share * 100.0,
        step.client_share * 100.0,
        step.updates_per_read
    )
}

/// Between the highest rate known to be good and the lowest known to be bad.
#[derive(Debug, Clone, Copy)]
struct Interval {
    good: f64,
    bad: f64,
}

impl Interval {
    /// The next rate to try after `last`; `None` when the answer is near enough.
    fn next(self, precision: f64, range: Range<f64>, last: f64) -> Option<f64> {
        if self.bad.is_infinite() {
            return (last < range.end).then(|| (last * 2.0).min(range.end));
        }
        if self.good == 0.0 {
            return (self.bad > range.start).then_some(self.bad / 2.0);
        }
        (self.bad / self.good > 1.0 + precision).then(|| (self.good * self.bad).sqrt())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All rates tried from `first` for a server that carries `capacity`.
    fn tried(first: f64, capacity: f64, highest: f64) -> (Vec<f64>, f64) {
        let (mut interval, mut rate, mut rates) = (Interval { good: 0.0, bad: f64::INFINITY }, first, Vec::new());
        loop {
            rates.push(rate);
            if rate <= capacity {
                interval.good = rate;
            } else {
                interval.bad = rate;
            }
            match interval.next(0.1, first / LOOK_BELOW..highest, rate) {
                Some(next) => rate = next,
                None => return (rates, interval.good),
            }
        }
    }

    #[test]
    fn the_search_doubles_then_narrows_down_to_a_tenth() {
        let (rates, found) = tried(50.0, 2_900.0, 1e9);
        assert_eq!(rates[..7], [50.0, 100.0, 200.0, 400.0, 800.0, 1_600.0, 3_200.0]);
        assert!(found <= 2_900.0 && found * 1.1 > 2_900.0 - 1.0, "{found}");
        assert!(rates.len() < 14, "{rates:?}");
    }

    #[test]
    fn a_first_rate_that_is_too_high_is_halved_and_a_ceiling_is_kept() {
        let (_, found) = tried(1_000.0, 130.0, 1e9);
        assert!((110.0..=130.0).contains(&found), "{found}");
        let (rates, found) = tried(100.0, 1e6, 500.0);
        assert_eq!((rates, found), (vec![100.0, 200.0, 400.0, 500.0], 500.0));
        assert_eq!(tried(4.0, 0.0, 1e9).1, 0.0);
    }
}
