//! Claims about the registry.

use crate::*;

contract! {
    the_first_watcher_is_announced_once
    counts_are_summed_over_gateways
    a_report_says_how_many_symbols_are_held
    reporting_twice_is_harmless
    a_drained_gateway_is_gone_at_once
    ten_thousand_symbols_are_reported_at_once
    ;
    a_reload_within_the_leave_delay_is_not_announced
    the_last_watchers_leaving_waits_and_is_announced_once
    a_dead_gateway_is_subtracted_by_whoever_finds_it
    a_gateway_that_comes_back_is_told_to_report_everything
}

async fn the_first_watcher_is_announced_once(bench: Bench) {
    let mut reader = bench.reader(&[Channel::Subscriptions]).await;
    bench.report("g1", &[("A", 2)]).await;
    bench.report("g2", &[("A", 1), ("B", 3)]).await;
    assert_eq!(reader.text().await, r#"{"action":"subscribe","symbol":"A","count":2,"gateway":"g1"}"#);
    assert_eq!(reader.text().await, r#"{"action":"subscribe","symbol":"B","count":3,"gateway":"g2"}"#);
}

async fn a_reload_within_the_leave_delay_is_not_announced(bench: Bench) {
    let mut reader = bench.reader(&[Channel::Subscriptions]).await;
    bench.report("g1", &[("A", 1)]).await;
    bench.report("g1", &[("A", 0)]).await;
    bench.report("g2", &[("A", 1)]).await;
    bench.report("g1", &[("END", 1)]).await;
    assert!(reader.text().await.contains(r#""symbol":"A""#));
    assert!(reader.text().await.contains(r#""symbol":"END""#));
    // Another round: the delay of the first leaving is over by then, and must not have been kept.
    bench.report("g2", &[("A", 0)]).await;
    assert_eq!(
        bench.next_event_while_reporting(&mut reader, "g1").await,
        r#"{"action":"unsubscribe","symbol":"A","count":0,"gateway":"g2"}"#
    );
}

async fn the_last_watchers_leaving_waits_and_is_announced_once(bench: Bench) {
    let mut reader = bench.reader(&[Channel::Subscriptions]).await;
    bench.report("g1", &[("A", 1), ("B", 1)]).await;
    reader.text().await;
    reader.text().await;
    bench.report("g1", &[("A", 0)]).await;
    assert_eq!(bench.watched().await, [("B".to_owned(), 1)], "not watched while it leaves");
    assert_eq!(
        bench.next_event_while_reporting(&mut reader, "g1").await,
        r#"{"action":"unsubscribe","symbol":"A","count":0,"gateway":"g1"}"#
    );
    bench.report("g1", &[("B", 1), ("A", 1)]).await;
    assert_eq!(reader.text().await, r#"{"action":"subscribe","symbol":"A","count":1,"gateway":"g1"}"#);
}

async fn counts_are_summed_over_gateways(bench: Bench) {
    bench.report("g1", &[("A", 2), ("B", 1)]).await;
    bench.report("g2", &[("A", 40)]).await;
    assert_eq!(bench.watched().await, [("A".to_owned(), 42), ("B".to_owned(), 1)]);
    bench.report("g1", &[("A", 1), ("B", 0)]).await;
    assert_eq!(bench.watched().await, [("A".to_owned(), 41)]);
}

async fn a_report_says_how_many_symbols_are_held(bench: Bench) {
    assert_eq!(bench.report("g1", &[]).await, 0);
    assert_eq!(bench.report("g1", &[("A", 2), ("B", 1), ("C", 0)]).await, 2);
    assert_eq!(bench.report("g2", &[("A", 2)]).await, 1);
    assert_eq!(bench.report("g1", &[("A", 0)]).await, 1);
}

async fn reporting_twice_is_harmless(bench: Bench) {
    let mut reader = bench.reader(&[Channel::Subscriptions]).await;
    for _ in 0..3 {
        bench.report("g1", &[("A", 2), ("A", 2)]).await;
    }
    assert_eq!(bench.watched().await, [("A".to_owned(), 2)]);
    bench.report("g1", &[("END", 1)]).await;
    assert!(reader.text().await.contains(r#""symbol":"A""#));
    assert!(reader.text().await.contains(r#""symbol":"END""#));
}

async fn a_drained_gateway_is_gone_at_once(bench: Bench) {
    let mut reader = bench.reader(&[Channel::Subscriptions]).await;
    bench.report("g1", &[("A", 2), ("B", 1), ("C", 1)]).await;
    bench.report("g2", &[("B", 1)]).await;
    bench.report("g1", &[("C", 0)]).await;
    for _ in 0..3 {
        reader.text().await;
    }
    bench.broker.registry.leave(&gateway("g1")).await.unwrap();
    let mut gone = [reader.text().await, reader.text().await];
    gone.sort();
    assert_eq!(gone[0], r#"{"action":"unsubscribe","symbol":"A","count":0,"gateway":"g1"}"#);
    assert_eq!(gone[1], r#"{"action":"unsubscribe","symbol":"C","count":0,"gateway":"g1"}"#, "no longer in its delay");
    assert_eq!(bench.watched().await, [("B".to_owned(), 1)]);
    bench.broker.registry.leave(&gateway("never seen")).await.unwrap();
}

async fn a_dead_gateway_is_subtracted_by_whoever_finds_it(bench: Bench) {
    let mut reader = bench.reader(&[Channel::Subscriptions]).await;
    for finder in ["a reader", "a gateway"] {
        bench.report("dead", &[("A", 2)]).await;
        assert!(reader.text().await.contains("subscribe"));
        let gone = match finder {
            "a reader" => bench.next_event_while(&mut reader, async || drop(bench.watched().await)).await,
            _ => bench.next_event_while_reporting(&mut reader, "alive").await,
        };
        assert_eq!(gone, r#"{"action":"unsubscribe","symbol":"A","count":0,"gateway":"dead"}"#);
        assert_eq!(bench.watched().await, []);
    }
}

async fn a_gateway_that_comes_back_is_told_to_report_everything(bench: Bench) {
    let mut reader = bench.reader(&[Channel::Subscriptions]).await;
    assert_eq!(bench.report("frozen", &[("A", 2), ("B", 1)]).await, 2);
    reader.text().await;
    reader.text().await;
    bench.next_event_while(&mut reader, async || drop(bench.watched().await)).await;
    assert_eq!(bench.report("frozen", &[("C", 1)]).await, 1, "it knows of three");
}

async fn ten_thousand_symbols_are_reported_at_once(bench: Bench) {
    let counts: Vec<(Symbol, u32)> = (0..10_000).map(|n| (symbol(&format!("S{n}")), n + 1)).collect();
    assert_eq!(bench.broker.registry.report(&gateway("g1"), &counts).await, Ok(10_000));
    let mut watched = bench.broker.registry.watched().await.unwrap();
    watched.sort();
    let mut expected: Vec<_> = counts.iter().map(|(symbol, count)| (*symbol, u64::from(*count))).collect();
    expected.sort();
    assert_eq!(watched, expected);
    bench.broker.registry.leave(&gateway("g1")).await.unwrap();
    assert_eq!(bench.watched().await, []);
}

/// What whoever listens on the subscriptions channel got until now, in the text's order.
async fn events_so_far(bench: &Bench, reader: &mut Reader) -> Vec<String> {
    bench.broker.publish.send(Channel::Subscriptions, b"now").await.unwrap();
    let mut events = Vec::new();
    loop {
        match reader.text().await {
            now if now == "now" => break,
            event => events.push(event),
        }
    }
    events.sort();
    events
}

#[tokio::test]
async fn both_registries_make_the_same_of_the_same_reports() {
    let benches = [Bench::memory(Timing::default()), connected(Timing::default()).await];
    let mut readers = Vec::new();
    for bench in &benches {
        readers.push(bench.reader(&[Channel::Subscriptions]).await);
    }
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..300 {
        let id = gateway(&format!("g{}", random.u32(0..3)));
        let leaves = random.u32(0..20) == 0;
        let mut count = || (symbol(&format!("S{}", random.u32(0..6))), random.u32(0..3));
        let counts: Vec<(Symbol, u32)> = (0..4).map(|_| count()).collect();
        let mut outcomes = Vec::new();
        for (bench, reader) in benches.iter().zip(&mut readers) {
            let registry = &bench.broker.registry;
            let held = if leaves {
                registry.leave(&id).await.unwrap();
                None
            } else {
                Some(registry.report(&id, &counts).await.unwrap())
            };
            outcomes.push((held, bench.watched().await, events_so_far(bench, reader).await));
        }
        assert_eq!(outcomes[0], outcomes[1], "{id:?} {counts:?}");
    }
}
