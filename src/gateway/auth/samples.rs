//! Keys that sign tokens, for tests of what verifies them.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use ring::{hmac, signature};
use serde_json::{Value, json};

use crate::gateway::config::{Jwt, JwtKeys};

pub(super) fn config(secret: &str) -> Jwt {
    Jwt { keys: JwtKeys::Secret(secret.into()), audience: None, issuer: None, leeway: Duration::ZERO }
}

pub(super) fn times(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn base64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Something that signs.
pub(super) trait Signing {
    fn header(&self) -> Value;
    fn sign(&self, message: &[u8]) -> Vec<u8>;

    fn token(&self, claims: &Value) -> String {
        self.token_with(&self.header(), claims)
    }

    fn token_with(&self, header: &Value, claims: &Value) -> String {
        let message = format!("{}.{}", base64(header.to_string()), base64(claims.to_string()));
        let signature = self.sign(message.as_bytes());
        format!("{message}.{}", base64(signature))
    }
}

pub(super) struct Hs256(hmac::Key);

impl Hs256 {
    pub(super) fn new(secret: &str) -> Hs256 {
        Hs256::of(secret.as_bytes())
    }

    pub(super) fn of(secret: &[u8]) -> Hs256 {
        Hs256(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }
}

impl Signing for Hs256 {
    fn header(&self) -> Value {
        json!({"alg": "HS256", "typ": "JWT"})
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        hmac::sign(&self.0, message).as_ref().to_vec()
    }
}

pub(super) struct Es256 {
    kid: &'static str,
    pair: EcdsaKeyPair,
}

impl Es256 {
    /// A fresh key of this name.
    pub(super) fn new(kid: &'static str) -> Es256 {
        let (algorithm, random) = (&ECDSA_P256_SHA256_FIXED_SIGNING, SystemRandom::new());
        let document = EcdsaKeyPair::generate_pkcs8(algorithm, &random).unwrap();
        Es256 { kid, pair: EcdsaKeyPair::from_pkcs8(algorithm, document.as_ref(), &random).unwrap() }
    }

    pub(super) fn jwk(&self) -> Value {
        let (x, y) = self.pair.public_key().as_ref()[1..].split_at(32);
        json!({"kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig", "kid": self.kid, "x": base64(x), "y": base64(y)})
    }
}

impl Signing for Es256 {
    fn header(&self) -> Value {
        json!({"alg": "ES256", "kid": self.kid})
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        self.pair.sign(&SystemRandom::new(), message).unwrap().as_ref().to_vec()
    }
}

pub(super) struct Rs256 {
    kid: &'static str,
    pair: signature::RsaKeyPair,
}

impl Rs256 {
    /// The committed test key, made by `openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048`: ring makes none.
    pub(super) fn new(kid: &'static str) -> Rs256 {
        use rustls::pki_types::PrivatePkcs8KeyDer;
        use rustls::pki_types::pem::PemObject;
        let der = PrivatePkcs8KeyDer::from_pem_slice(include_bytes!("../../../tests/data/rsa_test_key.pem")).unwrap();
        Rs256 { kid, pair: signature::RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()).unwrap() }
    }

    pub(super) fn modulus(&self) -> Vec<u8> {
        signature::RsaPublicKeyComponents::<Vec<u8>>::from(self.pair.public()).n
    }

    pub(super) fn jwk(&self) -> Value {
        let public = signature::RsaPublicKeyComponents::<Vec<u8>>::from(self.pair.public());
        json!({"kty": "RSA", "kid": self.kid, "n": base64(public.n), "e": base64(public.e)})
    }
}

impl Signing for Rs256 {
    fn header(&self) -> Value {
        json!({"alg": "RS256", "typ": "JWT", "kid": self.kid})
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let mut signature = vec![0; self.pair.public().modulus_len()];
        self.pair.sign(&signature::RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature).unwrap();
        signature
    }
}
