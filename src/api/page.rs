//! The demo page: plain HTML, one script, no build step; compiled in.

use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Json};
use serde_json::{Value, json};

use super::Front;

const INDEX: &str = include_str!("../../web/index.html");
const SCRIPT: &str = include_str!("../../web/app.js");
const STYLE: &str = include_str!("../../web/style.css");
const ICON: &str = include_str!("../../web/icon.svg");

/// A new version of the binary is a new page: browsers ask each time.
const FRESH: (axum::http::HeaderName, &str) = (CACHE_CONTROL, "no-cache");

pub(super) async fn index() -> impl IntoResponse {
    ([(CONTENT_TYPE, "text/html; charset=utf-8"), FRESH], INDEX)
}

pub(super) async fn script() -> impl IntoResponse {
    ([(CONTENT_TYPE, "text/javascript; charset=utf-8"), FRESH], SCRIPT)
}

pub(super) async fn style() -> impl IntoResponse {
    ([(CONTENT_TYPE, "text/css; charset=utf-8"), FRESH], STYLE)
}

pub(super) async fn icon() -> impl IntoResponse {
    ([(CONTENT_TYPE, "image/svg+xml"), FRESH], ICON)
}

/// What the page shows first.
pub(super) async fn demo(State(front): State<Front>) -> Json<Value> {
    Json(json!({"symbols": *front.showcase}))
}
