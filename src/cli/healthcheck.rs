//! `tickcast healthcheck`: one question to the ops port, for Docker and scripts.

use std::time::Duration;

use clap::Args;
use url::Url;

use super::Common;
use super::ops_port::{self, NoAnswer, Question};
use super::role::OpsArgs;
use crate::config::{self, Mistakes, Purpose, Role};

/// Shown by `healthcheck --help`.
pub const EXAMPLES: &str = "\
Examples:
  tickcast healthcheck                                    serve or gateway, by its configuration
  tickcast healthcheck --role publisher
  tickcast healthcheck --url http://127.0.0.1:8092
  HEALTHCHECK CMD [\"tickcast\", \"healthcheck\"]             in a Dockerfile

Prints one line. Exit code 0 when the answer is healthy, 1 otherwise.";

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
    let url = ops_port::parse(text)?;
    Ok(if url.path() == "/" { ops_port::at(&url, "/health") } else { url })
}

/// What was found.
#[derive(Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Whether the exit code is 0.
    pub is_healthy: bool,
    /// For people.
    pub line: String,
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
    let (is_healthy, told) = match ask(&url, args.timeout_s).await {
        Ok(Ok(status)) => (status == "healthy" || args.allow_degraded && status == "degraded", status),
        Ok(Err(code)) => (false, format!("unhealthy: HTTP {code}")),
        Err(reason) => (false, format!("unhealthy: {reason}")),
    };
    Ok(Verdict { is_healthy, line: format!("{told} ({url})") })
}

fn configured_url(common: &Common, args: &HealthcheckArgs) -> Result<Url, Mistakes> {
    let loaded = config::load(&common.input(args.role, Purpose::Find, args.ops.flags()))?;
    Ok(ops_port::at(&ops_port::url_of(&loaded.config.ops), "/health"))
}

/// The `status` of the answer; the HTTP status where there is none.
async fn ask(url: &Url, within: Duration) -> Result<Result<String, hyper::StatusCode>, NoAnswer> {
    let answer = Question::get(url).ask(within).await?;
    Ok(match answer.json()["status"].as_str() {
        Some(status) if answer.status.is_success() || status != "healthy" => Ok(status.to_owned()),
        _ => Err(answer.status),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

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
