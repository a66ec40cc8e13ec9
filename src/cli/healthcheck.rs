//! `tickcast healthcheck`: one question to the ops port, for Docker and scripts.
//!
//! A bare HTTP/1.1 client: no proxy of the environment, no redirect, no TLS, one connection, one deadline for all of it,
//! and an answer of at most 64 KiB.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{Request, header};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use url::Url;

use super::Common;
use super::role::OpsArgs;
use crate::config::{self, Mistakes, Purpose, Role};
use crate::ops;

/// Shown by `healthcheck --help`.
pub const EXAMPLES: &str = "\
Examples:
  tickcast healthcheck                                    serve or gateway, by its configuration
  tickcast healthcheck --role publisher
  tickcast healthcheck --url http://127.0.0.1:8092
  HEALTHCHECK CMD [\"tickcast\", \"healthcheck\"]             in a Dockerfile

Prints one line. Exit code 0 when the answer is healthy, 1 otherwise.";

/// An answer of `/health` has some hundred bytes.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// `healthcheck`'s flags.
#[derive(Debug, Args)]
pub struct HealthcheckArgs {
    /// The role that runs here; it decides the default port
    #[arg(long, value_enum, default_value_t = Role::Serve)]
    role: Role,
    #[command(flatten)]
    ops: OpsArgs,
    /// Ask here, whatever the configuration says; `/health` is added where there is no path
    #[arg(long, value_name = "URL", value_parser = health_url, conflicts_with = "ops_port")]
    url: Option<Url>,
    /// How long to wait for the whole answer, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "2", value_parser = seconds)]
    timeout_s: Duration,
    /// Count degraded (Redis away, clients still served) as healthy
    #[arg(long)]
    allow_degraded: bool,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| (0.01..=60.0).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| "0.01 to 60 seconds".into())
}

fn health_url(text: &str) -> Result<Url, String> {
    let mut url = Url::parse(text).map_err(|error| error.to_string())?;
    if url.scheme() != "http" || !url.has_host() {
        return Err("http://host:port, as the ops port speaks it".into());
    }
    if url.path() == "/" {
        url.set_path("/health");
    }
    Ok(url)
}

/// What was found.
#[derive(Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Whether the exit code is 0.
    pub is_healthy: bool,
    /// For people.
    pub line: String,
}

/// Why there is no healthy answer.
#[derive(Debug, thiserror::Error)]
enum Unhealthy {
    #[error("no connection: {0}")]
    Connect(#[source] std::io::Error),
    #[error("no HTTP answer: {0}")]
    Http(#[from] hyper::Error),
    #[error("the answer cannot be read: {0}")]
    Body(Box<dyn std::error::Error + Send + Sync>),
    #[error("no answer within {} s", .0.as_secs_f64())]
    TimedOut(Duration),
    #[error("{0}")]
    Status(String),
}

/// Asks.
///
/// # Errors
/// The configuration's mistakes, when it is needed to find the port.
pub async fn run(common: &Common, args: &HealthcheckArgs) -> Result<Verdict, Mistakes> {
    let url = match &args.url {
        Some(url) => url.clone(),
        None => configured_url(common, args)?,
    };
    let asked = tokio::time::timeout(args.timeout_s, ask(&url)).await;
    let status = asked.unwrap_or(Err(Unhealthy::TimedOut(args.timeout_s)));
    let (is_healthy, told) = match status {
        Ok(status) => (status == "healthy" || args.allow_degraded && status == "degraded", status),
        Err(reason) => (false, format!("unhealthy: {reason}")),
    };
    Ok(Verdict { is_healthy, line: format!("{told} ({url})") })
}

fn configured_url(common: &Common, args: &HealthcheckArgs) -> Result<Url, Mistakes> {
    let loaded = config::load(&common.input(args.role, Purpose::Find, args.ops.flags()))?;
    Ok(url_of(&loaded.config.ops))
}

/// Where to reach a port that is bound as configured.
fn url_of(ops: &ops::Config) -> Url {
    let host = match ops.bind {
        IpAddr::V4(address) if address.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(address) if address.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        address => address,
    };
    let socket = std::net::SocketAddr::new(host, ops.port);
    Url::parse(&format!("http://{socket}/health")).expect("a socket address makes a URL's authority")
}

/// The `status` of the answer.
async fn ask(url: &Url) -> Result<String, Unhealthy> {
    let authority = url.authority();
    let port = url.port_or_known_default().unwrap_or(80);
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let stream = TcpStream::connect((host, port)).await.map_err(Unhealthy::Connect)?;
    let (mut client, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::get(&url[url::Position::BeforePath..url::Position::AfterQuery])
        .header(header::HOST, authority)
        .header(header::CONNECTION, "close")
        .body(Empty::<Bytes>::new())
        .expect("a parsed URL's path and authority are valid in a request");
    let exchange = async {
        let answer = client.send_request(request).await?;
        let code = answer.status();
        let body = Limited::new(answer.into_body(), MAX_ANSWER_BYTES).collect().await.map_err(Unhealthy::Body)?;
        Ok::<_, Unhealthy>((code, body.to_bytes()))
    };
    // the connection only moves bytes for the exchange; its own end, or error, adds nothing
    let (code, body) = tokio::select! {
        answer = exchange => answer?,
        Err(error) = connection => return Err(error.into()),
    };
    let health: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    match health["status"].as_str() {
        Some(status) if code.is_success() || status != "healthy" => Ok(status.to_owned()),
        _ => Err(Unhealthy::Status(format!("HTTP {code}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_on_all_interfaces_is_asked_on_loopback() {
        let url = |bind: &str| {
            let ops = ops::Config { bind: bind.parse().unwrap(), port: 8082, admin_token: None };
            url_of(&ops).to_string()
        };
        assert_eq!(url("0.0.0.0"), "http://127.0.0.1:8082/health");
        assert_eq!(url("::"), "http://[::1]:8082/health");
        assert_eq!(url("10.1.2.3"), "http://10.1.2.3:8082/health");
    }

    #[test]
    fn a_url_without_a_path_gets_one() {
        assert_eq!(health_url("http://127.0.0.1:1").unwrap().as_str(), "http://127.0.0.1:1/health");
        assert_eq!(health_url("http://127.0.0.1:1/ready").unwrap().as_str(), "http://127.0.0.1:1/ready");
        assert!(health_url("https://127.0.0.1:1").is_err());
        assert!(health_url("127.0.0.1:1").is_err());
    }

    #[test]
    fn a_deadline_has_bounds() {
        assert_eq!(seconds("0.5"), Ok(Duration::from_millis(500)));
        assert!(seconds("0").is_err() && seconds("1e9").is_err() && seconds("NaN").is_err());
    }
}
