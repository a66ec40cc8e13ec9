//! Who gets in with which token, what it grants, and what becomes of it while the socket is open.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod support;

use std::time::Duration;

use serde_json::{Value, json};
use support::DEADLINE;
use support::client::{Client, eventually};
use support::gateway::{config, start};
use support::process::Role;
use support::raw::{Raw, request, upgrade};
use support::token::{Es256, Issuer, hs256, seconds_from_now};
use tickcast::broker::{Broker, Channel, Timing, memory};
use tickcast::gateway::Gateway;
use tickcast::gateway::config::{Auth, Jwt, JwtKeys};

const SECRET: &str = "a-secret-of-at-least-thirty-two-bytes";

struct World {
    broker: Broker,
    gateway: Gateway,
}

impl World {
    async fn new(auth: Auth) -> World {
        let broker = memory::start(Timing::default());
        let config = tickcast::gateway::Config { auth, wildcard: true, ..config() };
        let gateway = start(&config, &broker).await;
        let handle = gateway.handle();
        eventually("the feed is up", async || handle.summary().feed_connected).await;
        World { broker, gateway }
    }

    async fn client(&self, path: &str) -> Client {
        Client::connect(self.gateway.handle().address(), path).await
    }

    /// The status of a handshake with these headers.
    async fn status(&self, path: &str, headers: &[(&str, &str)]) -> u16 {
        Raw::say_to(self.gateway.handle().address(), upgrade(path, headers)).await.status().await
    }

    async fn publish(&self, json: &str) {
        self.broker.publish.send(Channel::Updates, json.as_bytes()).await.unwrap();
    }
}

fn tokens(tokens: &[&str]) -> Auth {
    Auth::Tokens(tokens.iter().map(|&token| token.to_owned().into()).collect())
}

fn secret() -> Auth {
    let keys = JwtKeys::Secret(SECRET.to_owned().into());
    Auth::Jwt(Jwt { keys, audience: Some("quotes".into()), issuer: None, leeway: Duration::ZERO })
}

fn good_for(seconds: i64, more: &Value) -> String {
    let mut claims = json!({"exp": seconds_from_now(seconds), "aud": "quotes"});
    claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    hs256(SECRET, &claims)
}

fn auth(token: &str) -> String {
    json!({"action": "auth", "token": token}).to_string()
}

#[tokio::test]
async fn a_token_may_come_by_header_subprotocol_url_or_message_and_a_bad_one_never_passes() {
    let world = World::new(tokens(&["first", "second"])).await;
    for token in ["first", "second", "third", "firs", "", "first "] {
        let expected = if matches!(token, "first" | "second" | "first ") { 101 } else { 401 };
        let bearer = format!("Bearer {token}");
        assert_eq!(world.status("/ws", &[("Authorization", &bearer)]).await, expected, "header {token:?}");
        let path = format!("/ws?token={}", token.trim());
        assert_eq!(world.status(&path, &[]).await, expected, "URL {token:?}");
    }
    assert_eq!(world.status("/ws", &[("Sec-WebSocket-Protocol", "bearer, second")]).await, 101);
    assert_eq!(world.status("/ws", &[("Sec-WebSocket-Protocol", "bearer, third")]).await, 401);
    let twice = [("Authorization", "Bearer first"), ("Authorization", "Bearer second")];
    assert_eq!(world.status("/ws", &twice).await, 400);

    let mut by_message = world.client("/ws?symbols=A").await;
    let early = by_message.ask(r#"{"action":"subscribe","symbols":["B"],"id":1}"#).await;
    assert_eq!((early["code"].as_str(), early["id"].as_u64()), (Some("unauthorized"), Some(1)));
    assert_eq!(by_message.ask(&auth("first")).await["type"], "authenticated");
    assert_eq!(by_message.next().await["symbols"], json!(["A"]), "what the URL asked for");
    let mut bad = world.client("/ws").await;
    assert_eq!(bad.ask(&auth("third")).await["code"], "unauthorized");
    assert_eq!(bad.close_code().await, 4401);
    world.gateway.stop().await;
}

#[tokio::test]
async fn a_client_without_a_token_hears_nothing_and_is_closed_in_time() {
    let world = World::new(tokens(&["good"])).await;
    let mut waiting = world.client("/ws?symbols=A").await;
    let mut watching = world.client("/ws?symbols=A&token=good").await;
    watching.next_of("subscribed").await;
    world.publish(r#"{"symbol":"A","seq":1}"#).await;
    assert_eq!(watching.next().await["seq"], 1);
    let tickcast_says = waiting.next_message().await;
    assert!(tickcast_says.is_close(), "{tickcast_says:?}");
    world.gateway.stop().await;
}

#[tokio::test]
async fn a_jwt_must_be_signed_in_time_and_for_us() {
    let world = World::new(secret()).await;
    let claims = |exp: i64| json!({"exp": seconds_from_now(exp), "aud": "quotes"});
    let with = |name: &str, value: Value| {
        let mut claims = claims(60);
        claims[name] = value;
        hs256(SECRET, &claims)
    };
    for (token, expected) in [
        (hs256(SECRET, &claims(60)), 101),
        (hs256("another-secret-of-thirty-two-bytes-or-so", &claims(60)), 401),
        (hs256(SECRET, &claims(-1)), 401),
        (with("exp", json!(null)), 401),
        (with("nbf", json!(seconds_from_now(60))), 401),
        (with("nbf", json!(seconds_from_now(-60))), 101),
        (with("aud", json!("others")), 401),
        (with("aud", json!(null)), 401),
        (Es256::new("k").token(&claims(60)), 401),
    ] {
        let bearer = format!("Bearer {token}");
        assert_eq!(world.status("/ws", &[("Authorization", &bearer)]).await, expected, "{token}");
    }
    world.gateway.stop().await;
}

#[tokio::test]
async fn a_socket_is_warned_before_its_token_ends_closed_when_it_does_and_stays_with_a_new_one() {
    let world = World::new(secret()).await;
    let token = good_for(6, &json!({}));
    let mut closing = world.client(&format!("/ws?token={token}")).await;
    let mut staying = world.client(&format!("/ws?symbols=A&token={token}")).await;
    staying.next_of("subscribed").await;
    let warning = closing.next_of("auth_expiring").await;
    assert!((1..=6_000).contains(&warning["expires_in_ms"].as_u64().unwrap()), "{warning}");
    staying.next_of("auth_expiring").await;
    staying.say(&auth(&good_for(600, &json!({})))).await;
    assert_eq!(staying.next_of("authenticated").await["type"], "authenticated");
    assert_eq!(closing.close_code().await, 4401, "nobody sent another token");
    world.publish(r#"{"symbol":"A","seq":1}"#).await;
    assert_eq!(staying.next().await["seq"], 1, "the same socket, the same subscriptions");
    let mut far = world.client(&format!("/ws?token={}", good_for(600, &json!({})))).await;
    assert_eq!(far.ask(r#"{"action":"ping"}"#).await["type"], "pong", "no warning while there is time");
    world.gateway.stop().await;
}

#[tokio::test]
async fn a_symbols_claim_narrows_what_may_be_watched_now_and_after_a_refresh() {
    let world = World::new(secret()).await;
    let token = good_for(600, &json!({"symbols": ["AAPL", "BTC-*"]}));
    let mut client = world.client(&format!("/ws?token={token}&symbols=AAPL,MSFT")).await;
    let ack = client.next().await;
    assert_eq!((&ack["symbols"], ack["rejected"][0]["code"].as_str()), (&json!(["AAPL"]), Some("forbidden_symbol")));
    let ack = client.ask(r#"{"action":"subscribe","symbols":["btc-usdt","*"]}"#).await;
    assert_eq!(
        (&ack["symbols"], ack["rejected"][0]["code"].as_str()),
        (&json!(["BTC-USDT"]), Some("forbidden_symbol"))
    );
    world.publish(r#"[{"symbol":"MSFT"},{"symbol":"AAPL"}]"#).await;
    assert_eq!(client.next().await["symbol"], "AAPL");
    client.say(&auth(&good_for(600, &json!({"symbols": "BTC-*"})))).await;
    assert_eq!(client.next_of("unsubscribed").await["symbols"], json!(["AAPL"]));
    world.publish(r#"[{"symbol":"AAPL"},{"symbol":"BTC-USDT"}]"#).await;
    assert_eq!(client.next().await["symbol"], "BTC-USDT");
    world.gateway.stop().await;
}

#[tokio::test]
async fn published_keys_are_rotated_under_open_sockets() {
    let (old, new) = (Es256::new("old"), Es256::new("new"));
    let issuer = Issuer::start(&[&old]).await;
    let keys = JwtKeys::JwksUrl(issuer.url());
    let world = World::new(Auth::Jwt(Jwt { keys, audience: None, issuer: None, leeway: Duration::ZERO })).await;
    let claims = json!({"exp": seconds_from_now(600)});
    let mut client = world.client(&format!("/ws?token={}", old.token(&claims))).await;
    issuer.publish(&[&new]);
    // The issuer is not asked more often than every 10 s, and the first time was at the start.
    let rotated = async {
        while world.status(&format!("/ws?token={}", new.token(&claims)), &[]).await != 101 {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    tokio::time::timeout(DEADLINE, rotated).await.unwrap();
    assert_eq!(client.ask(&auth(&new.token(&claims))).await["type"], "authenticated");
    assert_ne!(world.status(&format!("/ws?token={}", old.token(&claims)), &[]).await, 101, "no longer published");
    assert_eq!(world.gateway.handle().summary().jwks.unwrap().keys, 1);
    world.gateway.stop().await;
}

#[tokio::test]
async fn no_log_shows_a_token() {
    let loud = "log.level=trace,hyper=trace,hyper_util=trace,axum=trace,tower=trace,mio=trace,tokio=trace";
    let args = ["serve", "--bind", "127.0.0.1", "--port", "0", "--set", loud, "--set", "auth.tokens=GOODSECRET"];
    let role = Role::start(&args).await;
    let address = role.address();
    for (token, expected) in [("GOODSECRET", 101), ("BADSECRET", 401)] {
        let bearer = format!("Bearer {token}");
        let protocol = format!("bearer, {token}");
        for (path, headers) in [
            (format!("/ws?token={token}"), vec![]),
            ("/ws".to_owned(), vec![("Authorization", &bearer[..])]),
            ("/ws".to_owned(), vec![("Sec-WebSocket-Protocol", &protocol[..])]),
        ] {
            assert_eq!(Raw::say_to(address, upgrade(&path, &headers)).await.status().await, expected, "{path}");
        }
        let page = request(&format!("GET /?token={token}"), &[("Host", "x"), ("Connection", "close")]);
        assert_eq!(Raw::say_to(address, page).await.status().await, 200);
        let mut client = Client::connect(address, "/ws").await;
        client.say(&auth(token)).await;
        client.next().await;
    }
    let (status, log) = role.stop().await;
    assert!(status.success(), "{status}");
    assert!(log.len() > 10 && log.iter().any(|line| line.contains("\"TRACE\"")), "loud: {}", log.len());
    let shown: Vec<&String> = log.iter().filter(|line| line.contains("SECRET")).collect();
    assert!(shown.is_empty(), "{shown:#?}");
}
