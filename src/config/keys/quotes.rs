//! Keys of the way in: Redis, publisher, providers, cache.

use crate::config::form::Form;
use crate::config::key::Key;
use crate::config::kind::Kind;
use crate::provider::Name;

const COUNT: Kind = Kind::Whole { min: 1, max: 1_000_000_000 };
/// A second to a year.
const TTL: Kind = Kind::Number { min: 1.0, max: 31_536_000.0 };

pub(super) const REDIS: &[Key] = &[
    Key::unset(
        "redis.url",
        Kind::Text(Form::RedisUrl),
        "`serve` uses the broker built into it; `gateway` and `publisher` do not start",
        "redis://127.0.0.1:6379",
        "Where Redis (≥ 6.2, Valkey, KeyDB, Dragonfly, Upstash) is. Special characters of a password are \
         percent-encoded here; REDIS_HOST and REDIS_PASSWORD spare you that.",
    )
    .env(&["REDIS_URL", "UPSTASH_REDIS_URL"])
    .flag("--redis-url"),
    Key::new(
        "redis.prefix",
        Kind::Text(Form::Channel),
        "",
        "Put in front of every key and channel, so that several installations can share one Redis. On a cluster it \
         must hold a hash tag, {like this}, since scripts need their keys in one slot; left empty there, one is \
         used by itself.",
    ),
    Key::new(
        "redis.channel_updates",
        Kind::Text(Form::Channel),
        "market-data:updates",
        "The channel of updates. Any service may publish to it.",
    )
    .env(&["REDIS_CHANNEL_UPDATES"]),
    Key::new(
        "redis.channel_subscriptions",
        Kind::Text(Form::Channel),
        "market-data:subscriptions",
        "The channel that tells publishers which symbols found their first watcher or lost their last.",
    )
    .env(&["REDIS_CHANNEL_SUBSCRIPTIONS"]),
    Key::new(
        "redis.channel_control",
        Kind::Text(Form::Channel),
        "market-data:control",
        "The channel of operators' commands: pause, resume, refresh and others.",
    )
    .env(&["REDIS_CHANNEL_CONTROL"]),
    Key::new(
        "redis.ready_grace_s",
        Kind::Number { min: 0.0, max: 3_600.0 },
        "30",
        "How long Redis may be away before /ready says 503. A restart of Redis fits, so that it does not take \
         every gateway out of rotation at once.",
    )
    .unit("seconds"),
    Key::new(
        "redis.probe_interval_s",
        Kind::Number { min: 0.2, max: 60.0 },
        "1",
        "Between two probes of delivery. Three misses in a row are an interruption, so it decides how soon a link that \
         is silently dead is noticed, and how many commands an idle process costs a Redis that bills them.",
    )
    .unit("seconds"),
];

pub(super) const PUBLISHER: &[Key] = &[
    Key::unset(
        "publisher.providers",
        Kind::List(Form::Provider),
        "those whose API key is set; without any, `serve` invents quotes (simulated) and `publisher` does not start",
        "massive,yahoo",
        "Whom to ask for quotes, in the order they are tried. A provider out of budget, out of order or without \
         the symbol is followed by the next.",
    )
    .flag("--provider"),
    Key::unset(
        "publisher.interval_s",
        Kind::Number { min: 0.05, max: 86_400.0 },
        "5 s; 1 s for simulated",
        "5",
        "From one poll cycle to the next. Budgets hold whatever it is; shorter only spends them sooner.",
    )
    .unit("seconds"),
    Key::new(
        "publisher.pinned",
        Kind::List(Form::Symbol),
        "",
        "Symbols polled although nobody watches them. None, since each costs budget day and night.",
    ),
    Key::new(
        "publisher.indices",
        Kind::List(Form::Symbol),
        "",
        "Index symbols: polled like pinned ones, and served together by /api/indices.",
    ),
    Key::unset(
        "publisher.home_market",
        Kind::Text(Form::OneOf(&["nyse", "nasdaq", "nse", "bse"])),
        "nse where nse is the first provider that has stocks, else nyse",
        "nse",
        "Where a bare ticker is listed that could be anywhere: TCS is one company in Mumbai and another in New York. \
         Tickers that tell (RELIANCE.NS, BTC-USD, names too long for the US) are not concerned.",
    ),
    Key::new(
        "publisher.markets",
        Kind::List(Form::Market),
        "",
        "Symbols that are listed elsewhere than they look, as PATTERN=EXCHANGE; the first that matches counts. Decides \
         which providers are asked, how they are asked, and the trading hours.",
    ),
    Key::new(
        "publisher.closed_stretch",
        Kind::Whole { min: 1, max: 1000 },
        "12",
        "How many times longer the interval is for a symbol whose market is closed (nights, weekends, holidays), so that \
         the budget goes to those that trade; 12 makes 5 s a minute. Cached quotes are kept alive whatever it is. 1: the \
         same day and night.",
    ),
    Key::new(
        "publisher.enabled",
        Kind::Bool,
        "true",
        "Whether `serve` runs a publisher. false where another service publishes the quotes.",
    ),
];

/// The providers that answer nobody without a key.
const WITH_KEY: &[Name] = &[Name::Massive, Name::Tradier, Name::Finnhub, Name::AlphaVantage, Name::TwelveData];
const REPLAY: &[Name] = &[Name::Replay];
const SIMULATED: &[Name] = &[Name::Simulated];

pub(super) const PROVIDERS: &[Key] = &[
    Key::unset(
        "providers.*.base_url",
        Kind::Text(Form::BaseUrl),
        "the vendor's public address",
        "https://api.example.com",
        "Scheme, host and port of the vendor, for sandboxes, proxies and tests. The vendor's paths follow it.",
    ),
    Key::unset(
        "providers.*.api_key",
        Kind::Text(Form::Secret),
        "the provider cannot be used",
        "your key",
        "The key, where the vendor wants one. Processes with the same key share one budget.",
    )
    .only(WITH_KEY)
    .secret()
    .env_by_provider(&[
        (Name::Massive, &["MASSIVE_API_KEY", "POLYGON_API_KEY"]),
        (Name::Tradier, &["TRADIER_API_KEY"]),
        (Name::Finnhub, &["FINNHUB_API_KEY"]),
        (Name::AlphaVantage, &["ALPHA_VANTAGE_API_KEY"]),
        (Name::TwelveData, &["TWELVE_DATA_API_KEY"]),
    ]),
    Key::unset(
        "providers.*.plan",
        Kind::Text(Form::OneOf(&["free", "paid"])),
        "free",
        "paid",
        "What the key was bought as, where that changes budgets or endpoints. Free, since too small a budget only \
         delays quotes.",
    ),
    Key::unset(
        "providers.*.per_second",
        COUNT,
        "the provider's own limit",
        "30",
        "Calls (binance: weight; twelvedata: credits) in any one second, over all processes.",
    ),
    Key::unset("providers.*.per_minute", COUNT, "the provider's own limit", "120", "The same in any one minute."),
    Key::unset("providers.*.per_day", COUNT, "the provider's own limit", "800", "The same in any 24 hours."),
    Key::unset(
        "providers.*.batch",
        Kind::Whole { min: 1, max: 1_000 },
        "as many as the vendor takes; 8 where nothing is known",
        "8",
        "Symbols asked for in one call. Fewer make each answer quicker, more make the budget go further.",
    ),
    Key::unset(
        "providers.*.timeout_s",
        Kind::Number { min: 0.1, max: 300.0 },
        "the provider's own",
        "10",
        "For one request, from connecting to the last byte.",
    )
    .unit("seconds"),
    Key::unset(
        "providers.*.symbols",
        Kind::List(Form::Pattern),
        "what the vendor is known to have, by publisher.markets",
        "*.NS,^NSEI",
        "Symbols it is asked for, and no others; * stands for any run of characters. For symbols that it would not be \
         asked for, or that another provider is to have.",
    )
    .only(&Name::ALL),
    Key::unset(
        "providers.*.file",
        Kind::Text(Form::File),
        "replay cannot be used",
        "history.csv",
        "The recorded quotes, CSV or JSON lines.",
    )
    .only(REPLAY),
    Key::unset(
        "providers.*.speed",
        Kind::Number { min: 0.001, max: 1_000_000.0 },
        "one record of each symbol per interval, whatever the times in the file",
        "60",
        "How many times faster than recorded; 1 is as it was.",
    )
    .only(REPLAY),
    Key::unset(
        "providers.*.symbol",
        Kind::Text(Form::Symbol),
        "the file has a column of symbols",
        "AAPL",
        "Whose quotes they are, in a file without a column of symbols.",
    )
    .only(REPLAY),
    Key::unset("providers.*.repeat", Kind::Bool, "false", "true", "Whether to begin again at the end of the file.")
        .only(REPLAY),
    Key::unset(
        "providers.*.seed",
        Kind::Whole { min: 0, max: i64::MAX as u64 },
        "another walk at each start",
        "42",
        "Seed of the random walk. The same one gives the same prices again, for demonstrations and tests.",
    )
    .only(SIMULATED),
];

/// What the documents show for a provider's keys: its own defaults, as far as it has any.
/// Examples only; what holds when a key is left out is said in `provider/`.
pub(in crate::config) const TYPICAL: &[(Name, &[(&str, &str)])] = &[
    (Name::Massive, &[("base_url", "https://api.massive.com"), ("per_minute", "5"), ("batch", "100")]),
    (Name::Tradier, &[("base_url", "https://api.tradier.com"), ("per_minute", "120"), ("batch", "100")]),
    (
        Name::Yahoo,
        &[("base_url", "https://query1.finance.yahoo.com"), ("per_minute", "30"), ("batch", "50"), ("symbols", "*")],
    ),
    (Name::Finnhub, &[("base_url", "https://finnhub.io"), ("per_second", "30"), ("per_minute", "60")]),
    (Name::AlphaVantage, &[("base_url", "https://www.alphavantage.co"), ("per_second", "1"), ("per_day", "25")]),
    (
        Name::TwelveData,
        &[("base_url", "https://api.twelvedata.com"), ("per_minute", "8"), ("per_day", "800"), ("batch", "8")],
    ),
    (
        Name::Nse,
        &[("base_url", "https://www.nseindia.com"), ("per_minute", "20"), ("batch", "50"), ("symbols", "*.NS")],
    ),
    (
        Name::Binance,
        &[
            ("base_url", "https://data-api.binance.vision"),
            ("per_minute", "1200"),
            ("batch", "20"),
            ("symbols", "*-USDT"),
        ],
    ),
    (Name::Coinbase, &[("base_url", "https://api.exchange.coinbase.com"), ("per_second", "10"), ("symbols", "*-USD")]),
];

pub(super) const CACHE: &[Key] = &[
    Key::new(
        "cache.enabled",
        Kind::Bool,
        "true",
        "Whether anything is cached at all. The last quote of each symbol is kept in Redis nevertheless: newcomers \
         need it.",
    )
    .env(&["CACHE_ENABLED"]),
    Key::new(
        "cache.ttl_latest_s",
        TTL,
        "300",
        "How long the last quote of a symbol is kept. Longer than any usual gap between two polls.",
    )
    .unit("seconds")
    .env(&["CACHE_TTL_LATEST_PRICE"]),
    Key::new("cache.ttl_recent_s", TTL, "3600", "How long bars are kept. They change at their end only.")
        .unit("seconds")
        .env(&["CACHE_TTL_RECENT_DATA"]),
    Key::new(
        "cache.ttl_list_s",
        TTL,
        "21600",
        "How long symbol lists are kept. They change a few times a day at most.",
    )
    .unit("seconds")
    .env(&["CACHE_TTL_SYMBOL_LIST"]),
    Key::new(
        "cache.popular",
        Kind::List(Form::Symbol),
        "",
        "Symbols that are kept longer and warmed up at start. Those a front page shows.",
    ),
    Key::new(
        "cache.popular_multiplier",
        Kind::Whole { min: 1, max: 1_000 },
        "2",
        "How many times longer popular symbols are kept.",
    ),
    Key::new(
        "cache.max_bytes",
        Kind::Whole { min: 1 << 16, max: 1 << 40 },
        "67108864",
        "Upper bound of the memory tier; the least recently used goes first. 64 MiB hold the bars of some thousand \
         symbols.",
    )
    .unit("bytes"),
];
