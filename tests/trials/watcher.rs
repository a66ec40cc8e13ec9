//! A client that stays: it connects again whenever its gateway goes, and checks the order of what it is told.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::protocol::Message;

/// Until dropped.
pub(crate) struct Watcher {
    seen: Arc<Mutex<Seen>>,
    task: JoinHandle<()>,
}

/// What it was told.
#[derive(Debug, Default, Clone)]
pub(crate) struct Seen {
    /// The last `seq` and price of each symbol.
    pub(crate) last: BTreeMap<String, (u64, u64)>,
    pub(crate) updates: usize,
    pub(crate) connections: usize,
    /// Updates that did not rise.
    pub(crate) disorder: Vec<String>,
    pub(crate) prices: Vec<u64>,
}

impl Watcher {
    pub(crate) fn of(symbols: Vec<String>, gateway: SocketAddr) -> Watcher {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let own = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            loop {
                // Why it ended is of no interest: gateways are killed here.
                let _ = watch(&symbols, gateway, &own).await;
                sleep(Duration::from_millis(100)).await;
            }
        });
        Watcher { seen, task }
    }

    pub(crate) fn seen(&self) -> Seen {
        self.seen.lock().unwrap().clone()
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

type Failed = Box<dyn std::error::Error + Send + Sync>;

async fn watch(symbols: &[String], gateway: SocketAddr, seen: &Mutex<Seen>) -> Result<(), Failed> {
    let stream = TcpStream::connect(gateway).await?;
    let (mut stream, _) = client_async(format!("ws://{gateway}/ws"), stream).await?;
    stream.send(Message::text(serde_json::json!({"action": "subscribe", "symbols": symbols}).to_string())).await?;
    let mut is_counted = false;
    while let Some(message) = stream.next().await {
        let Message::Text(text) = message? else { continue };
        let message: Value = serde_json::from_str(&text)?;
        let mut seen = seen.lock().unwrap();
        match message["type"].as_str() {
            Some("subscribed") if !is_counted => {
                is_counted = true;
                seen.connections += 1;
            }
            Some("price_update") => seen.take_in(&message),
            _ => {}
        }
    }
    Ok(())
}

impl Seen {
    fn take_in(&mut self, update: &Value) {
        let symbol = update["symbol"].as_str().unwrap().to_owned();
        let (seq, price) = (update["seq"].as_u64().unwrap(), update["data"]["price"].as_u64().unwrap());
        self.updates += 1;
        self.prices.push(price);
        let before = self.last.insert(symbol, (seq, price));
        // A snapshot after a reconnect may repeat what is known already.
        let rises = |(known, _): (u64, u64)| known < seq || (known == seq && update["snapshot"] == true);
        if !before.is_none_or(rises) {
            self.disorder.push(format!("{update} after {before:?}"));
        }
    }
}
