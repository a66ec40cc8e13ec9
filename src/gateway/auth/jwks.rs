//! Published keys (RFC 7517): what is known of them, and when they are to be fetched again.
//!
//! Shards read under a short lock and never wait; one task ([`super::refresh`]) writes. A key that is not known asks for
//! a refresh, at most once in [`Pace::gap`], so that made-up key ids cost the issuer nothing. While the issuer is away
//! the old keys stay; after a refresh only what it publishes is left. Bounded by [`MAX_KEYS`].

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use metrics::{counter, describe_counter, describe_gauge, gauge};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::sync::Notify;

use super::refresh::{FetchError, Pace};

/// Keys kept of one answer; issuers publish two or three.
pub(super) const MAX_KEYS: usize = 64;

/// The keys an issuer publishes.
pub(super) struct Keys {
    state: RwLock<State>,
    pace: Pace,
    /// Wakes the task that fetches.
    wanted: Notify,
    /// Told after every attempt.
    settled: Notify,
}

struct State {
    keys: Vec<Key>,
    fetched_at: Option<Instant>,
    attempted_at: Option<Instant>,
    /// Whether the last attempt failed.
    failing: bool,
    /// A refresh is asked for or under way.
    asked: bool,
}

struct Key {
    id: Option<String>,
    algorithm: Algorithm,
    key: Arc<DecodingKey>,
}

/// What is known of the key that a token names.
pub(super) enum Lookup {
    Found(Arc<DecodingKey>),
    /// The issuer publishes no such key.
    Unknown,
    /// It may, but cannot be asked right now, or is being asked.
    Away,
}

/// How published keys are doing.
#[derive(Debug, Clone, Serialize)]
pub struct KeysStatus {
    /// Keys known.
    pub keys: usize,
    /// Since they were last fetched.
    pub age_s: Option<u64>,
    /// Whether the last attempt to fetch them failed.
    pub failing: bool,
}

impl Keys {
    /// None yet; the first fetch counts as asked for.
    pub(super) fn new(pace: Pace) -> Keys {
        describe_counter!("tickcast_jwks_refreshes_total", "Attempts to fetch the published keys of tokens.");
        describe_gauge!("tickcast_jwks_keys", "Published keys that tokens are checked with.");
        for outcome in ["ok", "failed"] {
            counter!("tickcast_jwks_refreshes_total", "outcome" => outcome).increment(0);
        }
        let state = State { keys: Vec::new(), fetched_at: None, attempted_at: None, failing: false, asked: true };
        Keys { state: RwLock::new(state), pace, wanted: Notify::new(), settled: Notify::new() }
    }

    /// The key of this name for this algorithm. A token that names none gets the only one there is for its algorithm:
    /// where there are several, trying them all would let a stranger choose how much work a bad token is.
    pub(super) fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Lookup {
        {
            let state = self.read();
            let mut suitable = state.keys.iter().filter(|key| match id {
                Some(id) => key.id.as_deref() == Some(id),
                None => key.algorithm == algorithm,
            });
            match (suitable.next(), suitable.next(), id) {
                (Some(key), None, None) => return Lookup::Found(Arc::clone(&key.key)),
                (Some(_), Some(_), None) => return Lookup::Unknown,
                (Some(first), second, Some(_)) => {
                    let mut named = std::iter::once(first).chain(second).chain(suitable);
                    let found = named.find(|key| key.algorithm == algorithm);
                    return found.map_or(Lookup::Unknown, |key| Lookup::Found(Arc::clone(&key.key)));
                }
                (None, ..) => {}
            }
            if state.asked {
                return Lookup::Away;
            }
            if state.attempted_at.is_some_and(|at| at.elapsed() < self.pace.gap) {
                return if state.failing { Lookup::Away } else { Lookup::Unknown };
            }
        }
        self.write().asked = true;
        self.wanted.notify_one();
        Lookup::Away
    }

    /// Completes when no refresh is asked for or under way.
    pub(super) async fn settled(&self) {
        loop {
            let settled = self.settled.notified();
            if !self.read().asked {
                return;
            }
            settled.await;
        }
    }

    /// Completes when a key was asked for that is not known.
    pub(super) async fn wanted(&self) {
        self.wanted.notified().await;
    }

    /// Puts the outcome of an attempt in force. How long to wait until the next.
    pub(super) fn settle(&self, outcome: Result<KeySet, FetchError>, failures: u32) -> Duration {
        let mut state = self.write();
        let now = Instant::now();
        (state.asked, state.attempted_at, state.failing) = (false, Some(now), outcome.is_err());
        let word = match outcome {
            Ok(KeySet(keys)) => {
                (state.keys, state.fetched_at) = (keys, Some(now));
                "ok"
            }
            Err(_) => "failed",
        };
        counter!("tickcast_jwks_refreshes_total", "outcome" => word).increment(1);
        gauge!("tickcast_jwks_keys").set(u32::try_from(state.keys.len()).unwrap_or(u32::MAX));
        drop(state);
        self.settled.notify_waiters();
        self.pace.wait(failures)
    }

    pub(super) fn status(&self) -> KeysStatus {
        let state = self.read();
        KeysStatus {
            keys: state.keys.len(),
            age_s: state.fetched_at.map(|at| at.elapsed().as_secs()),
            failing: state.failing,
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        // Nothing panics while it holds the lock, and the state would be whole if it did.
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The usable keys of one answer.
pub(super) struct KeySet(Vec<Key>);

impl KeySet {
    /// Reads a JWK set. Keys of other kinds and for other purposes are passed over, so that an issuer may publish them.
    pub(super) fn read(json: &[u8]) -> Result<KeySet, serde_json::Error> {
        #[derive(Deserialize)]
        struct Set {
            keys: Vec<Value>,
        }
        let set: Set = serde_json::from_slice(json)?;
        let read = |value| serde_json::from_value::<Jwk>(value).ok().and_then(|jwk| Key::read(&jwk));
        Ok(KeySet(set.keys.into_iter().filter_map(read).take(MAX_KEYS).collect()))
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

impl Key {
    /// A key that signs tokens by RS256 or ES256. Never a symmetric one: who can read it could sign.
    fn read(jwk: &Jwk) -> Option<Key> {
        let algorithm = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => Algorithm::RS256,
            AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => Algorithm::ES256,
            _ => return None,
        };
        let common = &jwk.common;
        let stated = common.key_algorithm.is_none_or(|stated| stated == KeyAlgorithm::from(algorithm));
        let signs = matches!(common.public_key_use, None | Some(PublicKeyUse::Signature));
        let verifies = common.key_operations.as_ref().is_none_or(|uses| uses.contains(&KeyOperations::Verify));
        if !(stated && signs && verifies) {
            return None;
        }
        let key = Arc::new(DecodingKey::from_jwk(jwk).ok()?);
        Some(Key { id: common.key_id.clone(), algorithm, key })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::auth::jwt::Jwt;
    use crate::gateway::auth::samples::{Es256, Hs256, Rs256, Signing, config};
    use crate::protocol::auth::{Unauthorized, Verify};
    use jiff::Timestamp;
    use serde_json::json;

    fn published(jwks: &[Value], gap: Duration) -> (Arc<Keys>, Jwt) {
        let keys = Arc::new(Keys::new(Pace { gap, ..Pace::default() }));
        publish(&keys, jwks);
        let jwt = Jwt::by_published(Arc::clone(&keys), &config(""));
        (keys, jwt)
    }

    fn publish(keys: &Keys, jwks: &[Value]) {
        keys.settle(Ok(KeySet::read(json!({"keys": jwks}).to_string().as_bytes()).unwrap()), 0);
    }

    fn good(jwt: &Jwt, token: &str) -> Result<(), Unauthorized> {
        jwt.verify(token, Timestamp::UNIX_EPOCH).map(|_| ())
    }

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn tokens_verify_with_the_key_they_name() {
        let (rsa, one, two) = (Rs256::new("r"), Es256::new("one"), Es256::new("two"));
        let (_, jwt) = published(&[rsa.jwk(), one.jwk(), two.jwk()], HOUR);
        let claims = json!({"exp": 60});
        for signer in [&rsa as &dyn Signing, &one, &two] {
            assert_eq!(good(&jwt, &signer.token(&claims)), Ok(()));
        }
        let swapped = one.token_with(&json!({"alg": "ES256", "kid": "two"}), &claims);
        assert_eq!(good(&jwt, &swapped), Err(Unauthorized::Invalid));
        let nameless = rsa.token_with(&json!({"alg": "RS256"}), &claims);
        assert_eq!(good(&jwt, &nameless), Ok(()), "the only one for RS256");
        let ambiguous = one.token_with(&json!({"alg": "ES256"}), &claims);
        assert_eq!(good(&jwt, &ambiguous), Err(Unauthorized::Invalid), "two for ES256");
    }

    #[test]
    fn a_public_key_is_no_secret_for_hs256() {
        let rsa = Rs256::new("r");
        let (_, jwt) = published(&[rsa.jwk()], HOUR);
        let claims = json!({"exp": 60});
        for secret in [rsa.modulus(), rsa.jwk().to_string().into_bytes()] {
            let forged = Hs256::of(&secret).token_with(&json!({"alg": "HS256", "kid": "r"}), &claims);
            assert_eq!(good(&jwt, &forged), Err(Unauthorized::Invalid));
        }
        let other = rsa.token_with(&json!({"alg": "ES256", "kid": "r"}), &claims);
        assert_eq!(good(&jwt, &other), Err(Unauthorized::Invalid), "the key fixes the algorithm");
    }

    #[test]
    fn keys_of_other_kinds_and_purposes_are_passed_over() {
        let good = Es256::new("good").jwk();
        let with = |name: &str, value: Value| {
            let mut jwk = Es256::new("other").jwk();
            jwk[name] = value;
            jwk
        };
        let symmetric = json!({"kty": "oct", "kid": "s", "k": "c2VjcmV0"});
        let keys = [
            with("use", json!("enc")),
            with("alg", json!("ES384")),
            with("key_ops", json!(["encrypt"])),
            with("crv", json!("P-384")),
            with("kty", json!("unheard-of")),
            symmetric,
            json!("no key at all"),
            good,
        ];
        let set = KeySet::read(json!({"keys": keys}).to_string().as_bytes()).unwrap();
        assert_eq!(set.0.iter().map(|key| key.id.as_deref()).collect::<Vec<_>>(), [Some("good")]);
        let many: Vec<Value> = (0..200).map(|_| Es256::new("k").jwk()).collect();
        assert_eq!(KeySet::read(json!({"keys": many}).to_string().as_bytes()).unwrap().len(), MAX_KEYS);
        assert!(KeySet::read(b"<html>").is_err() && KeySet::read(b"{}").is_err());
    }

    #[test]
    fn an_unknown_key_asks_once_and_what_upstream_removed_is_gone() {
        let (old, new) = (Es256::new("old"), Es256::new("new"));
        let claims = json!({"exp": 60});
        let (keys, jwt) = published(&[old.jwk()], Duration::ZERO);
        assert_eq!(good(&jwt, &new.token(&claims)), Err(Unauthorized::Unavailable));
        assert!(keys.read().asked);
        assert_eq!(good(&jwt, &old.token(&claims)), Ok(()), "meanwhile the old one serves");
        keys.settle(Err(FetchError::TooLong), 1);
        assert_eq!(good(&jwt, &old.token(&claims)), Ok(()), "and while the issuer is away");
        publish(&keys, &[new.jwk()]);
        assert_eq!(good(&jwt, &new.token(&claims)), Ok(()));
        assert_eq!(good(&jwt, &old.token(&claims)), Err(Unauthorized::Unavailable), "asked for again");
    }

    #[test]
    fn made_up_key_ids_do_not_reach_the_issuer_again_and_again() {
        let known = Es256::new("known");
        let (keys, jwt) = published(&[known.jwk()], HOUR);
        for _ in 0..100 {
            let made_up = known.token_with(&json!({"alg": "ES256", "kid": "made-up"}), &json!({"exp": 60}));
            assert_eq!(good(&jwt, &made_up), Err(Unauthorized::Invalid));
        }
        assert!(!keys.read().asked);
        keys.settle(Err(FetchError::TooLong), 1);
        let perhaps = known.token_with(&json!({"alg": "ES256", "kid": "new"}), &json!({"exp": 60}));
        assert_eq!(good(&jwt, &perhaps), Err(Unauthorized::Unavailable), "who knows, the issuer is away");
        let status = keys.status();
        assert!(status.failing && status.keys == 1 && status.age_s.is_some());
    }
}
