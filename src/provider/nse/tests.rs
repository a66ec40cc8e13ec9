use super::*;
use crate::provider::vendor::script::*;

fn nse() -> Nse {
    Nse::new(&Config::default())
}

const COOKIES: [(&str, &str); 2] = [("set-cookie", "nsit=abc; Path=/"), ("set-cookie", "bm_sv=s3cret; Max-Age=7200")];

/// One with cookies, and the first call of these.
fn opened(texts: &[&str]) -> (Nse, Call<Step>) {
    let mut nse = nse();
    let page = first(&mut nse, texts);
    assert_eq!(page.request.target(), "/option-chain");
    let call = only(say(&mut nse, &page, 200, &COOKIES, "<html>").unwrap());
    (nse, call)
}

const RELIANCE: &str = r#"{"equityResponse":[{"orderBook":{"lastPrice":1540.30,"buyPrice1":1540.2,"buyQuantity1":10},"metaData":{"symbol":"RELIANCE","series":"EQ","marketType":"N","identifier":"RELIANCEEQN","companyName":"Reliance Industries Limited","open":1530,"previousClose":1528,"averagePrice":1536.1,"change":12.3,"pChange":0.8,"closePrice":0,"symbolStatus":"NM"},"tradeInfo":{"totalTradedVolume":1234567,"totalTradedValue":1896543210.5,"lastPrice":1540.3,"marketLot":null},"priceInfo":{"yearHigh":1611.8},"secInfo":{"isSuspended":"Active","pdSymbolPe":"24.1"},"lastUpdateTime":"20-Nov-2026 15:29:58"}]}"#;
const QUOTED: &str = "RELIANCE 1540.30 12.3 0.8% 1234567 2026-11-20T09:59:58Z";
const BASKET: &str = r#"{"data":[{"symbol":"NIFTY 50","priority":1,"lastPrice":26010.30,"change":31.1,"pChange":0.13,"previousClose":25979.2,"totalTradedVolume":235733128,"lastUpdateTime":"2026-11-20 11:54:23","series":null},{"symbol":"TCS ","priority":0,"series":"EQ","lastPrice":2308.20,"change":-12.5,"pChange":-0.54,"previousClose":2320.7,"totalTradedVolume":1200345,"lastUpdateTime":"2026-11-20 11:54:20"},{"symbol":"INFY","priority":0,"lastPrice":"1,500.50"}],"marketStatus":{"market":"CM"},"timestamp":"20-Nov-2026 11:54:31"}"#;

#[test]
fn a_page_is_got_before_a_quote_with_the_manners_of_a_browser() {
    let (mut nse, call) = opened(&["M&M.NS"]);
    assert_eq!(call.request.target(), format!("{API}?functionName=getSymbolData&marketType=N&series=EQ&symbol=M%26M"));
    assert_eq!(header(&call, "cookie"), Some("bm_sv=s3cret; nsit=abc"));
    assert_eq!(header(&call, "referer"), Some("https://www.nseindia.com/get-quotes/equity?symbol=M%26M"));
    assert!(header(&call, "user-agent").unwrap().starts_with("Mozilla/") && header(&call, "accept-language").is_some());
    // The cookies are kept, and renewed by any answer.
    assert_eq!(
        told(&say(&mut nse, &call, 200, &[("set-cookie", "nsit=new")], "{}").unwrap()),
        ["M&M.NS: unknown_symbol"]
    );
    assert_eq!(header(&first(&mut nse, &["TCS.NS"]), "cookie"), Some("bm_sv=s3cret; nsit=new"));
    assert!(!format!("{:?} {call:?}", nse.cookies).contains("s3cret"));
}

#[test]
fn stocks_and_indices_of_this_exchange_are_served() {
    for (text, serves) in [
        ("RELIANCE", true),
        ("TCS.NS", true),
        ("NSE:TCS", true),
        ("BAJAJ-AUTO", true),
        ("^NSEI", true),
        ("TCS.BO", false),
        ("^BSESN", false),
        ("AAPL", false),
        ("BTC-USD", false),
    ] {
        assert_eq!(nse().serves(symbol(text)), serves, "{text}");
    }
    assert_eq!(told(&nse().begin(&symbols(&["AAPL"]), at(NOW))), ["AAPL: unknown_symbol"]);
}

#[test]
fn an_answer_is_a_quote_or_says_that_there_is_none() {
    let old = r#"{"info":{"symbol":"RELIANCE"},"metadata":{"lastUpdateTime":"20-Nov-2026 16:00:00"},"priceInfo":{"lastPrice":1540.3,"change":12.3,"pChange":0.805}}"#;
    for (body, expected) in [
        (RELIANCE, QUOTED),
        (
            &*RELIANCE.replace(r#""orderBook":{"lastPrice":1540.30"#, r#""orderBook":{"lastPrice":0"#),
            "RELIANCE 1540.3 12.3 0.8% 1234567 2026-11-20T09:59:58Z",
        ),
        (&*RELIANCE.replace("lastPrice", "other"), "RELIANCE: no_data"),
        (
            &*RELIANCE.replace(r#""change":12.3,"pChange":0.8"#, r#""change":null"#),
            "RELIANCE 1540.30 12.30 0.8050% 1234567 2026-11-20T09:59:58Z",
        ),
        (&*RELIANCE.replace(r#""RELIANCE""#, r#""OTHER""#), "RELIANCE: unknown_symbol"),
        (old, "RELIANCE 1540.3 12.3 0.805% - 2026-11-20T10:30:00Z"),
        ("{}", "RELIANCE: unknown_symbol"),
        (r#"{"equityResponse":[]}"#, "RELIANCE: unknown_symbol"),
    ] {
        let (mut nse, call) = opened(&["RELIANCE"]);
        assert_eq!(told(&say(&mut nse, &call, 200, &[], body).unwrap()), [expected], "{body}");
    }
    let (mut nse, call) = opened(&["RELIANCE"]);
    survives(&mut nse, &call, RELIANCE);
}

#[test]
fn two_stocks_are_asked_for_by_the_basket_and_what_is_not_in_it_alone() {
    let (mut nse, call) = opened(&["TCS.NS", "RELIANCE", "INFY.NS"]);
    assert_eq!(call.request.target(), "/api/equity-stock-indices?index=NIFTY%2050");
    let progress = say(&mut nse, &call, 200, &[], BASKET).unwrap();
    assert_eq!(
        told(&progress),
        ["TCS.NS 2308.20 -12.5 -0.54% 1200345 2026-11-20T06:24:20Z", "INFY.NS 1500.50 - -% - 2026-11-20T06:24:31Z",]
    );
    let rest = only(progress);
    assert!(rest.request.target().ends_with("symbol=RELIANCE"));
    assert_eq!(told(&say(&mut nse, &rest, 200, &[], RELIANCE).unwrap()), [QUOTED]);
    // By now it is known who is in it.
    let paths = |nse: &mut Nse, texts: &[&str]| {
        nse.begin(&symbols(texts), at(NOW)).calls.iter().map(|call| call.request.path() == API).collect::<Vec<_>>()
    };
    assert_eq!(paths(&mut nse, &["TCS.NS", "RELIANCE", "INFY.NS"]), [false, true]);
    assert_eq!(paths(&mut nse, &["TCS.NS", "RELIANCE"]), [true, true]);
    assert_eq!(paths(&mut nse, &["TCS.NS"]), [true]);
    let (mut nse, call) = opened(&["TCS.NS", "RELIANCE"]);
    survives(&mut nse, &call, BASKET);
}

#[test]
fn an_index_is_the_first_row_of_its_basket() {
    let (mut nse, call) = opened(&["^NSEI", "TCS.NS"]);
    assert_eq!(call.request.target(), "/api/equity-stock-indices?index=NIFTY%2050");
    assert_eq!(
        told(&say(&mut nse, &call, 200, &[], BASKET).unwrap()),
        [
            "^NSEI 26010.30 31.1 0.13% 235733128 2026-11-20T06:24:23Z",
            "TCS.NS 2308.20 -12.5 -0.54% 1200345 2026-11-20T06:24:20Z",
        ]
    );
    let (mut nse, call) = opened(&["^NSEBANK"]);
    assert_eq!(call.request.target(), "/api/equity-stock-indices?index=NIFTY%20BANK");
    assert_eq!(told(&say(&mut nse, &call, 200, &[], r#"{"data":[]}"#).unwrap()), ["^NSEBANK: no_data"]);
}

#[test]
fn where_the_basket_is_gone_stocks_are_asked_for_one_by_one_for_an_hour() {
    let (mut nse, call) = opened(&["TCS.NS", "INFY.NS"]);
    let progress = say(&mut nse, &call, 404, &[], "<html>Resource not found").unwrap();
    assert_eq!(progress.calls.iter().map(|call| call.request.path()).collect::<Vec<_>>(), [API, API]);
    let count = |nse: &mut Nse, now| nse.begin(&symbols(&["TCS.NS", "INFY.NS"]), at(now)).calls.len();
    assert_eq!((count(&mut nse, "2026-11-20T22:00:00Z"), count(&mut nse, "2026-11-20T22:01:00Z")), (2, 1));
}

#[test]
fn a_refusal_renews_the_cookies_once_and_then_waits_longer_and_longer() {
    let (mut nse, call) = opened(&["RELIANCE"]);
    let Step::Api { aim, .. } = call.step else { panic!("a quote") };
    // As in a later fetch, whose cookies are old.
    let old = nse.api(aim, false);
    let page = only(say(&mut nse, &old, 401, &[], "Unauthorized").unwrap());
    assert_eq!((page.request.target(), page.symbols.clone()), ("/option-chain".into(), symbols(&["RELIANCE"])));
    let renewed = only(say(&mut nse, &page, 200, &COOKIES, "<html>").unwrap());
    let minutes = |failure: Failure| match failure {
        Failure::RateLimited { retry_after, .. } => retry_after.unwrap().as_secs() / 60,
        other => panic!("{other:?}"),
    };
    assert_eq!(minutes(say(&mut nse, &renewed, 403, &[], "<html>Access Denied").unwrap_err()), 5);
    for expected in [10, 20, 40, 80, 80] {
        let page = first(&mut nse, &["RELIANCE"]);
        assert_eq!(minutes(say(&mut nse, &page, 403, &[], "<html>Access Denied").unwrap_err()), expected);
    }
    let page = first(&mut nse, &["RELIANCE"]);
    let call = only(say(&mut nse, &page, 200, &COOKIES, "").unwrap());
    assert!(say(&mut nse, &call, 200, &[], RELIANCE).is_ok());
    let page = first(&mut nse, &["RELIANCE"]);
    assert_ne!(page.request.target(), "/option-chain");
}

#[test]
fn each_refusal_has_its_class() {
    let mut fresh = nse();
    let page = first(&mut fresh, &["RELIANCE"]);
    assert_eq!(say(&mut fresh, &page, 200, &[], "<html>").unwrap_err().as_str(), "transient");
    assert_eq!(say(&mut fresh, &page, 503, &[], "").unwrap_err().as_str(), "transient");
    for (status, body, class) in [
        (404, "<html>Resource not found", "malformed"),
        (429, "", "rate_limited"),
        (502, "", "transient"),
        (504, "<html>", "transient"),
        (200, "<html>", "transient"),
        (200, r#"{"equityRes"#, "transient"),
        (200, r#"{"equityResponse":7}"#, "malformed"),
    ] {
        let (mut nse, call) = opened(&["RELIANCE"]);
        assert_eq!(say(&mut nse, &call, status, &[], body).unwrap_err().as_str(), class, "{status} {body}");
    }
}

#[test]
fn bars_are_of_a_day_each() {
    let (mut nse, _) = opened(&["RELIANCE"]);
    assert!(nse.begin_bars(symbol("RELIANCE"), Range::Day, at(NOW)).is_none());
    assert!(nse.begin_bars(symbol("^NSEI"), Range::Month, at(NOW)).is_none());
    let chart = nse.begin_bars(symbol("RELIANCE"), Range::Week, at(NOW)).unwrap();
    assert_eq!(
        chart.call.request.target(),
        format!(
            "{API}?functionName=getHistoricalTradeData&symbol=RELIANCE&series=EQ&fromDate=13-11-2026&toDate=21-11-2026"
        )
    );
    assert_eq!(chart.from, at("2026-11-12T18:30:00Z"));
    let row = r#"{"mtimestamp":"20-Nov-2026","chSymbol":"RELIANCE","chOpeningPrice":1530,"chTradeHighPrice":1544.50,"chTradeLowPrice":1526,"chClosingPrice":1540.3,"chTotTradedQty":1234567}"#;
    for (body, count) in
        [(format!("[{row}]"), 1), (format!(r#"{{"data":[{row},{{}}]}}"#), 1), ("[]".into(), 0), ("{}".into(), 0)]
    {
        let bars = say(&mut nse, &chart.call, 200, &[], &body).unwrap().bars;
        assert_eq!(drawn(&bars), vec!["2026-11-19T18:30:00Z 1530 1544.50 1526 1540.3 1234567"; count]);
    }
    // Without cookies the page comes first.
    let chart = self::nse().begin_bars(symbol("RELIANCE"), Range::Month, at(NOW)).unwrap();
    assert_eq!(chart.call.request.target(), "/option-chain");
}
