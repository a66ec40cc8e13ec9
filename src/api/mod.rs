//! What the public port serves besides the socket: the demo page, a short health.
//!
//! Every answer carries the security headers of `secured`; the page loads nothing from elsewhere.

mod page;

use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{
    CONTENT_SECURITY_POLICY, HeaderName, HeaderValue, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{StatusCode, Uri};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::get;
use serde_json::json;

use crate::market::Symbol;
use crate::ops::Health;

/// What the public port shows.
#[derive(Clone)]
pub struct Front {
    /// The symbols the page shows first.
    pub showcase: Vec<Symbol>,
    /// How the process is doing; set once the ops port is up.
    pub health: Arc<OnceLock<Health>>,
}

/// The public port's HTTP application.
pub fn router(front: Front) -> Router {
    Router::new()
        .route("/", get(page::index))
        .route("/app.js", get(page::script))
        .route("/style.css", get(page::style))
        .route("/favicon.ico", get(page::icon))
        .route("/demo.json", get(page::demo))
        .route("/health", get(health))
        .fallback(not_found)
        .layer(from_fn(secured))
        .with_state(front)
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

async fn not_found(uri: Uri) -> Response {
    let message = format!("there is no {}; the socket is at /ws", uri.path());
    (StatusCode::NOT_FOUND, Json(json!({"error": {"code": "not_found", "message": message}}))).into_response()
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
