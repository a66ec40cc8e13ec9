//! Fetches published keys: at the start, on a schedule, and when a token names one that is not known.
//!
//! One request at a time, bounded in time ([`TIMEOUT`]) and size ([`MAX_BYTES`]), over TLS unless the address is this
//! machine's own (the configuration sees to that). A failure is logged at a bounded rate and tried again with back-off.

use std::sync::Arc;
use std::time::Duration;

use reqwest::redirect::Policy;
use reqwest::{Client, StatusCode};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::jwks::{KeySet, Keys};
use crate::gateway::bounded_log::BoundedLog;
use crate::gateway::tls::use_ring;

/// From the request to the last byte of the answer.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The longest answer: 64 RSA keys of 8192 bits, each with a certificate chain of 2.5 KiB.
const MAX_BYTES: usize = 256 * 1024;

/// How often keys are fetched.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    /// On a schedule.
    pub(super) interval: Duration,
    /// At least between two attempts that unknown keys cause.
    pub(super) gap: Duration,
    /// After the first failure; doubled with each more, up to [`Pace::interval`].
    pub(super) retry: Duration,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace { interval: Duration::from_secs(300), gap: Duration::from_secs(10), retry: Duration::from_secs(2) }
    }
}

impl Pace {
    /// Until the next attempt, after so many failures in a row. A tenth is random, so that gateways started together
    /// do not ask together for ever.
    pub(super) fn wait(&self, failures: u32) -> Duration {
        let doubled = |failures: u32| self.retry.saturating_mul(2_u32.saturating_pow(failures - 1));
        let wait = if failures == 0 { self.interval } else { doubled(failures).min(self.interval) };
        wait.mul_f64(0.9 + 0.1 * fastrand::f64())
    }
}

/// Where keys are published.
#[derive(Clone)]
pub(super) struct Source {
    client: Client,
    url: String,
}

/// Why keys were not fetched.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("{0}")]
    Http(#[from] reqwest::Error),
    #[error("the answer's status is {0}")]
    Status(StatusCode),
    #[error("the answer has more than {MAX_BYTES} bytes")]
    TooLong,
    #[error("the answer is no JWK set: {0}")]
    NotKeys(#[from] serde_json::Error),
}

impl Source {
    /// The keys at `url`.
    ///
    /// # Errors
    /// When this machine cannot make TLS connections, for want of root certificates, say.
    pub(super) fn new(url: &str) -> reqwest::Result<Source> {
        use_ring();
        let client = Client::builder()
            .timeout(TIMEOUT)
            // An address that answers with another one could lead anywhere; the configured one is the one trusted.
            .redirect(Policy::none())
            .https_only(url.starts_with("https:"))
            .user_agent(concat!("tickcast/", env!("CARGO_PKG_VERSION")))
            .build()?;
        Ok(Source { client, url: url.to_owned() })
    }

    async fn fetch(&self) -> Result<KeySet, FetchError> {
        let mut answer = self.client.get(&self.url).send().await?;
        if answer.status() != StatusCode::OK {
            return Err(FetchError::Status(answer.status()));
        }
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await? {
            if body.len() + chunk.len() > MAX_BYTES {
                return Err(FetchError::TooLong);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(KeySet::read(&body)?)
    }
}

/// Keeps `keys` fresh until `stop`.
pub(super) async fn run(keys: Arc<Keys>, source: Source, stop: CancellationToken) {
    let mut log = BoundedLog::default();
    let mut failures = 0_u32;
    let mut known = None;
    loop {
        let outcome = tokio::select! {
            () = stop.cancelled() => return,
            outcome = source.fetch() => outcome,
        };
        match &outcome {
            Ok(set) => {
                if failures > 0 || known != Some(set.len()) {
                    info!(keys = set.len(), "fetched the keys of tokens");
                }
                if set.is_empty() {
                    warn!("auth.jwks_url publishes no RS256 or ES256 key: no token is good");
                }
                (failures, known) = (0, Some(set.len()));
            }
            Err(error) => {
                failures = failures.saturating_add(1);
                if let Some(suppressed) = log.may_log() {
                    let error = error as &dyn std::error::Error;
                    warn!(error, failures, suppressed, "the keys of tokens could not be fetched; the old ones stay");
                }
            }
        }
        let wait = keys.settle(outcome, failures);
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
            () = keys.wanted() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::auth::jwt::Jwt;
    use crate::gateway::auth::samples::{Es256, Signing, config};
    use crate::protocol::auth::{Unauthorized, Verify};
    use jiff::Timestamp;
    use serde_json::{Value, json};
    use std::collections::VecDeque;
    use std::sync::{Mutex, PoisonError};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::task::JoinHandle;

    /// An issuer that gives these answers in turn, the last one for ever.
    struct Issuer {
        url: String,
        answers: Arc<Mutex<VecDeque<String>>>,
        task: JoinHandle<()>,
    }

    impl Issuer {
        async fn start() -> Issuer {
            let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
            let url = format!("http://{}/keys", listener.local_addr().unwrap());
            let answers = Arc::new(Mutex::new(VecDeque::<String>::new()));
            let shared = Arc::clone(&answers);
            let task = tokio::spawn(async move {
                loop {
                    let (mut stream, _) = listener.accept().await.unwrap();
                    let mut request = [0; 4096];
                    let _ = stream.read(&mut request).await;
                    let answer = {
                        let mut answers = shared.lock().unwrap_or_else(PoisonError::into_inner);
                        if answers.len() > 1 { answers.pop_front() } else { answers.front().cloned() }
                    };
                    let _ = stream.write_all(answer.unwrap_or_default().as_bytes()).await;
                }
            });
            Issuer { url, answers, task }
        }

        fn answers(&self, answers: &[String]) {
            *self.answers.lock().unwrap() = answers.to_vec().into();
        }
    }

    impl Drop for Issuer {
        fn drop(&mut self) {
            self.task.abort();
        }
    }

    fn http(status: &str, body: &str) -> String {
        format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}", body.len())
    }

    fn keys(jwks: &[Value]) -> String {
        http("200 OK", &json!({"keys": jwks}).to_string())
    }

    const QUICK: Pace =
        Pace { interval: Duration::from_secs(3600), gap: Duration::ZERO, retry: Duration::from_millis(10) };

    async fn verified(jwt: &Jwt, keys: &Keys, token: &str) -> Result<(), Unauthorized> {
        let first = jwt.verify(token, Timestamp::UNIX_EPOCH);
        if first != Err(Unauthorized::Unavailable) {
            return first.map(|_| ());
        }
        tokio::time::timeout(Duration::from_secs(30), keys.settled()).await.unwrap();
        jwt.verify(token, Timestamp::UNIX_EPOCH).map(|_| ())
    }

    #[tokio::test]
    async fn keys_are_fetched_at_the_start_and_rotated_by_the_first_token_that_names_a_new_one() {
        let issuer = Issuer::start().await;
        let (one, two) = (Es256::new("one"), Es256::new("two"));
        issuer.answers(&[keys(&[one.jwk()]), keys(&[two.jwk()])]);
        let (known, stop) = (Arc::new(Keys::new(QUICK)), CancellationToken::new());
        let jwt = Jwt::by_published(Arc::clone(&known), &config(""));
        let task = tokio::spawn(run(Arc::clone(&known), Source::new(&issuer.url).unwrap(), stop.clone()));
        let claims = json!({"exp": 60});
        assert_eq!(verified(&jwt, &known, &one.token(&claims)).await, Ok(()));
        assert_eq!(verified(&jwt, &known, &two.token(&claims)).await, Ok(()));
        let old = jwt.verify(&one.token(&claims), Timestamp::UNIX_EPOCH);
        assert_eq!(old, Err(Unauthorized::Unavailable), "no longer published");
        stop.cancel();
        task.await.unwrap();
    }

    #[tokio::test]
    async fn an_issuer_that_answers_nonsense_is_asked_again_and_changes_nothing() {
        let issuer = Issuer::start().await;
        let one = Es256::new("one");
        let endless = format!("HTTP/1.1 200 OK\r\n\r\n{}", " ".repeat(MAX_BYTES + 1));
        let elsewhere = "HTTP/1.1 302 Found\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n".to_owned();
        let nonsense = [String::new(), http("500 Oops", "{}"), http("200 OK", "<html>"), endless, elsewhere];
        let source = Source::new(&issuer.url).unwrap();
        let mut outcomes = Vec::new();
        for answer in &nonsense {
            issuer.answers(std::slice::from_ref(answer));
            outcomes.push(source.fetch().await.map(|_| ()).unwrap_err());
        }
        use FetchError::{Http, NotKeys, Status, TooLong};
        assert!(
            matches!(&outcomes[..], [Http(_), Status(_), NotKeys(_), TooLong, Status(StatusCode::FOUND)]),
            "{outcomes:?}"
        );
        let mut answers = nonsense.to_vec();
        answers.push(keys(&[one.jwk()]));
        issuer.answers(&answers);
        let (known, stop) = (Arc::new(Keys::new(QUICK)), CancellationToken::new());
        let jwt = Jwt::by_published(Arc::clone(&known), &config(""));
        let task = tokio::spawn(run(Arc::clone(&known), source, stop.clone()));
        let came = async {
            while jwt.verify(&one.token(&json!({"exp": 60})), Timestamp::UNIX_EPOCH).is_err() {
                known.settled().await;
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), came).await.unwrap();
        stop.cancel();
        task.await.unwrap();
    }

    #[test]
    fn waits_grow_with_failures_up_to_the_schedule() {
        let pace = Pace::default();
        let within = |failures, low, high| {
            let wait = pace.wait(failures).as_secs_f64();
            assert!((low..=high).contains(&wait), "{failures}: {wait}");
        };
        within(0, 270.0, 300.0);
        within(1, 1.8, 2.0);
        within(3, 7.2, 8.0);
        within(40, 270.0, 300.0);
    }
}
