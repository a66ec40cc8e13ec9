//! An echo server on the gateway's own accept path, shards and session I/O, for RFC 6455 conformance suites:
//!
//! ```sh
//! cargo run --release --example echo -- 9001
//! wstest -m fuzzingclient        # Autobahn, pointed at ws://127.0.0.1:9001/ws
//! ```
//!
//! Only what is said differs from a real gateway: messages come back as they were, and limits are wide enough for the
//! suite's 16 MiB messages.

use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use axum::Router;
use tickcast::broker::{Timing, memory};
use tickcast::gateway::config::{Auth, Config, Limits};
use tickcast::gateway::{Gateway, StartError};
use tickcast::protocol::session::Talk;

/// Above the largest message of Autobahn's performance cases.
const MESSAGE_BYTES: NonZeroUsize = NonZeroUsize::new(32 << 20).expect("not zero");
/// Autobahn splits 4 MiB into fragments of 64 bytes: 65,536 of them.
const FRAGMENTS: NonZeroU32 = NonZeroU32::new(1 << 20).expect("not zero");
const ENOUGH: NonZeroU32 = NonZeroU32::new(1 << 16).expect("not zero");

#[tokio::main]
async fn main() -> Result<(), StartError> {
    let port = std::env::args().nth(1).and_then(|port| port.parse().ok()).unwrap_or(9001);
    let gateway = Gateway::start(&config(port), &memory::start(Timing::default()), |_| Router::new()).await?;
    println!("echo at ws://{}/ws; Ctrl-C ends it", gateway.handle().address());
    if let Err(error) = tokio::signal::ctrl_c().await {
        eprintln!("signals cannot be received: {error}");
    }
    gateway.stop().await;
    Ok(())
}

fn config(port: u16) -> Config {
    Config {
        bind: [127, 0, 0, 1].into(),
        port,
        shards: None,
        flush_window: Duration::ZERO,
        ping_interval: Duration::from_secs(25),
        pong_timeout: Duration::from_secs(10),
        slow_client_timeout: Duration::from_secs(30),
        stale_after: Duration::from_secs(180),
        talk: Talk::Echo,
        wildcard: false,
        compression: true,
        name: "echo".into(),
        api_base: None,
        allowed_origins: Vec::new(),
        limits: Limits {
            max_connections: None,
            connections_per_ip: ENOUGH,
            connects_per_ip_per_second: ENOUGH,
            connect_burst: ENOUGH,
            messages_per_second: ENOUGH,
            message_burst: ENOUGH,
            pings_per_second: ENOUGH,
            ping_burst: ENOUGH,
            message_bytes: MESSAGE_BYTES,
            fragments: FRAGMENTS,
            symbols_per_client: NonZeroUsize::MIN,
            handshake_timeout: Duration::from_secs(10),
            rest_rpm: ENOUGH,
            trusted_proxies: Vec::new(),
        },
        auth: Auth::None,
        tls: None,
        drain_window: Duration::ZERO,
        ready_grace: Duration::ZERO,
    }
}
