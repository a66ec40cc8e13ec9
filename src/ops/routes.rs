//! The ops port's paths.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, Query, State};
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::{Value, json};
use tracing::info;

use super::access::Access;
use super::control::{AskError, ask};
use super::{Health, MAX_BODY_BYTES, MAX_LISTED, Publishing, ResetError, health};
use crate::broker::Broker;
use crate::cache::Stats;
use crate::market::Symbol;
use crate::provider;
use crate::web::Page;

/// What the handlers share.
#[derive(Clone)]
struct Desk {
    health: Health,
    access: Arc<Access>,
}

pub(super) fn router(health: Health, access: Access) -> Router {
    let page = Page::operators();
    Router::new()
        .merge(page.routes())
        .route("/", get(move |headers: HeaderMap| async move { index(&headers, &page) }))
        .route("/health", get(show_health))
        .route("/live", get(|| async { Json(json!({"status": "live"})) }))
        .route("/ready", get(show_ready))
        .route("/metrics", get(show_metrics))
        .route("/stats", get(show_stats))
        .route("/connections", get(show_connections))
        .route("/control", post(control))
        .route("/cache/stats", get(show_cache))
        .route("/cache/clear", post(clear_cache))
        .route("/cache/clear/{symbol}", post(clear_symbol))
        .route("/quota", get(show_quota))
        .route("/quota/reset/{provider}", post(reset_quota))
        .fallback(not_found)
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .with_state(Desk { health, access: Arc::new(access) })
}

/// `{"error":{"code","message"}}`.
fn error(status: StatusCode, code: &str, message: &str) -> Response {
    (status, Json(json!({"error": {"code": code, "message": message}}))).into_response()
}

/// The page for browsers; for scripts, what there is.
fn index(headers: &HeaderMap, page: &Page) -> Response {
    let accepts = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or_default();
    if accepts.contains("text/html") {
        return page.index();
    }
    Json(json!({
        "paths": ["/health", "/live", "/ready", "/metrics", "/metrics?format=json", "/stats", "/connections", "/quota",
            "/cache/stats", "POST /control", "POST /quota/reset/{provider}", "POST /cache/clear",
            "POST /cache/clear/{symbol}"],
    }))
    .into_response()
}

async fn not_found(uri: Uri) -> Response {
    error(StatusCode::NOT_FOUND, "not_found", &format!("there is no {}; / lists what there is", uri.path()))
}

async fn show_health(State(desk): State<Desk>) -> Json<Value> {
    Json(health::health(&desk.health.sources))
}

async fn show_ready(State(desk): State<Desk>) -> Response {
    match health::ready(&desk.health.sources, &desk.health.watch) {
        Ok(()) => Json(json!({"status": "ready"})).into_response(),
        Err(why) => {
            (StatusCode::SERVICE_UNAVAILABLE, Json(json!({"status": "not_ready", "reason": why}))).into_response()
        }
    }
}

#[derive(Deserialize)]
struct MetricsQuery {
    format: Option<String>,
}

async fn show_metrics(State(desk): State<Desk>, Query(query): Query<MetricsQuery>) -> Response {
    let sources = &desk.health.sources;
    if let Some(gateway) = &sources.gateway {
        gateway.set_gauges();
    }
    if let Some(publisher) = &sources.publisher {
        publisher.set_gauges();
    }
    sources.cache.set_gauges();
    match query.format.as_deref() {
        Some("json") => Json(sources.metrics.json()).into_response(),
        None | Some("text") => {
            ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], sources.metrics.text()).into_response()
        }
        Some(_) => error(StatusCode::BAD_REQUEST, "invalid_request", "format is text or json"),
    }
}

async fn show_stats(State(desk): State<Desk>) -> Json<Value> {
    let sources = &desk.health.sources;
    Json(json!({
        "gateway": sources.gateway.as_ref().map(crate::gateway::Handle::summary),
        "publisher": sources.publisher.as_ref().map(|publisher| publisher.stats()),
        "cache": sources.cache.stats(),
    }))
}

async fn show_cache(State(desk): State<Desk>) -> Json<Stats> {
    Json(desk.health.sources.cache.stats())
}

async fn clear_cache(State(desk): State<Desk>, headers: HeaderMap) -> Response {
    clear(&desk, &headers, None).await
}

async fn clear_symbol(State(desk): State<Desk>, Path(symbol): Path<String>, headers: HeaderMap) -> Response {
    match Symbol::parse(&symbol) {
        Ok(symbol) => clear(&desk, &headers, Some(symbol)).await,
        Err(wrong) => error(StatusCode::BAD_REQUEST, "invalid_symbol", &wrong.to_string()),
    }
}

/// Forgets what is cached here and in the store, and has publishers say anew what is watched: a quote that has not
/// changed would not be published again for a while.
async fn clear(desk: &Desk, headers: &HeaderMap, symbol: Option<Symbol>) -> Response {
    if let Err((status, code, message)) = desk.access.check(headers) {
        return error(status, code, message);
    }
    let sources = &desk.health.sources;
    let cleared = sources.cache.clear(symbol).await;
    if let Some(gateway) = &sources.gateway {
        gateway.readers().forget(symbol.as_ref().map(std::slice::from_ref));
    }
    match cleared {
        Ok(keys) => {
            info!(symbol = symbol.as_ref().map(Symbol::as_str), keys, "cache cleared");
            let refreshed = refresh(&sources.broker, symbol).await;
            Json(json!({"ok": true, "symbol": symbol, "cleared": keys, "refreshed": refreshed})).into_response()
        }
        Err(failed) => error(StatusCode::SERVICE_UNAVAILABLE, "unavailable", &failed.to_string()),
    }
}

/// Has what is watched polled again; what nobody watches costs no call.
async fn refresh(broker: &Broker, symbol: Option<Symbol>) -> bool {
    let message = match symbol {
        None => json!({"action": "refresh"}),
        Some(symbol) => {
            let watched = broker.registry.watched().await.unwrap_or_default();
            if !watched.iter().any(|(watched, _)| *watched == symbol) {
                return false;
            }
            json!({"action": "refresh", "data": {"symbols": [symbol]}})
        }
    };
    ask(broker, message.to_string().as_bytes()).await.is_ok_and(|outcome| outcome.is_ok())
}

#[derive(Deserialize)]
struct ListQuery {
    limit: Option<usize>,
}

async fn show_connections(State(desk): State<Desk>, Query(query): Query<ListQuery>) -> Response {
    let Some(gateway) = &desk.health.sources.gateway else {
        return error(StatusCode::NOT_FOUND, "not_found", "no gateway runs in this process");
    };
    let limit = query.limit.unwrap_or(100).min(MAX_LISTED);
    let connections = gateway.connections(limit).await;
    Json(json!({"total": gateway.summary().connections, "connections": connections})).into_response()
}

async fn control(State(desk): State<Desk>, headers: HeaderMap, body: Bytes) -> Response {
    if let Err((status, code, message)) = desk.access.check(&headers) {
        return error(status, code, message);
    }
    match ask(&desk.health.sources.broker, &body).await {
        Ok(outcome) => Json(outcome.to_json()).into_response(),
        Err(AskError::Refused(refused)) => error(StatusCode::BAD_REQUEST, refused.code.as_str(), &refused.message),
        Err(AskError::Broker(failed)) => error(StatusCode::BAD_GATEWAY, "broker", &failed.to_string()),
        Err(AskError::Away) => {
            error(StatusCode::SERVICE_UNAVAILABLE, "unavailable", "the broker is not reachable right now")
        }
    }
}

const NO_PUBLISHER: &str = "no publisher runs in this process";

fn publisher(desk: &Desk) -> Option<&dyn Publishing> {
    desk.health.sources.publisher.as_deref()
}

async fn show_quota(State(desk): State<Desk>) -> Response {
    match publisher(&desk) {
        Some(publisher) => Json(json!({"providers": publisher.budgets().await})).into_response(),
        None => error(StatusCode::NOT_FOUND, "not_found", NO_PUBLISHER),
    }
}

async fn reset_quota(State(desk): State<Desk>, headers: HeaderMap, Path(provider): Path<String>) -> Response {
    if let Err((status, code, message)) = desk.access.check(&headers) {
        return error(status, code, message);
    }
    let Some(publisher) = publisher(&desk) else { return error(StatusCode::NOT_FOUND, "not_found", NO_PUBLISHER) };
    let name: provider::Name = match provider.parse() {
        Ok(name) => name,
        Err(unknown) => return error(StatusCode::BAD_REQUEST, "unknown_provider", &unknown.to_string()),
    };
    match publisher.reset_budget(name).await {
        Ok(()) => Json(json!({"ok": true, "provider": name.as_str()})).into_response(),
        Err(none @ ResetError::NoBudget(_)) => error(StatusCode::BAD_REQUEST, "no_budget", &none.to_string()),
        Err(ResetError::Broker(failed)) => error(StatusCode::BAD_GATEWAY, "broker", &failed.to_string()),
    }
}
