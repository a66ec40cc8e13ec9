//! Connect storms: everybody connects as fast as the server lets them, leaves, and does it again.

use crate::clock::Ns;
use crate::report::{RunReport, Split, StormReport, round3};

use super::spec::Spec;
use super::stand::Stand;

/// How long the server may take to close its side of everybody's connection.
const LEFT_WITHIN: Ns = 15_000_000_000;
const LOOK_EVERY: Ns = 20_000_000;
/// Files a server may open and keep meanwhile: a log, a pool's connection.
const OTHER_FILES: usize = 16;

/// The rounds of `spec`: upgrades alone, then upgrades with subscriptions.
pub(crate) fn rage(spec: &Spec, stand: &mut Stand<'_>, report: &mut RunReport) -> anyhow::Result<()> {
    let rounds = spec.storm.map_or(0, |storm| storm.rounds);
    let cast = stand.cast();
    let files = stand.server_files();
    for round in 0..rounds {
        for subscribe in [false, true] {
            let kind = if subscribe { "with subscriptions" } else { "upgrades alone" };
            let phase = format!("{}: round {} of {rounds}, {kind}", spec.name, round + 1);
            stand.progress.begin(&phase, spec.plan.clients.into());
            let before = cast.sample(stand.clock);
            let outcome = stand.connect(spec, subscribe)?;
            let connected = cast.sample(stand.clock);
            if report.memory.connected.is_none() && subscribe {
                report.memory.connected = stand.memory();
            }
            let leaving = stand.clock.now();
            stand.disconnect()?;
            wait_for_files(stand, files)?;
            let left = cast.sample(stand.clock);
            report.storm.push(StormReport {
                subscribed: subscribe,
                connect: super::connect_report(&outcome, &cast, &before, &connected),
                client_core_share: connected.client_share_since(&before),
                leaving_seconds: round3((stand.clock.now() - leaving) as f64 / 1e9),
                leaving_cpu_us: files.and_then(|_| Split::per(left.server_since(&connected), outcome.connected)),
            });
        }
    }
    report.memory.left = stand.memory();
    Ok(())
}

/// Waits until the server has closed everybody's connection: until it has about `base` files open again, or, without a base, no
/// longer closes any.
pub(crate) fn wait_for_files(stand: &mut Stand<'_>, base: Option<usize>) -> anyhow::Result<()> {
    let deadline = stand.clock.now() + LEFT_WITHIN;
    let mut last = usize::MAX;
    while let Some(files) = stand.server_files() {
        let settled = base.map_or(files == last, |base| files <= base + OTHER_FILES);
        last = files;
        let now = stand.clock.now();
        if settled || now >= deadline {
            break;
        }
        stand.wait_until((now + LOOK_EVERY).min(deadline))?;
    }
    Ok(())
}
