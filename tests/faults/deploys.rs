//! A rolling restart of two gateways behind one address.
//!
//! With 200 clients here; `TICKCAST_DEPLOY_CLIENTS=2000 cargo test --release --test faults rolling -- --nocapture` is the whole
//! claim, with the documented drain window of 20 s.

use std::net::SocketAddr;

use crate::*;
use futures_util::StreamExt as _;
use serde_json::Value;
use support::balancer::{Backend, Balancer};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};
use tokio_tungstenite::client_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

/// Between two quotes.
const INTERVAL: Duration = Duration::from_millis(250);
/// How every quote begins.
const QUOTE: &str = r#"{"type":"price_update""#;
/// What the contract allows beside a client's slot.
const ALLOWED: Duration = Duration::from_secs(2);

/// What became of one client.
#[derive(Debug, Default)]
struct Life {
    /// The drains it was told of: its slot in each.
    slots: Vec<Duration>,
    /// How long it was without quotes at most, beyond the slot it had been told.
    overtime: Duration,
    longest_gap: Duration,
    refused: u32,
    /// Ends of connections other than 1012.
    faults: Vec<String>,
}

/// Watches through every restart until `stop`, as a page would: reconnects at once after 1012, soon after a refusal.
async fn live(address: SocketAddr, mut stop: watch::Receiver<bool>, quoted: watch::Sender<u32>) -> Life {
    let mut life = Life::default();
    let (mut last, mut slot) = (None, Duration::ZERO);
    while !*stop.borrow_and_update() {
        let connected = async {
            let stream = TcpStream::connect(address).await.ok()?;
            client_async(format!("ws://{address}/ws?symbols={SYMBOL}"), stream).await.ok()
        };
        let Some((mut stream, _)) = connected.await else {
            life.refused += 1;
            sleep(Duration::from_millis(fastrand::u64(50..150))).await;
            continue;
        };
        let mut is_new = true;
        loop {
            let message = tokio::select! {
                message = stream.next() => message,
                _ = stop.changed() => break,
            };
            match message {
                Some(Ok(Message::Text(text))) => {
                    // Thousands of clients share a test's processor: no quote is looked into.
                    if text.starts_with(QUOTE) {
                        let now = Instant::now();
                        // What it was told in its former connection is over with this one's first quote.
                        let slot = if std::mem::take(&mut is_new) { std::mem::take(&mut slot) } else { slot };
                        match last.replace(now) {
                            Some(before) => life.note_gap(now - before, slot),
                            None => quoted.send_modify(|count| *count += 1),
                        }
                    } else if text.contains(r#""draining""#) {
                        let message: Value = serde_json::from_str(&text).unwrap();
                        slot = Duration::from_millis(message["reconnect_in_ms"].as_u64().unwrap());
                        life.slots.push(slot);
                    }
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Ok(Message::Close(Some(frame)))) if frame.code == CloseCode::Restart => break,
                other => {
                    life.faults.push(format!("{other:?}"));
                    break;
                }
            }
        }
    }
    // What it still waits for counts too.
    if let Some(before) = last {
        life.note_gap(Instant::now() - before, slot);
    }
    life
}

impl Life {
    fn note_gap(&mut self, gap: Duration, slot: Duration) {
        self.longest_gap = self.longest_gap.max(gap);
        self.overtime = self.overtime.max(gap.saturating_sub(slot));
    }
}

/// Publishes as a publisher does, for as long as it is kept. Notes the longest time between two quotes: what clients were
/// without while there was none is the machine's doing.
fn publish(redis: &RedisServer, longest: watch::Sender<Duration>) -> JoinHandle<()> {
    let mut connection = redis.connect();
    tokio::spawn(async move {
        let mut last = Instant::now();
        for seq in 1_u64.. {
            let gap = last.elapsed();
            last = Instant::now();
            longest.send_modify(|longest| *longest = gap.max(*longest));
            let json = format!(r#"{QUOTE},"symbol":"{SYMBOL}","data":{{"price":{seq}}},"seq":{seq}}}"#);
            connection.command(&["SET", &format!("cache:quote:{SYMBOL}"), &json]);
            connection.command(&["PUBLISH", UPDATES, &json]);
            sleep(INTERVAL).await;
        }
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rolling_restart_of_two_gateways_leaves_no_client_without_quotes() {
    let wanted = std::env::var("TICKCAST_DEPLOY_CLIENTS").ok().map(|text| text.parse().expect("a number of clients"));
    let (clients, window_s) = wanted.map_or((200, 3), |clients: u32| (clients, 20));
    raise_open_files();
    let redis = RedisServer::start().await;
    let between_quotes = watch::Sender::new(Duration::ZERO);
    let publishing = publish(&redis, between_quotes.clone());
    let window = format!("drain.window_s={window_s}");
    let many = ["connections_per_ip=100000", "connects_per_ip_per_second=100000", "connect_burst=100000"];
    let many = many.map(|limit| format!("limits.{limit}"));
    let flags: Vec<&str> = many.iter().chain([&window]).flat_map(|value| ["--set", value]).collect();
    let start = async || Role::gateway(&redis.url(), &flags).await;
    let balancer = Balancer::start().await;
    let mut gateways = vec![start().await, start().await];
    for gateway in &gateways {
        balancer.add(Backend::from(gateway)).await;
    }
    let (stop, quoted) = (watch::Sender::new(false), watch::Sender::new(0));
    let mut lives = JoinSet::new();
    for _ in 0..clients {
        lives.spawn(live(balancer.address(), stop.subscribe(), quoted.clone()));
    }
    let all = quoted.subscribe().wait_for(|count| *count == clients).await.map(drop);
    all.expect("clients count while they live");

    for _ in 0..2 {
        let old = gateways.remove(0);
        let backend = Backend::from(&old);
        let (status, log) = timeout(4 * support::DEADLINE, old.stop()).await.expect("it drains");
        assert!(status.success(), "{log:#?}");
        balancer.remove(backend);
        let new = start().await;
        balancer.add(Backend::from(&new)).await;
        gateways.push(new);
    }
    eventually("everybody is connected", async || {
        let mut connected = 0;
        for gateway in &gateways {
            connected += gateway.ask("/health").await["connections"].as_u64().unwrap();
        }
        connected == u64::from(clients)
    })
    .await;
    stop.send_replace(true);
    let lives = lives.join_all().await;
    publishing.abort();

    let told = lives.iter().map(|life| life.slots.len()).sum::<usize>();
    let worst = lives.iter().map(|life| life.longest_gap).max().unwrap();
    let refused = lives.iter().map(|life| life.refused).sum::<u32>();
    let published = *between_quotes.borrow();
    eprintln!(
        "{clients} clients, {told} slots, longest without quotes {worst:?}, {refused} refused tries; between two quotes \
         {published:?} at most"
    );
    let late: Vec<_> = lives.iter().filter(|life| life.overtime > ALLOWED).collect();
    assert!(late.is_empty(), "{} without quotes for too long: {:#?}", late.len(), late[0]);
    let faults: Vec<_> = lives.iter().flat_map(|life| &life.faults).collect();
    assert!(faults.is_empty(), "{} ended otherwise than by 1012: {}", faults.len(), faults[0]);
    assert!(told >= clients as usize, "both gateways were drained, and everybody was on one of them");
    for gateway in gateways {
        gateway.stop().await;
    }
}
