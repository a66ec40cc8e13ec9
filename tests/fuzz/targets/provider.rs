//! What vendors answer: status, headers, body.

use fastrand::Rng;
use jiff::Timestamp;
use reqwest::header::{HeaderMap, HeaderValue, SET_COOKIE};
use secrecy::SecretString;
use tickcast::market::{Range, Symbol};
use tickcast::provider::Config;
use tickcast::provider::alphavantage::AlphaVantage;
use tickcast::provider::binance::Binance;
use tickcast::provider::coinbase::Coinbase;
use tickcast::provider::finnhub::Finnhub;
use tickcast::provider::massive::Massive;
use tickcast::provider::nse::Nse;
use tickcast::provider::tradier::Tradier;
use tickcast::provider::twelvedata::TwelveData;
use tickcast::provider::vendor::{Call, Reply, Vendor};
use tickcast::provider::yahoo::Yahoo;

/// Each vendor's quotes, bars and refusals.
pub(crate) const CORPUS: &[&[u8]] = &[
    // Binance
    br#"[{"symbol":"BTCUSDT","priceChange":"-812.10000000","priceChangePercent":"-0.912","lastPrice":"88199.90000000","openPrice":"89012.0","volume":"18233.41000000","openTime":1795064400000,"closeTime":1795208400000},{"symbol":"ETHUSDT","lastPrice":"0"}]"#,
    br#"{"code":-1121,"msg":"Invalid symbol."}"#,
    br#"{"code":-1003,"msg":"Way too much request weight used; IP banned until 1795208400000."}"#,
    br#"[[1795204800000,"88000.0","88300.1","87900.5","88199.9","120.5",1795208399999,"1",1,"1","1","0"]]"#,
    // Coinbase
    br#"{"open":"89012.00","high":"89100.00","low":"87000.00","last":"88199.90","volume":"5360.2","volume_30day":"160000"}"#,
    br#"{"trade_id":1,"price":"88199.90","size":"0.01","time":"2026-11-20T20:59:59.123456Z","bid":"88199.80","volume":"5360.2"}"#,
    br#"[[1795204800,87900.5,88300.1,88000.0,88199.9,120.5]]"#,
    // Finnhub
    br#"{"c":244.870,"d":0.4,"dp":0.1636,"h":246.01,"l":243.16,"o":244.15,"pc":244.47,"t":1795208400}"#,
    br#"{"error":"API limit reached. Please try again later. Remaining Limit: 0"}"#,
    // Alpha Vantage
    br#"{"Global Quote":{"01. symbol":"IBM","02. open":"301.1","05. price":"304.5500","06. volume":"3456789","07. latest trading day":"2026-11-20","08. previous close":"301.0000","09. change":"3.5500","10. change percent":"1.1794%"}}"#,
    br#"{"Information":"Thank you for using Alpha Vantage! Please consider spreading out your free API requests more sparingly (1 request per second)."}"#,
    br#"{"Meta Data":{"5. Time Zone":"US/Eastern"},"Time Series (Daily)":{"2026-11-20":{"1. open":"301","2. high":"305","3. low":"300","4. close":"304.5","5. volume":"3456789"}}}"#,
    // Massive
    br#"{"status":"OK","count":1,"tickers":[{"ticker":"AAPL","todaysChange":1.50,"todaysChangePerc":0.84,"updated":1795208400123456789,"day":{"o":178.1,"c":180.02,"v":41203344.0},"lastTrade":{"p":180.050,"t":1795208399000000001},"min":{"c":180.03,"av":41200001,"t":1795208340000},"prevDay":{"c":178.55}}]}"#,
    br#"{"status":"OK","results":[{"T":"AAPL","c":180.02,"o":178.1,"h":181.2,"l":177.9,"v":41203344.0,"t":1795208400000}],"next_url":"https://api.massive.com/v2/next?cursor=x"}"#,
    // Tradier
    br#"{"quotes":{"quote":[{"symbol":"AAPL","last":512.40,"change":-2.1,"volume":18233411,"close":null,"change_percentage":-0.41,"trade_date":1795208400123,"prevclose":514.5}],"unmatched_symbols":{"symbol":["MSFT"]}}}"#,
    br#"{"history":{"day":[{"date":"2026-11-20","open":1,"high":2,"low":0.5,"close":1.5,"volume":3}]}}"#,
    // Twelve Data
    br#"{"AAPL":{"symbol":"AAPL","datetime":"2026-11-20","timestamp":1795185000,"last_quote_at":1795208340,"open":"244.15","close":"244.8700","volume":"32129951","previous_close":"244.47","change":"0.40","percent_change":"0.16362","is_market_open":false},"MSFT":{"code":404,"message":"**symbol** or **figi** parameter is missing or invalid.","status":"error"}}"#,
    br#"{"code":429,"message":"You have run out of API credits for the current minute. 9 API credits were used, with the current limit being 8.","status":"error"}"#,
    br#"{"meta":{"symbol":"AAPL","exchange_timezone":"America/New_York"},"values":[{"datetime":"2026-11-20","open":"1","high":"2","low":"0.5","close":"1.5","volume":"3"}],"status":"ok"}"#,
    // Yahoo
    br#"{"quoteResponse":{"result":[{"marketState":"REGULAR","regularMarketPrice":1540.30,"regularMarketChange":12.3,"regularMarketChangePercent":0.805,"regularMarketVolume":1234567,"regularMarketTime":1795168800,"symbol":"AAPL"}],"error":null}}"#,
    br#"{"finance":{"result":null,"error":{"code":"Unauthorized","description":"Invalid Crumb"}}}"#,
    br#"{"chart":{"result":[{"meta":{"symbol":"AAPL","regularMarketTime":1795208400,"regularMarketPrice":244.870,"previousClose":244.47},"timestamp":[1795204800,1795204860],"indicators":{"quote":[{"open":[1,null],"high":[2,2],"low":[1,1],"close":[1.5,2],"volume":[3,4]}]}}],"error":null}}"#,
    // NSE
    br#"{"equityResponse":[{"orderBook":{"lastPrice":1540.30},"metaData":{"symbol":"AAPL","series":"EQ","open":1530,"previousClose":1528,"change":12.3,"pChange":0.8,"closePrice":0},"tradeInfo":{"totalTradedVolume":1234567,"lastPrice":1540.3},"lastUpdateTime":"20-Nov-2026 15:29:58"}]}"#,
    br#"{"data":[{"symbol":"NIFTY 50","priority":1,"lastPrice":26010.30,"change":31.1,"pChange":0.13,"totalTradedVolume":235733128,"lastUpdateTime":"2026-11-20 11:54:23"},{"symbol":"AAPL ","priority":0,"lastPrice":"1,500.50"}],"timestamp":"20-Nov-2026 11:54:31"}"#,
    br#"{"data":[{"CH_TIMESTAMP":"2026-11-20","CH_OPENING_PRICE":1,"CH_TRADE_HIGH_PRICE":2,"CH_TRADE_LOW_PRICE":1,"CH_CLOSING_PRICE":1.5,"CH_TOT_TRADED_QTY":3}]}"#,
    // Anyone
    b"<html><head><title>502 Bad Gateway</title></head></html>",
    b"[]",
    b"",
];
pub(crate) const WORDS: &[&str] = &[
    "\"lastPrice\":",
    "\"symbol\":\"BTCUSDT\"",
    "\"closeTime\":",
    "\"symbol\":\"AAPL\"",
    "\"20-Nov-2026 15:29:58\"",
    "\"2026-11-20\"",
    "\"timestamp\":",
    "\"1.1794%\"",
    "\"1,500.50\"",
    "9223372036854775807",
    "-1",
    "1e999",
    "NaN",
    "\"\"",
    "null",
    "[{",
    "}]",
    "\"99999999999999999999999999999999999999999\"",
    "0.00000000000000000000000000000000000001",
];
const STATUS: &[u16] = &[200, 200, 200, 204, 400, 401, 403, 418, 429, 500, 503];
const HEADERS: &[(&str, &[&str])] = &[
    ("retry-after", &["1", "0", "-1", "99999999999999999999", "Sat, 21 Nov 2026 10:00:00 GMT", "soon", ""]),
    ("x-mbx-used-weight-1m", &["1", "6000", "99999999999999999999", "x", ""]),
    ("content-type", &["application/json", "text/html"]),
    ("set-cookie", &["A1=x; Path=/", "nsit=y; HttpOnly", "=", ";;;", "A1=\"; Max-Age=99999999999999999999"]),
    ("x-ratelimit-remaining", &["0", "1", "-1", "99999999999999999999", "x"]),
    ("x-ratelimit-reset", &["1795208460", "0", "99999999999999999999"]),
    ("x-ratelimit-available", &["0", "120", "x"]),
    ("x-ratelimit-expiry", &["1795208460000", "99999999999999999999"]),
    ("api-credits-left", &["0", "7", "x"]),
];
/// What opens a session with those who want one: a page, a crumb.
const OPENING: &[u8] = b"cr.um/b";
/// Answers to one fetch: an opening of two steps, halves of a batch, pages. What goes on beyond that goes on for ever.
const MOST_ANSWERS: usize = 12;

/// Hands the body to a vendor as the answer to each of its calls, for quotes and for bars.
pub(crate) fn answer(body: &mut [u8], rng: &mut Rng) {
    let mut headers = HeaderMap::new();
    for (name, values) in HEADERS {
        if rng.u8(..4) == 0 {
            headers.insert(*name, HeaderValue::from_static(values[rng.usize(..values.len())]));
        }
    }
    let status = STATUS[rng.usize(..STATUS.len())];
    let reply = Said { opening: 0, status, headers, body };
    let (config, key) = (Config::default(), || SecretString::from("KEY"));
    let (stocks, crypto) = (["AAPL", "MSFT", "IBM"], ["BTC-USDT", "BTC-USD", "ETH-BTC"]);
    match rng.u8(..9) {
        0 => reply.read_by(AlphaVantage::new(key(), &config), &stocks[..1]),
        1 => reply.read_by(Binance::new(&config), &crypto),
        2 => reply.read_by(Coinbase::new(&config), &crypto[1..2]),
        3 => reply.read_by(Finnhub::new(key(), &config), &stocks[..1]),
        4 => reply.read_by(Massive::new(key(), &config), &stocks),
        5 => Said { opening: 1, ..reply }.read_by(Nse::new(&config), &["AAPL"]),
        6 => reply.read_by(Tradier::new(key(), &config), &stocks),
        7 => reply.read_by(TwelveData::new(key(), &config), &stocks),
        _ => Said { opening: 2, ..reply }.read_by(Yahoo::new(&config), &stocks),
    }
}

/// What each call is answered with.
struct Said<'b> {
    /// So many calls open a session, and are answered well.
    opening: usize,
    status: u16,
    headers: HeaderMap,
    body: &'b [u8],
}

impl Said<'_> {
    fn read_by<V: Vendor>(&self, mut vendor: V, symbols: &[&str]) {
        let now = Timestamp::from_second(1_795_208_400).unwrap();
        let symbols: Vec<Symbol> = symbols.iter().map(|text| Symbol::parse(text).unwrap()).collect();
        let fetch = vendor.begin(&symbols, now).calls;
        self.follow(&mut vendor, fetch, now);
        for range in [Range::Day, Range::Week, Range::Month] {
            if let Some(chart) = vendor.begin_bars(symbols[0], range, now) {
                self.follow(&mut vendor, vec![chart.call], now);
            }
        }
    }

    fn follow<V: Vendor>(&self, vendor: &mut V, mut calls: Vec<Call<V::Step>>, now: Timestamp) {
        let cookie = HeaderMap::from_iter([(SET_COOKIE, HeaderValue::from_static("A1=x; Path=/"))]);
        for at in 0..MOST_ANSWERS {
            let Some(call) = calls.pop() else { return };
            let reply = if at < self.opening {
                Reply { status: 200, headers: &cookie, body: OPENING, now }
            } else {
                Reply { status: self.status, headers: &self.headers, body: self.body, now }
            };
            match vendor.answer(&call, &reply) {
                Ok(progress) => {
                    for quote in &progress.quotes {
                        assert!(quote.price.is_positive(), "{quote:?}");
                        let json = quote.to_update_json(1, now);
                        assert!(serde_json::from_str::<serde_json::Value>(&json).is_ok(), "{json}");
                    }
                    calls.extend(progress.calls);
                }
                Err(failure) => drop(failure.to_string()),
            }
        }
    }
}
