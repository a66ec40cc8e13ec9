//! A client that reads all the time, as a browser does, and what it has seen.
//!
//! It holds every stream to what no fault may break: the connection stands, and a symbol's `seq` only rises.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::tungstenite::protocol::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

use super::DEADLINE;

/// Reads until it is dropped.
pub struct Watcher {
    seen: watch::Receiver<Seen>,
    task: JoinHandle<()>,
}

/// What came so far.
#[derive(Debug, Default)]
pub struct Seen {
    /// The last `seq` of each symbol.
    pub newest: BTreeMap<String, u64>,
    /// Updates marked `snapshot`.
    pub snapshots: BTreeSet<(String, u64)>,
    pub updates: u64,
    /// Status messages in order, without repetition of what stands.
    pub statuses: Vec<String>,
    /// What must not happen, in words.
    pub broken: Option<String>,
}

impl Watcher {
    /// Connects and subscribes.
    pub async fn connect(address: SocketAddr, symbols: &str) -> Watcher {
        let stream = TcpStream::connect(address).await.expect("the gateway listens");
        let url = format!("ws://{address}/ws?symbols={symbols}");
        let (stream, _) = timeout(DEADLINE, client_async(url, stream)).await.expect("in time").expect("a handshake");
        let (sender, seen) = watch::channel(Seen::default());
        Watcher { seen, task: tokio::spawn(read(stream, sender)) }
    }

    /// Waits until what was seen is as wanted.
    pub async fn until(&mut self, what: &str, mut wanted: impl FnMut(&Seen) -> bool) {
        let found = timeout(DEADLINE, self.seen.wait_for(|seen| seen.broken.is_some() || wanted(seen))).await;
        let in_time = found.map(drop).is_ok();
        let seen = self.seen.borrow();
        assert!(in_time && seen.broken.is_none(), "{what}: waited up to {DEADLINE:?}; {:?}", *seen);
    }

    /// Waits for a status that has not been waited for.
    pub async fn told(&mut self, status: &str) {
        let before = self.count(status);
        self.told_again(status, before.saturating_sub(1)).await;
    }

    /// Waits until a status was told more than `times`.
    pub async fn told_again(&mut self, status: &str, times: usize) {
        self.until(&format!("told {status:?}"), |seen| count(seen, status) > times).await;
    }

    /// How often a status was told.
    pub fn count(&self, status: &str) -> usize {
        count(&self.seen.borrow(), status)
    }

    /// Waits for `more` updates.
    pub async fn gets(&mut self, more: u64) {
        let before = self.seen.borrow().updates;
        self.until("quotes flow", |seen| seen.updates >= before + more).await;
    }

    /// Waits until a symbol's number is at least this.
    pub async fn reaches(&mut self, symbol: &str, seq: u64) {
        let reached = |seen: &Seen| seen.newest.get(symbol).is_some_and(|newest| *newest >= seq);
        self.until(&format!("{symbol} reaches {seq}"), reached).await;
    }

    pub fn newest(&self, symbol: &str) -> Option<u64> {
        self.seen.borrow().newest.get(symbol).copied()
    }

    pub fn has_snapshot(&self, symbol: &str, seq: u64) -> bool {
        self.seen.borrow().snapshots.contains(&(symbol.to_owned(), seq))
    }

    /// Panics when what must not happen did.
    #[track_caller]
    pub fn is_whole(&self) {
        let seen = self.seen.borrow();
        assert!(seen.broken.is_none(), "{:?}", *seen);
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn count(seen: &Seen, status: &str) -> usize {
    seen.statuses.iter().filter(|told| *told == status).count()
}

async fn read(mut stream: WebSocketStream<TcpStream>, sender: watch::Sender<Seen>) {
    loop {
        let message = match stream.next().await {
            Some(Ok(Message::Text(text))) => text,
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {
                // tungstenite has queued the pong; what fails here fails again when it is read
                let _ = stream.flush().await;
                continue;
            }
            other => {
                sender.send_modify(|seen| seen.broken = Some(format!("the connection ended: {other:?}")));
                return;
            }
        };
        let message: Value = serde_json::from_str(&message).expect("every message is JSON");
        sender.send_modify(|seen| seen.note(&message));
    }
}

impl Seen {
    fn note(&mut self, message: &Value) {
        match message["type"].as_str() {
            Some("status") => self.statuses.push(message["status"].as_str().unwrap_or_default().to_owned()),
            Some("price_update") => {
                self.updates += 1;
                let symbol = message["symbol"].as_str().unwrap_or_default().to_owned();
                let Some(seq) = message["seq"].as_u64() else { return };
                if message["snapshot"] == true {
                    self.snapshots.insert((symbol.clone(), seq));
                }
                if let Some(before) = self.newest.insert(symbol, seq)
                    && before >= seq
                {
                    self.broken = Some(format!("seq {seq} after {before}: {message}"));
                }
            }
            _ => {}
        }
    }
}

/// Measures how long something takes that was promised within a time.
pub async fn within<T>(promised: Duration, what: &str, happens: impl Future<Output = T>) -> T {
    let began = Instant::now();
    let value = happens.await;
    let took = began.elapsed();
    eprintln!("{what}: {:.1} s of {} s promised", took.as_secs_f64(), promised.as_secs());
    // Twice as long is forgiven: the machine may be busy, and it is not the promise that is slow then.
    assert!(took < 2 * promised, "{what}: took {took:?}, promised within {promised:?}");
    value
}
