//! Keys of the way out: ports, limits, authentication, logs.

use crate::config::form::Form;
use crate::config::key::Key;
use crate::config::kind::Kind;

const PORT: Kind = Kind::Whole { min: 0, max: 65_535 };
/// Time-outs: long enough not to spin, short enough that nothing hangs for more than an hour.
const SECONDS: Kind = Kind::Number { min: 0.1, max: 3_600.0 };
const COUNT: Kind = Kind::Whole { min: 1, max: 1_000_000 };

pub(super) const GATEWAY: &[Key] = &[
    Key::new(
        "gateway.bind",
        Kind::Text(Form::Address),
        "0.0.0.0",
        "Address of the public port. All interfaces, since browsers are elsewhere; :: adds IPv6.",
    )
    .flag("--bind"),
    Key::new("gateway.port", PORT, "8081", "The public port. 0 takes a free one and logs it.")
        .env(&["WS_PORT", "PORT"])
        .flag("--port"),
    Key::new(
        "gateway.shards",
        Kind::Whole { min: 0, max: 1_024 },
        "0",
        "Event loops, each a thread that owns its connections. 0 is one per core: more only adds switching, fewer \
         leaves cores to the rest of the machine.",
    ),
    Key::new(
        "gateway.flush_window_ms",
        Kind::Number { min: 0.0, max: 1_000.0 },
        "0",
        "How long a shard gathers updates before it writes. 0 writes at once and still joins what came together; a \
         few milliseconds halve the CPU of a busy gateway at the price of that delay.",
    )
    .unit("milliseconds"),
    Key::new(
        "gateway.ping_interval_s",
        SECONDS,
        "25",
        "Silence after which a client is pinged. Below the 30 to 60 s at which proxies and mobile networks drop \
         idle connections.",
    )
    .unit("seconds"),
    Key::new(
        "gateway.pong_timeout_s",
        SECONDS,
        "10",
        "From a ping without an answer to the close with 4408. Longer than a phone's worst change of cells.",
    )
    .unit("seconds"),
    Key::new(
        "gateway.slow_client_timeout_s",
        SECONDS,
        "30",
        "How long a client's socket may accept no byte while something waits for it, until it is closed with 4409. \
         Its memory is bounded meanwhile; a client that reads slowly but steadily stays.",
    )
    .unit("seconds"),
    Key::new(
        "gateway.stale_after_s",
        Kind::Number { min: 0.0, max: 86_400.0 },
        "180",
        "How long after its last update a symbol's watchers are told `stale`; 0 never. Our publisher repeats an unchanged \
         quote when half of cache.ttl_latest_s is over (150 s), so less than that calls quiet symbols stale. Quotes of a \
         closed market are not.",
    )
    .unit("seconds"),
    Key::new(
        "gateway.wildcard",
        Kind::Bool,
        "false",
        "Whether clients may subscribe to \"*\", every symbol there is. Off, since one such client costs as much \
         as all others together.",
    ),
    Key::new(
        "gateway.compression",
        Kind::Bool,
        "true",
        "Whether to agree to permessage-deflate. Messages of 512 bytes and more are compressed once for all who agreed; \
         shorter ones gain nothing and are sent as they are.",
    ),
    Key::new(
        "gateway.name",
        Kind::Text(Form::Words(64)),
        "tickcast",
        "What the gateway calls itself when it greets a client.",
    ),
    Key::unset(
        "gateway.api_base",
        Kind::Text(Form::ApiBase),
        "clients use the host they are connected to",
        "https://api.example.com/api",
        "Told to clients as `api` when they connect: where to poll when the socket fails. Needed when REST is \
         reached by another name.",
    )
    .env(&["API_BASE"]),
    Key::new(
        "gateway.allowed_origins",
        Kind::List(Form::Origin),
        "",
        "Web pages that may connect and call REST, compared byte by byte with what the browser sends. Empty, or * \
         alone, lets any page; requests without an Origin (not from a browser) always pass. Set it in production: \
         without it, any site a user visits can open a socket.",
    )
    .env(&["ALLOWED_ORIGINS"]),
];

pub(super) const OPS: &[Key] = &[
    Key::new(
        "ops.bind",
        Kind::Text(Form::Address),
        "127.0.0.1",
        "Address of the operators' port. Loopback, so that statistics and control are not public by accident; \
         0.0.0.0 where a platform's probe or Prometheus comes from outside.",
    ),
    Key::unset(
        "ops.port",
        PORT,
        "8082; 8083 for a stand-alone publisher, so that both fit on one machine",
        "8082",
        "The operators' port of whichever role runs. 0 takes a free one and logs it.",
    )
    .env(&["HEALTH_PORT"])
    .flag("--ops-port"),
    Key::unset(
        "ops.admin_token",
        Kind::Text(Form::Secret),
        "changing calls are allowed on loopback and refused elsewhere",
        "a long random text",
        "Bearer token for calls that change something (control, clearing the cache, preloading). Required for them \
         once `ops.bind` is not loopback.",
    )
    .env(&["ADMIN_TOKEN"])
    .secret(),
];

pub(super) const LIMITS: &[Key] = &[
    Key::new(
        "limits.max_connections",
        Kind::Whole { min: 0, max: 10_000_000 },
        "0",
        "All client connections; beyond it the answer is 503. 0 is what the process may open (ulimit -n), less a \
         reserve.",
    ),
    Key::new(
        "limits.connections_per_ip",
        COUNT,
        "256",
        "Open connections of one address (IPv6: one /64). Room for an office behind one address, not for a flood.",
    ),
    Key::new(
        "limits.connects_per_ip_per_second",
        COUNT,
        "20",
        "New connections of one address and second, on average. A page that reloads needs one.",
    ),
    Key::new(
        "limits.connect_burst",
        COUNT,
        "100",
        "New connections of one address at once, before the rate counts: an office that returns after a drain.",
    ),
    Key::new(
        "limits.messages_per_second",
        COUNT,
        "10",
        "Messages of one client and second, on average. People click slower; a client above it is told, then \
         closed with 4429.",
    ),
    Key::new(
        "limits.message_burst",
        COUNT,
        "50",
        "Messages of one client at once, before the rate counts: a page that subscribes row by row as it loads.",
    ),
    Key::new(
        "limits.pings_per_second",
        COUNT,
        "5",
        "Pings (and pongs nobody asked for) of one client and second, on average. Libraries ping every 20 s or so; \
         beyond it the connection is closed with 4429.",
    ),
    Key::new(
        "limits.ping_burst",
        COUNT,
        "20",
        "Pings of one client at once, before the rate counts: those of a phone that comes back into coverage.",
    ),
    Key::new(
        "limits.message_bytes",
        Kind::Whole { min: 64, max: 16 << 20 },
        "65536",
        "The longest message of a client, this length included. 1,024 symbols of 32 characters fit (36 KiB).",
    )
    .unit("bytes"),
    Key::new(
        "limits.fragments",
        Kind::Whole { min: 1, max: 65_536 },
        "64",
        "Fragments one message may come in. Browsers send one; many tiny ones cost CPU for nothing.",
    ),
    Key::new(
        "limits.symbols_per_client",
        COUNT,
        "1024",
        "Symbols one client may watch. It bounds what is kept for a client that does not read: one update per \
         symbol.",
    ),
    Key::new(
        "limits.handshake_timeout_s",
        Kind::Number { min: 0.1, max: 300.0 },
        "10",
        "From accepting a connection to the end of its request's head. Slow phones make it; connections held open \
         for nothing do not.",
    )
    .unit("seconds"),
    Key::new(
        "limits.rest_rpm",
        COUNT,
        "60",
        "REST requests per minute, for each address and route; beyond it the answer is 429 with Retry-After. A \
         page that polls once a second fits.",
    )
    .env(&["RATE_LIMIT_RPM"]),
    Key::new(
        "limits.trusted_proxies",
        Kind::List(Form::Network),
        "",
        "Networks whose X-Forwarded-For and PROXY headers are believed; the right-most address that is not in them \
         is the client's. Empty believes nobody: behind a proxy all clients then share one address and its limits.",
    ),
];

pub(super) const AUTH: &[Key] = &[
    Key::unset(
        "auth.mode",
        Kind::Text(Form::OneOf(&["none", "token", "jwt"])),
        "jwt when `auth.jwt_secret` or `auth.jwks_url` is set, token when `auth.tokens` is, otherwise none",
        "jwt",
        "How clients prove who they are: not at all, by one of `auth.tokens`, or by a JWT.",
    ),
    Key::new(
        "auth.tokens",
        Kind::List(Form::Secret),
        "",
        "Tokens that let a client in. Several, so that one can be replaced while the other still works.",
    )
    .secret(),
    Key::unset(
        "auth.jwt_secret",
        Kind::Text(Form::Secret),
        "no JWT is checked by a secret",
        "at least 32 random bytes",
        "Secret of HS256 tokens. It also fixes the algorithm, so that a token cannot choose a weaker one.",
    )
    .env(&["JWT_SECRET"])
    .secret(),
    Key::unset(
        "auth.jwks_url",
        Kind::Text(Form::JwksUrl),
        "no keys are fetched",
        "https://id.example.com/.well-known/jwks.json",
        "Where the public keys of RS256 and ES256 tokens are. Either this or `auth.jwt_secret`, never both.",
    )
    .env(&["JWKS_URL"]),
    Key::unset(
        "auth.audience",
        Kind::Text(Form::Words(512)),
        "any audience is accepted",
        "quotes",
        "What a JWT's `aud` must hold. Set it when the same issuer makes tokens for other services.",
    ),
    Key::unset(
        "auth.issuer",
        Kind::Text(Form::Words(512)),
        "any issuer is accepted",
        "https://id.example.com/",
        "What a JWT's `iss` must be.",
    ),
    Key::new(
        "auth.leeway_s",
        Kind::Number { min: 0.0, max: 300.0 },
        "0",
        "Clock difference forgiven when `exp` and `nbf` are checked. 0, since `exp` is enforced on live \
         connections to the second.",
    )
    .unit("seconds"),
];

pub(super) const TLS: &[Key] = &[
    Key::unset(
        "tls.cert_file",
        Kind::Text(Form::File),
        "plain HTTP",
        "/etc/tickcast/tls.crt",
        "Certificate chain, the server's own first. Needs `tls.key_file` too.",
    ),
    Key::unset(
        "tls.key_file",
        Kind::Text(Form::File),
        "plain HTTP",
        "/etc/tickcast/tls.key",
        "Private key of the certificate. Needs `tls.cert_file` too.",
    ),
];

pub(super) const DRAIN: &[Key] = &[Key::new(
    "drain.window_s",
    Kind::Number { min: 0.0, max: 3_600.0 },
    "20",
    "Over how long the closes are spread, so that clients do not all reconnect at once. Keep it below the \
     platform's kill time (Kubernetes gives 30 s, Docker 10 s, unless told otherwise).",
)
.unit("seconds")];

pub(super) const LOG: &[Key] = &[
    Key::new(
        "log.level",
        Kind::Text(Form::Level),
        "info",
        "What is logged. A bare level is for tickcast; libraries follow it up to info, unless they are named. \
         Changed at run time by the control message `log_level`.",
    )
    .env(&["LOG_LEVEL"])
    .flag("--log-level"),
    Key::new(
        "log.format",
        Kind::Text(Form::OneOf(&["text", "json"])),
        "text",
        "How an event is written: for people, or for log collectors.",
    )
    .flag("--log-format"),
    Key::unset(
        "log.otlp_endpoint",
        Kind::Text(Form::Collector),
        "nothing is traced",
        "http://127.0.0.1:4318",
        "OpenTelemetry collector that traces of cycles, fetches, publishes, requests and handshakes are sent to, as \
         OTLP over HTTP with protobuf; /v1/traces follows by itself. Headers, sampling and names by the OTEL_… \
         environment (docs/operations.md).",
    )
    .env(&["OTEL_EXPORTER_OTLP_ENDPOINT"]),
];
