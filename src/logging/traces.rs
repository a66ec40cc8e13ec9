//! Traces: where a cycle, a fetch, a publish, a request or a handshake spends its time, sent to an OTLP collector.
//!
//! Spans are `tracing`'s own, with the target `traces`, made by the parts without knowing of this; nothing is traced per
//! delivery. They are sent whatever the log's level is, and not written to it. The library's batches travel as HTTP/protobuf through the same HTTP stack
//! as everything else, on the role's runtime. It owns the sending thread and its queue: at most [`QUEUE`] spans wait, what
//! ends while it is full is not sent, and nobody waits for a collector.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{ExporterBuildError, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, SdkTracerProvider};
use tokio::runtime::Handle;
use tracing::{Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::registry::LookupSpan;

/// Spans that wait to be sent: five seconds of 400 a second, about 2 MB.
const QUEUE: usize = 2_048;
/// Spans in one request.
const BATCH: usize = 512;
/// Between two requests, when there are few.
const EVERY: Duration = Duration::from_secs(5);
/// For one request, and for what is left at the end.
const TIMEOUT: Duration = Duration::from_secs(3);
/// The longest answer that is read; a good one is empty.
const MAX_ANSWER_BYTES: usize = 64 * 1024;
/// The path of traces below a collector's URL (OTLP specification, "OTLP/HTTP Request").
const PATH: &str = "/v1/traces";

/// Traces cannot be sent.
#[derive(Debug, thiserror::Error)]
pub enum TracesError {
    /// The exporter does not take its settings, the `OTEL_…` environment included.
    #[error("traces cannot be sent: {0}")]
    Exporter(#[from] ExporterBuildError),
    /// There is no TLS to be had.
    #[error("traces cannot be sent: {0}")]
    Http(#[from] reqwest::Error),
}

/// Sends the spans that end, until [`Traces::finish`].
#[derive(Debug)]
pub struct Traces(SdkTracerProvider);

impl Traces {
    /// Sends to `endpoint`, a collector's base URL, on `runtime`, as the service `tickcast-{role}`.
    ///
    /// # Errors
    /// [`TracesError`]; that the collector cannot be reached is none.
    pub fn start(endpoint: &str, role: &str, runtime: Handle) -> Result<Traces, TracesError> {
        // Whoever is first installs it; all of tickcast uses the same.
        drop(rustls::crypto::ring::default_provider().install_default());
        let http = reqwest::Client::builder()
            .user_agent(concat!("tickcast/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .timeout(TIMEOUT)
            .build()?;
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(Post { http, runtime, failing: AtomicBool::new(false) })
            .with_endpoint([endpoint.trim_end_matches('/'), PATH].concat())
            .with_timeout(TIMEOUT)
            .build()?;
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(QUEUE)
            .with_max_export_batch_size(BATCH)
            .with_scheduled_delay(EVERY)
            .build();
        let processor = BatchSpanProcessor::builder(exporter).with_batch_config(batches).build();
        let provider =
            SdkTracerProvider::builder().with_span_processor(processor).with_resource(resource(role)).build();
        Ok(Traces(provider))
    }

    /// What turns spans of tickcast into traces.
    pub(super) fn layer<S>(&self) -> impl Layer<S> + Send + Sync + use<S>
    where
        S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync,
    {
        let layer = tracing_opentelemetry::layer().with_tracer(self.0.tracer("tickcast"));
        layer.with_threads(false).with_tracked_inactivity(false).with_filter(filter_fn(is_ours))
    }

    /// Sends what is left, for a moment; call it while the runtime is there, but not from within it.
    pub fn finish(&self) {
        if let Err(error) = self.0.shutdown_with_timeout(TIMEOUT) {
            tracing::warn!(%error, "the last traces were not sent");
        }
    }
}

/// Whether it is a span that is sent, and not one of the log's context.
pub(super) fn is_ours(metadata: &Metadata<'_>) -> bool {
    metadata.is_span() && metadata.target() == "traces"
}

/// Who we are; `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` may say otherwise.
fn resource(role: &str) -> Resource {
    let about = Resource::builder().with_attributes([
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        KeyValue::new("service.instance.id", format!("{:016x}", fastrand::u64(..))),
    ]);
    match std::env::var_os("OTEL_SERVICE_NAME") {
        Some(_) => about.build(),
        None => about.with_service_name(format!("tickcast-{role}")).build(),
    }
}

/// Carries a batch. The library waits for it on a thread of its own, so the work is done on the runtime.
#[derive(Debug)]
struct Post {
    http: reqwest::Client,
    runtime: Handle,
    /// Whether the last batch was lost: the log is told of changes alone.
    failing: AtomicBool,
}

#[async_trait]
impl HttpClient for Post {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let sent = self.runtime.spawn(send(self.http.clone(), request)).await;
        let answer = sent.map_err(HttpError::from).and_then(|sent| sent);
        let problem = match &answer {
            Ok(answer) if answer.status().is_success() => None,
            Ok(answer) => Some(format!("it answers {}", answer.status())),
            Err(error) => Some(error.to_string()),
        };
        let was_failing = self.failing.swap(problem.is_some(), Ordering::Relaxed);
        match problem {
            Some(problem) if !was_failing => tracing::warn!(problem, "the trace collector takes no traces"),
            None if was_failing => tracing::info!("the trace collector takes traces again"),
            Some(_) | None => {}
        }
        answer
    }
}

async fn send(http: reqwest::Client, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
    // Never with the URL or the headers: they may hold a key.
    let request = reqwest::Request::try_from(request).map_err(reqwest::Error::without_url)?;
    let mut answer = http.execute(request).await.map_err(reqwest::Error::without_url)?;
    let mut body = Vec::new();
    while let Some(chunk) = answer.chunk().await.map_err(reqwest::Error::without_url)? {
        if body.len() + chunk.len() > MAX_ANSWER_BYTES {
            return Err(format!("its answer is longer than {MAX_ANSWER_BYTES} bytes").into());
        }
        body.extend_from_slice(&chunk);
    }
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = answer.status();
    *response.headers_mut() = std::mem::take(answer.headers_mut());
    Ok(response)
}
