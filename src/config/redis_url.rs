//! Redis URLs: checking one, putting one together from `REDIS_HOST` and its like, and hiding the password in one.
//!
//! It does not connect, and knows of URLs only what every Redis client agrees on; the rest is the broker's.

use std::fmt::Write as _;

use url::Url;

use super::environment::Environment;
use super::origin::{Mistake, Origin};

/// What is accepted.
pub(super) const ALLOWED: &str = "redis://, rediss://, redis-cluster://, rediss-cluster://, redis-sentinel://, \
     rediss-sentinel:// with a host, or unix:/path";

/// Where the right URL is found; for everybody who has the wrong one.
pub(super) const UPSTASH_HELP: &str = "the Redis protocol is needed, not REST: in the Upstash console open the database, \
     \"Connect\", \"TCP\", and set REDIS_URL (or UPSTASH_REDIS_URL) to the URL that begins with rediss://";

/// The environment names that make up a URL together, with what each gives.
pub(super) const PARTS: [(&str, &str); 5] = [
    ("REDIS_HOST", "host of `redis.url`; the others below count only with it, and none of them beside `REDIS_URL`"),
    ("REDIS_PORT", "port of `redis.url` (6379)"),
    ("REDIS_USERNAME", "user of `redis.url`"),
    ("REDIS_PASSWORD", "password of `redis.url`, as it is: nothing in it need be escaped"),
    ("REDIS_TLS", "true makes `redis.url` a `rediss://` URL (false)"),
];

/// REST alone does not do.
pub(super) const REST: &str = "UPSTASH_REDIS_REST_URL";

/// Checks a URL; it is kept as it was written.
pub(super) fn check(text: &str) -> Result<String, String> {
    if let Some(path) = unix_path(text) {
        return if path.starts_with('/') { Ok(text.into()) } else { Err("has no absolute path".into()) };
    }
    let scheme = text.split_once("://").map_or("", |(scheme, _)| scheme).to_ascii_lowercase();
    match scheme.as_str() {
        "redis" | "rediss" | "redis-cluster" | "rediss-cluster" | "redis-sentinel" | "rediss-sentinel" => {}
        "http" | "https" => return Err(UPSTASH_HELP.into()),
        "" => return Err("has no scheme".into()),
        _ => return Err("has an unknown scheme".into()),
    }
    let url = Url::parse(text).map_err(|error| {
        format!(
            "is not a URL: {error} (a password with / ? # @ or % in it must be percent-encoded, or go to REDIS_PASSWORD \
             beside REDIS_HOST)"
        )
    })?;
    match url.host_str() {
        None | Some("") => Err("has no host".into()),
        Some(_) => Ok(text.into()),
    }
}

fn unix_path(text: &str) -> Option<&str> {
    let path = text.strip_prefix("unix:").or_else(|| text.strip_prefix("redis+unix:"))?;
    Some(path.strip_prefix("//").unwrap_or(path))
}

/// Whether the URL names a cluster.
pub(super) fn is_cluster(url: &str) -> bool {
    url.split_once("://").is_some_and(|(scheme, _)| scheme.ends_with("-cluster"))
}

/// The URL with what must not be shown as `***`. Works on anything, since it is what shows malformed URLs in errors:
/// it rather hides too much.
#[must_use]
pub fn masked(url: &str) -> String {
    let (scheme, rest) = url.split_once("://").map_or(("", url), |(scheme, rest)| (scheme, rest));
    let mut shown = String::with_capacity(url.len());
    if !scheme.is_empty() {
        shown.push_str(scheme);
        shown.push_str("://");
    }
    // up to the last @: an unescaped one may be part of the password
    let rest = match rest.rsplit_once('@') {
        Some((user, host)) => {
            match user.split_once(':') {
                Some((name, _)) => shown.push_str(name),
                // without a colon it may be a password put in the wrong place
                None => shown.push_str("***"),
            }
            if user.contains(':') {
                shown.push_str(":***");
            }
            shown.push('@');
            host
        }
        None => rest,
    };
    let (before, query) = rest.split_once('?').map_or((rest, None), |(before, query)| (before, Some(query)));
    shown.push_str(before);
    for (position, pair) in query.into_iter().flat_map(|query| query.split('&')).enumerate() {
        shown.push(if position == 0 { '?' } else { '&' });
        match pair.split_once('=') {
            Some((name, _)) if is_secret_parameter(name) => {
                write!(shown, "{name}=***").expect("writing to a String does not fail");
            }
            _ => shown.push_str(pair),
        }
    }
    shown
}

fn is_secret_parameter(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    ["pass", "token", "secret", "auth"].iter().any(|part| name.contains(part))
}

/// The URL that `REDIS_HOST` and its like make, and the name to show for it; `None` without a host.
pub(super) fn from_parts(env: &Environment, mistakes: &mut Vec<Mistake>) -> Option<(String, Origin)> {
    let (host, origin) = env.get("REDIS_HOST")?;
    let before = mistakes.len();
    let tls = env.get("REDIS_TLS").is_some_and(|(text, origin)| match text.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => true,
        "false" | "0" | "no" | "off" => false,
        _ => {
            mistakes.push(part_mistake("REDIS_TLS", text, origin, "is neither true nor false", "true, false"));
            false
        }
    });
    let port = env.get("REDIS_PORT").map_or(Some(6379), |(text, origin)| {
        let port = text.parse::<u16>().ok().filter(|port| *port != 0);
        if port.is_none() {
            let problem = if text.starts_with("tcp://") {
                "is what Kubernetes injects for a Service named redis: set REDIS_URL, or enableServiceLinks: false"
            } else {
                "is not a port"
            };
            mistakes.push(part_mistake("REDIS_PORT", text, origin, problem, "1 to 65535"));
        }
        port
    });
    let url = compose(tls, host, port.unwrap_or(6379), env);
    if url.is_none() {
        let problem = "is not a host name or address";
        mistakes.push(part_mistake("REDIS_HOST", &masked(host), origin.clone(), problem, "a host name or IP address"));
    }
    if mistakes.len() > before { None } else { url.map(|url| (url, origin)) }
}

fn compose(tls: bool, host: &str, port: u16, env: &Environment) -> Option<String> {
    let bracketed = host.contains(':') && !host.starts_with('[');
    let host = if bracketed { format!("[{host}]") } else { host.to_owned() };
    if host.contains(['/', '@', '?', '#']) {
        return None;
    }
    let mut url = Url::parse(&format!("{}://{host}:{port}", if tls { "rediss" } else { "redis" })).ok()?;
    // the setters leave a % alone, since it may already be an escape; here it never is
    if let Some((username, _)) = env.get("REDIS_USERNAME") {
        url.set_username(&username.replace('%', "%25")).ok()?;
    }
    if let Some((password, _)) = env.get("REDIS_PASSWORD") {
        url.set_password(Some(&password.replace('%', "%25"))).ok()?;
    }
    Some(url.into())
}

fn part_mistake(name: &str, text: &str, origin: Origin, problem: &str, allowed: &str) -> Mistake {
    Mistake {
        subject: "redis.url".into(),
        value: Some(format!("{name} {text:?}")),
        origin: Some(origin),
        problem: problem.into(),
        allowed: Some(allowed.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn parts(vars: &[(&str, &str)]) -> Result<Option<String>, Vec<String>> {
        let mut mistakes = Vec::new();
        let url = from_parts(&Environment::of(vars.iter().copied()), &mut mistakes).map(|(url, _)| url);
        if mistakes.is_empty() { Ok(url) } else { Err(mistakes.iter().map(ToString::to_string).collect()) }
    }

    #[test]
    fn the_urls_of_the_contract_are_accepted_as_written() {
        for url in [
            "redis://localhost",
            "redis://:pw@127.0.0.1:6379/0",
            "rediss://default:pw@eu1-cat-1.upstash.io:6379",
            "redis-cluster://a:7000?node=b:7001",
            "redis-sentinel://a:26379?node=b:26379&sentinelServiceName=main",
            "unix:/run/redis.sock",
            "unix:///run/redis.sock",
            "redis+unix:///run/redis.sock",
        ] {
            assert_eq!(check(url).as_deref(), Ok(url));
        }
    }

    #[test]
    fn a_wrong_url_says_what_is_wrong() {
        for (url, problem) in [
            ("localhost:6379", "no scheme"),
            ("https://eu1-cat-1.upstash.io", "rediss://"),
            ("mysql://localhost", "unknown scheme"),
            ("redis://", "no host"),
            ("redis://:p#w@localhost:6379", "percent-encoded"),
            ("redis://localhost:99999", "not a URL"),
            ("unix:run/redis.sock", "absolute"),
        ] {
            let refused = check(url).expect_err(url);
            assert!(refused.contains(problem), "{url}: {refused}");
        }
    }

    #[test]
    fn a_password_is_never_shown() {
        for (url, shown) in [
            ("redis://user:s3cret@host:6379/0", "redis://user:***@host:6379/0"),
            ("redis://:s3cret@host", "redis://:***@host"),
            ("redis://s3cret@host", "redis://***@host"),
            ("redis://user:s3c@ret@host", "redis://user:***@host"),
            ("redis://user:s3c/ret@host", "redis://user:***@host"),
            ("user:s3cret@host", "user:***@host"),
            ("redis://host:6379", "redis://host:6379"),
            (
                "redis-sentinel://a:1?node=b:2&sentinelPassword=s3cret&x=1",
                "redis-sentinel://a:1?node=b:2&sentinelPassword=***&x=1",
            ),
            ("unix:/run/redis.sock", "unix:/run/redis.sock"),
        ] {
            assert_eq!(masked(url), shown);
        }
    }

    proptest::proptest! {
        #[test]
        fn no_password_shows(user in "[a-z]{0,5}", password in "\\PC{8,20}", rest in "[a-z0-9.:/]{0,12}") {
            let url = format!("redis://{user}:{password}@{rest}");
            proptest::prop_assert_eq!(masked(&url), format!("redis://{user}:***@{rest}"));
        }
    }

    #[test]
    fn the_parts_make_a_url_with_everything_escaped() {
        assert_eq!(parts(&[]), Ok(None));
        assert_eq!(parts(&[("REDIS_PASSWORD", "x")]), Ok(None));
        assert_eq!(parts(&[("REDIS_HOST", "db")]), Ok(Some("redis://db:6379".into())));
        assert_eq!(
            parts(&[
                ("REDIS_HOST", "db.example.com"),
                ("REDIS_PORT", "6380"),
                ("REDIS_USERNAME", "me"),
                ("REDIS_PASSWORD", "p@ss/w%20:rd"),
                ("REDIS_TLS", "true"),
            ]),
            Ok(Some("rediss://me:p%40ss%2Fw%2520%3Ard@db.example.com:6380".into()))
        );
        assert_eq!(
            parts(&[("REDIS_HOST", "::1"), ("REDIS_PASSWORD", "pw")]),
            Ok(Some("redis://:pw@[::1]:6379".into()))
        );
    }

    #[test]
    fn a_password_of_any_bytes_comes_back_as_it_was() {
        let password = "a%b@c:d/e?f#g h&i=j+k\\l\"m'n é";
        let url = parts(&[("REDIS_HOST", "db"), ("REDIS_PASSWORD", password)]).unwrap().unwrap();
        let encoded = Url::parse(&url).unwrap().password().unwrap().to_owned();
        assert_eq!(percent_decoded(&encoded), password);
        assert!(check(&url).is_ok());
    }

    fn percent_decoded(text: &str) -> String {
        let mut bytes = Vec::new();
        let mut rest = text.bytes();
        while let Some(byte) = rest.next() {
            if byte == b'%' {
                let hex = [rest.next().unwrap(), rest.next().unwrap()];
                bytes.push(u8::from_str_radix(std::str::from_utf8(&hex).unwrap(), 16).unwrap());
            } else {
                bytes.push(byte);
            }
        }
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn wrong_parts_are_all_named() {
        let wrong = parts(&[("REDIS_HOST", "db/1"), ("REDIS_PORT", "tcp://10.0.0.1:6379"), ("REDIS_TLS", "maybe")]);
        let wrong = wrong.unwrap_err();
        assert_eq!(wrong.len(), 3, "{wrong:?}");
        assert!(wrong.iter().any(|mistake| mistake.contains("Kubernetes")), "{wrong:?}");
    }
}
