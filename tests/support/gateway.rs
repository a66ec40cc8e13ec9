//! A gateway for tests: port 0, the documented defaults with the limits that tests need.

use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use axum::Router;
use rustls::pki_types::CertificateDer;
use tempfile::TempDir;
use tickcast::broker::Broker;
use tickcast::gateway::Gateway;
use tickcast::gateway::config::{Auth, Config, Limits, Tls};
use tickcast::protocol::session::Talk;

fn number(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).expect("not zero")
}

fn size(size: usize) -> NonZeroUsize {
    NonZeroUsize::new(size).expect("not zero")
}

/// Two shards, so that every test crosses between them; room for many clients of one address.
pub fn config() -> Config {
    Config {
        bind: [127, 0, 0, 1].into(),
        port: 0,
        shards: Some(size(2)),
        flush_window: Duration::ZERO,
        ping_interval: Duration::from_secs(25),
        pong_timeout: Duration::from_secs(10),
        slow_client_timeout: Duration::from_secs(30),
        stale_after: Duration::from_secs(180),
        talk: Talk::Quotes,
        wildcard: false,
        compression: true,
        name: "tickcast".into(),
        api_base: None,
        allowed_origins: Vec::new(),
        limits: Limits {
            max_connections: None,
            connections_per_ip: number(20_000),
            connects_per_ip_per_second: number(20_000),
            connect_burst: number(20_000),
            messages_per_second: number(10),
            message_burst: number(50),
            pings_per_second: number(5),
            ping_burst: number(20),
            message_bytes: size(65_536),
            fragments: number(64),
            symbols_per_client: size(1024),
            handshake_timeout: Duration::from_secs(10),
            rest_rpm: number(60),
            trusted_proxies: Vec::new(),
        },
        auth: Auth::None,
        tls: None,
        drain_window: Duration::from_secs(1),
        ready_grace: Duration::from_secs(30),
    }
}

/// Starts a gateway that serves nothing but the socket.
pub async fn start(config: &Config, broker: &Broker) -> Gateway {
    Gateway::start(config, broker, |_| Router::new()).await.expect("the gateway starts")
}

/// A fresh certificate for `localhost` in files, and the certificate for those who are to trust it.
pub fn certificate() -> (TempDir, Tls, CertificateDer<'static>) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let files = Tls { cert_file: dir.path().join("tls.crt"), key_file: dir.path().join("tls.key") };
    let certificate = renew(&files);
    (dir, files, certificate)
}

/// Replaces the certificate in these files by a fresh one.
pub fn renew(files: &Tls) -> CertificateDer<'static> {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".into()]).expect("a certificate");
    std::fs::write(&files.cert_file, made.cert.pem()).expect("the file is ours");
    std::fs::write(&files.key_file, made.signing_key.serialize_pem()).expect("the file is ours");
    made.cert.der().clone()
}
