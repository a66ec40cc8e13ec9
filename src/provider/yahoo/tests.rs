use super::*;
use crate::provider::vendor::script::*;

fn yahoo() -> Yahoo {
    Yahoo::new(&Config::default())
}

const COOKIE: (&str, &str) =
    ("set-cookie", "A3=d=AQAB; Expires=Sat, 20 Nov 2027 21:00:00 GMT; Domain=.yahoo.com; Secure");

/// One with a session, and the call of its first batch.
fn opened(texts: &[&str]) -> (Yahoo, Call<Step>) {
    let mut yahoo = yahoo();
    let cookies = first(&mut yahoo, texts);
    let crumb = only(say(&mut yahoo, &cookies, 404, &[COOKIE], "<html>").unwrap());
    let quotes = only(say(&mut yahoo, &crumb, 200, &[], "aB/3.xYz").unwrap());
    (yahoo, quotes)
}

const ROW: &str = r#"{"language":"en-US","region":"US","quoteType":"EQUITY","quoteSourceName":"Delayed Quote","currency":"INR","marketState":"REGULAR","regularMarketPrice":1540.30,"regularMarketChange":12.3,"regularMarketChangePercent":0.805,"regularMarketVolume":1234567,"regularMarketPreviousClose":1528.0,"regularMarketTime":1795168800,"regularMarketOpen":1530,"exchange":"NSI","exchangeTimezoneName":"Asia/Kolkata","gmtOffSetMilliseconds":19800000,"exchangeDataDelayedBy":0,"sourceInterval":15,"symbol":"RELIANCE.NS"}"#;

fn batch_of(rows: &str) -> String {
    format!(r#"{{"quoteResponse":{{"result":[{rows}],"error":null}}}}"#)
}

#[test]
fn symbols_are_spelled_as_the_vendor_does() {
    let (_, call) = opened(&["AAPL", "BRK.B", "RELIANCE", "TCS.BO", "M&M.NS", "^NSEI", "BTC-USD", "EURUSD=X"]);
    assert_eq!(
        call.request.target(),
        "/v7/finance/quote?symbols=AAPL%2CBRK-B%2CRELIANCE.NS%2CTCS.BO%2CM%26M.NS%2C%5ENSEI%2CBTC-USD%2CEURUSD%3DX&crumb=aB%2F3.xYz"
    );
    for (text, serves) in [
        ("AAPL", true),
        ("TCS.NS", true),
        ("^NSEI", true),
        ("EURUSD=X", true),
        ("VOD.L", true),
        ("BTC-USD", true),
        ("BTC-USDT", false),
        ("BTCUSDT", false),
        ("X:BTCUSD", false),
    ] {
        assert_eq!(yahoo().serves(symbol(text)), serves, "{text}");
    }
}

#[test]
fn a_batch_wants_a_cookie_and_the_crumb_that_belongs_to_it() {
    let mut yahoo = yahoo();
    let cookies = first(&mut yahoo, &["AAPL", "MSFT"]);
    assert_eq!((cookies.request.origin(), cookies.request.target()), (Some("https://fc.yahoo.com"), "/".into()));
    assert!(header(&cookies, "user-agent").unwrap().starts_with("Mozilla/"));
    let crumb = only(say(&mut yahoo, &cookies, 404, &[COOKIE, ("set-cookie", "B=1")], "").unwrap());
    assert_eq!((crumb.request.origin(), crumb.request.target()), (None, "/v1/test/getcrumb".into()));
    assert_eq!(header(&crumb, "cookie"), Some("A3=d=AQAB; B=1"));
    let quotes = only(say(&mut yahoo, &crumb, 200, &[], "aB/3.xYz\n").unwrap());
    assert_eq!(header(&quotes, "cookie"), Some("A3=d=AQAB; B=1"));
    assert_eq!(quotes.symbols, symbols(&["AAPL", "MSFT"]));
    // The session is kept.
    assert!(first(&mut yahoo, &["IBM"]).request.target().ends_with("symbols=IBM&crumb=aB%2F3.xYz"));
    let shown = format!("{:?} {:?} {:?}", yahoo.session, crumb, quotes);
    assert!(!shown.contains("AQAB") && !shown.contains("aB/3"), "{shown}");
}

#[test]
fn rows_are_quotes_or_say_why_not() {
    let (mut yahoo, call) = opened(&["RELIANCE", "BRKS", "ZZZZ", "AAPL", "IBM"]);
    let rows = format!(
        r#"{{"quoteType":"NONE","symbol":"BRKS"}},{ROW},{{"symbol":"AAPL","quoteType":"EQUITY","regularMarketPrice":0}},{{"symbol":"IBM","marketState":"PREPRE","regularMarketPrice":101.00,"regularMarketPreviousClose":100}}"#
    );
    let progress = say(&mut yahoo, &call, 200, &[], &batch_of(&rows)).unwrap();
    assert_eq!(
        told(&progress),
        [
            "RELIANCE 1540.30 12.3 0.805% 1234567 2026-11-20T10:00:00Z",
            "IBM 101.00 1.00 1.00% - -",
            "BRKS: unknown_symbol",
            "ZZZZ: unknown_symbol",
            "AAPL: no_data",
        ]
    );
    assert_eq!(
        progress.quotes.iter().map(|quote| quote.market_state).collect::<Vec<_>>(),
        [Some(MarketState::Regular), Some(MarketState::Closed)]
    );
    assert_eq!(told(&say(&mut yahoo, &call, 200, &[], &batch_of("")).unwrap()).len(), 5);
    survives(&mut yahoo, &call, &batch_of(ROW));
}

const BAD_CRUMB: &str = r#"{"finance":{"result":null,"error":{"code":"Unauthorized","description":"Invalid Crumb"}}}"#;

#[test]
fn a_refused_crumb_is_renewed_once_and_then_charts_are_asked_for() {
    let (mut yahoo, quotes) = opened(&["AAPL", "IBM"]);
    let cookies = only(say(&mut yahoo, &quotes, 401, &[], BAD_CRUMB).unwrap());
    assert_eq!(cookies.request.target(), "/");
    let crumb = only(say(&mut yahoo, &cookies, 404, &[COOKIE], "").unwrap());
    let quotes = only(say(&mut yahoo, &crumb, 200, &[], "newer").unwrap());
    let progress = say(&mut yahoo, &quotes, 401, &[], BAD_CRUMB).unwrap();
    let charts = ["AAPL", "IBM"].map(|own| format!("/v8/finance/chart/{own}?range=1d&interval=1m"));
    assert_eq!(targets(&progress), charts);
    // For an hour; then a session is tried again.
    assert_eq!(targets(&yahoo.begin(&symbols(&["AAPL", "IBM"]), at("2026-11-20T22:00:00Z"))), charts);
    assert_eq!(targets(&yahoo.begin(&symbols(&["AAPL"]), at("2026-11-20T22:01:00Z"))), ["/"]);
}

#[test]
fn where_no_session_is_to_be_had_charts_are_asked_for() {
    let charts = |progress: &Progress<Step>| targets(progress) == ["/v8/finance/chart/AAPL?range=1d&interval=1m"];
    let mut eu = yahoo();
    let cookies = first(&mut eu, &["AAPL"]);
    assert!(charts(&say(&mut eu, &cookies, 302, &[("location", "https://consent.yahoo.com/")], "").unwrap()));
    for (status, body) in
        [(200, ""), (200, "<html>"), (401, "x"), (404, "x"), (200, r#"{"finance":{}}"#), (200, "two words")]
    {
        let mut yahoo = yahoo();
        let cookies = first(&mut yahoo, &["AAPL"]);
        let crumb = only(say(&mut yahoo, &cookies, 404, &[COOKIE], "").unwrap());
        assert!(charts(&say(&mut yahoo, &crumb, status, &[], body).unwrap()), "{status} {body}");
    }
}

#[test]
fn too_many_requests_double_the_wait_until_something_is_answered() {
    let (mut yahoo, call) = opened(&["RELIANCE"]);
    let wait = |yahoo: &mut Yahoo, status, fields: &[(&'static str, &str)], body| match say(
        yahoo, &call, status, fields, body,
    )
    .unwrap_err()
    {
        Failure::RateLimited { retry_after, .. } => retry_after.unwrap().as_secs() / 60,
        other => panic!("{other:?}"),
    };
    let page = "<html>Edge: Too Many Requests";
    assert_eq!([15, 30, 60, 120, 240, 240].map(|_| wait(&mut yahoo, 429, &[], page)), [15, 30, 60, 120, 240, 240]);
    assert!(say(&mut yahoo, &call, 200, &[], &batch_of(ROW)).is_ok());
    assert_eq!(wait(&mut yahoo, 200, &[], "Too Many Requests"), 15);
    assert_eq!(wait(&mut yahoo, 429, &[("retry-after", "3600")], ""), 60);
    let chart = chart::of_quote(symbol("AAPL"), "AAPL");
    assert_eq!(say(&mut yahoo, &chart, 401, &[], "{}").unwrap_err().as_str(), "rate_limited");
    let mut yahoo = self::yahoo();
    let cookies = first(&mut yahoo, &["AAPL"]);
    assert_eq!(say(&mut yahoo, &cookies, 503, &[], "").unwrap_err().as_str(), "transient");
    let crumb = only(say(&mut yahoo, &cookies, 404, &[COOKIE], "").unwrap());
    assert_eq!(say(&mut yahoo, &crumb, 429, &[], "Too Many Requests").unwrap_err().as_str(), "rate_limited");
}

#[test]
fn each_refusal_has_its_class() {
    let (mut yahoo, quotes) = opened(&["AAPL"]);
    let chart = chart::of_quote(symbol("AAPL"), "AAPL");
    for (status, body, class) in [
        (200, "<html>Will be right back", "transient"),
        (503, "<html>", "transient"),
        (200, r#"{"quoteResp"#, "transient"),
        (
            400,
            r#"{"finance":{"result":null,"error":{"code":"Bad Request","description":"Missing value"}}}"#,
            "malformed",
        ),
        (200, "[]", "malformed"),
    ] {
        for call in [&quotes, &chart] {
            assert_eq!(say(&mut yahoo, call, status, &[], body).unwrap_err().as_str(), class, "{status} {body}");
        }
    }
}

const META: &str = r#"{"currency":"USD","symbol":"AAPL","exchangeName":"NMS","instrumentType":"EQUITY","regularMarketTime":1795208400,"gmtoffset":-18000,"exchangeTimezoneName":"America/New_York","regularMarketPrice":244.870,"regularMarketVolume":32129951,"chartPreviousClose":236.0,"previousClose":244.47,"priceHint":2,"currentTradingPeriod":{"pre":{"start":1,"end":2,"timezone":"EST","gmtoffset":-18000},"regular":{},"post":{}},"dataGranularity":"1m","range":"1d","validRanges":["1d","5d"]}"#;

fn chart(meta: &str, rest: &str) -> String {
    format!(r#"{{"chart":{{"result":[{{"meta":{meta}{rest}}}],"error":null}}}}"#)
}

#[test]
fn a_chart_has_a_quote_with_it() {
    let call = chart::of_quote(symbol("AAPL"), "AAPL");
    for (status, body, expected) in [
        (200, chart(META, ""), "AAPL 244.870 0.400 0.1636% 32129951 2026-11-20T21:00:00Z"),
        (200, chart(r#"{"regularMarketPrice":101.00,"chartPreviousClose":100}"#, ""), "AAPL 101.00 1.00 1.00% - -"),
        (200, chart("{}", ""), "AAPL: no_data"),
        (404, r#"{"chart":{"result":null,"error":{"code":"Not Found","description":"No data found, symbol may be delisted"}}}"#.into(), "AAPL: unknown_symbol"),
        (200, r#"{"chart":{"result":null,"error":{"code":"Not Found","description":"No data found"}}}"#.into(), "AAPL: unknown_symbol"),
        (200, r#"{"chart":{"result":[],"error":null}}"#.into(), "AAPL: unknown_symbol"),
    ] {
        assert_eq!(told(&say(&mut yahoo(), &call, status, &[], &body).unwrap()), [expected], "{body}");
    }
}

#[test]
fn bars_lie_in_columns_with_holes() {
    let mut yahoo = yahoo();
    let charts = Range::ALL.map(|range| yahoo.begin_bars(symbol("BRK.B"), range, at(NOW)).unwrap());
    assert_eq!(
        charts.each_ref().map(|chart| chart.call.request.target()),
        [
            "/v8/finance/chart/BRK-B?range=1d&interval=5m",
            "/v8/finance/chart/BRK-B?range=5d&interval=30m",
            "/v8/finance/chart/BRK-B?range=1mo&interval=1d",
        ]
    );
    let columns = r#","timestamp":[1795185000,1795185060,1795185120],"indicators":{"quote":[{"open":[244.1,null,244.30],"high":[244.2,null,244.4],"low":[244.0,null,244.2],"close":[244.15,null,244.35],"volume":[100,null,null]}],"adjclose":[{"adjclose":[1,2,3]}]}"#;
    let progress = say(&mut yahoo, &charts[0].call, 200, &[], &chart(META, columns)).unwrap();
    assert_eq!(
        drawn(&progress.bars),
        ["2026-11-20T14:30:00Z 244.1 244.2 244.0 244.15 100", "2026-11-20T14:32:00Z 244.30 244.4 244.2 244.35 -"]
    );
    for rest in ["", r#","indicators":{"quote":[{}]}"#, r#","indicators":{"quote":[]}"#] {
        assert!(say(&mut yahoo, &charts[0].call, 200, &[], &chart(META, rest)).unwrap().bars.is_empty());
    }
    survives(&mut yahoo, &charts[0].call, &chart(META, columns));
}
