use super::*;
use crate::provider::vendor::script::*;

fn finnhub(plan: Option<&str>) -> Finnhub {
    Finnhub::new("s3cret".into(), &Config { plan: plan.map(str::to_owned), ..Config::default() })
}

fn quote(status: u16, fields: &[(&'static str, &str)], body: &str) -> Result<Progress<Step>, Failure> {
    let mut finnhub = finnhub(None);
    let call = first(&mut finnhub, &["AAPL"]);
    say(&mut finnhub, &call, status, fields, body)
}

#[test]
fn each_symbol_is_a_call_with_the_key_in_a_header() {
    let asked = ["AAPL", "BRK-B", "RELIANCE", "M&M.NS", "TCS.BO", "BTC-USD", "ETH-BTC", "COINBASE:BTC-USD"];
    let progress = finnhub(None).begin(&symbols(&asked), at(NOW));
    let own = [
        "AAPL",
        "BRK.B",
        "RELIANCE.NS",
        "M%26M.NS",
        "TCS.BO",
        "BINANCE%3ABTCUSDT",
        "BINANCE%3AETHBTC",
        "COINBASE%3ABTC-USD",
    ];
    assert_eq!(targets(&progress), own.map(|own| format!("/api/v1/quote?symbol={own}")));
    assert_eq!(header(&progress.calls[0], "x-finnhub-token"), Some("s3cret"));
    assert_eq!(
        progress.calls.iter().map(|call| (call.symbols[0], call.cost)).collect::<Vec<_>>(),
        asked.map(|text| (symbol(text), 1))
    );
}

#[test]
fn india_is_served_to_those_who_pay() {
    for (text, free, paid) in [
        ("AAPL", true, true),
        ("TCS.NS", false, true),
        ("BTC-USD", true, true),
        ("ETH-BTC", false, false),
        ("^NSEI", false, false),
    ] {
        assert_eq!(
            (finnhub(None).serves(symbol(text)), finnhub(Some("paid")).serves(symbol(text))),
            (free, paid),
            "{text}"
        );
    }
    let limits: Vec<u32> = finnhub(None).profile().windows.iter().map(|window| window.limit.get()).collect();
    assert_eq!(limits, [30, 60]);
}

#[test]
fn an_answer_is_a_quote_or_says_that_there_is_none() {
    for (body, expected) in [
        (
            r#"{"c":244.870,"d":0.4,"dp":0.1636,"h":246.01,"l":243.16,"o":244.15,"pc":244.47,"t":1795208400}"#,
            "AAPL 244.870 0.4 0.1636% - 2026-11-20T21:00:00Z",
        ),
        (
            r#"{"c":261.74,"h":263.31,"l":260.68,"o":261.07,"pc":259.45,"t":1582641000}"#,
            "AAPL 261.74 2.29 0.8826% - 2020-02-25T14:30:00Z",
        ),
        (r#"{"c":1.5,"d":null,"dp":null,"pc":0,"t":1582641000}"#, "AAPL 1.5 - -% - 2020-02-25T14:30:00Z"),
        (r#"{"c":0,"d":null,"dp":null,"h":0,"l":0,"o":0,"pc":0,"t":0}"#, "AAPL: unknown_symbol"),
        (r#"{"c":0,"d":null,"dp":null,"pc":5,"t":1795208400}"#, "AAPL: no_data"),
        (r#"{"c":null,"t":1795208400}"#, "AAPL: no_data"),
        ("{}", "AAPL: no_data"),
        (r#"{"c":1,"pc":1,"t":1795209000}"#, "AAPL 1 0 0% - -"),
    ] {
        assert_eq!(told(&quote(200, &[], body).unwrap()), [expected], "{body}");
    }
}

#[test]
fn each_refusal_has_its_class() {
    let limit = r#"{"error":"API limit reached. Please try again later. Remaining Limit: 0"}"#;
    for (status, body, class) in [
        (401, r#"{"error":"Invalid API key"}"#, "auth"),
        (401, r#"{"error":"Please use an API key."}"#, "auth"),
        (429, limit, "rate_limited"),
        (429, "API limit reached.", "rate_limited"),
        (429, r#"{"error":"Please sign up for a key"}"#, "auth"),
        (302, "<html>", "transient"),
        (403, "<html>", "transient"),
        (502, "", "transient"),
        (503, "<html>", "transient"),
        (200, "<html>", "transient"),
        (200, r#"{"c":1"#, "transient"),
        (200, r#"{"error":"odd"}"#, "malformed"),
        (200, "[]", "malformed"),
    ] {
        assert_eq!(quote(status, &[], body).unwrap_err().as_str(), class, "{status} {body}");
    }
}

#[test]
fn one_symbol_outside_the_plan_says_nothing_of_the_others_but_bars_are_all_alike() {
    let body = r#"{"error":"You don't have access to this resource."}"#;
    assert_eq!(told(&quote(403, &[], body).unwrap()), ["AAPL: not_in_plan"]);
    let mut finnhub = finnhub(None);
    let call = finnhub.begin_bars(symbol("AAPL"), Range::Day, at(NOW)).unwrap().call;
    assert_eq!(say(&mut finnhub, &call, 403, &[], body).unwrap_err().as_str(), "plan");
}

#[test]
fn a_spent_window_is_waited_out() {
    let reset = (at(NOW).as_second() + 30).to_string();
    let body = r#"{"c":1,"t":1795208400}"#;
    let fields = |remaining| [("x-ratelimit-remaining", remaining), ("x-ratelimit-reset", &*reset)];
    assert_eq!(quote(200, &fields("0"), body).unwrap().hold, Some(Duration::from_secs(30)));
    assert_eq!(quote(200, &fields("1"), body).unwrap().hold, None);
    for (fields, expected) in [(vec![], None), (fields("0").to_vec(), Some(30)), (vec![("retry-after", "7")], Some(7))]
    {
        let Failure::RateLimited { retry_after, .. } = quote(429, &fields, "").unwrap_err() else { panic!("a limit") };
        assert_eq!(retry_after, expected.map(Duration::from_secs));
    }
}

#[test]
fn bars_lie_in_columns() {
    let mut finnhub = finnhub(None);
    let chart = finnhub.begin_bars(symbol("AAPL"), Range::Day, at(NOW)).unwrap();
    let (from, to) = (at("2026-11-19T21:00:00Z").as_second(), at(NOW).as_second());
    assert_eq!(
        chart.call.request.target(),
        format!("/api/v1/stock/candle?symbol=AAPL&resolution=5&from={from}&to={to}")
    );
    assert_eq!((chart.interval.as_secs(), chart.from.as_second()), (300, from));
    let crypto = finnhub.begin_bars(symbol("BTC-USD"), Range::Month, at(NOW)).unwrap().call;
    assert!(crypto.request.target().starts_with("/api/v1/crypto/candle?symbol=BINANCE%3ABTCUSDT&resolution=D&"));
    for (body, expected) in [
        (
            r#"{"s":"ok","c":[1.5,2,null],"h":[2.50,2,2],"l":[0.5,2,2],"o":[1.0,2,2],"t":[1795185000,1795185300,1795185600],"v":[7]}"#,
            vec!["2026-11-20T14:30:00Z 1.0 2.50 0.5 1.5 7", "2026-11-20T14:35:00Z 2 2 2 2 -"],
        ),
        (r#"{"s":"no_data"}"#, vec![]),
    ] {
        assert_eq!(drawn(&say(&mut finnhub, &chart.call, 200, &[], body).unwrap().bars), expected);
    }
    survives(
        &mut finnhub,
        &chart.call,
        r#"{"s":"ok","c":[1.5],"h":[2.5],"l":[0.5],"o":[1.0],"t":[1795185000],"v":[7]}"#,
    );
}
