//! A report for people: a few lines per run, the verdict last.

use std::fmt::Write;

use crate::latency::Percentiles;
use crate::plan::Spread;
use crate::run::spec::{Pace, Spec};
use crate::wire::Counts;

use super::{Bound, ConnectReport, CpuReport, DeliveryReport, MemoryReport, Report, RunReport, SearchReport, Split};

/// The whole report.
pub(crate) fn render(report: &Report) -> String {
    let mut out = String::new();
    let machine = &report.machine;
    let mut head = format!(
        "{} · {} · {}, {} cores, Linux {}",
        report.tool, report.label, machine.cpu, machine.cores, machine.kernel
    );
    for part in [
        machine.commit.as_ref().map(|commit| format!("commit {commit}")),
        report.redis.as_ref().map(|redis| format!("Redis {redis}")),
        report.pinned.server.as_ref().map(|cores| format!("server on core {cores}")),
        report.pinned.client.as_ref().map(|cores| format!("the rest on core {cores}")),
    ]
    .into_iter()
    .flatten()
    {
        head.push_str(" · ");
        head.push_str(&part);
    }
    line(&mut out, "", &head);
    for run in &report.runs {
        render_run(&mut out, run);
    }
    if !report.comparisons.is_empty() {
        line(&mut out, "", "");
        line(&mut out, "", "compared");
    }
    for comparison in &report.comparisons {
        let bound = comparison.bound.map_or_else(String::new, |bound| {
            let (word, value) = match bound {
                Bound::AtMost(value) => ("at most", value),
                Bound::AtLeast(value) => ("at least", value),
            };
            let verdict = if bound.holds(comparison.value) { "reached" } else { "MISSED" };
            format!("   ({word} {}: {verdict})", number(value))
        });
        let text = format!("{}: {} {}{bound}", comparison.what, number(comparison.value), comparison.unit);
        line(&mut out, "  ", &text);
    }
    if let Some(search) = &report.search {
        render_search(&mut out, search);
    }
    out
}

fn render_run(out: &mut String, run: &RunReport) {
    line(out, "", "");
    line(out, "", &describe(&run.spec));
    let mut row = |name: &str, text: String| line(out, "  ", &format!("{name:<15}{text}"));
    if let Some(connect) = &run.connect {
        row("connects", connects(connect));
    }
    for storm in &run.storm {
        let kind = if storm.subscribed { "and subscribe" } else { "upgrade alone" };
        let leaving = storm.leaving_cpu_us.map_or_else(String::new, |cpu| format!("; leaving {} each", split(cpu)));
        let text = format!(
            "{kind}: {}; clients {:.0} % of a core{leaving}",
            connects(&storm.connect),
            storm.client_core_share * 100.0
        );
        row("storm", text);
    }
    if let Some(delivery) = &run.delivery {
        deliveries(&mut row, delivery);
    }
    if let Some(cpu) = &run.cpu {
        usage(&mut row, cpu);
    }
    if let Some(publish) = &run.publish {
        let mut text = format!("{} updates in {} messages", group(publish.updates), group(publish.messages));
        if let Some(late) = publish.lateness {
            let _ = write!(text, "; late p99 {} ms, max {} ms", ms(late.p99_ms), ms(late.max_ms));
        }
        row("published", text);
        if let Some(redis) = publish.redis {
            row("Redis alone", percentiles(redis));
        }
    }
    counted(&mut row, run);
    memory(&mut row, &run.memory);
    if let (Some(files), true) = (run.files, run.spec.attacked) {
        row("files", format!("{} with nobody connected, {} when everybody was gone", files.base, files.left));
    }
    run.attack.iter().for_each(|(what, count)| row("attack", format!("{what}: {}", group(*count))));
    run.notes.iter().for_each(|note| row("note", note.clone()));
    run.invalid.iter().for_each(|why| row("INVALID", why.clone()));
    run.disturbed.iter().for_each(|why| row("DISTURBED", why.clone()));
    run.violated.iter().for_each(|why| row("VIOLATED", why.clone()));
    if run.violated.is_empty() {
        let counts = run.invalid.is_empty() && run.disturbed.is_empty();
        let but = if counts { "" } else { ", but the figures do not count" };
        row("verdict", format!("all promises kept{but}"));
    }
}

/// A run in a line.
pub(crate) fn describe(spec: &Spec) -> String {
    let plan = &spec.plan;
    let spread = match plan.spread {
        Spread::Uniform => "uniform".to_owned(),
        Spread::Zipf(exponent) => format!("zipf {exponent}"),
    };
    let mut text = format!(
        "{}: {} clients × {} of {} symbols ({spread})",
        spec.name,
        group(plan.clients.into()),
        plan.per_client.min(plan.symbols),
        plan.symbols
    );
    match spec.feed.pace {
        Pace::Silent => {}
        Pace::PerSecond(rate) => {
            let _ = write!(text, ", {} updates/s", number(rate));
        }
        Pace::Unpaced => text.push_str(", as fast as it goes"),
    }
    if spec.feed.cycle > 1 {
        let _ = write!(text, " in messages of {}", spec.feed.cycle);
    }
    text
}

fn connects(connect: &ConnectReport) -> String {
    let mut text =
        format!("{} in {} s: {}/s", group(connect.connected), connect.seconds, number(connect.per_second.round()));
    if let Some(cpu) = connect.cpu_us {
        let _ = write!(text, ", server CPU {} each", split(cpu));
    }
    if let Some(upgraded) = connect.upgraded {
        let _ = write!(text, "; to 101 p50 {} p99 {} ms", ms(upgraded.p50_ms), ms(upgraded.p99_ms));
    }
    if let Some(subscribed) = connect.subscribed {
        let _ = write!(text, ", to ack p50 {} p99 {} ms", ms(subscribed.p50_ms), ms(subscribed.p99_ms));
    }
    text
}

fn deliveries(row: &mut impl FnMut(&str, String), delivery: &DeliveryReport) {
    row(
        "deliveries",
        format!(
            "{} in {} s: {}/s, {} MB/s, {} updates per client read",
            group(delivery.deliveries),
            delivery.window_s,
            number(delivery.per_second.round()),
            number((delivery.bytes_per_second / 1e5).round() / 10.0),
            delivery.updates_per_read
        ),
    );
    if let Some(latency) = delivery.latency {
        row("latency", percentiles(latency));
    }
    let tally = &delivery.tally;
    let mut text = format!("{} owed, {} arrived, {} lost", group(tally.owed), group(tally.arrived), group(tally.lost));
    for (count, what) in [
        (tally.undelivered, "not delivered in time"),
        (tally.duplicated, "repeated"),
        (tally.out_of_order, "out of order"),
        (tally.unsolicited, "unsolicited"),
        (tally.conflated, "conflated"),
        (tally.skipped_for_bad_readers, "skipped for bad readers"),
        (tally.foreign, "of another publisher"),
        (tally.early, "due before the ack"),
    ] {
        if count > 0 {
            let _ = write!(text, ", {} {what}", group(count));
        }
    }
    row("checked", text);
    if delivery.told_conflated > 0 {
        row("lagging", format!("the server told of {} conflated updates", group(delivery.told_conflated)));
    }
    if delivery.reconnects + delivery.resubscribes > 0 {
        let back =
            delivery.reconnected.map_or_else(String::new, |back| format!("; back after p99 {} ms", ms(back.p99_ms)));
        row("churn", format!("{} reconnects, {} resubscribes{back}", delivery.reconnects, delivery.resubscribes));
    }
    if let Some(stuck) = &delivery.stuck {
        let after =
            stuck.cut_after.map_or_else(String::new, |after| format!(" after {:.1} s (median)", after.p50_ms / 1e3));
        row("stuck", format!("{} of {} cut{after}; they ended with {}", stuck.cut, stuck.clients, counts(&stuck.ends)));
    }
}

fn usage(row: &mut impl FnMut(&str, String), cpu: &CpuReport) {
    if let Some(server) = &cpu.server {
        let mut text = format!("{:.1} % of a core", server.share * 100.0);
        if let Some(each) = server.per_delivery_us {
            let _ = write!(text, "; {} per delivery", split(each));
        }
        if let Some(each) = server.per_update_us {
            let _ = write!(text, "; {} per update", split(each));
        }
        row("server CPU", text);
        if server.threads.len() > 1 {
            let threads: Vec<String> =
                server.threads.iter().map(|thread| format!("{} {:.1} %", thread.name, thread.share * 100.0)).collect();
            row("its threads", threads.join(", "));
        }
    }
    let percent = |share: f64| format!("{:.0} %", share * 100.0);
    let list = |shares: &[f64]| shares.iter().copied().map(percent).collect::<Vec<_>>().join(" + ");
    let mut parts = Vec::new();
    if !cpu.clients.is_empty() {
        parts.push(format!("clients {}", list(&cpu.clients)));
    }
    parts.extend(cpu.publisher.map(|share| format!("publisher {}", percent(share))));
    parts.extend(cpu.redis.map(|share| format!("Redis {}", percent(share))));
    parts.push(format!("others {}", percent(cpu.others)));
    let busy: Vec<f64> = cpu.cores.iter().map(|core| core.busy).collect();
    parts.push(format!("cores busy {}", list(&busy)));
    row("load test CPU", parts.join(", "));
}

/// What the server's own counters say, when it is a tickcast.
fn counted(row: &mut impl FnMut(&str, String), run: &RunReport) {
    let grown = |name: &str| run.counters.get(&format!("tickcast_{name}_total")).copied().filter(|count| *count > 0.0);
    let mut parts: Vec<String> =
        [("updates_received", "updates received"), ("feed_lagged", "times behind Redis"), ("conflated", "conflated")]
            .into_iter()
            .filter_map(|(name, what)| Some(format!("{} {what}", number(grown(name)?))))
            .collect();
    for (series, count) in run.counters.iter().filter(|(_, count)| **count > 0.0) {
        if let Some(labels) = series.strip_prefix("tickcast_updates_dropped_total{") {
            parts.push(format!("{} dropped ({})", number(*count), labels.trim_end_matches('}')));
        }
    }
    if let (Some(deliveries), Some(writes)) = (grown("deliveries"), grown("writes")) {
        parts.push(format!("{:.2} deliveries per write", deliveries / writes));
    }
    if !parts.is_empty() {
        row("server counted", parts.join(", "));
    }
}

fn memory(row: &mut impl FnMut(&str, String), memory: &MemoryReport) {
    let moments = [
        ("base", memory.base),
        ("connected", memory.connected),
        ("idle", memory.idle),
        ("window", memory.window_start),
        ("window's end", memory.window_end),
        ("all gone", memory.left),
    ];
    let parts: Vec<String> = moments
        .iter()
        .filter_map(|(moment, bytes)| Some(format!("{moment} {:.1}", bytes.as_ref().map(|b| *b as f64 / 1_048_576.0)?)))
        .collect();
    if parts.is_empty() {
        return;
    }
    let each = memory
        .per_connection
        .map_or_else(String::new, |each| format!("; {} bytes per connection", number(each.round())));
    row("memory (PSS)", format!("{} MiB{each}", parts.join(", ")));
}

fn render_search(out: &mut String, search: &SearchReport) {
    line(out, "", "");
    let bound = if search.lower_bound { "at least " } else { "" };
    let found = format!(
        "highest good rate: {bound}{} updates/s, {} deliveries/s",
        number(search.rate),
        number(search.deliveries_per_second.round())
    );
    line(out, "", &found);
    let limit = search.limited_by.join("; ");
    if search.disturbed_steps > 0 {
        line(out, "  ", &format!("DISTURBED: others had the machine in {} steps", search.disturbed_steps));
    }
    line(
        out,
        "  ",
        &if limit.is_empty() { "not limited up to --highest".to_owned() } else { format!("limited by: {limit}") },
    );
}

fn line(out: &mut String, indent: &str, text: &str) {
    out.push_str(indent);
    out.push_str(text);
    out.push('\n');
}

fn percentiles(latency: Percentiles) -> String {
    format!(
        "p50 {}  p90 {}  p99 {}  p99.9 {}  max {} ms",
        ms(latency.p50_ms),
        ms(latency.p90_ms),
        ms(latency.p99_ms),
        ms(latency.p999_ms),
        ms(latency.max_ms)
    )
}

fn split(cost: Split) -> String {
    format!("{:.2} µs (user {:.2}, sys {:.2})", cost.total, cost.user, cost.sys)
}

fn counts(counts: &Counts) -> String {
    counts.iter().map(|(name, count)| format!("{name} ({count})")).collect::<Vec<_>>().join(", ")
}

/// Milliseconds, with as many digits as matter.
fn ms(value: f64) -> String {
    if value < 10.0 { format!("{value:.2}") } else { format!("{value:.0}") }
}

/// A number with its thousands apart and at most three digits after the point.
pub(super) fn number(value: f64) -> String {
    let negative = if value < 0.0 { "-" } else { "" };
    let thousandths = (value.abs() * 1_000.0).round();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "`as` saturates; the value is not negative"
    )]
    let (whole, part) = ((thousandths / 1_000.0).floor() as u64, (thousandths % 1_000.0) as u64);
    let fraction = format!("{part:03}");
    let fraction = fraction.trim_end_matches('0');
    let point = if fraction.is_empty() { "" } else { "." };
    format!("{negative}{}{point}{fraction}", group(whole))
}

/// 1234567 as 1,234,567.
fn group(value: u64) -> String {
    let digits = value.to_string();
    let mut out = String::with_capacity(digits.len() * 4 / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_their_thousands_apart_and_no_idle_digits() {
        for (value, text) in [
            (0.0, "0"),
            (1.5, "1.5"),
            (0.1234, "0.123"),
            (0.9996, "1"),
            (1_234_567.0, "1,234,567"),
            (-12_345.67, "-12,345.67"),
            (100.05, "100.05"),
        ] {
            assert_eq!(number(value), text);
        }
    }
}
