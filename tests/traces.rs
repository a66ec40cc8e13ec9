//! Traces of a running process arrive at a collector as OTLP over HTTP, and nothing is traced per delivery.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod support;

use std::collections::BTreeMap;
use std::net::SocketAddr;

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::KeyValue;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Attribute;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use support::DEADLINE;
use support::client::Client;
use support::process::Role;
use support::vendor::{self, MockVendor};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::timeout;

/// GETs a path and waits for the whole answer.
async fn get(address: SocketAddr, path: &str) {
    let mut socket = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: quotes\r\nConnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    timeout(DEADLINE, socket.read_to_string(&mut answer)).await.expect("an answer in time").unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

/// A collector: what it was sent, as it came.
struct Collector {
    address: SocketAddr,
    requests: mpsc::Receiver<(axum::http::HeaderMap, ExportTraceServiceRequest)>,
    spans: Vec<Span>,
}

impl Collector {
    async fn start() -> Collector {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, requests) = mpsc::channel(64);
        let take = move |headers: axum::http::HeaderMap, body: axum::body::Bytes| {
            let sender = sender.clone();
            async move { sender.send((headers, ExportTraceServiceRequest::decode(body).unwrap())).await.unwrap() }
        };
        let router = axum::Router::new().route("/v1/traces", axum::routing::post(take));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Collector { address, requests, spans: Vec::new() }
    }

    /// Waits until a span of each of these names came.
    async fn has(&mut self, names: &[&str]) {
        while !names.iter().all(|name| self.spans.iter().any(|span| span.name == *name)) {
            let seen: Vec<&str> = self.spans.iter().map(|span| span.name.as_str()).collect();
            let next = timeout(DEADLINE, self.requests.recv()).await;
            let (headers, request) = next.unwrap_or_else(|_| panic!("{names:?} are not among {seen:?}")).unwrap();
            assert_eq!(headers["content-type"], "application/x-protobuf");
            assert_eq!(headers["x-team"], "quotes");
            for resource in request.resource_spans {
                let about = attributes(&resource.resource.unwrap().attributes);
                assert_eq!(about["service.name"], "tickcast-serve");
                self.spans.extend(resource.scope_spans.into_iter().flat_map(|scope| scope.spans));
            }
        }
    }

    fn span(&self, name: &str) -> &Span {
        self.spans.iter().find(|span| span.name == name).unwrap()
    }
}

fn attributes(pairs: &[KeyValue]) -> BTreeMap<String, String> {
    let text = |pair: &KeyValue| match pair.value.as_ref().and_then(|value| value.value.as_ref()) {
        Some(Attribute::StringValue(text)) => text.clone(),
        Some(Attribute::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    };
    pairs.iter().map(|pair| (pair.key.clone(), text(pair))).collect()
}

#[tokio::test]
async fn a_cycle_its_fetches_a_publish_a_request_and_a_handshake_are_traced_and_no_delivery_is() {
    let mut collector = Collector::start().await;
    let endpoint = format!("log.otlp_endpoint=http://{}", collector.address);
    let args = ["serve", "--bind", "127.0.0.1", "--port", "0", "--provider", "simulated", "--set", &endpoint];
    // the log's level is not the traces'
    let args = [&args[..], &["--log-level", "tickcast=info,tickcast::publisher=off"]].concat();
    let serve = Role::start_with(&args, &[("OTEL_EXPORTER_OTLP_HEADERS", "x-team=quotes")]).await;
    let mut client = Client::connect(serve.address(), "/ws?symbols=AAPL").await;
    for _ in 0..5 {
        client.next_of("price_update").await;
    }
    get(serve.address(), "/health?token=s3cret").await;
    collector.has(&["cycle", "fetch", "publish", "GET /health", "handshake"]).await;

    let (cycle, fetch) = (collector.span("cycle"), collector.span("fetch"));
    let fetches: Vec<&Span> = collector.spans.iter().filter(|span| span.name == "fetch").collect();
    assert!(fetches.iter().any(|fetch| fetch.parent_span_id == cycle.span_id && fetch.trace_id == cycle.trace_id));
    assert_eq!(attributes(&fetch.attributes)["provider"], "simulated");
    assert_eq!(attributes(&collector.span("GET /health").attributes)["http.response.status_code"], "200");
    assert_eq!(attributes(&collector.span("handshake").attributes)["http.response.status_code"], "101");
    assert_eq!(attributes(&collector.span("publish").attributes)["updates"], "1");
    let names = ["cycle", "fetch", "publish", "GET /health", "handshake"];
    for span in &collector.spans {
        assert!(names.contains(&span.name.as_str()), "{} is traced, too", span.name);
        assert!(!format!("{span:?}").contains("s3cret"), "{span:?}");
    }
}

#[tokio::test]
async fn a_request_to_a_vendor_is_a_part_of_its_fetch() {
    let vendor = MockVendor::start(vendor::binance(&["BTCUSDT"])).await;
    let mut collector = Collector::start().await;
    let endpoint = format!("log.otlp_endpoint=http://{}", collector.address);
    let base_url = format!("providers.binance.base_url={}", vendor.url());
    let args = ["serve", "--bind", "127.0.0.1", "--port", "0", "--provider", "binance", "--set", &base_url];
    let args = [&args[..], &["--set", "publisher.pinned=BTC-USDT", "--set", &endpoint]].concat();
    let _serve = Role::start_with(&args, &[("OTEL_EXPORTER_OTLP_HEADERS", "x-team=quotes")]).await;
    collector.has(&["vendor request", "fetch"]).await;
    let request = collector.span("vendor request");
    let fetch = collector.spans.iter().find(|span| span.span_id == request.parent_span_id).unwrap();
    assert_eq!((fetch.name.as_str(), &fetch.trace_id), ("fetch", &request.trace_id));
    assert_eq!(attributes(&request.attributes)["http.response.status_code"], "200");
    assert!(!format!("{request:?}").contains("BTCUSDT"), "what was asked for is not told: it may be beside a key");
}

#[tokio::test]
async fn what_is_left_is_sent_at_the_end() {
    let mut collector = Collector::start().await;
    let endpoint = format!("log.otlp_endpoint=http://{}", collector.address);
    let args = ["serve", "--bind", "127.0.0.1", "--port", "0", "--set", &endpoint, "--set", "publisher.enabled=false"];
    let serve = Role::start_with(&args, &[("OTEL_EXPORTER_OTLP_HEADERS", "x-team=quotes")]).await;
    get(serve.address(), "/health").await;
    let (status, log) = serve.stop().await;
    assert!(status.success(), "{log:#?}");
    collector.has(&["GET /health"]).await;
}

#[tokio::test]
async fn a_collector_that_is_not_there_costs_a_line_and_nothing_else() {
    // nobody listens on a port that was bound and given back
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let endpoint = format!("log.otlp_endpoint=http://{gone}");
    let args = ["serve", "--bind", "127.0.0.1", "--port", "0", "--set", &endpoint];
    let serve = Role::start_with(&args, &[]).await;
    get(serve.address(), "/health").await;
    let (status, log) = serve.stop().await;
    assert!(status.success(), "{log:#?}");
    let told = log.iter().filter(|line| line.contains("the trace collector takes no traces")).count();
    assert_eq!(told, 1, "{log:#?}");
}
