//! Signs tokens, and publishes keys as an issuer does.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

fn base64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn token(header: &Value, claims: &Value, sign: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let message = format!("{}.{}", base64(header.to_string()), base64(claims.to_string()));
    let signature = sign(message.as_bytes());
    format!("{message}.{}", base64(signature))
}

/// A NumericDate so many seconds from now.
pub fn seconds_from_now(seconds: i64) -> i64 {
    Timestamp::now().as_second() + seconds
}

/// A token signed by a secret.
pub fn hs256(secret: &str, claims: &Value) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    token(&json!({"alg": "HS256", "typ": "JWT"}), claims, |message| hmac::sign(&key, message).as_ref().to_vec())
}

/// A key pair of this name.
pub struct Es256 {
    kid: &'static str,
    pair: EcdsaKeyPair,
}

impl Es256 {
    pub fn new(kid: &'static str) -> Es256 {
        let (algorithm, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
        let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        Es256 { kid, pair: EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &random).unwrap() }
    }

    fn jwk(&self) -> Value {
        let (x, y) = self.pair.public_key().as_ref()[1..].split_at(32);
        json!({"kty": "EC", "crv": "P-256", "alg": "ES256", "kid": self.kid, "x": base64(x), "y": base64(y)})
    }

    pub fn token(&self, claims: &Value) -> String {
        let sign = |message: &[u8]| self.pair.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec();
        token(&json!({"alg": "ES256", "kid": self.kid}), claims, sign)
    }
}

/// Publishes keys at `/keys` of a port of its own.
pub struct Issuer {
    address: SocketAddr,
    published: Arc<Mutex<String>>,
    task: JoinHandle<()>,
}

impl Issuer {
    pub async fn start(keys: &[&Es256]) -> Issuer {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let published = Arc::new(Mutex::new(String::new()));
        let shared = Arc::clone(&published);
        let app = Router::new().route("/keys", get(async move || shared.lock().unwrap().clone()));
        let task = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        let issuer = Issuer { address, published, task };
        issuer.publish(keys);
        issuer
    }

    /// Replaces the published keys.
    pub fn publish(&self, keys: &[&Es256]) {
        let keys: Vec<Value> = keys.iter().map(|key| key.jwk()).collect();
        *self.published.lock().unwrap() = json!({"keys": keys}).to_string();
    }

    pub fn url(&self) -> String {
        format!("http://{}/keys", self.address)
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.task.abort();
    }
}
