//! How a running tickcast is reached: through its Redis, or through its ops port.
//!
//! `--ops` decides; then a configured Redis; else the ops port of the configuration. A broker that is used has its own
//! connection, which is closed again; it says nothing to anyone but what it is asked to say.

use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use hyper::Method;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use url::Url;

use super::Common;
use super::exit::Exit;
use super::ops_port::{self, NoAnswer, Question};
use crate::broker::{self, Broker, BrokerError};
use crate::config::{self, Config, Flag, Mistakes, Purpose, Role, masked_url};
use crate::ops::control::PATIENCE;

/// For a Redis behind TLS at the other end of the world: several round trips until its link is proved.
const CONNECT_PATIENCE: Duration = Duration::from_secs(5);
/// An ops port waits for answers as long as we would.
const OPS_PATIENCE: Duration = Duration::from_secs(PATIENCE.as_secs() + 3);

/// Where to go.
#[derive(Debug, Args)]
pub struct ReachArgs {
    /// The ops port to go through, for a `serve` with the built-in broker (http://127.0.0.1:8082)
    #[arg(long, global = true, value_name = "URL", value_parser = ops_port::parse, conflicts_with = "redis_url")]
    ops: Option<Url>,
    /// The Redis to go through; also by `REDIS_URL`, which other users of the machine do not see
    #[arg(long, global = true, value_name = "URL")]
    redis_url: Option<String>,
}

/// A way to a running tickcast.
pub(super) enum Way {
    /// Through Redis.
    Redis {
        broker: Broker,
        /// For people.
        place: String,
    },
    /// Through an ops port.
    Ops {
        url: Url,
        /// For what changes something.
        admin_token: Option<SecretString>,
    },
}

/// Why there is no way.
#[derive(Debug, thiserror::Error)]
pub enum ReachError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] Mistakes),
    /// The broker's configuration cannot work.
    #[error("Redis cannot be used: {0}")]
    Broker(#[from] broker::BadConfig),
    /// Redis does not answer.
    #[error("Redis does not answer at {place}: {why}")]
    Away {
        /// Its URL, masked.
        place: String,
        /// In words.
        why: String,
    },
    /// Redis answers and will not.
    #[error("Redis at {place}: {why}")]
    Failed {
        /// Its URL, masked.
        place: String,
        /// In words.
        why: String,
    },
    /// The ops port does not answer.
    #[error(
        "the ops port at {url} does not answer: {why}; does `tickcast serve` run there? Where Redis is used, set REDIS_URL"
    )]
    NoAnswer {
        /// Its URL.
        url: String,
        /// In words.
        why: String,
    },
    /// The ops port wants another token.
    #[error("the ops port at {url} refuses: {message}; ADMIN_TOKEN is sent where it is set here")]
    Denied {
        /// Its URL.
        url: String,
        /// In its words.
        message: String,
    },
    /// The ops port answers something else.
    #[error("the ops port at {url} answers HTTP {status}: {message}")]
    Odd {
        /// Its URL.
        url: String,
        /// The status.
        status: u16,
        /// In its words.
        message: String,
    },
}

impl ReachError {
    /// Redis would not.
    pub(super) fn failed(place: &str, error: &BrokerError) -> ReachError {
        ReachError::Failed { place: place.to_owned(), why: error.to_string() }
    }

    /// Its exit code.
    #[must_use]
    pub const fn exit(&self) -> Exit {
        match self {
            ReachError::Config(_) | ReachError::Broker(_) | ReachError::Denied { .. } => Exit::Usage,
            ReachError::Away { .. }
            | ReachError::Failed { .. }
            | ReachError::NoAnswer { .. }
            | ReachError::Odd { .. } => Exit::Unavailable,
        }
    }
}

impl ReachArgs {
    /// Finds the way, and waits until it is open.
    pub(super) async fn way(&self, common: &Common) -> Result<(Way, Config), ReachError> {
        let redis = self.redis_url.iter().map(|url| Flag::named("--redis-url", url));
        let config = config::load(&common.input(Role::Serve, Purpose::Find, redis))?.config;
        let way = match (&self.ops, &config.broker.url) {
            (None, Some(redis)) => Way::through(redis, &config.broker).await?,
            (ops, _) => Way::Ops {
                url: ops.clone().unwrap_or_else(|| ops_port::url_of(&config.ops)),
                admin_token: config.ops.admin_token.clone(),
            },
        };
        Ok((way, config))
    }
}

impl Way {
    async fn through(redis: &SecretString, config: &broker::Config) -> Result<Way, ReachError> {
        let place = masked_url(redis.expose_secret());
        let broker = broker::start(config)?;
        let mut status = broker.status.clone();
        let connected = status.wait_for(|status| status.connected);
        if tokio::time::timeout(CONNECT_PATIENCE, connected).await.is_err() {
            let problem = broker.status.borrow().problem.clone();
            let why = problem.map_or_else(|| "no connection".to_owned(), |problem| problem.to_string());
            broker.shutdown().await;
            return Err(ReachError::Away { place, why });
        }
        Ok(Way::Redis { broker, place })
    }

    /// Goes back, and waits for it.
    pub(super) async fn close(self) {
        if let Way::Redis { broker, .. } = self {
            broker.shutdown().await;
        }
    }
}

/// Asks an ops port; what it says where that is no success.
pub(super) async fn ask_ops(
    base: &Url,
    method: Method,
    path: &str,
    body: Bytes,
    bearer: Option<&SecretString>,
) -> Result<Result<Value, Refusal>, ReachError> {
    let url = ops_port::at(base, path);
    let question = Question { method, url: &url, body, bearer };
    let shown = || base.as_str().trim_end_matches('/').to_owned();
    let answer = question
        .ask(OPS_PATIENCE)
        .await
        .map_err(|why: NoAnswer| ReachError::NoAnswer { url: shown(), why: why.to_string() })?;
    let json = answer.json();
    if answer.status.is_success() {
        return Ok(Ok(json));
    }
    let text = |name: &str| json["error"][name].as_str().unwrap_or_default().to_owned();
    let (code, message, status) = (text("code"), text("message"), answer.status.as_u16());
    match status {
        400 if !code.is_empty() => Ok(Err(Refusal { code, message })),
        401 | 403 => Err(ReachError::Denied { url: shown(), message }),
        _ => Err(ReachError::Odd { url: shown(), status, message }),
    }
}

/// What was asked for is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) code: String,
    pub(super) message: String,
}
