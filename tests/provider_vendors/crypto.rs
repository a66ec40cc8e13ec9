//! Binance and Coinbase.

use jiff::Timestamp;
use tickcast::market::Range;
use tickcast::provider::{Missing, Name};

use crate::case::{Case, moments};
use crate::support::vendor::{self, Answer, Asked};

pub(crate) fn binance() -> Case {
    Case {
        name: Name::Binance,
        has_key: false,
        serve: serve_binance,
        ask: &["BTC-USDT", "ETH-USDT", "NONE-USDT"],
        prices: &["BTC-USDT 88199.90000000", "ETH-USDT 88199.90000000"],
        missing: &[("NONE-USDT", Missing::UnknownSymbol)],
        chart: ("BTC-USDT", Range::Day),
    }
}

fn serve_binance(asked: &Asked) -> Answer {
    if asked.path() != "/api/v3/klines" {
        return vendor::binance(&["BTCUSDT", "ETHUSDT"])(asked);
    }
    let [older, newer] = moments().map(|at| at.as_millisecond());
    let row = |at, close| format!(r#"[{at},"1","3.0","1","{close}","7",1,"1",1,"1","1","0"]"#);
    Answer::json(format!("[{},{},{}]", row(older, "1.50"), row(older, "1.50"), row(newer, "2.50")))
}

pub(crate) fn coinbase() -> Case {
    Case {
        name: Name::Coinbase,
        has_key: false,
        serve: serve_coinbase,
        ask: &["BTC-USD", "ETH-BTC", "NONE-USD"],
        prices: &["BTC-USD 88199.90", "ETH-BTC 0.03310"],
        missing: &[("NONE-USD", Missing::UnknownSymbol)],
        chart: ("BTC-USD", Range::Day),
    }
}

fn serve_coinbase(asked: &Asked) -> Answer {
    assert!(asked.headers.contains_key("user-agent"));
    let path: Vec<&str> = asked.path().split('/').collect();
    let [_, _, pair, what] = path[..] else { panic!("{}", asked.path()) };
    let price = match pair {
        "BTC-USD" => "88199.90",
        "ETH-BTC" => "0.03310",
        _ => return Answer::new(404, r#"{"message":"NotFound"}"#),
    };
    match what {
        "stats" => Answer::json(r#"{"open":"89012.00","last":"1","volume":"1"}"#),
        "ticker" => Answer::json(format!(r#"{{"price":"{price}","time":"{}","volume":"5360.2"}}"#, Timestamp::now())),
        _ => {
            let [older, newer] = moments().map(|at| at.as_second());
            Answer::json(format!("[[{newer},1,3.0,1,2.50,7],[{older},1,3.0,1,1.50,7],[{older},1,3.0,1,1.50,7]]"))
        }
    }
}
