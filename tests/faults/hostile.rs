//! A few of every kind of hostile client at once, with the documented limits: what they do is answered with its code, clients
//! that behave get every quote, and nothing is left behind. How much it costs, `tickcast-loadtest run --scenario hostile` says.

use crate::*;
use support::client::Client;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

const QUOTES: u64 = 200;

/// Sends bytes in pieces of `step` on an upgraded socket, then reads to its end: the close code.
async fn close_code_after(gateway: std::net::SocketAddr, bytes: &[u8], step: usize) -> Option<u16> {
    let mut client = Client::connect(gateway, "/ws").await;
    let socket = client.socket();
    for piece in bytes.chunks(step) {
        // The server may have had enough before the end.
        if socket.write_all(piece).await.is_err() {
            break;
        }
    }
    let mut left = Vec::new();
    // A reset after the close frame takes nothing back that was read.
    let _ = timeout(support::DEADLINE, socket.read_to_end(&mut left)).await.expect("it is closed in time");
    let close = left.windows(4).rposition(|window| window[0] == 0x88)?;
    Some(u16::from_be_bytes([left[close + 2], left[close + 3]]))
}

/// What the process has open, in words.
fn open_files(role: &Role) -> Vec<String> {
    let entries = std::fs::read_dir(format!("/proc/{}/fd", role.pid())).unwrap();
    // One that is closed in between is not open.
    entries.filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok()).map(|to| to.display().to_string()).collect()
}

/// A publisher of exactly so many quotes, each one pace after the other.
async fn publish_all(redis: &RedisServer) {
    let mut connection = redis.connect();
    for seq in 1..=QUOTES {
        let json = format!(r#"{{"type":"price_update","symbol":"{SYMBOL}","data":{{"price":{seq}}},"seq":{seq}}}"#);
        connection.command(&["PUBLISH", UPDATES, &json]);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_clients_hurt_nobody() {
    let redis = RedisServer::start().await;
    let gateway = Role::gateway(&redis.url(), &["--set", "limits.connects_per_ip_per_second=1000"]).await;
    let address = gateway.address();
    let connections = async || gateway.ask("/health").await["connections"].as_u64().unwrap();
    // What is opened once and kept is open by then.
    let mut first = Client::connect(address, "/ws").await;
    first.subscribe(&[SYMBOL]).await;
    drop(first);
    eventually("the first has left", async || connections().await == 0).await;
    eventually("both links are up", async || gateway.ask("/health").await["broker"]["connected"] == true).await;
    let files = open_files(&gateway);

    let mut healthy = Vec::new();
    for _ in 0..10 {
        healthy.push(Watcher::connect(address, SYMBOL).await);
    }
    eventually("all are connected", async || connections().await == 10).await;
    let mut attackers = JoinSet::new();
    let (mut never_read, mut half_open) = (Vec::new(), Vec::new());
    for _ in 0..20 {
        let mut client = Client::open(address, "/ws").await;
        client.say(&format!(r#"{{"action":"subscribe","symbols":["{SYMBOL}"]}}"#)).await;
        never_read.push(client);
        let mut socket = TcpStream::connect(address).await.unwrap();
        socket.write_all(b"GET /ws HTTP/1.1\r\nHost: x\r\nUp").await.unwrap();
        half_open.push(socket);
    }
    let single_bytes = b"\x81\x81\0\0\0\0x".repeat(20);
    let fragments: Vec<u8> = (0..1_000).flat_map(|at| [u8::from(at == 0), 0x81, 0, 0, 0, 0, b'x']).collect();
    // A frame that says it has a gigabyte; and one with the reserved bit of a compression that was not agreed.
    let huge = b"\x81\xff\0\0\0\0\x40\0\0\0\0\0\0\0x".to_vec();
    let bomb = b"\xc1\x81\0\0\0\0x".to_vec();
    for (bytes, step, code) in [(single_bytes, 1, 1008), (fragments, 4096, 1009), (huge, 4096, 1009), (bomb, 1, 1002)] {
        for _ in 0..5 {
            let bytes = bytes.clone();
            attackers.spawn(async move { assert_eq!(close_code_after(address, &bytes, step).await, Some(code)) });
        }
    }
    attackers.spawn(async move {
        for _ in 0..100 {
            drop(Client::connect(address, "/ws").await);
        }
    });
    publish_all(&redis).await;
    for client in &mut healthy {
        client.reaches(SYMBOL, QUOTES).await;
        client.until("every quote came", |seen| seen.updates == QUOTES).await;
    }
    while let Some(done) = attackers.join_next().await {
        done.unwrap();
    }
    drop((never_read, half_open, healthy));
    eventually("everybody has left", async || connections().await == 0).await;
    let mut left = Vec::new();
    let closed = async || {
        left = open_files(&gateway);
        left.len() <= files.len()
    };
    let closing = timeout(support::DEADLINE / 2, eventually("no file is left open", closed)).await;
    assert!(closing.is_ok(), "{left:#?} after {files:#?}");
    let (status, log) = gateway.stop().await;
    assert!(status.success() && !log.iter().any(|line| line.contains("panicked")), "{log:#?}");
}
