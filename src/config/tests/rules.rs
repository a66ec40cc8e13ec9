//! Claims about what goes together, and what a role needs.

use std::time::Duration;

use super::{Given, env, file};
use crate::config::{Flag, Role};
use crate::gateway::config::{Auth, JwtKeys};
use crate::market::{Exchange, Symbol};
use crate::provider::Name;

#[test]
fn ports_must_differ_where_both_are_used() {
    env(&[("PORT", "8082")]).fails(&[&["ops.port = 8082 (default)", "gateway.port", "env PORT", "differ"]]);
    env(&[("PORT", "0"), ("HEALTH_PORT", "0")]).loads();
    let publisher = Given {
        env: &[("PORT", "8083"), ("REDIS_URL", "redis://h"), ("TRADIER_API_KEY", "k")],
        role: Some(Role::Publisher),
        ..Given::default()
    };
    assert_eq!(publisher.loads().config.ops.port, 8083);
}

#[test]
fn health_port_is_the_ops_port_of_any_role() {
    for role in Role::ALL {
        let given = [("HEALTH_PORT", "9999"), ("REDIS_URL", "redis://h"), ("TRADIER_API_KEY", "k")];
        assert_eq!(Given { env: &given, role: Some(role), ..Given::default() }.loads().config.ops.port, 9999);
    }
}

#[test]
fn a_role_that_needs_redis_says_how_to_give_it() {
    Given { role: Some(Role::Gateway), ..Given::default() }.fails(&[&["redis.url", "gateway", "REDIS_URL", "serve"]]);
    Given {
        role: Some(Role::Publisher),
        env: &[("TRADIER_API_KEY", "k"), ("REDIS_PASSWORD", "x")],
        ..Given::default()
    }
    .fails(&[&["redis.url", "publisher", "REDIS_URL", "REDIS_HOST"]]);
    Given { role: Some(Role::Serve), ..Given::default() }.loads();
}

#[test]
fn a_credential_implies_how_it_is_checked() {
    let secret = "0123456789abcdef0123456789abcdef";
    let loaded = env(&[("JWT_SECRET", secret)]).loads();
    assert!(matches!(&loaded.config.gateway.auth, Auth::Jwt(jwt) if matches!(jwt.keys, JwtKeys::Secret(_))));
    assert_eq!(loaded.effective.get("auth.mode").unwrap(), ("\"jwt\"".into(), "implied by env JWT_SECRET".into()));

    let loaded = env(&[("JWKS_URL", "https://id.example/keys")]).loads();
    assert!(matches!(&loaded.config.gateway.auth, Auth::Jwt(jwt) if matches!(jwt.keys, JwtKeys::JwksUrl(_))));

    let loaded = file("[auth]\ntokens = [\"one\", \"two\"]\n").loads();
    assert!(matches!(&loaded.config.gateway.auth, Auth::Tokens(tokens) if tokens.len() == 2));

    let loaded =
        Given { file: "[auth]\nmode = \"none\"\n", env: &[("JWT_SECRET", secret)], ..Given::default() }.loads();
    assert!(matches!(loaded.config.gateway.auth, Auth::None));
    assert!(loaded.warnings[0].contains("anyone may connect"), "{:?}", loaded.warnings);
}

#[test]
fn authentication_must_be_complete_and_unambiguous() {
    file("[auth]\nmode = \"token\"\n").fails(&[&["auth.mode", "auth.tokens"]]);
    file("[auth]\nmode = \"jwt\"\n").fails(&[&["auth.mode", "JWT_SECRET", "JWKS_URL"]]);
    file("[auth]\nmode = \"basic\"\n").fails(&[&["auth.mode = \"basic\"", "none, token, jwt"]]);
    env(&[("JWT_SECRET", "x"), ("JWKS_URL", "https://id.example/keys")]).fails(&[&["auth.jwks_url", "exactly one"]]);
    file("[auth]\ntokens = [\"a\"]\njwks_url = \"https://id.example/keys\"\n").fails(&[&["auth.mode", "set it"]]);
    env(&[("JWKS_URL", "http://id.example/keys")]).fails(&[&["auth.jwks_url", "loopback"]]);
    let short = env(&[("JWT_SECRET", "short")]).loads();
    assert!(short.warnings[0].contains("RFC 7518"), "{:?}", short.warnings);
}

#[test]
fn halves_are_refused() {
    file("[tls]\ncert_file = \"a.pem\"\n").fails(&[&["tls.cert_file", "needs tls.key_file"]]);
    file("[tls]\nkey_file = \"a.pem\"\n").fails(&[&["tls.key_file", "needs tls.cert_file"]]);
    let tls = file("[tls]\nkey_file = \"k.pem\"\ncert_file = \"c.pem\"\n").loads().config.gateway.tls.unwrap();
    assert_eq!((tls.cert_file.to_str(), tls.key_file.to_str()), (Some("c.pem"), Some("k.pem")));
}

#[test]
fn channels_must_be_three() {
    env(&[("REDIS_CHANNEL_CONTROL", "market-data:updates")])
        .fails(&[&["redis.channel_control", "redis.channel_updates too"]]);
    file("[redis]\nchannel_updates = \"\"\n").fails(&[&["redis.channel_updates", "empty"]]);
    env(&[("REDIS_CHANNEL_CONTROL", "a b")]).fails(&[&["redis.channel_control = \"a b\"", "space"]]);
}

#[test]
fn a_clusters_prefix_needs_a_hash_tag() {
    let with_prefix = |prefix| format!("[redis]\nurl = \"redis-cluster://h:7000\"\nprefix = \"{prefix}\"\n");
    file(&with_prefix("")).loads();
    file(&with_prefix("{quotes}:")).loads();
    file(&with_prefix("quotes:")).fails(&[&["redis.prefix", "hash tag"]]);
    file(&with_prefix("{}:")).fails(&[&["redis.prefix", "hash tag"]]);
    file("[redis]\nurl = \"redis://h\"\nprefix = \"quotes:\"\n").loads();
}

#[test]
fn a_star_for_origins_stands_alone_and_means_any() {
    assert!(env(&[("ALLOWED_ORIGINS", "*")]).loads().config.gateway.allowed_origins.is_empty());
    env(&[("ALLOWED_ORIGINS", "*,https://a.example")]).fails(&[&["gateway.allowed_origins", "alone"]]);
    env(&[("ALLOWED_ORIGINS", "a.example,https://*.b.example")]).fails(&[&[
        "gateway.allowed_origins",
        "item 1 (a.example)",
        "item 2 (https://*.b.example)",
        "pattern",
    ]]);
}

#[test]
fn proxies_are_networks() {
    let loaded = file("[limits]\ntrusted_proxies = [\"10.0.0.0/8\", \"::1\"]\n").loads();
    let shown: Vec<_> = loaded.config.gateway.limits.trusted_proxies.iter().map(ToString::to_string).collect();
    assert_eq!(shown, ["10.0.0.0/8", "::1/128"]);
    file("[limits]\ntrusted_proxies = [\"nginx\"]\n").fails(&[&["limits.trusted_proxies", "nginx", "10.0.0.0/8"]]);
}

#[test]
fn providers_come_from_the_list_or_from_the_keys_that_are_there() {
    let providers = |given: &Given<'_>| given.loads().config.publisher.providers;
    assert_eq!(providers(&env(&[("TRADIER_API_KEY", "k"), ("POLYGON_API_KEY", "k")])), [Name::Massive, Name::Tradier]);
    assert_eq!(
        providers(&Given { flags: &[Flag::named("--provider", "polygon")], ..Given::default() }),
        [Name::Massive]
    );
    let gateway = Given { env: &[("REDIS_URL", "redis://h")], role: Some(Role::Gateway), ..Given::default() };
    assert_eq!(providers(&gateway), []);
}

#[test]
fn a_bare_ticker_is_at_home_where_the_first_provider_with_stocks_is() {
    let exchange = |given: &Given<'_>, text: &str| {
        let config = given.loads().config.publisher;
        let listings = &config.settings[&Name::Yahoo].listings;
        listings.exchange(Symbol::parse(text).unwrap())
    };
    let asking = |list: &'static str| [Flag::named("--provider", list)];
    for (providers, tcs) in [
        ("yahoo,nse", Exchange::Nyse),
        ("nse,yahoo", Exchange::Nse),
        ("binance,nse,yahoo", Exchange::Nse),
        ("binance", Exchange::Nyse),
    ] {
        let flags = asking(providers);
        let given = Given { flags: &flags, ..Given::default() };
        assert_eq!(exchange(&given, "TCS"), tcs, "{providers}");
        let said = Given { file: "[publisher]\nhome_market = \"nasdaq\"\nmarkets = [\"INFY=nse\"]\n", ..given };
        assert_eq!((exchange(&said, "TCS"), exchange(&said, "INFY")), (Exchange::Nyse, Exchange::Nse), "{providers}");
    }
}

#[test]
fn a_publisher_never_invents_quotes_unasked() {
    let redis = ("REDIS_URL", "redis://h");
    Given { env: &[redis], role: Some(Role::Publisher), ..Given::default() }.fails(&[&[
        "publisher.providers",
        "--provider binance",
        "simulated",
    ]]);
    let flags = [Flag::named("--provider", "simulated")];
    Given { env: &[redis], flags: &flags, role: Some(Role::Publisher), ..Given::default() }.loads();
    Given { file: "[publisher]\nproviders = []\n", role: Some(Role::Serve), ..Given::default() }
        .fails(&[&["publisher.providers", "nobody"]]);
    Given { file: "[publisher]\nproviders = []\nenabled = false\n", role: Some(Role::Serve), ..Given::default() }
        .loads();
}

#[test]
fn a_provider_that_is_asked_must_be_usable() {
    let flags = [Flag::named("--provider", "massive,replay,yahoo")];
    Given { flags: &flags, role: Some(Role::Serve), ..Given::default() }.fails(&[
        &["providers.massive.api_key", "flag --provider", "MASSIVE_API_KEY or POLYGON_API_KEY"],
        &["providers.replay.file", "flag --provider"],
    ]);
    let loaded = Given {
        file: "[providers.polygon]\napi_key = \"k\"\nplan = \"paid\"\ntimeout_s = 2.5\n[providers.replay]\nfile = \"h.csv\"\nspeed = 60\nrepeat = true\n",
        flags: &flags,
        role: Some(Role::Serve),
        ..Given::default()
    }
    .loads();
    assert_eq!(loaded.config.publisher.providers, [Name::Massive, Name::Replay, Name::Yahoo]);
    let massive = &loaded.config.publisher.settings[&Name::Massive];
    assert_eq!((massive.plan.as_deref(), massive.timeout), (Some("paid"), Some(Duration::from_millis(2_500))));
    let replay = &loaded.config.publisher.settings[&Name::Replay];
    assert_eq!((replay.speed, replay.repeat), (Some(60.0), Some(true)));
}

#[test]
fn a_wide_ops_port_without_a_token_is_a_warning() {
    let wide = file("[ops]\nbind = \"0.0.0.0\"\n").loads();
    assert!(wide.warnings[0].contains("ADMIN_TOKEN"), "{:?}", wide.warnings);
    let given = Given { file: "[ops]\nbind = \"0.0.0.0\"\n", env: &[("ADMIN_TOKEN", "t")], ..Given::default() };
    assert_eq!(given.loads().warnings, Vec::<String>::new());
}

#[test]
fn a_wrong_value_is_not_held_against_its_neighbours() {
    // the default that stands in for it would clash with the other port
    env(&[("WS_PORT", "abc"), ("HEALTH_PORT", "8081")]).fails(&[&["gateway.port = \"abc\""]]);
    file("[auth]\nmode = \"jwt\"\njwks_url = \"ftp://x\"\n").fails(&[&["auth.jwks_url"]]);
    Given { env: &[("REDIS_URL", "nonsense")], role: Some(Role::Gateway), ..Given::default() }.fails(&[&["redis.url"]]);
}
