//! Traces requests of the public port's HTTP application: method, route, status. The query is left out, since a token may
//! be in it; a path that is no route is not named, since anybody can make up any number of them.

use axum::extract::{MatchedPath, Request};
use axum::middleware::Next;
use axum::response::Response;
use tracing::field::Empty;
use tracing::{Instrument as _, info_span};

/// Serves `request` within a span.
pub(super) async fn traced(request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map_or("(none)", MatchedPath::as_str);
    let trace = info_span!(
        target: "traces", parent: None, "request", otel.kind = "server", otel.name = format_args!("{} {route}", request.method()),
        http.request.method = request.method().as_str(), http.route = route, http.response.status_code = Empty,
    );
    let response = next.run(request).instrument(trace.clone()).await;
    trace.record("http.response.status_code", response.status().as_u16());
    response
}
