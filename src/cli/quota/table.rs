//! Budgets as a table. Pure.

use std::fmt::Write as _;

use serde_json::Value;

const TITLES: [&str; 7] = ["PROVIDER", "WINDOW", "AVAILABLE", "CAPACITY", "REFILL/MIN", "FULL IN S", "TODAY"];
/// Names are on the left, numbers on the right.
const LEFT: usize = 2;
const ABSENT: &str = "-";
/// Windows in the order people think of them.
const WINDOWS: [&str; 4] = ["second", "minute", "hour", "day"];

/// The table of `{name: {"budget": {window: {…}}, "spent_today": n}}`: a line for each window; what a provider spent
/// stands beside its first.
pub(super) fn of(providers: &Value) -> String {
    let mut rows = vec![TITLES.map(str::to_owned)];
    for (name, provider) in providers.as_object().into_iter().flatten() {
        let spent = number(&provider["spent_today"]);
        let mut windows: Vec<(&String, &Value)> = provider["budget"].as_object().into_iter().flatten().collect();
        windows.sort_by_key(|(window, _)| WINDOWS.iter().position(|known| known == window).unwrap_or(WINDOWS.len()));
        let line = |place: usize, window: &str, budget: &Value| {
            let first = |text: &str| if place == 0 { text.to_owned() } else { String::new() };
            let [available, capacity, refill, full] =
                ["available", "capacity", "refill_per_minute", "full_in_s"].map(|field| number(&budget[field]));
            [first(name), window.to_owned(), available, capacity, refill, full, first(&spent)]
        };
        if windows.is_empty() {
            rows.push(line(0, "unlimited", &Value::Null));
        }
        rows.extend(windows.iter().enumerate().map(|(place, (window, budget))| line(place, window, budget)));
    }
    if rows.len() == 1 { "no provider here has a budget\n".into() } else { aligned(&rows) }
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

fn aligned(rows: &[[String; TITLES.len()]]) -> String {
    let widths: [usize; TITLES.len()] =
        std::array::from_fn(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0));
    let mut table = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, (text, width)) in row.iter().zip(widths).enumerate() {
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
}
