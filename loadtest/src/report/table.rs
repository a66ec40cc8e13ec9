//! Many reports side by side, as Markdown: the median over the rounds of each label, and ratios to the subject.
//!
//! Reports of one label and run are rounds of each other. Floors of a run (`s1: paced, 1 a write`) become columns beside it. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::text::number;
use super::{Bound, Comparison, Report, RunReport};

/// Figures of one run and label, over its rounds.
#[derive(Debug, Default)]
struct Cell {
    values: Vec<f64>,
    /// A round's figures did not count, or a promise was broken.
    marks: BTreeSet<char>,
}

/// (run, figure) → label → its rounds.
type Rows = BTreeMap<(String, usize), BTreeMap<String, Cell>>;

/// A comparison, and its values by label.
type Compared<'a> = (&'a Comparison, BTreeMap<&'a str, Vec<f64>>);

/// The figures of a table, in order: name, unit.
const FIGURES: [(&str, &str); 12] = [
    ("CPU per delivery", "µs"),
    ("deliveries", "/s"),
    ("highest good deliveries", "/s"),
    ("latency p50", "ms"),
    ("latency p99", "ms"),
    ("updates per client read", ""),
    ("CPU per update", "µs"),
    ("connects, upgrades alone", "/s"),
    ("CPU per connect, upgrades alone", "µs"),
    ("connects, subscribed", "/s"),
    ("CPU per connect, subscribed", "µs"),
    ("memory per connection", "bytes"),
];
const HIGHEST: usize = 2;

/// The table, with the machine above it and what the marks mean below it.
pub(crate) fn markdown(reports: &[Report], subject: &str) -> String {
    let mut rows = Rows::new();
    for report in reports {
        for run in &report.runs {
            enter_run(&mut rows, report, run);
        }
        if let (Some(search), Some(run)) = (&report.search, report.runs.first()) {
            let bound = search.lower_bound.then_some('≥');
            let disturbed = (search.disturbed_steps > 0).then_some('*');
            let marks: BTreeSet<char> = bound.into_iter().chain(disturbed).collect();
            let (row, label) = place(report, run);
            enter(&mut rows, (row, HIGHEST), label, Some(search.deliveries_per_second), &marks);
        }
    }
    let labels: BTreeSet<&String> = rows.values().flat_map(BTreeMap::keys).collect();
    let others: Vec<&String> = labels.iter().copied().filter(|label| *label != subject).collect();
    let has_subject = labels.iter().any(|label| *label == subject);
    let columns: Vec<&str> =
        has_subject.then_some(subject).into_iter().chain(others.iter().map(|l| l.as_str())).collect();

    let mut out = heading(reports);
    let ratios: Vec<String> =
        others.iter().filter(|_| has_subject).map(|other| format!("{subject} / {other}")).collect();
    let heads = columns.iter().map(|column| (*column).to_owned()).chain(ratios).collect::<Vec<_>>().join(" | ");
    let rules = "---:|".repeat(heads.split(" | ").count());
    let _ = writeln!(out, "| run | figure | {heads} |\n|---|---|{rules}");
    for ((run, figure), cells) in &rows {
        let value = |label: &str| cells.get(label).and_then(|cell| median(cell.values.clone()));
        let mut line = format!("| {run} | {} |", name(*figure));
        for column in &columns {
            let marks: String = cells.get(*column).map_or_else(String::new, |cell| cell.marks.iter().collect());
            let _ = write!(
                line,
                " {} |",
                value(column).map_or_else(|| "–".to_owned(), |v| format!("{marks}{}", number(rounded(v))))
            );
        }
        for other in others.iter().filter(|_| has_subject) {
            let ratio = value(subject).zip(value(other)).map(|(subject, other)| subject / other);
            let ratio = ratio.filter(|ratio| ratio.is_finite());
            let _ = write!(line, " {} |", ratio.map_or_else(|| "–".to_owned(), |ratio| format!("{ratio:.2}")));
        }
        let _ = writeln!(out, "{line}");
    }
    out.push_str(&compared(reports, &columns));
    out.push_str("\n`*` the load test or other processes limited a round; `!` a promise was broken in a round; `≥` the load test was the limit.\n");
    out
}

/// What follows from several runs together, with what it should be on the machine of the issue.
fn compared(reports: &[Report], columns: &[&str]) -> String {
    let mut rows: BTreeMap<(&str, usize, &str), Compared<'_>> = BTreeMap::new();
    for report in reports {
        let scenario = report.scenario.as_deref().unwrap_or("custom");
        for (place, comparison) in report.comparisons.iter().enumerate() {
            let row = rows.entry((scenario, place, &comparison.what)).or_insert_with(|| (comparison, BTreeMap::new()));
            let (_, cells) = row;
            cells.entry(&report.label).or_default().push(comparison.value);
        }
    }
    if rows.is_empty() {
        return String::new();
    }
    let columns: Vec<&&str> =
        columns.iter().filter(|c| rows.values().any(|(_, cells)| cells.contains_key(**c))).collect();
    let heads = columns.iter().map(|column| format!(" {column} |")).collect::<String>();
    let mut out =
        format!("\n| scenario | compared | wanted |{heads}\n|---|---|---|{}\n", "---:|".repeat(columns.len()));
    for ((scenario, _, what), (comparison, cells)) in &rows {
        let wanted = match comparison.bound {
            Some(Bound::AtMost(most)) => format!("≤ {}", number(most)),
            Some(Bound::AtLeast(least)) => format!("≥ {}", number(least)),
            None => String::new(),
        };
        let _ = write!(out, "| {scenario} | {what} ({}) | {wanted} |", comparison.unit);
        for column in &columns {
            let value = cells.get(**column).and_then(|values| median(values.clone()));
            let _ = write!(out, " {} |", value.map_or_else(|| "–".to_owned(), |value| number(rounded(value))));
        }
        out.push('\n');
    }
    out
}

fn heading(reports: &[Report]) -> String {
    let mut out = String::new();
    if let Some(report) = reports.first() {
        let machine = &report.machine;
        let pins = match (&report.pinned.server, &report.pinned.client) {
            (Some(server), Some(client)) => format!(", server on core {server}, the rest on core {client}"),
            _ => String::new(),
        };
        let _ = writeln!(
            out,
            "{}, {} cores, {} MiB, Linux {}; commit {}; {}{pins}; medians of {} round(s).\n",
            machine.cpu,
            machine.cores,
            machine.memory_mib,
            machine.kernel,
            machine.commit.as_deref().unwrap_or("unknown"),
            report.date,
            rounds(reports)
        );
    }
    out
}

/// How often the commonest run of one label was made.
fn rounds(reports: &[Report]) -> usize {
    let mut counts: BTreeMap<(&str, String), usize> = BTreeMap::new();
    for report in reports {
        for run in &report.runs {
            *counts.entry((&report.label, place(report, run).0 + &run.spec.name)).or_default() += 1;
        }
    }
    counts.into_values().max().unwrap_or(0)
}

/// The row and the column of a run: floors stand beside the run they are the floor of.
fn place(report: &Report, run: &RunReport) -> (String, String) {
    let name = run.spec.name.split(" at ").next().unwrap_or(&run.spec.name);
    match name.rsplit_once(": ") {
        Some((of, which)) if run.spec.is_floor() => (of.to_owned(), format!("{} {which}", report.label)),
        _ => (name.to_owned(), report.label.clone()),
    }
}

fn enter_run(rows: &mut Rows, report: &Report, run: &RunReport) {
    let mut marks = BTreeSet::new();
    marks.extend((!run.invalid.is_empty() || !run.disturbed.is_empty()).then_some('*'));
    marks.extend((!run.violated.is_empty()).then_some('!'));
    let (row, label) = place(report, run);
    let delivery = run.delivery.as_ref();
    let storm = |subscribed: bool| run.storm.iter().filter(move |storm| storm.subscribed == subscribed);
    let rate = |subscribed: bool| median(storm(subscribed).map(|s| s.connect.per_second).collect());
    let cost = |subscribed: bool| median(storm(subscribed).filter_map(|s| Some(s.connect.cpu_us?.total)).collect());
    // A search's best run stands for itself in its own row; here only runs at a given rate are compared.
    let searched = report.search.is_some();
    let given = |value: Option<f64>| value.filter(|_| !searched);
    let values = [
        given(run.per_delivery_us()),
        given(delivery.map(|delivery| delivery.per_second)),
        None,
        given(run.latency().map(|latency| latency.p50_ms)),
        given(run.latency().map(|latency| latency.p99_ms)),
        given(delivery.map(|delivery| delivery.updates_per_read)),
        given(run.per_update_us()),
        rate(false),
        cost(false),
        rate(true),
        cost(true),
        // Right after connecting, what a handshake needed may not have been given back.
        given(run.memory.per_connection.filter(|_| run.memory.idle.is_some())),
    ];
    for (figure, value) in values.into_iter().enumerate() {
        enter(rows, (row.clone(), figure), label.clone(), value, &marks);
    }
}

fn enter(rows: &mut Rows, row: (String, usize), label: String, value: Option<f64>, marks: &BTreeSet<char>) {
    let Some(value) = value.filter(|value| value.is_finite()) else { return };
    let cell = rows.entry(row).or_default().entry(label).or_default();
    cell.values.push(value);
    cell.marks.extend(marks);
}

fn name(figure: usize) -> String {
    let (name, unit) = FIGURES[figure];
    if unit.is_empty() { name.to_owned() } else { format!("{name} ({unit})") }
}

/// As many digits as a table needs.
fn rounded(value: f64) -> f64 {
    let factor = match value.abs() {
        large if large >= 1_000.0 => 1.0,
        middle if middle >= 100.0 => 10.0,
        _ => 100.0,
    };
    (value * factor).round() / factor
}

/// The middle value, or the mean of both middle ones.
pub(crate) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(values[middle]),
        _ => Some(f64::midpoint(values[middle - 1], values[middle])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proc::machine::Machine;
    use crate::report::{MemoryReport, Pinned, SearchReport};
    use crate::run::spec::Source;
    use crate::scenario::s1;

    fn run(name: &str, source: Source, per_connection: f64, invalid: Vec<String>) -> RunReport {
        RunReport {
            spec: crate::run::spec::Spec { name: name.to_owned(), source, ..s1() },
            connect: None,
            storm: Vec::new(),
            publish: None,
            delivery: None,
            cpu: None,
            memory: MemoryReport { idle: Some(1), per_connection: Some(per_connection), ..MemoryReport::default() },
            files: None,
            attack: BTreeMap::new(),
            counters: BTreeMap::new(),
            invalid,
            disturbed: Vec::new(),
            violated: Vec::new(),
            notes: Vec::new(),
        }
    }

    fn report(label: &str, runs: Vec<RunReport>, search: Option<SearchReport>) -> Report {
        Report {
            tool: String::new(),
            label: label.to_owned(),
            scenario: None,
            command: String::new(),
            date: "2026-11-21".to_owned(),
            machine: Machine { cpu: "C".into(), cores: 2, memory_mib: 1, kernel: "6".into(), commit: None },
            redis: None,
            pinned: Pinned::default(),
            runs,
            comparisons: Vec::new(),
            search,
        }
    }

    #[test]
    fn rounds_become_medians_and_labels_become_columns_with_ratios() {
        let one = |label: &str, bytes, invalid| report(label, vec![run("s3", Source::Redis, bytes, invalid)], None);
        let reports = [
            one("tickcast", 700.0, vec![]),
            one("node", 8_000.0, vec![]),
            one("tickcast", 720.0, vec!["disturbed".to_owned()]),
            one("tickcast", 990.0, vec![]),
        ];
        let table = markdown(&reports, "tickcast");
        assert!(table.contains("| run | figure | tickcast | node | tickcast / node |"), "{table}");
        assert!(table.contains("| s3 | memory per connection (bytes) | *720 | 8,000 | 0.09 |"), "{table}");
        assert!(table.contains("medians of 3 round(s)"), "{table}");
    }

    #[test]
    fn a_floor_stands_beside_the_run_it_is_the_floor_of() {
        let floor = run("s1: paced, 1 a write", Source::Floor { frames_per_write: 1 }, 3.0, vec![]);
        let reports =
            [report("floor", vec![floor], None), report("tickcast", vec![run("s1", Source::Redis, 6.0, vec![])], None)];
        let table = markdown(&reports, "tickcast");
        assert!(table.contains("| s1 | memory per connection (bytes) | 6 | 3 | 2.00 |"), "{table}");
        assert!(table.contains("| tickcast | floor paced, 1 a write |"), "{table}");
    }

    #[test]
    fn a_search_gives_its_highest_rate_and_says_when_it_is_a_lower_bound() {
        let search = SearchReport {
            rate: 1.0,
            deliveries_per_second: 2e6,
            limited_by: vec![],
            lower_bound: true,
            disturbed_steps: 0,
            steps: vec![],
        };
        let best = run("s1 at 2000/s", Source::Redis, 1.0, vec![]);
        let table = markdown(&[report("tickcast", vec![best], Some(search))], "tickcast");
        assert!(table.contains("| s1 | highest good deliveries (/s) | ≥2,000,000 |"), "{table}");
        assert!(!table.contains("memory per connection"), "{table}");
    }

    #[test]
    fn what_was_compared_has_a_table_of_its_own() {
        let compared = |label: &str, value| {
            let bound = Some(Bound::AtMost(0.15));
            let what = "singly against cycles".to_owned();
            let comparison = Comparison { what, value, unit: "×".to_owned(), bound };
            let runs = vec![run("cycles", Source::Redis, 1.0, vec![])];
            Report { scenario: Some("cycles".to_owned()), comparisons: vec![comparison], ..report(label, runs, None) }
        };
        let reports = [compared("tickcast", 0.1), compared("tickcast", 0.2), compared("node", 0.9)];
        let table = markdown(&reports, "tickcast");
        assert!(table.contains("| scenario | compared | wanted | tickcast | node |"), "{table}");
        assert!(table.contains("| cycles | singly against cycles (×) | ≤ 0.15 | 0.15 | 0.9 |"), "{table}");
    }

    #[test]
    fn the_median_of_an_even_number_is_between_the_middle_two() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }
}
