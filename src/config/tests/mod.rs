//! Claims about the whole way from sources to types: who wins, what is told. Between keys: [`rules`].

mod rules;

use std::time::Duration;

use secrecy::ExposeSecret as _;

use super::*;
use crate::gateway::config::Auth;
use crate::provider::Name;

/// What a run is given, short to write.
#[derive(Default)]
struct Given<'a> {
    file: &'a str,
    dotenv: &'a str,
    env: &'a [(&'a str, &'a str)],
    flags: &'a [Flag],
    /// As this role runs; `None`: to find a `serve` that runs already.
    role: Option<Role>,
}

impl Given<'_> {
    fn load(&self) -> Result<Loaded, Mistakes> {
        let mut env = Environment::of(self.env.iter().copied());
        env.add_dotenv(self.dotenv);
        let purpose = if self.role.is_some() { Purpose::Run } else { Purpose::Find };
        let role = self.role.unwrap_or_default();
        let mut input = Input { env, flags: self.flags.to_vec(), role, purpose, ..Input::default() };
        let dir = tempfile::tempdir().unwrap();
        if !self.file.is_empty() {
            let path = dir.path().join("t.toml");
            std::fs::write(&path, self.file).unwrap();
            input.file = Some(path.to_str().unwrap().to_owned());
        }
        load(&input)
    }

    #[track_caller]
    fn loads(&self) -> Loaded {
        self.load().unwrap_or_else(|mistakes| panic!("{mistakes}"))
    }

    /// The mistakes, each of which must hold all words of its line, in order.
    #[track_caller]
    fn fails(&self, expected: &[&[&str]]) {
        let Err(Mistakes(mistakes)) = self.load() else { panic!("no mistake was found") };
        let told: Vec<_> = mistakes.iter().map(ToString::to_string).collect();
        assert_eq!(told.len(), expected.len(), "{told:#?}");
        for (told, words) in told.iter().zip(expected) {
            for word in *words {
                assert!(told.contains(word), "{word:?} is not in: {told}");
            }
        }
    }
}

fn env<'a>(vars: &'a [(&'a str, &'a str)]) -> Given<'a> {
    Given { env: vars, ..Given::default() }
}

fn file(text: &str) -> Given<'_> {
    Given { file: text, ..Given::default() }
}

#[test]
fn nothing_set_gives_the_contracts_defaults() {
    let Loaded { config, warnings, .. } = Given { role: Some(Role::Serve), ..Given::default() }.loads();
    assert_eq!(warnings, Vec::<String>::new());
    assert_eq!((config.gateway.bind.to_string().as_str(), config.gateway.port), ("0.0.0.0", 8081));
    assert_eq!((config.ops.bind.to_string().as_str(), config.ops.port), ("127.0.0.1", 8082));
    assert!(config.ops.admin_token.is_none() && config.gateway.tls.is_none() && config.gateway.shards.is_none());
    assert!(matches!(config.gateway.auth, Auth::None));
    assert!(config.broker.url.is_none());
    assert_eq!(config.broker.channels, broker::config::Channels::default());
    assert_eq!(config.gateway.limits.max_connections, None);
    assert_eq!(config.gateway.limits.message_bytes.get(), 65_536);
    assert_eq!(config.gateway.limits.rest_rpm.get(), 60);
    assert_eq!(config.gateway.drain_window, Duration::from_secs(20));
    assert_eq!(config.gateway.ready_grace, Duration::from_secs(30));
    assert_eq!(config.publisher.providers, [Name::Simulated]);
    assert_eq!(config.publisher.interval, None);
    assert_eq!(config.cache.ttl_list, Duration::from_secs(21_600));
    assert_eq!((config.log.level.to_string().as_str(), config.log.format), ("info", log::Format::Text));
    assert_eq!(config.publisher.settings.len(), Name::ALL.len());
}

#[test]
fn later_sources_win() {
    let text = "[gateway]\nport = 1001\n";
    let prefixed = ("TICKCAST__GATEWAY__PORT", "1005");
    let steps: [(Given<'_>, u16, &str); 7] = [
        (Given::default(), 8081, "default"),
        (file(text), 1001, "t.toml:2"),
        (Given { file: text, dotenv: "WS_PORT=1002", ..Given::default() }, 1002, ".env WS_PORT"),
        (
            Given { file: text, dotenv: "WS_PORT=1002", env: &[("WS_PORT", "1003")], ..Given::default() },
            1003,
            "env WS_PORT",
        ),
        (
            Given { file: text, env: &[("WS_PORT", "1003"), prefixed], ..Given::default() },
            1005,
            "env TICKCAST__GATEWAY__PORT",
        ),
        (
            Given { env: &[prefixed], flags: &[Flag::set("gateway.port", "1006")], ..Given::default() },
            1006,
            "flag --set",
        ),
        (
            Given { flags: &[Flag::named("--port", "1007"), Flag::set("gateway.port", "1006")], ..Given::default() },
            1007,
            "flag --port",
        ),
    ];
    for (given, port, source) in steps {
        let loaded = given.loads();
        assert_eq!(loaded.config.gateway.port, port);
        let (shown, told) = loaded.effective.get("gateway.port").unwrap();
        assert_eq!(shown, port.to_string());
        assert!(told.ends_with(source), "{told} should end with {source}");
    }
}

#[test]
fn ws_port_falls_back_to_port() {
    assert_eq!(env(&[("PORT", "5000")]).loads().config.gateway.port, 5000);
    assert_eq!(env(&[("PORT", "5000"), ("WS_PORT", "5001")]).loads().config.gateway.port, 5001);
    assert_eq!(env(&[("PORT", "5000"), ("WS_PORT", "")]).loads().config.gateway.port, 5000);
}

#[test]
fn every_name_of_existing_deployments_sets_its_key() {
    let cases = [
        ("WS_PORT", "9001", "gateway.port", "9001"),
        ("PORT", "9002", "gateway.port", "9002"),
        ("HEALTH_PORT", "9003", "ops.port", "9003"),
        ("REDIS_URL", "redis://h:1", "redis.url", "\"redis://h:1\""),
        ("UPSTASH_REDIS_URL", "rediss://d:pw@h:1", "redis.url", "\"rediss://d:***@h:1\""),
        ("REDIS_HOST", "h", "redis.url", "\"redis://h:6379\""),
        ("REDIS_CHANNEL_UPDATES", "u", "redis.channel_updates", "\"u\""),
        ("REDIS_CHANNEL_SUBSCRIPTIONS", "s", "redis.channel_subscriptions", "\"s\""),
        ("REDIS_CHANNEL_CONTROL", "c", "redis.channel_control", "\"c\""),
        (
            "ALLOWED_ORIGINS",
            "https://a.example, https://b.example",
            "gateway.allowed_origins",
            "[\"https://a.example\", \"https://b.example\"]",
        ),
        ("LOG_LEVEL", "DEBUG", "log.level", "\"debug\""),
        ("RATE_LIMIT_RPM", "120", "limits.rest_rpm", "120"),
        ("CACHE_ENABLED", "false", "cache.enabled", "false"),
        ("CACHE_TTL_LATEST_PRICE", "60", "cache.ttl_latest_s", "60"),
        ("CACHE_TTL_RECENT_DATA", "61", "cache.ttl_recent_s", "61"),
        ("CACHE_TTL_SYMBOL_LIST", "62", "cache.ttl_list_s", "62"),
        ("POLYGON_API_KEY", "k", "providers.massive.api_key", "\"***\""),
        ("MASSIVE_API_KEY", "k", "providers.massive.api_key", "\"***\""),
        ("TRADIER_API_KEY", "k", "providers.tradier.api_key", "\"***\""),
        ("FINNHUB_API_KEY", "k", "providers.finnhub.api_key", "\"***\""),
        ("ALPHA_VANTAGE_API_KEY", "k", "providers.alphavantage.api_key", "\"***\""),
        ("TWELVE_DATA_API_KEY", "k", "providers.twelvedata.api_key", "\"***\""),
        ("JWT_SECRET", "0123456789abcdef0123456789abcdef", "auth.jwt_secret", "\"***\""),
        ("JWKS_URL", "https://id.example/keys", "auth.jwks_url", "\"https://id.example/keys\""),
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318", "log.otlp_endpoint", "\"http://c:4318\""),
        ("ADMIN_TOKEN", "t", "ops.admin_token", "\"***\""),
        ("API_BASE", "https://api.example/api", "gateway.api_base", "\"https://api.example/api\""),
    ];
    for (name, value, path, shown) in cases {
        let loaded = env(&[(name, value)]).loads();
        assert_eq!(loaded.effective.get(path).unwrap(), (shown.to_owned(), format!("env {name}")));
        assert_eq!(loaded.warnings, Vec::<String>::new(), "{name}");
    }
    let tested =
        |name: &str| cases.iter().any(|(tested, ..)| *tested == name) || name.starts_with("REDIS_") || name == FILE_ENV;
    for (name, _) in environment_names() {
        assert!(tested(name), "{name} is in the table and not in this test");
    }
}

#[test]
fn redis_can_be_given_in_parts() {
    let loaded = env(&[
        ("REDIS_HOST", "db"),
        ("REDIS_PORT", "6380"),
        ("REDIS_USERNAME", "me"),
        ("REDIS_PASSWORD", "p@ss"),
        ("REDIS_TLS", "1"),
    ])
    .loads();
    assert_eq!(loaded.config.broker.url.unwrap().expose_secret(), "rediss://me:p%40ss@db:6380");
    assert_eq!(
        loaded.effective.get("redis.url").unwrap(),
        ("\"rediss://me:***@db:6380\"".into(), "env REDIS_HOST".into())
    );

    let loaded = env(&[("REDIS_HOST", "db"), ("REDIS_URL", "redis://other")]).loads();
    assert_eq!(loaded.config.broker.url.unwrap().expose_secret(), "redis://other");
    assert!(loaded.warnings[0].contains("REDIS_HOST is ignored"), "{:?}", loaded.warnings);

    env(&[("REDIS_HOST", "db"), ("REDIS_PORT", "0"), ("REDIS_TLS", "x")])
        .fails(&[&["redis.url", "REDIS_TLS \"x\"", "true, false"], &["REDIS_PORT \"0\"", "1 to 65535"]]);
}

#[test]
fn upstash_rest_alone_is_told_which_url_is_needed() {
    let rest = ("UPSTASH_REDIS_REST_URL", "https://eu1.upstash.io");
    for role in [None, Some(Role::Serve), Some(Role::Gateway)] {
        Given { env: &[rest], role, ..Given::default() }.fails(&[&[
            "redis.url",
            "env UPSTASH_REDIS_REST_URL",
            "rediss://",
            "console",
            "Connect",
            "UPSTASH_REDIS_URL",
        ]]);
    }
    env(&[rest, ("UPSTASH_REDIS_URL", "rediss://d:pw@eu1.upstash.io")]).loads();
    env(&[("REDIS_URL", "https://eu1.upstash.io")]).fails(&[&["redis.url", "env REDIS_URL", "rediss://", "Connect"]]);
}

#[test]
fn both_names_of_one_providers_key_must_agree() {
    env(&[("POLYGON_API_KEY", "a"), ("MASSIVE_API_KEY", "a")]).loads();
    env(&[("POLYGON_API_KEY", "a-key"), ("MASSIVE_API_KEY", "b-key")]).fails(&[&[
        "providers.massive.api_key",
        "MASSIVE_API_KEY",
        "POLYGON_API_KEY",
        "different values",
    ]]);
    let loaded = env(&[("POLYGON_API_KEY", "a"), ("TICKCAST__PROVIDERS__POLYGON__API_KEY", "b")]).loads();
    let key = loaded.config.publisher.settings[&Name::Massive].api_key.clone().unwrap();
    assert_eq!(key.expose_secret(), "b");
}

#[test]
fn empty_variables_count_as_unset_and_empty_flags_take_back() {
    let loaded = env(&[("REDIS_URL", ""), ("TICKCAST__GATEWAY__PORT", ""), ("TICKCAST__GATEWAY__NOTHING", "")]).loads();
    assert!(loaded.config.broker.url.is_none());
    let loaded =
        Given { env: &[("REDIS_URL", "redis://h")], flags: &[Flag::named("--redis-url", "")], ..Given::default() }
            .loads();
    assert!(loaded.config.broker.url.is_none());
    assert_eq!(loaded.effective.get("redis.url").unwrap(), ("not set".into(), "flag --redis-url".into()));
}

#[test]
fn all_mistakes_of_all_sources_are_told_at_once() {
    Given {
        file: "[gateway]\nport = 70000\nprot = 1\n[limits]\nrest_rpm = \"60\"\n",
        env: &[("HEALTH_PORT", "abc"), ("TICKCAST__GATWAY__PORT", "1"), ("CACHE_ENABLED", "perhaps")],
        flags: &[Flag::set("cache.max", "1"), Flag::named("--provider", "binanse")],
        role: Some(Role::Gateway),
        ..Given::default()
    }
    .fails(&[
        &["gateway.prot", "t.toml:3", "nearest is gateway.port"],
        &["gatway.port", "env TICKCAST__GATWAY__PORT", "nearest is gateway.port (TICKCAST__GATEWAY__PORT)"],
        &["cache.max", "flag --set", "nearest is cache.max_bytes"],
        &["gateway.port = 70000", "t.toml:2", "too large", "0 to 65535"],
        &["limits.rest_rpm = \"60\"", "t.toml:5", "must be a whole number", "1 to 1000000"],
        &["ops.port = \"abc\"", "env HEALTH_PORT", "not a whole number", "0 to 65535"],
        &["cache.enabled = \"perhaps\"", "env CACHE_ENABLED", "true, false"],
        &["publisher.providers = \"binanse\"", "flag --provider", "nearest is binance"],
        &["redis.url", "gateway", "REDIS_URL"],
    ]);
}

#[test]
fn a_secret_is_in_no_message_and_no_listing() {
    let secret = "s3cret-0123456789-0123456789-0123456789";
    let url = format!("redis://me:{secret}@host:6379/0?password={secret}");
    let set = [
        ("REDIS_URL", url.as_str()),
        ("JWT_SECRET", secret),
        ("ADMIN_TOKEN", secret),
        ("TRADIER_API_KEY", secret),
        ("TICKCAST__AUTH__TOKENS", secret),
        ("TICKCAST__AUTH__MODE", "jwt"),
    ];
    let loaded = env(&set).loads();
    for shown in [
        loaded.effective.to_text(),
        loaded.effective.to_json().to_string(),
        format!("{:?}", loaded.config),
        format!("{:?}", loaded.effective),
    ] {
        assert!(!shown.contains(secret), "{shown}");
    }

    let wrong = format!("redis://me:{secret}@host:notaport");
    let long = secret.repeat(1_000);
    let mistakes = Given {
        file: &format!(
            "[ops]\nadmin_tokn = \"{secret}\"\n[auth]\ntokens = [1, \"{secret}\"]\njwt_secret = [\"{secret}\"]\n"
        ),
        env: &[("REDIS_URL", &wrong), ("TICKCAST__OPS__TOKEN", secret), ("ADMIN_TOKEN", &long)],
        ..Given::default()
    }
    .load()
    .unwrap_err();
    assert_eq!(mistakes.0.len(), 6, "{mistakes}");
    assert!(!mistakes.to_string().contains(secret), "{mistakes}");
}

#[test]
fn a_file_that_cannot_be_read_is_the_only_mistake_about_it() {
    let input = Input {
        file: Some("no/such/file.toml".into()),
        role: Role::Gateway,
        purpose: Purpose::Run,
        ..Input::default()
    };
    let Mistakes(mistakes) = load(&input).unwrap_err();
    assert_eq!(mistakes.len(), 1, "{mistakes:?}");
    assert!(
        mistakes[0].to_string().starts_with("no/such/file.toml (flag --config): the configuration file cannot be read")
    );

    let input = Input { env: Environment::of([(FILE_ENV, "no/such/file.toml")]), ..Input::default() };
    assert!(load(&input).unwrap_err().to_string().contains("env TICKCAST_CONFIG"));
}

#[test]
fn the_listing_is_toml_and_names_each_source() {
    let loaded = Given {
        file: "[gateway]\nname = \"a \\\"quoted\\\" name\"\n",
        env: &[("REDIS_URL", "redis://me:pw@h"), ("ALLOWED_ORIGINS", "https://a.example")],
        dotenv: "LOG_LEVEL=debug",
        flags: &[Flag::named("--port", "9000"), Flag::named("--provider", "binance")],
        role: Some(Role::Serve),
    }
    .loads();
    let text = loaded.effective.to_text();
    toml::from_str::<toml::Table>(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    for (key, source) in [
        ("port = 9000", "# flag --port"),
        ("name = \"a \\\"quoted\\\" name\"", "t.toml:2"),
        ("url = \"redis://me:***@h\"", "# env REDIS_URL"),
        ("level = \"debug\"", "# .env LOG_LEVEL"),
        ("shards = 0", "# default"),
        ("# interval_s", "# not set: 5 s; 1 s for simulated"),
    ] {
        let line = text.lines().find(|line| line.starts_with(key)).unwrap_or_else(|| panic!("{key}\n{text}"));
        assert!(line.ends_with(source), "{line}");
    }
    assert!(text.contains("[providers.binance]") && !text.contains("[providers.massive]"), "{text}");

    let json = loaded.effective.to_json();
    assert_eq!(json["role"], "serve");
    assert_eq!(json["settings"]["cache.ttl_latest_s"]["value"].to_string(), "300");
    assert_eq!(json["settings"]["gateway.port"]["value"], 9000);
    assert_eq!(json["settings"]["redis.url"]["source"], "env REDIS_URL");
    assert!(json["settings"]["tls.cert_file"]["value"].is_null());
}

#[test]
fn every_key_is_settable_by_its_own_environment_name() {
    for slot in key::slots() {
        let (key::Default::Is(text) | key::Default::Unset { example: text, .. }) = slot.key.default;
        // an empty list's default cannot be told from an unset variable
        let text = if text.is_empty() { continue } else { text };
        let name = slot.env_name();
        let mut input = Input { env: Environment::of([(name.as_str(), text)]), ..Input::default() };
        input.flags = match slot.path.as_str() {
            "auth.mode" => vec![Flag::set("auth.jwt_secret", "0123456789abcdef0123456789abcdef")],
            "tls.cert_file" => vec![Flag::set("tls.key_file", "k")],
            "tls.key_file" => vec![Flag::set("tls.cert_file", "c")],
            _ => Vec::new(),
        };
        let loaded = load(&input).unwrap_or_else(|mistakes| panic!("{name}={text}: {mistakes}"));
        assert_eq!(loaded.effective.get(&slot.path).unwrap().1, format!("env {name}"));
    }
}
