//! What a text may look like. Each form checks a text and gives it back in its one normal spelling.

use std::net::IpAddr;

use ipnet::IpNet;
use url::{Host, Url};

use super::log::Level;
use super::redis_url;
use crate::market::{Exchange, Symbol};
use crate::provider;

/// The forms there are.
#[derive(Debug, Clone, Copy)]
pub enum Form {
    /// Anything printable, up to this many characters.
    Words(usize),
    /// A secret: anything; a line end that a file left behind is cut.
    Secret,
    /// One of these, in any case.
    OneOf(&'static [&'static str]),
    /// A channel's name, or the prefix of keys: no spaces.
    Channel,
    /// An IP address to listen on.
    Address,
    /// An address or a network in CIDR form.
    Network,
    /// A web origin, as a browser sends it, or `*`.
    Origin,
    /// Where Redis is.
    RedisUrl,
    /// Scheme, host and port of an HTTP server.
    BaseUrl,
    /// An HTTPS URL; HTTP on loopback.
    JwksUrl,
    /// An HTTP URL, or a path on the same host.
    ApiBase,
    /// An HTTP URL that a path is added to.
    Collector,
    /// A symbol.
    Symbol,
    /// A symbol with `*` for any run of characters.
    Pattern,
    /// A pattern and its exchange.
    Market,
    /// A provider's name.
    Provider,
    /// What is logged.
    Level,
    /// A path of the file system.
    File,
}

/// The longest text of any form: more than any URL or token that is meant.
const MAX_BYTES: usize = 8 * 1024;

impl Form {
    /// The text in its normal spelling, or what is wrong with it.
    pub(super) fn check(&self, text: &str) -> Result<String, String> {
        if text.len() > MAX_BYTES {
            return Err(format!("is {} bytes long; at most {MAX_BYTES} are taken", text.len()));
        }
        if let Form::Secret = self {
            return secret(text);
        }
        let text = text.trim();
        if text.chars().any(char::is_control) {
            return Err("has a control character in it".into());
        }
        match self {
            Form::Words(max) => words(text, *max),
            Form::Secret => secret(text),
            Form::OneOf(choices) => one_of(text, choices),
            Form::Channel if text.contains(char::is_whitespace) => Err("has a space in it".into()),
            Form::Channel | Form::File => Ok(text.into()),
            Form::Address => address(text),
            Form::Network => network(text),
            Form::Origin => origin(text),
            Form::RedisUrl => redis_url::check(text),
            Form::BaseUrl => base_url(text),
            Form::JwksUrl => jwks_url(text),
            Form::ApiBase => api_base(text),
            Form::Collector => collector(text),
            Form::Symbol => {
                Symbol::parse(text).map(|symbol| symbol.to_string()).map_err(|e| format!("is no symbol: {e}"))
            }
            Form::Pattern => pattern(text),
            Form::Market => market(text),
            Form::Provider => provider_name(text),
            Form::Level => text.parse::<Level>().map(|level| level.to_string()),
        }
    }

    /// What may be written.
    #[must_use]
    pub fn allowed(&self) -> String {
        match self {
            Form::Words(max) => format!("1 to {max} printable characters"),
            Form::Secret => "any text".into(),
            Form::OneOf(choices) => choices.join(", "),
            Form::Channel => "a text without spaces".into(),
            Form::Address => "an IP address (0.0.0.0 and :: mean all interfaces)".into(),
            Form::Network => "an address or network, 10.0.0.0/8 or 2001:db8::1".into(),
            Form::Origin => "scheme://host or scheme://host:port, as a browser sends it, or * for any".into(),
            Form::RedisUrl => redis_url::ALLOWED.into(),
            Form::BaseUrl => "http:// or https://, host, port".into(),
            Form::JwksUrl => "an https:// URL (http:// on loopback)".into(),
            Form::ApiBase => "an http:// or https:// URL, or a path that begins with /".into(),
            Form::Collector => "an http:// or https:// URL without a query".into(),
            Form::Symbol => "1 to 32 of A-Z 0-9 . - _ : ^ = / & @".into(),
            Form::Pattern => "a symbol in which * matches any run of characters".into(),
            Form::Market => "PATTERN=EXCHANGE, one of nyse, nasdaq, nse, bse, crypto".into(),
            Form::Provider => provider::Name::ALL.map(provider::Name::as_str).join(", "),
            Form::Level => super::log::ALLOWED.into(),
            Form::File => "a path".into(),
        }
    }
}

fn words(text: &str, max: usize) -> Result<String, String> {
    match text.chars().count() {
        0 => Err("is empty".into()),
        count if count > max => Err("is too long".into()),
        _ => Ok(text.into()),
    }
}

fn secret(text: &str) -> Result<String, String> {
    // mounted secret files end in a line feed that nobody means
    let text = text.trim_end_matches(['\r', '\n']);
    if text.trim().is_empty() { Err("is empty".into()) } else { Ok(text.into()) }
}

fn one_of(text: &str, choices: &[&str]) -> Result<String, String> {
    let found = choices.iter().find(|choice| choice.eq_ignore_ascii_case(text));
    found.map(|choice| (*choice).to_owned()).ok_or_else(|| "is none of the choices".into())
}

fn address(text: &str) -> Result<String, String> {
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    if bare.eq_ignore_ascii_case("localhost") {
        return Err("is a name: write 127.0.0.1 or ::1".into());
    }
    let address: IpAddr = bare.parse().map_err(|_| "is not an IP address")?;
    Ok(address.to_string())
}

fn network(text: &str) -> Result<String, String> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(IpNet::from(address).to_string());
    }
    let network: IpNet = text.parse().map_err(|_| format!("({text}) is neither an address nor a network"))?;
    Ok(network.trunc().to_string())
}

/// The spelling that browsers use, so that comparing bytes is enough at the door (RFC 6454 §6.2).
fn origin(text: &str) -> Result<String, String> {
    if text == "*" || text == "null" {
        return Ok(text.into());
    }
    if text.contains('*') {
        return Err(format!("({text}) is a pattern: list each origin, or * alone for any"));
    }
    let url = Url::parse(text).map_err(|_| format!("({text}) is not an origin"))?;
    if !url.has_host() || has_user(&url) || url.query().is_some() || url.fragment().is_some() {
        return Err(format!("({text}) is not an origin"));
    }
    if !matches!(url.path(), "" | "/") {
        return Err(format!("({text}) has a path, an origin has none"));
    }
    match url.origin() {
        origin if origin.is_tuple() => Ok(origin.ascii_serialization()),
        // an app's own scheme: capacitor://localhost
        _ => Ok(url.as_str().trim_end_matches('/').into()),
    }
}

fn http_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("is not a URL: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("is neither http:// nor https://".into());
    }
    if has_user(&url) {
        return Err("has a user or password in it".into());
    }
    Ok(url)
}

fn has_user(url: &Url) -> bool {
    !url.username().is_empty() || url.password().is_some()
}

fn base_url(text: &str) -> Result<String, String> {
    let url = http_url(text)?;
    if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
        return Err("has more than scheme, host and port; the vendor's paths follow by themselves".into());
    }
    Ok(url.origin().ascii_serialization())
}

fn jwks_url(text: &str) -> Result<String, String> {
    let url = http_url(text)?;
    if url.scheme() == "http" && !is_loopback(&url) {
        return Err("would fetch keys in the clear: http is for loopback only".into());
    }
    Ok(url.into())
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

fn api_base(text: &str) -> Result<String, String> {
    if text.starts_with('/') && !text.starts_with("//") {
        return Ok(text.into());
    }
    // as it was written: it is told to clients, who add paths to it
    http_url(text).map(|_| text.into())
}

fn collector(text: &str) -> Result<String, String> {
    let url = http_url(text)?;
    if url.query().is_some() || url.fragment().is_some() {
        return Err("has a query; its path follows by itself".into());
    }
    Ok(url.as_str().trim_end_matches('/').into())
}

fn pattern(text: &str) -> Result<String, String> {
    // what the stars stand for is any symbol's text, so the rest must be a symbol's; a star alone is fine
    let rest = text.replace('*', "");
    if !rest.is_empty() {
        Symbol::parse(&rest).map_err(|error| format!("is no pattern: {error}"))?;
    } else if text.is_empty() {
        return Err("is empty".into());
    }
    Ok(text.to_ascii_uppercase())
}

fn market(text: &str) -> Result<String, String> {
    // the last one: a symbol may have one too
    let (symbols, exchange) = text.rsplit_once('=').ok_or("has no = in it")?;
    let (symbols, exchange) = (pattern(symbols.trim())?, exchange.trim().to_ascii_lowercase());
    exchange.parse::<Exchange>().map_err(|error| error.to_string())?;
    Ok(format!("{symbols}={exchange}"))
}

fn provider_name(text: &str) -> Result<String, String> {
    let lower = text.to_ascii_lowercase();
    lower.parse::<provider::Name>().map(|name| name.to_string()).map_err(|_| {
        let likeness = |name: &provider::Name| strsim::normalized_damerau_levenshtein(&lower, name.as_str());
        let nearest = provider::Name::ALL
            .into_iter()
            .max_by(|a, b| likeness(a).total_cmp(&likeness(b)))
            .expect("there are providers");
        format!("({text}) is no provider; the nearest is {nearest}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn accepts(form: Form, cases: &[(&str, &str)]) {
        for (text, normal) in cases {
            assert_eq!(form.check(text).as_deref(), Ok(*normal), "{form:?} {text}");
        }
    }

    #[track_caller]
    fn refuses(form: Form, cases: &[(&str, &str)]) {
        for (text, problem) in cases {
            let refused = form.check(text).expect_err(text);
            assert!(refused.contains(problem), "{form:?} {text}: {refused}");
        }
    }

    #[test]
    fn origins_take_the_spelling_of_browsers() {
        accepts(
            Form::Origin,
            &[
                ("https://App.Example.com", "https://app.example.com"),
                ("https://app.example.com/", "https://app.example.com"),
                ("https://app.example.com:443", "https://app.example.com"),
                ("http://localhost:3000", "http://localhost:3000"),
                ("https://bücher.example", "https://xn--bcher-kva.example"),
                ("capacitor://localhost", "capacitor://localhost"),
                ("chrome-extension://abcdef", "chrome-extension://abcdef"),
                ("*", "*"),
                ("null", "null"),
            ],
        );
        refuses(
            Form::Origin,
            &[
                ("app.example.com", "not an origin"),
                ("https://app.example.com/page", "has a path"),
                ("https://*.example.com", "is a pattern"),
                ("https://user@example.com", "not an origin"),
                ("localhost:3000", "not an origin"),
            ],
        );
    }

    #[test]
    fn trusted_networks_are_addresses_or_cidr() {
        accepts(
            Form::Network,
            &[
                ("10.0.0.0/8", "10.0.0.0/8"),
                ("10.1.2.3/8", "10.0.0.0/8"),
                ("192.168.1.1", "192.168.1.1/32"),
                ("::1", "::1/128"),
            ],
        );
        refuses(Form::Network, &[("10.0.0.0/33", "neither"), ("proxy.local", "neither"), ("*", "neither")]);
    }

    #[test]
    fn addresses_are_not_names() {
        accepts(Form::Address, &[("0.0.0.0", "0.0.0.0"), ("[::]", "::"), (" 127.0.0.1 ", "127.0.0.1")]);
        refuses(Form::Address, &[("localhost", "127.0.0.1"), ("0.0.0.0:80", "not an IP"), ("", "not an IP")]);
    }

    #[test]
    fn keys_are_fetched_in_the_clear_on_loopback_only() {
        accepts(
            Form::JwksUrl,
            &[
                ("https://id.example.com/keys", "https://id.example.com/keys"),
                ("http://127.0.0.1:9000/keys", "http://127.0.0.1:9000/keys"),
                ("http://[::1]/keys", "http://[::1]/keys"),
                ("http://localhost/keys", "http://localhost/keys"),
            ],
        );
        refuses(
            Form::JwksUrl,
            &[
                ("http://id.example.com/keys", "loopback"),
                ("http://localhost.example.com/keys", "loopback"),
                ("http://127.0.0.1.example.com/keys", "loopback"),
                ("ftp://id.example.com", "neither"),
                ("https://me:secret@id.example.com", "password"),
            ],
        );
    }

    #[test]
    fn a_base_url_ends_at_the_port() {
        accepts(
            Form::BaseUrl,
            &[
                ("https://api.massive.com/", "https://api.massive.com"),
                ("http://127.0.0.1:4000", "http://127.0.0.1:4000"),
            ],
        );
        refuses(
            Form::BaseUrl,
            &[
                ("https://api.tradier.com/v1", "scheme, host and port"),
                ("https://api.massive.com?apiKey=x", "scheme, host and port"),
                ("api.massive.com", "not a URL"),
            ],
        );
    }

    #[test]
    fn the_api_base_is_a_url_or_a_path() {
        accepts(Form::ApiBase, &[("/api", "/api"), ("https://a.example/api", "https://a.example/api")]);
        refuses(Form::ApiBase, &[("//a.example", "not a URL"), ("a.example/api", "not a URL")]);
    }

    #[test]
    fn a_collector_is_a_url_that_a_path_can_follow() {
        accepts(
            Form::Collector,
            &[
                ("http://127.0.0.1:4318/", "http://127.0.0.1:4318"),
                ("https://a.example/otlp", "https://a.example/otlp"),
            ],
        );
        refuses(
            Form::Collector,
            &[("127.0.0.1:4318", "not a URL"), ("grpc://a:4317", "neither"), ("http://me:pw@a", "user")],
        );
        refuses(Form::Collector, &[("http://a/?key=b", "query")]);
    }

    #[test]
    fn patterns_are_symbols_with_stars() {
        accepts(Form::Pattern, &[("*.ns", "*.NS"), ("*", "*"), ("BTC-*", "BTC-*")]);
        refuses(Form::Pattern, &[("", "empty"), ("A B*", "no pattern")]);
    }

    #[test]
    fn markets_are_patterns_with_an_exchange() {
        accepts(
            Form::Market,
            &[("tcs = NSE", "TCS=nse"), ("*-INR=crypto", "*-INR=crypto"), ("eurusd=x=nyse", "EURUSD=X=nyse")],
        );
        refuses(Form::Market, &[("TCS", "no ="), ("=nse", "empty"), ("TCS=lse", "nyse, nasdaq, nse, bse and crypto")]);
    }

    #[test]
    fn an_unknown_provider_is_told_the_nearest() {
        accepts(Form::Provider, &[("Polygon", "massive"), ("binance", "binance")]);
        refuses(Form::Provider, &[("binanse", "nearest is binance"), ("alpha_vantage", "nearest is alphavantage")]);
    }

    #[test]
    fn secrets_lose_the_line_end_of_their_file_and_nothing_else() {
        accepts(Form::Secret, &[("s3cret\n", "s3cret"), (" s3 cret ", " s3 cret ")]);
        refuses(Form::Secret, &[(" \n", "empty")]);
    }

    #[test]
    fn choices_and_words() {
        accepts(Form::OneOf(&["text", "json"]), &[("JSON", "json")]);
        refuses(Form::OneOf(&["text", "json"]), &[("xml", "none of")]);
        accepts(Form::Words(5), &[("tick", "tick")]);
        refuses(Form::Words(5), &[("", "empty"), ("tickcast", "too long"), ("a\nb", "control")]);
        refuses(Form::File, &[(&"x".repeat(MAX_BYTES + 1), "at most")]);
    }
}
