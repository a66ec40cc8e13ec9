//! The binary as its users meet it: exit codes, what goes where, what is told.

mod support;

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::thread;

use support::binary::tickcast;

#[test]
fn every_mistake_is_told_at_once_on_standard_error() {
    let ended = tickcast(&["gateway", "--port", "70000", "--set", "limits.symbols=5"])
        .file("t.toml", "[gateway]\nprot = 1\nshards = \"two\"\n")
        .file(".env", "HEALTH_PORT=none\n")
        .env("TICKCAST_CONFIG", "t.toml")
        .env("CACHE_TTL_LATEST_PRICE", "0")
        .ends()
        .with_code(64);
    assert_eq!(ended.out, "");
    for told in [
        "7 mistakes",
        "gateway.prot (file t.toml:2): no such key; the nearest is gateway.port",
        "gateway.shards = \"two\" (file t.toml:3): must be a whole number, not a text; allowed: 0 to 1024",
        "limits.symbols (flag --set): no such key; the nearest is limits.symbols_per_client",
        "ops.port = \"none\" (.env HEALTH_PORT): is not a whole number; allowed: 0 to 65535",
        "cache.ttl_latest_s = \"0\" (env CACHE_TTL_LATEST_PRICE): is too small; allowed: 1 to 31536000",
        "gateway.port = \"70000\" (flag --port): is too large; allowed: 0 to 65535",
        "redis.url: is not set",
        "REDIS_URL",
    ] {
        assert!(ended.err.contains(told), "{told:?} is not in:\n{}", ended.err);
    }
}

#[test]
fn config_shows_values_and_sources_and_exits_0() {
    let ended = tickcast(&["config", "--config", "t.toml", "--port", "9000", "--log-level", "debug"])
        .file("t.toml", "[drain]\nwindow_s = 5\n")
        .file(".env", "REDIS_URL=redis://me:s3cret@host\nRATE_LIMIT_RPM=90\n")
        .env("RATE_LIMIT_RPM", "120")
        .ends()
        .with_code(0);
    let line =
        |start: &str| ended.out.lines().find(|line| line.starts_with(start)).unwrap_or_else(|| panic!("{start}"));
    assert!(line("port = 9000").ends_with("# flag --port"));
    assert!(line("window_s = 5").ends_with("# file t.toml:2"));
    assert!(line("url = \"redis://me:***@host\"").ends_with("# .env REDIS_URL"));
    assert!(line("rest_rpm = 120").ends_with("# env RATE_LIMIT_RPM"));
    assert!(line("level = \"debug\"").ends_with("# flag --log-level"));
    assert!(!ended.out.contains("s3cret"));
}

#[test]
fn config_as_json_has_every_key() {
    let ended = tickcast(&["config", "--json", "--role", "publisher", "--provider", "yahoo", "--provider", "binance"])
        .env("REDIS_URL", "redis://host")
        .ends()
        .with_code(0);
    let json: serde_json::Value = serde_json::from_str(&ended.out).expect("JSON");
    assert_eq!(json["role"], "publisher");
    assert_eq!(json["settings"]["ops.port"]["value"], 8083);
    assert_eq!(json["settings"]["publisher.providers"]["value"], serde_json::json!(["yahoo", "binance"]));
    assert_eq!(json["settings"]["publisher.providers"]["source"], "flag --provider");
    assert_eq!(json["settings"].as_object().map(serde_json::Map::len), Some(tickcast::config::key::slots().len()));
}

#[test]
fn an_invalid_configuration_is_not_shown() {
    let ended = tickcast(&["config"]).env("PORT", "x").env("JWT_SECRET", "a").env("JWKS_URL", "b").ends().with_code(64);
    assert_eq!(ended.out, "");
    assert!(ended.err.contains("2 mistakes"), "{}", ended.err);
}

#[test]
fn warnings_go_to_standard_error() {
    let ended = tickcast(&["config", "--set", "ops.bind=0.0.0.0"]).ends().with_code(0);
    assert!(ended.err.starts_with("warning: ops.bind"), "{}", ended.err);
    assert!(ended.out.contains("bind = \"0.0.0.0\""));
}

#[test]
fn usage_errors_exit_64_and_help_exits_0() {
    for args in [&[][..], &["frobnicate"], &["serve", "--prot", "1"], &["--set", "nonsense", "config"], &["control"]] {
        let ended = tickcast(args).ends().with_code(64);
        assert!(!ended.err.is_empty() && ended.out.is_empty(), "{args:?}");
    }
    for args in
        [&["--help"][..], &["--version"], &["serve", "--help"], &["help", "control"], &["control", "pause", "--help"]]
    {
        let ended = tickcast(args).ends().with_code(0);
        assert!(!ended.out.is_empty() && ended.err.is_empty(), "{args:?}");
    }
}

#[test]
fn help_tells_the_exit_codes() {
    let help = tickcast(&["--help"]).ends().out;
    for code in ["0", "1", "64", "69", "70"] {
        assert!(help.lines().any(|line| line.trim_start().starts_with(&format!("{code} "))), "{code}\n{help}");
    }
}

#[tokio::test]
async fn a_reader_that_has_seen_enough_is_no_failure() {
    let mut running = tickcast(&["config", "--json"]).starts();
    running.close_output();
    assert_eq!(running.end().await.0.code(), Some(0));
}

/// Answers one request with these bytes, and gives back what was asked.
fn answers(answer: &'static str) -> (String, thread::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("it is bound"));
    let server = thread::spawn(move || {
        let (mut socket, _) = listener.accept().expect("a client");
        let mut asked = Vec::new();
        let mut chunk = [0; 1024];
        while !asked.ends_with(b"\r\n\r\n") {
            match socket.read(&mut chunk).expect("a request") {
                0 => break,
                read => asked.extend_from_slice(&chunk[..read]),
            }
        }
        // the client may have gone before all is said
        let _ = socket.write_all(answer.as_bytes());
        String::from_utf8(asked).expect("UTF-8")
    });
    (url, server)
}

const HEALTHY: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 34\r\n\r\n{\"status\":\"healthy\",\"uptime_s\": 1}";
const DEGRADED: &str = "HTTP/1.1 200 OK\r\ncontent-length: 21\r\n\r\n{\"status\":\"degraded\"}";
const FAILING: &str = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 4\r\n\r\nbusy";
const NOT_HTTP: &str = "SSH-2.0-OpenSSH_9.6\r\n";

#[test]
fn healthcheck_is_0_for_healthy_alone() {
    for (answer, args, code, told) in [
        (HEALTHY, &[][..], 0, "healthy ("),
        (DEGRADED, &[], 1, "degraded ("),
        (DEGRADED, &["--allow-degraded"], 0, "degraded ("),
        (FAILING, &[], 1, "unhealthy: HTTP 503"),
        (NOT_HTTP, &[], 1, "unhealthy: no HTTP answer"),
    ] {
        let (url, server) = answers(answer);
        let args = [&["healthcheck", "--timeout-s", "30", "--url", &url], args].concat();
        let ended = tickcast(&args).ends().with_code(code);
        assert!(ended.out.starts_with(told), "{}", ended.out);
        assert_eq!(ended.out.lines().count(), 1);
        let asked = server.join().expect("it answered");
        assert!(asked.starts_with("GET /health HTTP/1.1\r\n"), "{asked}");
        assert!(asked.contains(&format!("host: {}\r\n", url.trim_start_matches("http://"))), "{asked}");
    }
}

#[test]
fn healthcheck_finds_the_port_in_the_configuration_of_the_role() {
    for (role, env) in [("serve", true), ("publisher", true), ("publisher", false)] {
        let (url, server) = answers(HEALTHY);
        let port = url.rsplit(':').next().expect("a port");
        let run = tickcast(&["healthcheck", "--role", role, "--timeout-s", "30"]);
        // a proxy of the environment is not asked
        let run = run.env("http_proxy", "http://127.0.0.1:9").env("HTTP_PROXY", "http://127.0.0.1:9");
        let run = if env { run.env("HEALTH_PORT", port) } else { run.file(".env", &format!("HEALTH_PORT={port}\n")) };
        run.ends().with_code(0);
        server.join().expect("it answered");
    }
}

#[test]
fn healthcheck_does_not_wait_for_ever() {
    // connections are taken by the kernel, and nobody answers
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("it is bound"));
    let ended = tickcast(&["healthcheck", "--timeout-s", "0.2", "--url", &url]).ends().with_code(1);
    assert!(ended.out.starts_with("unhealthy: no answer within 0.2 s"), "{}", ended.out);
}

#[test]
fn healthcheck_says_that_nobody_listens() {
    // bound and not listening: the port is nobody else's, and connections are refused
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
    let any_port = std::net::SocketAddr::from(([127, 0, 0, 1], 0));
    socket.bind(&any_port.into()).expect("a free port");
    let address = socket.local_addr().ok().and_then(|address| address.as_socket()).expect("it is bound");
    let url = format!("http://{address}");
    let ended = tickcast(&["healthcheck", "--timeout-s", "30", "--url", &url]).ends().with_code(1);
    assert!(ended.out.starts_with("unhealthy: no connection"), "{}", ended.out);
}

#[test]
fn healthcheck_tells_mistakes_of_the_configuration_it_needs() {
    tickcast(&["healthcheck"]).env("HEALTH_PORT", "x").ends().with_code(64);
    tickcast(&["healthcheck", "--url", "ftp://x"]).ends().with_code(64);
}

#[test]
fn the_committed_profile_is_shown_for_the_gateway() {
    let profile = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/production.toml");
    let profile = profile.to_str().expect("UTF-8");
    let ended = tickcast(&["config", "--role", "gateway", "--config", profile])
        .env("REDIS_URL", "redis://host")
        .env("ADMIN_TOKEN", "token")
        .ends()
        .with_code(0);
    assert!(ended.out.contains("format = \"json\""), "{}", ended.out);
    assert_eq!(ended.err, "");
}

#[test]
fn completions_know_every_command_and_what_may_follow() {
    for (shell, knows) in [("bash", "_tickcast()"), ("zsh", "#compdef tickcast"), ("fish", "complete -c tickcast")] {
        let script = tickcast(&["completions", shell]).ends().with_code(0).out;
        for word in [knows, "healthcheck", "set-interval", "alphavantage"] {
            assert!(script.contains(word), "{shell} does not know {word}");
        }
    }
    tickcast(&["completions", "csh"]).ends().with_code(64);

    let script = tickcast(&["completions", "bash"]).ends().out;
    for (words, expected) in [("tickcast control pa", "pause"), ("tickcast quota reset bin", "binance")] {
        let last = words.rsplit(' ').next().expect("a word");
        let complete = format!(
            "{script}\nCOMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1)); _tickcast tickcast {last} x; echo ${{COMPREPLY[@]}}"
        );
        let answer = std::process::Command::new("bash").args(["--norc", "-c", &complete]).output().expect("bash runs");
        let (out, err) = (String::from_utf8_lossy(&answer.stdout), String::from_utf8_lossy(&answer.stderr));
        assert_eq!(out.trim(), expected, "{words}: {err}");
    }
}

#[test]
fn every_command_has_a_manual_page_with_its_examples() {
    let run = tickcast(&["man", "--out", "share/man1"]);
    let pages = run.path().join("share/man1");
    let (ended, _dir) = run.ends_and_stays();
    let paths = ended.with_code(0).out;
    for command in ["", "-serve", "-tail", "-control", "-control-pause", "-quota-reset", "-completions"] {
        let name = format!("tickcast{command}.1");
        assert!(paths.lines().any(|path| path.ends_with(&name)), "{name} is not in {paths}");
    }
    let page = std::fs::read_to_string(pages.join("tickcast-tail.1")).expect("a page");
    assert!(page.contains("Examples:") && page.contains("max\\-rate"), "{page}");
    tickcast(&["man", "--out", "/dev/null/x"]).ends().with_code(70);
}
