//! Claims about limits, tokens, other origins' pages, mistakes.

use std::sync::Arc;

use tickcast::gateway::config::Auth;

use crate::stage::{Served, Vendor, Wish, broker, publish};
use crate::support::gateway::config;
use crate::support::http::{get, request};

#[tokio::test]
async fn an_address_is_told_how_much_is_left_and_then_429() {
    let (broker, vendor) = (broker(), Arc::new(Vendor::default()));
    let served = Served::start(&broker, &vendor, Wish { per_minute: 2, ..Wish::default() }).await;
    publish(&broker, "AAPL", 1).await;
    for left in ["1", "0"] {
        let answer = get(served.address(), "/api/quotes/AAPL").await;
        let told = ["x-ratelimit-limit", "x-ratelimit-remaining"].map(|name| answer.header(name).unwrap().to_owned());
        assert_eq!((answer.status, told), (200, ["2".to_owned(), left.to_owned()]));
    }
    let refused = get(served.address(), "/api/quotes/MSFT").await;
    assert_eq!((refused.status, refused.code().as_str()), (429, "rate_limited"));
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=30).contains(&wait) && refused.header("x-ratelimit-reset").is_some());
    assert_eq!(get(served.address(), "/api/quotes?symbols=AAPL").await.status, 200, "another route");
    assert_eq!(get(served.address(), "/").await.header("x-ratelimit-limit"), None, "the page is not limited");
}

#[tokio::test]
async fn pages_of_listed_origins_may_read_answers_and_others_may_not() {
    let (broker, vendor) = (broker(), Arc::new(Vendor::default()));
    let open = Served::start(&broker, &vendor, Wish::default()).await;
    let allowed = vec!["https://good.example".to_owned()];
    let gateway = tickcast::gateway::Config { allowed_origins: allowed, ..config() };
    let listed = Served::start(&broker, &vendor, Wish { gateway, ..Wish::default() }).await;
    publish(&broker, "AAPL", 1).await;
    let allows = async |served: &Served, method: &str, origin: &str| {
        let asked = [("Origin", origin), ("Access-Control-Request-Method", "GET")];
        let answer = request(served.address(), method, "/api/quotes/AAPL", &asked).await;
        assert_eq!(answer.status, 200);
        answer.header("access-control-allow-origin").map(str::to_owned)
    };
    assert_eq!(allows(&open, "GET", "https://any.example").await.as_deref(), Some("*"));
    for method in ["GET", "OPTIONS"] {
        assert_eq!(allows(&listed, method, "https://good.example").await.as_deref(), Some("https://good.example"));
        assert_eq!(allows(&listed, method, "https://evil.example").await, None);
    }
}

#[tokio::test]
async fn with_auth_on_a_token_is_needed_and_narrows_what_may_be_read() {
    let (broker, vendor) = (broker(), Arc::new(Vendor::default()));
    let auth = Auth::Tokens(vec!["good".to_owned().into()]);
    let served = Served::start(
        &broker,
        &vendor,
        Wish { gateway: tickcast::gateway::Config { auth, ..config() }, ..Wish::default() },
    )
    .await;
    publish(&broker, "AAPL", 1).await;
    for path in ["/api/quotes/AAPL", "/api/quotes?symbols=AAPL", "/api/bars/AAPL", "/api/indices", "/sse?symbols=AAPL"]
    {
        let none = get(served.address(), path).await;
        assert_eq!((none.status, none.code().as_str()), (401, "unauthorized"), "{path}");
    }
    let bad = request(served.address(), "GET", "/api/quotes/AAPL", &[("Authorization", "Bearer bad")]).await;
    assert_eq!(bad.status, 401);
    let good = request(served.address(), "GET", "/api/quotes/AAPL", &[("Authorization", "bearer good")]).await;
    assert_eq!(good.status, 200);
    assert_eq!(get(served.address(), "/api/quotes/AAPL?token=good").await.status, 200);
    assert_eq!(get(served.address(), "/api/openapi.json").await.status, 200, "what there is is no secret");
}

#[tokio::test]
async fn every_mistake_is_named_in_json_with_the_headers_that_browsers_heed() {
    let (broker, vendor) = (broker(), Arc::new(Vendor::default()));
    let served = Served::start(&broker, &vendor, Wish::default()).await;
    let long = format!("/api/quotes?symbols={}", (0..1025).map(|i| format!("S{i}")).collect::<Vec<_>>().join(","));
    for (method, path, status, code) in [
        ("GET", "/api/quotes", 400, "invalid_request"),
        ("GET", "/api/quotes?symbols=A%20B", 400, "invalid_symbol"),
        ("GET", "/api/quotes?symbols=*", 400, "wildcard_not_allowed"),
        ("GET", long.as_str(), 400, "too_many_symbols"),
        ("GET", "/api/quotes/A%00B", 400, "invalid_symbol"),
        ("GET", "/api/bars/AAPL?range=1y", 400, "invalid_range"),
        ("GET", "/sse", 400, "invalid_request"),
        ("GET", "/sse?symbols=AAPL&format=xml", 400, "invalid_request"),
        ("GET", "/api/preload-cache?batchSize=0", 400, "invalid_request"),
        ("GET", "/api/nothing", 404, "not_found"),
        ("DELETE", "/api/quotes", 405, "method_not_allowed"),
    ] {
        let answer = request(served.address(), method, path, &[]).await;
        assert_eq!((answer.status, answer.code().as_str()), (status, code), "{method} {path}");
        for (name, value) in [
            ("content-type", "application/json"),
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{path}");
        }
        assert!(answer.header("content-security-policy").is_some());
    }
}
