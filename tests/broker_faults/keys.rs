//! Redis losing keys.

use crate::*;

#[tokio::test]
async fn the_registry_heals_after_flushall() {
    let mut bench = bench().await;
    let _one = Gateway::start(&bench.broker, "g1", &[("A", 1), ("B", 2)]);
    let _two = Gateway::start(&bench.broker, "g2", &[("B", 3)]);
    let heals = async |bench: &mut Bench| {
        let server = bench.server();
        let end = tokio::time::Instant::now() + support::DEADLINE;
        let is_right = |server: &RedisServer| {
            server.members("subscriptions:active") == ["A", "B"]
                && server.get("subscriptions:count:A").as_deref() == Some("1")
                && server.get("subscriptions:count:B").as_deref() == Some("5")
        };
        while !is_right(server) {
            assert!(tokio::time::Instant::now() < end, "not healed");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        assert_eq!(bench.watched().await, [("A".to_owned(), 1), ("B".to_owned(), 5)]);
    };
    heals(&mut bench).await;
    bench.server().command(&["FLUSHALL"]);
    heals(&mut bench).await;
    bench.server().kill9();
    bench.server().restart().await;
    heals(&mut bench).await;
}

#[tokio::test]
async fn the_registry_heals_after_any_single_key_is_lost() {
    let mut bench = bench().await;
    let mut reader = bench.reader(&[Channel::Subscriptions]).await;
    let _one = Gateway::start(&bench.broker, "g1", &[("A", 1)]);
    let _two = Gateway::start(&bench.broker, "g2", &[("A", 4), ("B", 1)]);
    reader.text().await;
    reader.text().await;
    let lost = [
        "subscriptions:count:A",
        "subscriptions:active",
        "subscriptions:gateways",
        "subscriptions:gateway:g1",
        "subscriptions:gateway:g2",
    ];
    for key in lost {
        assert_eq!(bench.server().command(&["DEL", key]).number(), 1, "{key}");
        let server = bench.server();
        let end = tokio::time::Instant::now() + support::DEADLINE;
        let is_right = |server: &RedisServer| {
            server.members("subscriptions:active") == ["A", "B"]
                && server.get("subscriptions:count:A").as_deref() == Some("5")
                && server.command(&["HGETALL", "subscriptions:gateway:g1"]).texts() == ["A", "1"]
                && server.command(&["HLEN", "subscriptions:gateway:g2"]).number() == 2
                && server.command(&["ZCARD", "subscriptions:gateways"]).number() == 2
        };
        while !is_right(server) {
            assert!(tokio::time::Instant::now() < end, "not healed: {key}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    bench.report("g3", &[("END", 1)]).await;
    assert!(reader.text().await.contains("END"), "losing one key is no reason to announce anything");
}

#[tokio::test]
async fn redis_cli_sees_what_is_watched() {
    let mut bench = bench().await;
    type Step<'a> = (&'a str, &'a [(&'a str, u32)], Option<&'a str>);
    let steps: [Step<'_>; 6] = [
        ("g1", &[("A", 2)], Some("2")),
        ("g2", &[("A", 40)], Some("42")),
        ("g1", &[("A", 1)], Some("41")),
        ("g1", &[("A", 0)], Some("40")),
        ("g2", &[("A", 0)], None),
        ("g2", &[("A", 3)], Some("3")),
    ];
    for (gateway, counts, expected) in steps {
        bench.report(gateway, counts).await;
        let server = bench.server();
        assert_eq!(server.get("subscriptions:count:A").as_deref(), expected, "{gateway} {counts:?}");
        assert_eq!(server.members("subscriptions:active"), ["A"], "also while it leaves");
    }
    bench.broker.registry.leave(&GatewayId("g2".into())).await.unwrap();
    assert!(bench.server().members("subscriptions:active").is_empty());
}

#[tokio::test]
async fn what_is_kept_for_a_time_runs_out() {
    let mut bench = bench().await;
    publishes(&bench, 1).await;
    let budget = minute("massive", 5);
    bench.broker.quota.take(&budget, 1).await.unwrap();
    bench.broker.leadership.acquire("one", LEASE, Epoch(0)).await.unwrap();
    for (key, most_ms) in [("cache:quote:A", 300_000), ("ratelimit:massive", 65_000), ("publisher:leader", 30_000)] {
        let left_ms = bench.server().command(&["PTTL", key]).number();
        assert!(left_ms > most_ms / 2 && left_ms <= most_ms, "{key}: {left_ms} ms");
    }
}

#[tokio::test]
async fn a_channel_that_nobody_wants_is_left_and_found_again() {
    let mut bench = bench().await;
    let mut updates = bench.reader(&[Channel::Updates]).await;
    let subscribers = async |bench: &mut Bench, wanted: i64| {
        let end = tokio::time::Instant::now() + support::DEADLINE;
        loop {
            // A dropped feed is noticed when something is delivered.
            publishes(bench, 1).await;
            let answer = bench.server().command(&["PUBSUB", "NUMSUB", "market-data:control"]);
            let Reply::List(answer) = answer else { panic!("{answer:?}") };
            if answer[1].number() == wanted {
                return;
            }
            assert!(tokio::time::Instant::now() < end, "{answer:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    for _ in 0..3 {
        let mut control = bench.reader(&[Channel::Control]).await;
        subscribers(&mut bench, 1).await;
        bench.broker.publish.send(Channel::Control, b"{}").await.unwrap();
        control.until(&Event::Message(Channel::Control, "{}".into())).await;
        drop(control);
        subscribers(&mut bench, 0).await;
    }
    assert_eq!(updates.message().await.0, Channel::Updates, "the other one is not disturbed");
}

#[tokio::test]
async fn a_symbol_that_forgot_it_was_leaving_leaves_all_the_same() {
    let bench = Bench::redis(SHORT).await;
    bench.connected().await;
    let mut bench = bench;
    let mut reader = bench.reader(&[Channel::Subscriptions]).await;
    bench.report("g1", &[("A", 1)]).await;
    bench.report("g1", &[("A", 0)]).await;
    bench.server().command(&["DEL", "subscriptions:leaving", "subscriptions:leaving:by"]);
    reader.text().await;
    let gone = bench.next_event_while_reporting(&mut reader, "g1").await;
    assert_eq!(gone, r#"{"action":"unsubscribe","symbol":"A","count":0,"gateway":""}"#);
    assert!(bench.server().members("subscriptions:active").is_empty());
}

#[tokio::test]
async fn a_killed_gateways_counts_are_gone_from_every_key() {
    let bench = Bench::redis(SHORT).await;
    bench.connected().await;
    let mut bench = bench;
    let many: Vec<String> = (0..1_200).map(|n| format!("S{n}")).collect();
    let mut counts: Vec<(&str, u32)> = many.iter().map(|symbol| (symbol.as_str(), 1)).collect();
    counts.push(("A", 1));
    bench.report("dead", &counts).await;
    let _alive = Gateway::start(&bench.broker, "alive", &[("A", 2)]);
    bench.until("the dead gateway is subtracted", async || bench.watched().await == [("A".to_owned(), 2)]).await;
    let server = bench.server();
    assert_eq!(server.members("subscriptions:active"), ["A"]);
    assert_eq!(server.get("subscriptions:count:A").as_deref(), Some("2"));
    let mut keys = server.command(&["KEYS", "subscriptions:*"]).texts();
    keys.sort();
    assert_eq!(
        keys,
        ["subscriptions:active", "subscriptions:count:A", "subscriptions:gateway:alive", "subscriptions:gateways"]
    );
}

#[tokio::test]
async fn a_budget_outlives_the_record_of_it() {
    let mut bench = bench().await;
    let other = Bench::at(bench.server().url(), Timing::default());
    other.connected().await;
    let budget = minute("massive", 5);
    for (broker, cost) in [(&bench.broker, 3), (&other.broker, 2)] {
        assert_eq!(broker.quota.take(&budget, cost).await, Ok(Taken::Granted));
    }
    bench.server().kill9();
    bench.server().restart().await;
    for bench in [&bench, &other] {
        bench.until("it answers", async || bench.broker.quota.levels(&budget).await.is_ok()).await;
    }
    // Whatever is asked first tells of the own part.
    bench.broker.quota.hold(&budget, Duration::from_millis(1)).await.unwrap();
    // Each knows of its own part only; neither may get more before both have told.
    let mut first_wait = Duration::ZERO;
    for bench in [&bench, &other, &bench, &other] {
        let taken = bench.broker.quota.take(&budget, 1).await;
        let Ok(Taken::Wait(wait)) = taken else { panic!("all was spent before the restart: {taken:?}") };
        first_wait = first_wait.max(wait);
    }
    assert!(first_wait > Duration::from_secs(20), "{first_wait:?}");
    bench.broker.quota.reset(&budget).await.unwrap();
    assert_eq!(other.broker.quota.take(&budget, 5).await, Ok(Taken::Granted), "what was reset is not told again");
}
