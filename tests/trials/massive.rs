//! A vendor that answers snapshots like Massive and allows so many calls in fixed windows, whose phase nobody was told.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::support::vendor::{Answer, Asked, MockVendor};

/// The vendor's own count: one for all who ask, each at an address of their own.
pub(crate) struct Massive {
    started: Instant,
    /// How long the first window has run already.
    phase: Duration,
    window: Duration,
    limit: usize,
    calls: Mutex<Vec<Call>>,
}

/// One request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call {
    pub(crate) at: Duration,
    /// Who asked.
    pub(crate) by: usize,
    pub(crate) is_allowed: bool,
}

impl Massive {
    pub(crate) fn new(limit: usize, window: Duration, phase: Duration) -> Arc<Massive> {
        Arc::new(Massive { started: Instant::now(), phase, window, limit, calls: Mutex::default() })
    }

    /// An address for one of those who ask.
    pub(crate) async fn serve(self: &Arc<Massive>, by: usize) -> MockVendor {
        let vendor = Arc::clone(self);
        MockVendor::start(move |asked| vendor.answer(by, asked)).await
    }

    pub(crate) fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }

    fn answer(&self, by: usize, asked: &Asked) -> Answer {
        let mut calls = self.calls.lock().unwrap();
        let at = self.started.elapsed();
        let window = |at: Duration| (at + self.phase).as_nanos() / self.window.as_nanos();
        let used = calls.iter().filter(|call| call.is_allowed && window(call.at) == window(at)).count();
        let is_allowed = used < self.limit;
        calls.push(Call { at, by, is_allowed });
        if !is_allowed {
            let said = "You've exceeded the maximum requests per minute, please wait or upgrade your subscription.";
            return Answer::new(429, format!(r#"{{"status":"ERROR","request_id":"a1","error":"{said}"}}"#));
        }
        snapshot(asked, 100 + calls.len())
    }
}

/// Everything asked for, at one price, traded now.
pub(crate) fn snapshot(asked: &Asked, price: usize) -> Answer {
    assert_eq!(asked.path(), "/v2/snapshot/locale/us/markets/stocks/tickers");
    assert_eq!(asked.headers["authorization"], "Bearer test");
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos();
    let row = |ticker: &str| {
        format!(
            r#"{{"ticker":"{ticker}","todaysChange":1.5,"todaysChangePerc":0.84,"updated":{now},"day":{{"c":{price},"v":41203344}},"lastTrade":{{"p":{price},"s":100,"t":{now}}}}}"#
        )
    };
    let tickers = asked.query("tickers").expect("tickers are asked for");
    let rows: Vec<String> = tickers.split(',').map(row).collect();
    Answer::json(format!(r#"{{"status":"OK","count":{},"tickers":[{}]}}"#, rows.len(), rows.join(",")))
}

/// Tickers as there are in the US.
pub(crate) fn tickers(count: u8) -> Vec<String> {
    (0..count).map(|i| format!("Q{}{}", char::from(b'A' + i / 26), char::from(b'A' + i % 26))).collect()
}

/// What a publisher is told about this vendor.
pub(crate) fn settings(url: &str) -> Vec<String> {
    let base_url = format!("providers.massive.base_url={url}");
    ["publisher.providers=massive", "providers.massive.api_key=test", "publisher.closed_stretch=1", &base_url]
        .iter()
        .flat_map(|setting| ["--set".to_owned(), (*setting).to_owned()])
        .collect()
}
