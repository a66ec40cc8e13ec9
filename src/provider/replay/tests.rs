use std::io::Write;

use super::*;
use crate::provider::replay::tape::Counts;

fn data(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "tests", "data", name].iter().collect()
}

fn symbols(texts: &[&str]) -> Vec<Symbol> {
    texts.iter().map(|text| Symbol::parse(text).unwrap()).collect()
}

/// A file of these lines; it lives as long as the handle.
fn file(name: &str, text: &str) -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join(name);
    std::fs::File::create(&path).unwrap().write_all(text.as_bytes()).unwrap();
    (dir, path)
}

fn config(path: PathBuf) -> Config {
    Config { file: Some(path), ..Config::default() }
}

fn show(quote: &Quote) -> String {
    let text = |number: &Option<Number>| number.as_ref().map_or("-".to_owned(), ToString::to_string);
    let at = quote.traded_at.map_or("-".to_owned(), |at| at.strftime("%F").to_string());
    let (change, percent) = (text(&quote.change), text(&quote.change_percent));
    format!("{} {at} {} {change} {percent} {}", quote.symbol, quote.price, text(&quote.volume))
}

async fn poll(replay: &Replay, texts: &[&str]) -> Vec<String> {
    replay.fetch(&symbols(texts)).await.quotes.iter().map(show).collect()
}

#[tokio::test]
async fn each_poll_plays_the_next_row_of_each_symbol_in_the_files_own_text() {
    let replay = Replay::open(&config(data("stocks_monthly.csv"))).await.unwrap();
    assert_eq!(poll(&replay, &["MSFT", "GOOG"]).await, ["MSFT 2000-01-01 39.81 - - -", "GOOG 2004-08-01 102.37 - - -"]);
    assert_eq!(
        poll(&replay, &["GOOG", "MSFT", "NONE"]).await,
        ["GOOG 2004-09-01 129.6 27.23 26.5996 -", "MSFT 2000-02-01 36.35 -3.46 -8.6913 -"]
    );
    assert!(replay.serves(symbols(&["IBM"])[0]) && !replay.serves(symbols(&["TCS"])[0]));
}

#[tokio::test]
async fn a_file_without_a_symbol_column_is_of_its_name_or_of_the_configured_symbol() {
    let replay = Replay::open(&config(data("sp500_daily.csv"))).await.unwrap();
    assert_eq!(poll(&replay, &["SP500_DAILY"]).await, ["SP500_DAILY 2000-01-03 1455.219971 - - 931800000"]);
    let named = Config { symbol: Some("^gspc".into()), ..config(data("sp500_daily.csv")) };
    let replay = Replay::open(&named).await.unwrap();
    poll(&replay, &["^GSPC"]).await;
    assert_eq!(poll(&replay, &["^GSPC"]).await, ["^GSPC 2000-01-04 1399.420044 -55.799927 -3.8345 1009000000"]);
}

#[tokio::test(start_paused = true)]
async fn the_last_row_stays_unless_the_replay_repeats() {
    let (_dir, path) = file("a.csv", "price,volume\n1.0,1\n2.0,2\n");
    let replay = Replay::open(&config(path.clone())).await.unwrap();
    let mut played = Vec::new();
    for _ in 0..4 {
        played.extend(poll(&replay, &["A"]).await);
    }
    assert_eq!(played, ["A - 1.0 - - 1", "A - 2.0 1.0 100 2"]);
    tokio::time::advance(AGAIN).await;
    assert_eq!(poll(&replay, &["A"]).await, ["A - 2.0 1.0 100 2"], "so that its cached quote stays alive");

    let replay = Replay::open(&Config { repeat: Some(true), ..config(path) }).await.unwrap();
    let mut prices = Vec::new();
    for _ in 0..5 {
        prices.extend(replay.fetch(&symbols(&["A"])).await.quotes.into_iter().map(|quote| quote.price.to_string()));
    }
    assert_eq!(prices, ["1.0", "2.0", "1.0", "2.0", "1.0"]);
}

const TICKS: &str = "time,symbol,price\n\
    2026-11-20T10:00:00Z,A,1\n2026-11-20T10:00:01Z,A,2\n2026-11-20T10:00:01Z,B,10\n2026-11-20T10:00:02Z,A,3\n\
    2026-11-20T10:01:00Z,A,4\n";

#[tokio::test(start_paused = true)]
async fn a_speed_plays_what_has_come_due_and_loses_nothing_between_two_polls() {
    let (_dir, path) = file("ticks.csv", TICKS);
    let replay = Replay::open(&Config { speed: Some(2.0), ..config(path) }).await.unwrap();
    let mut seen = Vec::new();
    for half_seconds in 0..4 {
        let prices = replay.fetch(&symbols(&["A", "B"])).await.quotes;
        seen.push((half_seconds, prices.iter().map(|q| format!("{}{}", q.symbol, q.price)).collect::<Vec<_>>()));
        tokio::time::advance(Duration::from_millis(500)).await;
    }
    assert_eq!(
        seen,
        [(0, vec!["A1".to_owned()]), (1, vec!["A2".into(), "B10".into()]), (2, vec!["A3".into()]), (3, vec![])]
    );
    let replay = Replay::open(&Config { speed: Some(1000.0), ..config(file_again(&_dir)) }).await.unwrap();
    assert_eq!(poll(&replay, &["A"]).await.len(), 1);
    tokio::time::advance(Duration::from_millis(60)).await;
    let prices: Vec<_> = replay.fetch(&symbols(&["A"])).await.quotes.into_iter().map(|q| q.price.to_string()).collect();
    assert_eq!(prices, ["2", "3", "4"]);
}

fn file_again(dir: &tempfile::TempDir) -> PathBuf {
    dir.path().join("ticks.csv")
}

#[tokio::test(start_paused = true)]
async fn with_a_speed_newcomers_begin_with_the_newest_due_row() {
    let (_dir, path) = file("ticks.csv", TICKS);
    let replay = Replay::open(&Config { speed: Some(1.0), ..config(path) }).await.unwrap();
    poll(&replay, &["B"]).await;
    tokio::time::advance(Duration::from_secs(5)).await;
    assert_eq!(poll(&replay, &["A"]).await, ["A 2026-11-20 3 1 50 -"]);
}

#[tokio::test(start_paused = true)]
async fn a_replay_with_a_speed_begins_again_a_second_after_its_end() {
    let (_dir, path) = file("ticks.csv", TICKS);
    let again = Config { speed: Some(60.0), repeat: Some(true), ..config(path) };
    let replay = Replay::open(&again).await.unwrap();
    let mut prices = Vec::new();
    for _ in 0..25 {
        prices.extend(replay.fetch(&symbols(&["A"])).await.quotes.into_iter().map(|quote| quote.price.to_string()));
        tokio::time::advance(Duration::from_millis(100)).await;
    }
    assert_eq!(prices, ["1", "2", "3", "4", "1", "2", "3"]);
}

#[test]
fn rows_are_played_in_order_of_time_however_the_file_is_sorted() {
    let (_dir, path) = file(
        "mixed.csv",
        "Symbol,Date,Close\nA,03/02/2026,3\nB,01/02/2026,9\nA,02/02/2026,2\nA,01/02/2026,1\nA,13/02/2026,4\n",
    );
    let mut tape = Tape::open(&path, None).unwrap();
    let places = tape.places(symbols(&["A"])[0]).to_vec();
    let prices: Vec<String> = places.into_iter().map(|place| tape.read(place).unwrap().price.to_string()).collect();
    assert_eq!(prices, ["1", "2", "3", "4"]);
    let (first, last) = tape.span().unwrap();
    assert_eq!(
        (first.strftime("%F").to_string(), last.strftime("%F").to_string()),
        ("2026-02-01".into(), "2026-02-13".into())
    );
}

#[test]
fn bad_rows_are_counted_and_the_others_played() {
    let long = "x".repeat(layout::MAX_LINE_BYTES + 1);
    let text = format!(
        "{{\"symbol\":\"A\",\"price\":1.50}}\r\n\n{{\"symbol\":\"A\"}}\nnonsense\n{{\"symbol\":\"A\",\"note\":\"{long}\",\"price\":2}}\n\
         {{\"symbol\":\"A\",\"price\":3}}"
    );
    let (_dir, path) = file("a b.jsonl", &text);
    let mut tape = Tape::open(&path, None).unwrap();
    assert_eq!(tape.counts(), Counts { good: 2, bad: 3, beyond: 0 });
    let last = tape.places(symbols(&["A"])[0])[1];
    assert_eq!(tape.read(last).unwrap().price.as_str(), "3");
}

#[test]
fn a_file_that_cannot_be_replayed_says_why() {
    for (name, text, says) in [
        ("a.csv", "", "has no rows"),
        ("a.csv", "symbol,date,price\n", "has no rows"),
        ("a.csv", "symbol,oi\nA,1\n", "no column of prices (price, close, last, adjclose, …) among: symbol, oi"),
        ("a.json", "[{\"price\":1}]", "a JSON array"),
        ("a b.csv", "date,price\n2026-01-01,1\n", "\"a b\" is no symbol"),
        ("a.csv", "symbol,price\nA,0\n,7\n", "none of 2 rows can be used; line 2: no price above zero"),
    ] {
        let (_dir, path) = file(name, text);
        let error = Tape::open(&path, None).unwrap_err().to_string();
        assert!(error.contains(says), "{text}: {error}");
    }
    assert!(Tape::open(&data("none.csv"), None).unwrap_err().to_string().contains("cannot read"));
}

#[tokio::test]
async fn a_speed_needs_times_and_must_be_one() {
    let (_dir, path) = file("a.csv", "price\n1\n");
    let refused = async |speed| Replay::open(&Config { speed: Some(speed), ..config(path.clone()) }).await;
    assert!(matches!(refused(1.0).await, Err(ReplayError::NoTimes { .. })));
    for speed in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        assert!(matches!(refused(speed).await, Err(ReplayError::Speed(_))), "{speed}");
    }
    assert!(matches!(Replay::open(&Config::default()).await, Err(ReplayError::NotSet)));
}
