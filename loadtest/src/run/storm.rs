//! Connect storms: everybody connects as fast as the server lets them, leaves, and does it again.

use crate::report::{RunReport, Split, StormReport, round3};

use super::spec::Spec;
use super::stand::Stand;

/// The rounds of `spec`: upgrades alone, then upgrades with subscriptions.
pub(crate) fn rage(spec: &Spec, stand: &mut Stand<'_>, report: &mut RunReport) -> anyhow::Result<()> {
    let rounds = spec.storm.map_or(0, |storm| storm.rounds);
    let cast = stand.cast();
    let first = cast.sample(stand.clock);
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
            stand.wait_until_all_left()?;
            let left = cast.sample(stand.clock);
            report.storm.push(StormReport {
                subscribed: subscribe,
                connect: super::connect_report(&outcome, &cast, &before, &connected),
                client_core_share: connected.client_share_since(&before),
                leaving_seconds: round3((stand.clock.now() - leaving) as f64 / 1e9),
                leaving_cpu_us: Split::per(left.server_since(&connected), outcome.connected)
                    .filter(|_| !cast.server.is_empty()),
            });
        }
    }
    report.memory.left = stand.memory();
    report.cpu = Some(cast.report(&first, &cast.sample(stand.clock), 0, 0));
    Ok(())
}
