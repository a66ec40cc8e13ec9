//! Vendors over HTTP: what the driver does with answers, refusals and silence, against a local vendor.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod support;

use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use support::DEADLINE;
use support::vendor::{self, Answer, Asked, MockVendor};
use tickcast::broker::{self, Broker, memory};
use tickcast::market::{Number, Quote, Symbol};
use tickcast::provider::binance::Binance;
use tickcast::provider::client::{Client, MAX_BODY_BYTES};
use tickcast::provider::fetch::HttpProvider;
use tickcast::provider::vendor::{Call, Profile, Progress, Reply, Request, Vendor};
use tickcast::provider::{Config, Failure, Fetched, Missing, Name, Provider, Why};
use tickcast::quota::breaker;
use tokio::time::timeout;

const PAIRS: &[&str] = &["BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT"];

fn symbol(text: &str) -> Symbol {
    Symbol::parse(text).unwrap()
}

fn symbols(texts: &[&str]) -> Vec<Symbol> {
    texts.iter().map(|text| symbol(text)).collect()
}

fn embedded() -> Broker {
    memory::start(broker::Timing::default())
}

fn settings(vendor: &MockVendor) -> Config {
    Config { base_url: Some(vendor.url()), ..Config::default() }
}

fn binance(config: &Config, broker: &Broker) -> HttpProvider<Binance> {
    HttpProvider::new(Binance::new(config), config, Arc::new(Client::new().unwrap()), broker).unwrap()
}

async fn fetch(provider: &impl Provider, texts: &[&str]) -> Fetched {
    timeout(DEADLINE, provider.fetch(&symbols(texts))).await.expect("a fetch ends")
}

fn quoted(fetched: &Fetched) -> Vec<String> {
    let mut quoted: Vec<String> = fetched.quotes.iter().map(|quote| quote.symbol.to_string()).collect();
    quoted.sort();
    quoted
}

/// Why a fetch of one symbol failed.
fn failure(fetched: &Fetched) -> &Failure {
    match &fetched.left.as_ref().expect("something is left").why {
        Why::Failed(failure) => failure,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_batch_is_one_request_and_prices_keep_the_vendors_text() {
    let vendor = MockVendor::start(vendor::binance(PAIRS)).await;
    let provider = binance(&settings(&vendor), &embedded());
    let fetched = fetch(&provider, &["BTC-USDT", "ETH-USDT", "BTCUSDT"]).await;
    assert_eq!(quoted(&fetched), ["BTC-USDT", "BTCUSDT", "ETH-USDT"]);
    assert!(fetched.quotes.iter().all(|quote| quote.price.as_str() == "88199.90000000" && quote.source == "binance"));
    let asked = vendor.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].query("symbols").unwrap(), r#"["BTCUSDT","ETHUSDT"]"#);
    assert!(asked[0].headers["user-agent"].to_str().unwrap().starts_with("tickcast/"));
    assert_eq!((provider.status().calls, provider.status().in_flight), (1, 0));
}

#[tokio::test]
async fn an_invalid_symbol_is_found_by_halving_and_not_asked_for_again() {
    let vendor = MockVendor::start(vendor::binance(PAIRS)).await;
    let provider = binance(&settings(&vendor), &embedded());
    let asked = ["BTC-USDT", "NO-USDT", "ETH-USDT", "SOL-USDT", "XRP-USDT"];
    let fetched = fetch(&provider, &asked).await;
    assert_eq!(quoted(&fetched), ["BTC-USDT", "ETH-USDT", "SOL-USDT", "XRP-USDT"]);
    assert_eq!(fetched.missing, [(symbol("NO-USDT"), Missing::UnknownSymbol)]);
    assert!(fetched.left.is_none());
    let before = vendor.asked().len();
    let fetched = fetch(&provider, &asked).await;
    assert_eq!((quoted(&fetched).len(), fetched.missing.len()), (4, 1));
    assert_eq!(vendor.asked().len(), before + 1, "one request, without the unknown symbol");
}

#[tokio::test]
async fn a_passing_failure_is_tried_again() {
    let vendor = MockVendor::start(vendor::binance(PAIRS)).await;
    vendor.script([
        Answer::new(503, "<html>busy</html>"),
        Answer::json(r#"[{"symbol":"BTCUSDT","lastPrice":"1.0"}]"#).cut(),
        Answer::new(200, "<!DOCTYPE html>maintenance"),
    ]);
    let provider = binance(&settings(&vendor), &embedded());
    let fetched = fetch(&provider, &["BTC-USDT"]).await;
    assert_eq!(quoted(&fetched), ["BTC-USDT"]);
    assert_eq!(vendor.asked().len(), 4);
}

#[tokio::test]
async fn the_fifth_failure_in_a_row_opens_the_breaker_and_nothing_more_is_asked() {
    let vendor = MockVendor::start(|_| Answer::new(500, "")).await;
    let provider = binance(&settings(&vendor), &embedded());
    let fetched = fetch(&provider, &["BTC-USDT"]).await;
    assert_eq!(failure(&fetched).as_str(), "transient");
    assert_eq!(vendor.asked().len(), 5);
    assert_eq!(provider.status().breaker, Some(breaker::State::Open));
    let left = fetch(&provider, &["BTC-USDT"]).await.left.unwrap();
    assert_eq!((left.why, left.symbols), (Why::Open, symbols(&["BTC-USDT"])));
    assert!(left.retry_in > Duration::from_secs(10) && left.retry_in <= Duration::from_secs(60));
    assert_eq!(vendor.asked().len(), 5);
}

#[tokio::test]
async fn a_short_retry_after_is_waited_for() {
    let vendor = MockVendor::start(vendor::binance(PAIRS)).await;
    vendor.script([
        Answer::new(429, r#"{"code":-1003,"msg":"Too much request weight used"}"#).header("retry-after", "1")
    ]);
    let provider = binance(&settings(&vendor), &embedded());
    let fetched = fetch(&provider, &["BTC-USDT"]).await;
    assert_eq!(quoted(&fetched), ["BTC-USDT"]);
    let asked = vendor.asked();
    assert!(asked[1].at - asked[0].at >= Duration::from_secs(1), "not before the vendor allowed it");
    assert_eq!(provider.status().breaker, Some(breaker::State::Closed));
}

#[tokio::test]
async fn a_long_retry_after_holds_every_process_and_is_no_failure_of_the_breaker() {
    for field in ["1800".to_owned(), vendor::http_date_in(Duration::from_secs(1800))] {
        let vendor = MockVendor::start(vendor::binance(PAIRS)).await;
        vendor.script([Answer::new(429, "slow down").header("retry-after", field)]);
        let broker = embedded();
        let provider = binance(&settings(&vendor), &broker);
        let fetched = fetch(&provider, &["BTC-USDT"]).await;
        assert_eq!(failure(&fetched).as_str(), "rate_limited");
        assert!(fetched.left.unwrap().retry_in > Duration::from_secs(1700));
        for provider in [provider, binance(&settings(&vendor), &broker)] {
            let left = fetch(&provider, &["BTC-USDT"]).await.left.unwrap();
            assert_eq!(left.why, Why::Budget);
            assert_eq!(provider.status().breaker, Some(breaker::State::Closed));
        }
        assert_eq!(vendor.asked().len(), 1);
    }
}

#[tokio::test]
async fn a_ban_parks_the_provider() {
    let vendor = MockVendor::start(|_| Answer::new(418, "{}").header("retry-after", "86400")).await;
    let provider = binance(&settings(&vendor), &embedded());
    assert_eq!(failure(&fetch(&provider, &["BTC-USDT"]).await).as_str(), "quota_exhausted");
    let left = fetch(&provider, &["BTC-USDT"]).await.left.unwrap();
    assert_eq!(left.why, Why::Parked);
    assert!(left.retry_in > Duration::from_secs(86_000));
    assert_eq!(vendor.asked().len(), 1);
}

#[tokio::test]
async fn what_cannot_be_an_answer_is_classified() {
    let broker = embedded();
    let too_long = format!("[\"{}\"]", "x".repeat(MAX_BODY_BYTES));
    for (answer, class, says) in [
        (Answer::json(r#"{"quotes":[]}"#), "malformed", "missing field"),
        (Answer::json(too_long), "malformed", "longer than"),
        (Answer::new(404, "{}"), "malformed", "404"),
        (Answer::new(302, "").header("location", "http://127.0.0.1:1/"), "transient", "302"),
    ] {
        let vendor = MockVendor::start(move |_| answer.clone()).await;
        let provider = binance(&settings(&vendor), &broker);
        let fetched = fetch(&provider, &["BTC-USDT"]).await;
        assert_eq!(failure(&fetched).as_str(), class);
        assert!(failure(&fetched).to_string().contains(says), "{}", failure(&fetched));
    }
}

#[tokio::test]
async fn silence_is_a_failure_after_the_time_out() {
    let answer = Answer::json("[]".repeat(50)).hanging();
    let vendor = MockVendor::start(move |_| answer.clone()).await;
    let config = Config { timeout: Some(Duration::from_millis(100)), ..settings(&vendor) };
    let provider = binance(&config, &embedded());
    let fetched = fetch(&provider, &["BTC-USDT"]).await;
    assert!(failure(&fetched).to_string().contains("no whole answer within 0.1 s"));
    assert_eq!(vendor.asked().len(), 5);
}

#[tokio::test]
async fn a_packed_body_is_unpacked() {
    const PACKED: &[u8] = &[
        0x1f, 0x8b, 0x8, 0x0, 0x0, 0x0, 0x0, 0x0, 0x2, 0x3, 0x8b, 0xae, 0x56, 0x2a, 0xae, 0xcc, 0x4d, 0xca, 0xcf, 0x51,
        0xb2, 0x52, 0x72, 0xa, 0x71, 0xe, 0xd, 0x76, 0x9, 0x51, 0xd2, 0x51, 0xca, 0x49, 0x2c, 0x2e, 0x9, 0x28, 0xca,
        0x4c, 0x4e, 0x5, 0x8a, 0x1a, 0xea, 0x99, 0x2a, 0xd5, 0xc6, 0x2, 0x0, 0x83, 0x18, 0x40, 0xf2, 0x28, 0x0, 0x0,
        0x0,
    ];
    let answer = Answer::json("").bytes(PACKED.to_vec()).header("content-encoding", "gzip");
    let vendor = MockVendor::start(move |_| answer.clone()).await;
    let provider = binance(&settings(&vendor), &embedded());
    let fetched = fetch(&provider, &["BTC-USDT"]).await;
    assert_eq!(fetched.quotes[0].price.as_str(), "1.5");
    assert_eq!(vendor.asked()[0].headers["accept-encoding"], "gzip");
}

#[tokio::test]
async fn without_budget_nothing_is_asked_and_two_processes_share_one() {
    let vendor = MockVendor::start(vendor::binance(PAIRS)).await;
    let broker = embedded();
    let config = Config { per_minute: NonZeroU32::new(6), ..settings(&vendor) };
    let processes = [binance(&config, &broker), binance(&config, &broker)];
    let mut granted = 0;
    for round in 0..6 {
        let fetched = fetch(&processes[round % 2], &["BTC-USDT"]).await;
        match fetched.left {
            None => granted += 1,
            Some(left) => assert_eq!(left.why, Why::Budget),
        }
    }
    assert_eq!((granted, vendor.asked().len()), (3, 3), "weight 2 each out of 6");
    processes[0].read_budget().await;
    let level = processes[0].status().budget[0];
    assert_eq!((level.available, level.window.limit.get()), (0, 6));
}

#[tokio::test]
async fn a_request_that_costs_more_than_the_whole_budget_says_so() {
    let vendor = MockVendor::start(vendor::binance(PAIRS)).await;
    let config = Config { per_minute: NonZeroU32::new(1), ..settings(&vendor) };
    let fetched = fetch(&binance(&config, &embedded()), &["BTC-USDT"]).await;
    assert!(failure(&fetched).to_string().contains("costs 2, more than the whole budget"));
    assert!(vendor.asked().is_empty());
}

/// A vendor with a key in the query that wants a cookie before a crumb before quotes, gives one symbol a call, and
/// lets crumbs expire.
struct Sessions {
    key: SecretString,
    session: Option<(String, String)>,
}

enum Step {
    Cookie,
    Crumb { cookie: String },
    Quote { renewed: bool },
}

impl Sessions {
    fn quote(&self, symbols: &[Symbol], renewed: bool) -> Call<Step> {
        let request = match &self.session {
            None => return Call::new(Request::get("/"), symbols, Step::Cookie),
            Some((cookie, crumb)) => Request::get("/quote")
                .query("symbol", symbols[0].as_str())
                .query("crumb", crumb)
                .query("apikey", self.key.expose_secret())
                .header("cookie", cookie),
        };
        Call::new(request, symbols, Step::Quote { renewed })
    }
}

impl Vendor for Sessions {
    type Step = Step;

    fn profile(&self) -> Profile {
        Profile {
            name: Name::Yahoo,
            base_url: "https://example.com",
            batch: NonZeroUsize::MIN,
            at_once: None,
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(10),
            windows: vec![],
        }
    }

    fn serves(&self, _: Symbol) -> bool {
        true
    }

    fn begin(&mut self, symbols: &[Symbol], _: Timestamp) -> Progress<Step> {
        Progress { calls: vec![self.quote(symbols, false)], ..Progress::default() }
    }

    fn answer(&mut self, call: &Call<Step>, reply: &Reply<'_>) -> Result<Progress<Step>, Failure> {
        let mut progress = Progress::default();
        let symbols = call.symbols.clone();
        match &call.step {
            Step::Cookie => {
                let cookie = reply.header("set-cookie").ok_or_else(|| reply.failure("no cookie"))?.to_owned();
                let request = Request::get("/crumb").header("cookie", &cookie);
                progress.calls.push(Call::new(request, &symbols, Step::Crumb { cookie }));
            }
            Step::Crumb { cookie } => {
                let crumb = String::from_utf8_lossy(reply.body).into_owned();
                self.session = Some((cookie.clone(), crumb));
                progress.calls.push(self.quote(&symbols, true));
            }
            Step::Quote { renewed: false } if reply.status == 401 => {
                self.session = None;
                progress.calls.push(self.quote(&symbols, false));
            }
            Step::Quote { .. } if !reply.is_success() => return Err(reply.failure("")),
            Step::Quote { .. } => {
                let price =
                    Number::parse(&String::from_utf8_lossy(reply.body)).map_err(|_| reply.failure("no price"))?;
                progress.add(symbols[0], Ok(Quote::new(symbols[0], price, "yahoo")), reply.now);
            }
        }
        Ok(progress)
    }
}

fn sessions(vendor: &MockVendor, key: &str) -> HttpProvider<Sessions> {
    let config = Config { api_key: Some(key.into()), ..settings(vendor) };
    let sessions = Sessions { key: key.into(), session: None };
    HttpProvider::new(sessions, &config, Arc::new(Client::new().unwrap()), &embedded()).unwrap()
}

/// Knows the crumb of the newest session only.
fn session_server() -> impl Fn(&Asked) -> Answer + Send + Sync + 'static {
    let sessions = std::sync::atomic::AtomicU32::new(0);
    move |asked| {
        let order = std::sync::atomic::Ordering::SeqCst;
        let newest = format!("c{}", sessions.load(order));
        match asked.path() {
            "/" => Answer::new(404, "").header("set-cookie", format!("c{}", sessions.fetch_add(1, order) + 1)),
            "/crumb" => Answer::new(200, asked.headers["cookie"].to_str().unwrap()),
            _ if asked.query("crumb").as_deref() == Some(&*newest) => Answer::new(200, "17.50"),
            _ => Answer::new(401, r#"{"finance":{"error":{"description":"Invalid Crumb"}}}"#),
        }
    }
}

#[tokio::test]
async fn a_session_of_several_requests_is_opened_kept_and_renewed_once() {
    let vendor = MockVendor::start(session_server()).await;
    let paths = |vendor: &MockVendor| vendor.asked().iter().map(|a| a.path().to_owned()).collect::<Vec<_>>();
    let provider = sessions(&vendor, "s3cret-key");
    assert_eq!(fetch(&provider, &["AAPL"]).await.quotes[0].price.as_str(), "17.50");
    fetch(&provider, &["MSFT"]).await;
    assert_eq!(paths(&vendor), ["/", "/crumb", "/quote", "/quote"]);
    // Somebody else opens a session: ours is no longer the newest.
    reqwest_get(&vendor, "/").await;
    assert_eq!(fetch(&provider, &["AAPL"]).await.quotes.len(), 1);
    assert_eq!(paths(&vendor)[5..], ["/quote", "/", "/crumb", "/quote"]);
}

async fn reqwest_get(vendor: &MockVendor, path: &str) {
    let client = Client::new().unwrap();
    client.send(client.turn().await, &vendor.url(), &Request::get(path), DEADLINE).await.unwrap();
}

#[tokio::test]
async fn a_key_never_shows_in_errors_however_the_vendor_repeats_it() {
    const KEY: &str = "aB3/s3cret+key";
    let echo = |asked: &Asked| match asked.path() {
        "/" => Answer::new(404, "").header("set-cookie", "c"),
        "/crumb" => Answer::new(200, "x"),
        _ => Answer::new(403, format!("your key {} ({}) is not entitled", KEY.to_uppercase(), asked.target)),
    };
    let vendor = MockVendor::start(echo).await;
    let provider = sessions(&vendor, KEY);
    let fetched = fetch(&provider, &["AAPL"]).await;
    assert_eq!(failure(&fetched).as_str(), "plan");
    let status = provider.status();
    let shown = format!("{fetched:?} {} {status:?}", failure(&fetched));
    assert!(vendor.asked()[2].target.contains("aB3%2Fs3cret%2Bkey"), "the key was sent");
    for spelling in [KEY, "aB3%2Fs3cret%2Bkey"] {
        assert!(!shown.to_lowercase().contains(&spelling.to_lowercase()), "{shown}");
    }
    assert!(shown.contains("***") && status.parked.is_some());
}

#[tokio::test]
async fn an_address_where_nobody_listens_does_not_show_the_key_either() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let client = Client::new().unwrap();
    let request = Request::get("/quote").query("apikey", "s3cret-key");
    let failure = client.send(client.turn().await, &url, &request, DEADLINE).await.unwrap_err();
    assert_eq!(failure.as_str(), "transient");
    assert!(!format!("{failure} {failure:?} {request:?}").contains("s3cret"), "{failure}");
}
