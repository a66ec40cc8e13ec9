//! Checks tokens, for the front door and for the shards.
//!
//! Behind the synchronous seam [`Verify`]: static tokens ([`Tokens`]), JWTs by a secret or by published keys ([`jwt`]).
//! Only published keys are ever waited for, and only by the front door ([`Auth::check`]); a shard asks again later.

mod crypto;
mod jwks;
mod jwt;
mod refresh;
#[cfg(test)]
mod samples;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use secrecy::{ExposeSecret, SecretString};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{config, contain};
use crate::protocol::auth::{Grant, KEY_PATIENCE_MS, Unauthorized, Verify, is_same_secret};
use jwks::Keys;
pub use jwks::KeysStatus;
use jwt::Jwt;
use refresh::{Pace, Source};

/// The configured way to check tokens.
pub(super) struct Auth {
    verify: Option<Arc<dyn Verify>>,
    published: Option<Published>,
}

/// Keys that come from elsewhere.
struct Published {
    keys: Arc<Keys>,
    source: Source,
}

/// Tokens cannot be checked the way the configuration asks for.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// Keys cannot be fetched at all.
    #[error("auth.jwks_url cannot be used: {0}")]
    Jwks(#[from] reqwest::Error),
}

impl Auth {
    /// As configured.
    ///
    /// # Errors
    /// When the configured way cannot be set up.
    pub(super) fn new(auth: &config::Auth) -> Result<Auth, AuthError> {
        let (verify, published): (Option<Arc<dyn Verify>>, _) = match auth {
            config::Auth::None => (None, None),
            config::Auth::Tokens(tokens) => (Some(Arc::new(Tokens(tokens.clone()))), None),
            config::Auth::Jwt(jwt) => match &jwt.keys {
                config::JwtKeys::Secret(secret) => (Some(Arc::new(Jwt::by_secret(secret, jwt))), None),
                config::JwtKeys::JwksUrl(url) => {
                    let keys = Arc::new(Keys::new(Pace::default()));
                    let source = Source::new(url)?;
                    let verify = Arc::new(Jwt::by_published(Arc::clone(&keys), jwt));
                    (Some(verify), Some(Published { keys, source }))
                }
            },
        };
        Ok(Auth { verify, published })
    }

    /// What the shards check tokens with; `None` lets anyone in.
    pub(super) fn verify(&self) -> Option<Arc<dyn Verify>> {
        self.verify.clone()
    }

    /// Starts to fetch published keys, until `stop`, and waits for the first answer or its time-out: a gateway that
    /// starts while its issuer is away serves those who need no new key, and the others as soon as it is back.
    pub(super) async fn start(&self, tasks: &TaskTracker, stop: &CancellationToken) {
        if let Some(Published { keys, source }) = &self.published {
            let (shared, source, token) = (Arc::clone(keys), source.clone(), stop.clone());
            contain("keys", tasks, stop, move || refresh::run(Arc::clone(&shared), source.clone(), token.clone()));
            keys.settled().await;
        }
    }

    /// What a token grants; `None` where anyone is let in. Waits a little for a key that is being fetched.
    ///
    /// # Errors
    /// Why it grants nothing.
    pub(super) async fn check(&self, token: &str) -> Result<Option<Grant>, Unauthorized> {
        let Some(verify) = &self.verify else { return Ok(None) };
        let verdict = verify.verify(token, Timestamp::now());
        if let (Err(Unauthorized::Unavailable), Some(Published { keys, .. })) = (&verdict, &self.published) {
            let patience = Duration::from_millis(KEY_PATIENCE_MS);
            // Whether the keys came or not, the second look tells.
            let _ = tokio::time::timeout(patience, keys.settled()).await;
            return verify.verify(token, Timestamp::now()).map(Some);
        }
        verdict.map(Some)
    }

    /// How published keys are doing.
    pub(super) fn status(&self) -> Option<KeysStatus> {
        self.published.as_ref().map(|published| published.keys.status())
    }
}

/// A list of tokens, each good for everything.
struct Tokens(Vec<SecretString>);

impl Verify for Tokens {
    fn verify(&self, token: &str, _: Timestamp) -> Result<Grant, Unauthorized> {
        // Every token is compared, so that the time taken does not tell which one came close.
        let known = self.0.iter().fold(false, |known, good| known | is_same_secret(good.expose_secret(), token));
        if known { Ok(Grant::default()) } else { Err(Unauthorized::Invalid) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_listed_token_is_good() {
        let tokens = Tokens(vec!["first".to_owned().into(), "second".to_owned().into()]);
        let good = |token| tokens.verify(token, Timestamp::UNIX_EPOCH).is_ok();
        assert!(good("first") && good("second"));
        assert!(!good("") && !good("firs") && !good("first1") && !good("third"));
    }
}
