//! What the public port serves besides the socket: REST, server-sent events, the demo page, a short health.
//!
//! ```text
//!   /api/quotes ─┐                                  ┌─ the fan-out's memory, the store, or the publisher's next poll
//!   /sse ────────┼─▶ limited ─▶ CORS ─▶ handler ─▶──┤
//!   /api/bars ───┘                                  └─ the cache, or a provider
//! ```
//!
//! It decides nothing about quotes: [`readers`](crate::gateway::readers) and [`cache`](crate::cache) do. Every answer
//! carries the security headers of [`secured`], every mistake is `{"error":{"code","message"}}`; the page loads nothing from
//! elsewhere. Bounded by the rate limit of [`limit`] and by the bounds of what it asks.

mod asked;
mod bars;
mod config;
mod limit;
mod preload;
mod quotes;
mod refusal;
mod sse;
mod traced;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{
    AGE, AUTHORIZATION, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, REFERRER_POLICY, RETRY_AFTER,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{Method, StatusCode, Uri};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use serde_json::{Value, json};
use tower_http::cors::{AllowOrigin, CorsLayer};

pub use config::Config;
pub use preload::warm_up;

use crate::broker::Broker;
use crate::cache::{Cache, Charts};
use crate::gateway::Readers;
use crate::market::Symbol;
use crate::ops::Health;
use crate::web::Page;
use limit::Buckets;
use preload::Preload;
use refusal::Refusal;

/// What the API is described by, for people and programs.
pub const OPENAPI: &str = include_str!("openapi.json");
/// How long a browser remembers that it may ask.
const PREFLIGHT_AGE: Duration = Duration::from_secs(3600);

/// What the public port shows, and whom it asks. Cheap to clone.
#[derive(Clone)]
pub struct Front {
    showcase: Arc<[Symbol]>,
    health: Arc<OnceLock<Health>>,
    config: Arc<Config>,
    readers: Readers,
    cache: Cache,
    charts: Charts,
    broker: Broker,
    buckets: Arc<Buckets>,
    preload: Arc<Preload>,
}

/// What a [`Front`] is made of.
pub struct Parts {
    /// The symbols the page shows first.
    pub showcase: Vec<Symbol>,
    /// How the process is doing; set once the ops port is up.
    pub health: Arc<OnceLock<Health>>,
    /// The way into the gateway's fan-out.
    pub readers: Readers,
    /// The cache.
    pub cache: Cache,
    /// Bars.
    pub charts: Charts,
    /// Where publishers hear of what is to be loaded.
    pub broker: Broker,
}

impl Front {
    /// Puts it together.
    #[must_use]
    pub fn new(config: Config, parts: Parts) -> Front {
        let Parts { showcase, health, readers, cache, charts, broker } = parts;
        Front {
            showcase: showcase.into(),
            health,
            buckets: Arc::new(Buckets::new(config.per_minute)),
            config: Arc::new(config),
            readers,
            cache,
            charts,
            broker,
            preload: Arc::default(),
        }
    }
}

/// The public port's HTTP application.
pub fn router(front: Front) -> Router {
    let api = Router::new()
        .route("/api/quotes", get(quotes::several))
        .route("/api/quotes/{symbol}", get(quotes::single))
        .route("/api/indices", get(quotes::indices))
        .route("/api/bars/{symbol}", get(bars::bars))
        .route("/api/preload-cache", get(preload::preload).post(preload::preload))
        .route("/api/preload-cache/health", get(preload::health))
        .route("/api/openapi.json", get(openapi))
        .route("/sse", get(sse::sse))
        .route_layer(from_fn_with_state(front.clone(), limit::limited))
        .method_not_allowed_fallback(not_allowed)
        .layer(cors(&front.config));
    let page = Page::watchlist(front.config.api_base.as_deref());
    Router::new()
        .merge(page.routes())
        .route("/", get(move || async move { page.index() }))
        .route("/demo.json", get(demo))
        .route("/health", get(health))
        .merge(api)
        .fallback(not_found)
        .method_not_allowed_fallback(not_allowed)
        .layer(from_fn(secured))
        .layer(from_fn(traced::traced))
        .with_state(front)
}

/// Which pages may read answers: those whose origin may open a socket.
fn cors(config: &Config) -> CorsLayer {
    let origins = &config.allowed_origins;
    let allowed = if origins.is_empty() {
        AllowOrigin::any()
    } else {
        AllowOrigin::list(origins.iter().filter_map(|origin| HeaderValue::try_from(origin).ok()))
    };
    CorsLayer::new()
        .allow_origin(allowed)
        .allow_methods([Method::GET, Method::HEAD, Method::POST])
        .allow_headers([AUTHORIZATION, CONTENT_TYPE, HeaderName::from_static("last-event-id")])
        .expose_headers([&limit::HEADERS[..], &[AGE, RETRY_AFTER, bars::X_CACHE]].concat())
        .max_age(PREFLIGHT_AGE)
}

async fn openapi() -> Response {
    ([(CONTENT_TYPE, "application/json")], OPENAPI).into_response()
}

/// What the page shows first.
async fn demo(State(front): State<Front>) -> Json<Value> {
    Json(json!({"symbols": *front.showcase}))
}

async fn health(State(front): State<Front>) -> Response {
    match front.health.get() {
        Some(health) => {
            let (serves, body) = health.short();
            let status = if serves { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
            (status, Json(body)).into_response()
        }
        None => (StatusCode::SERVICE_UNAVAILABLE, Json(json!({"status": "starting"}))).into_response(),
    }
}

async fn not_found(uri: Uri) -> Refusal {
    let message = format!("there is no {}; the socket is at /ws, the API at /api/openapi.json", uri.path());
    Refusal::new(StatusCode::NOT_FOUND, "not_found", message)
}

async fn not_allowed(method: Method, uri: Uri) -> Refusal {
    let message = format!("{} takes no {method}; the Allow header names what it takes", uri.path());
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
}

/// Security headers on every answer (OWASP secure headers project).
async fn secured(request: Request, next: Next) -> Response {
    const HEADERS: [(HeaderName, &str); 4] = [
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "no-referrer"),
        (
            CONTENT_SECURITY_POLICY,
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self' ws: wss:; \
             base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
        ),
    ];
    let mut response = next.run(request).await;
    for (name, value) in HEADERS {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}
