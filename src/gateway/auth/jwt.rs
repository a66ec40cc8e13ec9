//! JSON Web Tokens (RFC 7519, RFC 8725): HS256 by a secret, RS256 and ES256 by published keys.
//!
//! The configured kind of key fixes the algorithm; a token's header may only agree. Time is an argument, so `exp` and
//! `nbf` are checked here and not by the JWT crate, which reads a clock of its own. `exp` is required: there is no list
//! of revoked tokens, so one without an end would be good until its key is changed, for whoever finds it.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation, decode, decode_header};
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer};

use super::crypto;
use super::jwks::{Keys, Lookup};
use crate::gateway::config;
use crate::protocol::auth::{Grant, MAX_TOKEN_BYTES, Unauthorized, Verify};

/// Checks JWTs.
pub(super) struct Jwt {
    keys: KeySource,
    audience: Option<String>,
    issuer: Option<String>,
    leeway: SignedDuration,
}

enum KeySource {
    Secret(Arc<DecodingKey>),
    Published(Arc<Keys>),
}

/// What is read of a token's payload here; `aud` and `iss` are the JWT crate's.
#[derive(Deserialize)]
struct Claims {
    exp: Option<f64>,
    nbf: Option<f64>,
    #[serde(default, deserialize_with = "present")]
    symbols: Option<Symbols>,
}

/// Patterns, as an array or in one text.
#[derive(Deserialize)]
#[serde(untagged)]
enum Symbols {
    List(Vec<String>),
    Text(String),
}

/// A claim that is there must be one that can be read: `null` where a list was meant must not grant everything.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Symbols>, D::Error> {
    Symbols::deserialize(deserializer).map(Some)
}

impl Jwt {
    /// HS256 with this secret.
    pub(super) fn by_secret(secret: &SecretString, config: &config::Jwt) -> Jwt {
        let key = DecodingKey::from_secret(secret.expose_secret().as_bytes());
        Jwt::new(KeySource::Secret(Arc::new(key)), config)
    }

    /// RS256 or ES256 with these keys.
    pub(super) fn by_published(keys: Arc<Keys>, config: &config::Jwt) -> Jwt {
        Jwt::new(KeySource::Published(keys), config)
    }

    fn new(keys: KeySource, config: &config::Jwt) -> Jwt {
        crypto::install();
        let leeway = SignedDuration::try_from(config.leeway).unwrap_or(SignedDuration::MAX);
        Jwt { keys, audience: config.audience.clone(), issuer: config.issuer.clone(), leeway }
    }

    /// The key for a token with this header.
    fn key(&self, header: &Header) -> Result<Arc<DecodingKey>, Unauthorized> {
        match &self.keys {
            KeySource::Secret(key) if header.alg == Algorithm::HS256 => Ok(Arc::clone(key)),
            KeySource::Published(keys) if matches!(header.alg, Algorithm::RS256 | Algorithm::ES256) => {
                match keys.find(header.kid.as_deref(), header.alg) {
                    Lookup::Found(key) => Ok(key),
                    Lookup::Unknown => Err(Unauthorized::Invalid),
                    Lookup::Away => Err(Unauthorized::Unavailable),
                }
            }
            KeySource::Secret(_) | KeySource::Published(_) => Err(Unauthorized::Invalid),
        }
    }

    /// The JWT crate's part of the checks.
    fn validation(&self, algorithm: Algorithm) -> Validation {
        let mut validation = Validation::new(algorithm);
        validation.required_spec_claims.clear();
        (validation.validate_exp, validation.validate_nbf) = (false, false);
        validation.validate_aud = self.audience.is_some();
        if let Some(audience) = &self.audience {
            validation.set_audience(&[audience]);
            validation.required_spec_claims.insert("aud".into());
        }
        if let Some(issuer) = &self.issuer {
            validation.set_issuer(&[issuer]);
            validation.required_spec_claims.insert("iss".into());
        }
        validation
    }

    /// Until when a token is good, if it is now. The leeway counts there too: it would be odd to take a token and to
    /// close its connection in the same second.
    fn check_times(&self, claims: &Claims, now: Timestamp) -> Result<Timestamp, Unauthorized> {
        let later = |time: Timestamp| time.saturating_add(self.leeway).unwrap_or(Timestamp::MAX);
        let expires = later(time_of(claims.exp.ok_or(Unauthorized::Endless)?));
        if now >= expires {
            return Err(Unauthorized::Expired);
        }
        if claims.nbf.is_some_and(|nbf| time_of(nbf) > later(now)) {
            return Err(Unauthorized::NotYet);
        }
        Ok(expires)
    }
}

impl Verify for Jwt {
    fn verify(&self, token: &str, now: Timestamp) -> Result<Grant, Unauthorized> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(Unauthorized::Invalid);
        }
        let header = decode_header(token).map_err(|_| Unauthorized::Invalid)?;
        // RFC 7515 §4.1.11: what is marked critical must be understood, and nothing is.
        if header.crit.is_some() {
            return Err(Unauthorized::Invalid);
        }
        let key = self.key(&header)?;
        let verified = decode::<Claims>(token, &key, &self.validation(header.alg));
        let claims = verified.map_err(|error| match error.kind() {
            ErrorKind::InvalidAudience | ErrorKind::InvalidIssuer | ErrorKind::MissingRequiredClaim(_) => {
                Unauthorized::Foreign
            }
            _ => Unauthorized::Invalid,
        })?;
        let expires = self.check_times(&claims.claims, now)?;
        Ok(Grant { expires: Some(expires), symbols: claims.claims.symbols.map(Symbols::into_patterns) })
    }
}

impl Symbols {
    fn into_patterns(self) -> Vec<String> {
        let separator = |c: char| c == ',' || c.is_whitespace();
        match self {
            Symbols::List(patterns) => patterns,
            Symbols::Text(text) => {
                text.split(separator).filter(|pattern| !pattern.is_empty()).map(str::to_owned).collect()
            }
        }
    }
}

/// A NumericDate (RFC 7519 §2): seconds, possibly with a fraction. What no calendar holds is the nearest it does.
#[expect(clippy::cast_possible_truncation, reason = "`as` saturates, and so does what follows")]
fn time_of(seconds: f64) -> Timestamp {
    let millis = (seconds * 1000.0) as i64;
    Timestamp::from_millisecond(millis).unwrap_or(if millis < 0 { Timestamp::MIN } else { Timestamp::MAX })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::auth::samples::{Hs256, Signing, config, times};
    use serde_json::{Value, json};

    const NOW: i64 = 1_795_000_000;

    fn now() -> Timestamp {
        Timestamp::from_second(NOW).unwrap()
    }

    fn jwt(change: impl FnOnce(&mut config::Jwt)) -> Jwt {
        let mut config = config("a-secret-of-at-least-thirty-two-bytes");
        change(&mut config);
        let config::JwtKeys::Secret(secret) = &config.keys else { panic!() };
        Jwt::by_secret(secret, &config)
    }

    fn verify_with(change: impl FnOnce(&mut config::Jwt), claims: &Value) -> Result<Grant, Unauthorized> {
        jwt(change).verify(&Hs256::new("a-secret-of-at-least-thirty-two-bytes").token(claims), now())
    }

    fn verify(claims: &Value) -> Result<Grant, Unauthorized> {
        verify_with(|_| {}, claims)
    }

    #[test]
    fn a_good_token_grants_until_it_expires() {
        let grant = verify(&json!({"exp": NOW + 60, "sub": "me"})).unwrap();
        assert_eq!(grant, Grant { expires: Some(Timestamp::from_second(NOW + 60).unwrap()), symbols: None });
    }

    #[test]
    fn times_are_checked_with_the_leeway_on_both_sides() {
        use Unauthorized::{Endless, Expired, Invalid, NotYet};
        for (claims, leeway_s, expected) in [
            (json!({}), 0, Err(Endless)),
            (json!({"exp": null}), 0, Err(Endless)),
            (json!({"exp": "tomorrow"}), 0, Err(Invalid)),
            (json!({"exp": NOW}), 0, Err(Expired)),
            (json!({"exp": NOW}), 5, Ok(NOW + 5)),
            (json!({"exp": NOW - 5}), 5, Err(Expired)),
            (json!({"exp": -1}), 0, Err(Expired)),
            (json!({"exp": NOW + 9, "nbf": NOW}), 0, Ok(NOW + 9)),
            (json!({"exp": NOW + 9, "nbf": NOW + 1}), 0, Err(NotYet)),
            (json!({"exp": NOW + 9, "nbf": NOW + 5}), 5, Ok(NOW + 14)),
            (json!({"exp": NOW + 9, "nbf": NOW + 6}), 5, Err(NotYet)),
        ] {
            let verified = verify_with(|config| config.leeway = times(leeway_s), &claims);
            let expires = verified.map(|grant| grant.expires.unwrap().as_second());
            assert_eq!(expires, expected, "{claims} with {leeway_s} s");
        }
        assert_eq!(verify(&json!({"exp": 1e300})).unwrap().expires, Some(Timestamp::MAX));
        let fraction = verify(&json!({"exp": 1_795_000_000.5})).unwrap();
        assert_eq!(fraction.expires.unwrap().as_millisecond(), 1_795_000_000_500);
    }

    #[test]
    fn audience_and_issuer_must_be_the_configured_ones() {
        let want = |config: &mut config::Jwt| {
            config.audience = Some("quotes".into());
            config.issuer = Some("https://id.example".into());
        };
        let exp = NOW + 60;
        let good = json!({"exp": exp, "aud": "quotes", "iss": "https://id.example"});
        assert!(verify_with(want, &good).is_ok());
        let many = json!({"exp": exp, "aud": ["other", "quotes"], "iss": "https://id.example"});
        assert!(verify_with(want, &many).is_ok());
        for claims in [
            json!({"exp": exp}),
            json!({"exp": exp, "aud": "quotes"}),
            json!({"exp": exp, "iss": "https://id.example"}),
            json!({"exp": exp, "aud": "other", "iss": "https://id.example"}),
            json!({"exp": exp, "aud": [], "iss": "https://id.example"}),
            json!({"exp": exp, "aud": 7, "iss": "https://id.example"}),
            json!({"exp": exp, "aud": "quotes", "iss": "https://id.example.evil"}),
        ] {
            assert_eq!(verify_with(want, &claims), Err(Unauthorized::Foreign), "{claims}");
            assert!(verify(&claims).is_ok(), "{claims} where nothing is asked for");
        }
    }

    #[test]
    fn the_symbols_claim_is_a_list_or_a_text_and_nothing_else() {
        let patterns = |claim: Value| {
            verify(&json!({"exp": NOW + 60, "symbols": claim})).map(|grant| grant.symbols.unwrap().join("|"))
        };
        assert_eq!(patterns(json!(["AAPL", "BTC-*"])).unwrap(), "AAPL|BTC-*");
        assert_eq!(patterns(json!("AAPL, BTC-*  MSFT,")).unwrap(), "AAPL|BTC-*|MSFT");
        assert_eq!(patterns(json!([])).unwrap(), "");
        assert_eq!(patterns(json!("")).unwrap(), "", "an empty claim grants nothing, not everything");
        for claim in [json!(null), json!(7), json!({"a": 1}), json!([1])] {
            assert_eq!(patterns(claim.clone()), Err(Unauthorized::Invalid), "{claim}");
        }
    }

    #[test]
    fn only_the_pinned_algorithm_with_the_right_key_verifies() {
        let claims = json!({"exp": NOW + 60});
        let hs256 = Hs256::new("a-secret-of-at-least-thirty-two-bytes");
        let jwt = jwt(|_| {});
        let good = hs256.token(&claims);
        assert!(jwt.verify(&good, now()).is_ok());
        let with = |header: Value| hs256.token_with(&header, &claims);
        let (head, rest) = good.split_once('.').unwrap();
        let (payload, signature) = rest.split_once('.').unwrap();
        let forged = Hs256::new("a-secret-of-at-least-thirty-two-bytes").token(&json!({"exp": NOW + 9999}));
        let forged_payload = forged.split('.').nth(1).unwrap();
        for bad in [
            String::new(),
            "a.b.c".into(),
            "..".into(),
            with(json!({"alg": "none"})),
            format!("{}.{payload}.", with(json!({"alg": "none"})).split('.').next().unwrap()),
            with(json!({"alg": "HS512"})),
            with(json!({"alg": "RS256"})),
            with(json!({"alg": "hs256"})),
            with(json!({"typ": "JWT"})),
            with(json!({"alg": "HS256", "crit": ["exp"], "exp": 1})),
            Hs256::new("another secret of thirty-two bytes or so").token(&claims),
            format!("{head}.{payload}"),
            format!("{head}.{payload}."),
            format!("{head}.{payload}.{signature}x"),
            format!("{head}.{payload}.{signature}."),
            format!("{head}.{forged_payload}.{signature}"),
            format!("{good}{}", " ".repeat(MAX_TOKEN_BYTES)),
        ] {
            assert_eq!(jwt.verify(&bad, now()), Err(Unauthorized::Invalid), "{bad}");
        }
    }
}
