//! Budgets as a table. Pure.

use std::fmt::Write as _;

use serde_json::Value;

const TITLES: [&str; 9] = [
    "PROVIDER",
    "WINDOW",
    "AVAILABLE",
    "CAPACITY",
    "REFILL/MIN",
    "FULL IN S",
    "TODAY",
    "EXPECTED/CYCLE",
    "ACTUAL/CYCLE",
];
/// The last ones, which only a publisher knows.
const COSTS: usize = 2;
/// Names are on the left, numbers on the right.
const LEFT: usize = 2;
const ABSENT: &str = "-";
/// Windows in the order people think of them.
const WINDOWS: [&str; 4] = ["second", "minute", "hour", "day"];

/// The table of `{name: {"budget": {window: {…}}, "spent_today": n, "calls": {"last_cycle": {…}}}}`: a line for each
/// window; what is the provider's stands beside its first. Costs are shown where somebody says them.
pub(super) fn of(providers: &Value) -> String {
    let mut rows = vec![TITLES.map(str::to_owned)];
    for (name, provider) in providers.as_object().into_iter().flatten() {
        let cycle = &provider["calls"]["last_cycle"];
        let own = [&provider["spent_today"], &cycle["expected"], &cycle["actual"]].map(number);
        let mut windows: Vec<(&String, &Value)> = provider["budget"].as_object().into_iter().flatten().collect();
        windows.sort_by_key(|(window, _)| WINDOWS.iter().position(|known| known == window).unwrap_or(WINDOWS.len()));
        let line = |place: usize, window: &str, budget: &Value| {
            let first = |text: &str| if place == 0 { text.to_owned() } else { String::new() };
            let [available, capacity, refill, full] =
                ["available", "capacity", "refill_per_minute", "full_in_s"].map(|field| number(&budget[field]));
            let [spent, expected, actual] = own.each_ref().map(|text| first(text));
            [first(name), window.to_owned(), available, capacity, refill, full, spent, expected, actual]
        };
        if windows.is_empty() {
            rows.push(line(0, "unlimited", &Value::Null));
        }
        rows.extend(windows.iter().enumerate().map(|(place, (window, budget))| line(place, window, budget)));
    }
    if rows.len() == 1 {
        return "no provider here has a budget\n".into();
    }
    let has_costs = providers.as_object().into_iter().flatten().any(|(_, provider)| provider["calls"].is_object());
    aligned(&rows, if has_costs { TITLES.len() } else { TITLES.len() - COSTS })
}

fn number(value: &Value) -> String {
    match value {
        // 5.0 and 5 are one number to people
        Value::Number(number) => {
            let text = number.to_string();
            text.strip_suffix(".0").unwrap_or(&text).to_owned()
        }
        _ => ABSENT.to_owned(),
    }
}

fn aligned(rows: &[[String; TITLES.len()]], columns: usize) -> String {
    let widths: [usize; TITLES.len()] =
        std::array::from_fn(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0));
    let mut table = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, (text, width)) in row.iter().zip(widths).take(columns).enumerate() {
            let written =
                if column < LEFT { write!(line, "{text:<width$}  ") } else { write!(line, "{text:>width$}  ") };
            written.expect("writing to a String does not fail");
        }
        table.push_str(line.trim_end());
        table.push('\n');
    }
    table
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn budgets_stand_in_a_table() {
        let providers = json!({
            "finnhub": {"budget": {
                "minute": {"available": 58, "capacity": 60, "refill_per_minute": 60.0, "full_in_s": 41.5},
                "second": {"available": 30, "capacity": 30, "refill_per_minute": 1800.0, "full_in_s": 0.0},
            }, "spent_today": 1204},
            "alphavantage": {"budget": {
                "day": {"available": 23, "capacity": 25, "refill_per_minute": 0.017, "full_in_s": 80000.0},
            }, "spent_today": 2},
            "simulated": {"budget": {}},
        });
        assert_eq!(
            of(&providers),
            "\
PROVIDER      WINDOW     AVAILABLE  CAPACITY  REFILL/MIN  FULL IN S  TODAY
alphavantage  day               23        25       0.017      80000      2
finnhub       second            30        30        1800          0   1204
              minute            58        60          60       41.5
simulated     unlimited          -         -           -          -      -
"
        );
        assert_eq!(of(&Value::Null), "no provider here has a budget\n");
    }

    #[test]
    fn a_publisher_says_what_a_cycle_costs() {
        let budget = json!({"available": 58, "capacity": 60, "refill_per_minute": 60.0, "full_in_s": 41.5});
        let providers = json!({
            "binance": {"budget": {"minute": budget}, "spent_today": 6,
                "calls": {"expected": 3, "actual": 4, "last_cycle": {"expected": 2, "actual": 3}}},
            "simulated": {"budget": {}, "calls": {"expected": 0, "actual": 0, "last_cycle": null}},
        });
        assert_eq!(
            of(&providers),
            "\
PROVIDER   WINDOW     AVAILABLE  CAPACITY  REFILL/MIN  FULL IN S  TODAY  EXPECTED/CYCLE  ACTUAL/CYCLE
binance    minute            58        60          60       41.5      6               2             3
simulated  unlimited          -         -           -          -      -               -             -
"
        );
    }
}
