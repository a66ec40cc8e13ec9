//! One suite of claims about the broker, held by every implementation.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::num::NonZeroU32;
use std::time::Duration;

use bytes::Bytes;
use support::bench::{Bench, Reader, SHORT};
use tickcast::broker::{
    BrokerError, Budget, Channel, EPOCH_ORIGIN_S, Epoch, Event, GatewayId, Lead, Outgoing, Stored, Taken, Timing,
    Window, keys,
};
use tickcast::market::Symbol;

/// Runs each claim against each broker; those of the second list wait for leases and delays, which are shortened.
macro_rules! contract {
    ($($claim:ident)* ; $($waiting:ident)*) => {
        mod memory {
            $(#[tokio::test] async fn $claim() { super::$claim(super::Bench::memory(super::Timing::default())).await; })*
            $(#[tokio::test] async fn $waiting() { super::$waiting(super::Bench::memory(super::SHORT)).await; })*
        }
        mod redis {
            $(#[tokio::test] async fn $claim() { super::$claim(super::connected(super::Timing::default()).await).await; })*
            $(#[tokio::test] async fn $waiting() { super::$waiting(super::connected(super::SHORT).await).await; })*
        }
    };
}

contract! {
    a_message_reaches_every_feed_of_its_channel
    a_feed_begins_with_resumed
    one_update_is_published_as_it_is
    several_updates_are_published_as_one_array
    quotes_are_stored_before_they_are_published
    a_stored_quote_runs_out
    publishing_nothing_is_no_message
    a_lower_epoch_is_fenced
    a_lost_epoch_is_caught_up
    messages_come_in_publishing_order
    the_first_watcher_is_announced_once
    counts_are_summed_over_gateways
    a_report_says_how_many_symbols_are_held
    reporting_twice_is_harmless
    a_drained_gateway_is_gone_at_once
    ten_thousand_symbols_are_reported_at_once
    values_are_kept_in_order
    values_run_out
    only_the_first_sets_what_is_absent
    keys_are_found_by_prefix
    one_leads_and_others_stand_by
    a_holder_renews_and_keeps_its_epoch
    a_take_over_gets_a_higher_epoch
    a_lease_that_runs_out_is_taken_over
    a_lost_record_brings_no_old_epoch_back
    epochs_count_seconds_since_2026
    a_budget_is_granted_up_to_its_limit
    every_window_must_agree
    more_than_the_limit_is_never_granted
    a_wait_is_kept
    a_hold_grants_nothing
    a_reset_forgets
    what_was_spent_while_away_counts
    budgets_do_not_touch_each_other
    ;
    a_reload_within_the_leave_delay_is_not_announced
    the_last_watchers_leaving_waits_and_is_announced_once
    a_dead_gateway_is_subtracted_by_whoever_finds_it
    a_gateway_that_comes_back_is_told_to_report_everything
}

/// A bench whose Redis takes commands.
async fn connected(timing: Timing) -> Bench {
    let bench = Bench::redis(timing).await;
    let mut status = bench.broker.status.clone();
    let connected = tokio::time::timeout(support::DEADLINE, status.wait_for(|status| status.connected)).await;
    connected.expect("a local Redis is there in time").expect("the broker lives");
    bench
}

fn symbol(text: &str) -> Symbol {
    Symbol::parse(text).expect("a test's symbol")
}

fn update(text: &str, price: u32) -> Outgoing {
    let json = format!(r#"{{"type":"price_update", "symbol":"{text}","data":{{"price":{price}.50}}}}"#);
    Outgoing { symbol: symbol(text), json: json.into(), ttl: Duration::from_secs(300) }
}

fn gateway(name: &str) -> GatewayId {
    GatewayId(name.into())
}

// Publishing and feeds

async fn a_message_reaches_every_feed_of_its_channel(bench: Bench) {
    let mut one = bench.reader(&[Channel::Control]).await;
    let mut two = bench.reader(&[Channel::Control, Channel::Replies]).await;
    let mut other = bench.reader(&[Channel::Replies]).await;
    bench.broker.publish.send(Channel::Control, b"{\"action\":\"pause\"}").await.unwrap();
    bench.broker.publish.send(Channel::Replies, &[0xff, 0, b'\r', b'\n']).await.unwrap();
    let (control, reply) =
        (Bytes::from_static(b"{\"action\":\"pause\"}"), Bytes::from_static(&[0xff, 0, b'\r', b'\n']));
    assert_eq!(one.message().await, (Channel::Control, control.clone()));
    assert_eq!(two.message().await, (Channel::Control, control));
    assert_eq!(two.message().await, (Channel::Replies, reply.clone()));
    assert_eq!(other.message().await, (Channel::Replies, reply));
}

async fn a_feed_begins_with_resumed(bench: Bench) {
    let mut reader = Reader::new(bench.broker.feeds.subscribe(&[Channel::Updates]));
    assert_eq!(reader.event().await, Event::Resumed);
    let mut later = Reader::new(bench.broker.feeds.subscribe(&[Channel::Updates, Channel::Control]));
    assert_eq!(later.event().await, Event::Resumed);
}

async fn one_update_is_published_as_it_is(bench: Bench) {
    let mut reader = bench.reader(&[Channel::Updates]).await;
    let update = update("RELIANCE", 2450);
    assert_eq!(bench.broker.publish.publish(std::slice::from_ref(&update), Epoch(1)).await, Ok(Stored::Yes));
    assert_eq!(reader.message().await, (Channel::Updates, update.json));
}

async fn several_updates_are_published_as_one_array(bench: Bench) {
    let mut reader = bench.reader(&[Channel::Updates]).await;
    let updates: Vec<Outgoing> = (0..500).map(|n| update(&format!("S{n}"), n)).collect();
    bench.broker.publish.publish(&updates, Epoch(1)).await.unwrap();
    let objects: Vec<&str> = updates.iter().map(|update| std::str::from_utf8(&update.json).unwrap()).collect();
    assert_eq!(reader.message().await.1, format!("[{}]", objects.join(",")));
}

async fn quotes_are_stored_before_they_are_published(bench: Bench) {
    let mut reader = bench.reader(&[Channel::Updates]).await;
    let updates = [update("A", 1), update("B", 2)];
    bench.broker.publish.publish(&updates, Epoch(1)).await.unwrap();
    reader.message().await;
    let found = bench.broker.store.get_many(&[keys::quote(symbol("B")), keys::quote(symbol("A"))]).await.unwrap();
    assert_eq!(found, [Some(updates[1].json.clone()), Some(updates[0].json.clone())]);
}

async fn a_stored_quote_runs_out(bench: Bench) {
    let short = Outgoing { ttl: Duration::from_millis(80), ..update("A", 1) };
    bench.broker.publish.publish(&[short, update("B", 2)], Epoch(1)).await.unwrap();
    bench
        .until("the short quote is gone and the other stays", async || {
            let found =
                bench.broker.store.get_many(&[keys::quote(symbol("A")), keys::quote(symbol("B"))]).await.unwrap();
            found[0].is_none() && found[1].is_some()
        })
        .await;
}

async fn publishing_nothing_is_no_message(bench: Bench) {
    let mut reader = bench.reader(&[Channel::Updates]).await;
    assert_eq!(bench.broker.publish.publish(&[], Epoch(1)).await, Ok(Stored::Yes));
    bench.broker.publish.publish(&[update("A", 1)], Epoch(1)).await.unwrap();
    assert_eq!(reader.message().await.1, update("A", 1).json);
}

async fn a_lower_epoch_is_fenced(bench: Bench) {
    let mut reader = bench.reader(&[Channel::Updates]).await;
    let Lead::Leading(old) = acquire(&bench, "old").await else { panic!("nobody else leads") };
    bench.broker.leadership.resign("old").await.unwrap();
    let Lead::Leading(new) = acquire(&bench, "new").await else { panic!("the old leader resigned") };
    let refused = bench.broker.publish.publish(&[update("LATE", 1)], old).await;
    assert_eq!(refused, Err(BrokerError::Fenced { current: new.0 }));
    assert_eq!(bench.broker.publish.publish(&[], old).await, Err(BrokerError::Fenced { current: new.0 }));
    bench.broker.publish.publish(&[update("A", 1)], new).await.unwrap();
    assert_eq!(reader.message().await.1, update("A", 1).json);
    let late = bench.broker.store.get_many(&[keys::quote(symbol("LATE"))]).await.unwrap();
    assert_eq!(late, [None]);
}

async fn a_lost_epoch_is_caught_up(bench: Bench) {
    bench.broker.publish.publish(&[update("A", 1)], Epoch(7)).await.unwrap();
    let refused = bench.broker.publish.publish(&[update("A", 2)], Epoch(6)).await;
    assert_eq!(refused, Err(BrokerError::Fenced { current: 7 }));
}

async fn messages_come_in_publishing_order(bench: Bench) {
    let mut reader = bench.reader(&[Channel::Updates]).await;
    for n in 0..2_000 {
        bench.broker.publish.publish(&[update("A", n)], Epoch(1)).await.unwrap();
    }
    for n in 0..2_000 {
        assert_eq!(reader.message().await.1, update("A", n).json);
    }
}

// The registry

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

// The store

async fn values_are_kept_in_order(bench: Bench) {
    let store = &bench.broker.store;
    store.set("cache:quote:A", Bytes::from_static(b"{\"a\":1}"), None).await.unwrap();
    store.set("cache:quote:B", Bytes::from_static(&[0, 255]), Some(Duration::from_secs(60))).await.unwrap();
    let keys = ["cache:quote:B", "nothing", "cache:quote:A"].map(str::to_owned);
    let expected = [Some(Bytes::from_static(&[0, 255])), None, Some(Bytes::from_static(b"{\"a\":1}"))];
    assert_eq!(store.get_many(&keys).await.unwrap(), expected);
    assert_eq!(store.get_many(&[]).await.unwrap(), []);
    assert_eq!(store.remove(&keys).await, Ok(2));
    assert_eq!(store.remove(&[]).await, Ok(0));
    assert_eq!(store.get_many(&keys).await.unwrap(), [None, None, None]);
}

async fn values_run_out(bench: Bench) {
    let store = &bench.broker.store;
    store.set("long", Bytes::from_static(b"1"), Some(Duration::from_secs(60))).await.unwrap();
    store.set("short", Bytes::from_static(b"1"), Some(Duration::from_millis(50))).await.unwrap();
    store.set("kept", Bytes::from_static(b"1"), Some(Duration::from_millis(50))).await.unwrap();
    store.set("kept", Bytes::from_static(b"2"), None).await.unwrap();
    let keys = ["long", "short", "kept"].map(str::to_owned);
    bench.until("the short one is gone", async || store.get_many(&keys).await.unwrap()[1].is_none()).await;
    assert_eq!(store.get_many(&keys).await.unwrap()[2], Some(Bytes::from_static(b"2")), "set anew without an end");
}

async fn only_the_first_sets_what_is_absent(bench: Bench) {
    let store = &bench.broker.store;
    let ttl = Duration::from_millis(60);
    assert_eq!(store.set_if_absent("lock", Bytes::from_static(b"1"), ttl).await, Ok(true));
    assert_eq!(store.set_if_absent("lock", Bytes::from_static(b"2"), Duration::from_secs(60)).await, Ok(false));
    bench
        .until("it runs out", async || {
            store.set_if_absent("lock", Bytes::from_static(b"3"), Duration::from_secs(60)).await.unwrap()
        })
        .await;
    assert_eq!(store.get_many(&["lock".to_owned()]).await.unwrap(), [Some(Bytes::from_static(b"3"))]);
}

async fn keys_are_found_by_prefix(bench: Bench) {
    let store = &bench.broker.store;
    for key in ["cache:quote:A", "cache:quote:B*", "cache:indices", "cachequote:C"] {
        store.set(key, Bytes::from_static(b"1"), None).await.unwrap();
    }
    let mut found = store.keys_with_prefix("cache:quote:").await.unwrap();
    found.sort();
    assert_eq!(found, ["cache:quote:A", "cache:quote:B*"]);
    assert_eq!(store.keys_with_prefix("cache:quote:B*").await.unwrap(), ["cache:quote:B*"], "no pattern");
    assert_eq!(store.keys_with_prefix("cache?").await.unwrap().len(), 0, "no pattern");
}

// Leadership

const LEASE: Duration = Duration::from_secs(30);

async fn acquire(bench: &Bench, owner: &str) -> Lead {
    bench.broker.leadership.acquire(owner, LEASE, Epoch(0)).await.unwrap()
}

async fn one_leads_and_others_stand_by(bench: Bench) {
    assert!(matches!(acquire(&bench, "one").await, Lead::Leading(_)));
    let Lead::Standby { holder, remaining } = acquire(&bench, "two").await else { panic!("one leads") };
    assert_eq!(holder, "one");
    assert!(remaining <= LEASE && remaining > LEASE / 2);
    bench.broker.leadership.resign("two").await.unwrap();
    assert!(matches!(acquire(&bench, "two").await, Lead::Standby { .. }), "only the holder resigns");
    bench.broker.leadership.resign("one").await.unwrap();
    assert!(matches!(acquire(&bench, "two").await, Lead::Leading(_)));
}

async fn a_holder_renews_and_keeps_its_epoch(bench: Bench) {
    let Lead::Leading(epoch) = acquire(&bench, "one").await else { panic!("nobody else leads") };
    let again = bench.broker.leadership.acquire("one", LEASE, epoch).await;
    assert_eq!(again, Ok(Lead::Leading(epoch)));
    // Started anew under the same name, it does not know its epoch: that one may be in use by a process that hangs.
    let Ok(Lead::Leading(new)) = bench.broker.leadership.acquire("one", LEASE, Epoch(0)).await else {
        panic!("it leads")
    };
    assert!(new > epoch);
}

async fn a_take_over_gets_a_higher_epoch(bench: Bench) {
    let mut last = Epoch(0);
    for owner in ["one", "two", "one"] {
        let Lead::Leading(epoch) = acquire(&bench, owner).await else { panic!("the last one resigned") };
        assert!(epoch > last, "{epoch:?} after {last:?}");
        last = epoch;
        bench.broker.leadership.resign(owner).await.unwrap();
    }
}

async fn a_lease_that_runs_out_is_taken_over(bench: Bench) {
    let leadership = &bench.broker.leadership;
    let first = leadership.acquire("one", Duration::from_millis(100), Epoch(0)).await;
    let Ok(Lead::Leading(first)) = first else { panic!("nobody else leads") };
    let taken = bench.until_some("two takes over", async || match acquire(&bench, "two").await {
        Lead::Leading(epoch) => Some(epoch),
        Lead::Standby { .. } => None,
    });
    assert!(taken.await > first);
    assert!(matches!(leadership.acquire("one", LEASE, first).await, Ok(Lead::Standby { .. })));
}

async fn a_lost_record_brings_no_old_epoch_back(bench: Bench) {
    let ahead = Epoch(u64::from(u32::MAX));
    let lead = bench.broker.leadership.acquire("one", LEASE, ahead).await;
    assert_eq!(lead, Ok(Lead::Leading(Epoch(ahead.0 + 1))));
    let lead = bench.broker.leadership.acquire("one", LEASE, Epoch(ahead.0 + 9)).await;
    assert_eq!(lead, Ok(Lead::Leading(Epoch(ahead.0 + 10))), "the record was behind what the holder had");
}

async fn epochs_count_seconds_since_2026(bench: Bench) {
    let Lead::Leading(Epoch(epoch)) = acquire(&bench, "one").await else { panic!("nobody else leads") };
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    assert!((now - EPOCH_ORIGIN_S).abs_diff(epoch) < 60);
}

// Budgets

fn budget(name: &str, windows: &[(u64, u32)]) -> Budget {
    let window = |(length_ms, limit): &(u64, u32)| Window {
        length: Duration::from_millis(*length_ms),
        limit: NonZeroU32::new(*limit).unwrap(),
    };
    Budget { name: name.into(), windows: windows.iter().map(window).collect() }
}

async fn available(bench: &Bench, budget: &Budget) -> Vec<u32> {
    bench.broker.quota.levels(budget).await.unwrap().iter().map(|level| level.available).collect()
}

async fn a_budget_is_granted_up_to_its_limit(bench: Bench) {
    let (quota, budget) = (&bench.broker.quota, budget("massive", &[(60_000, 5)]));
    let levels = quota.levels(&budget).await.unwrap();
    assert_eq!((levels[0].available, levels[0].full_in), (5, Duration::ZERO));
    assert_eq!(quota.take(&budget, 3).await, Ok(Taken::Granted));
    assert_eq!(quota.take(&budget, 2).await, Ok(Taken::Granted));
    let Ok(Taken::Wait(wait)) = quota.take(&budget, 1).await else { panic!("all of it is spent") };
    assert!(wait > Duration::from_secs(55) && wait < Duration::from_secs(63), "{wait:?}");
    let levels = quota.levels(&budget).await.unwrap();
    assert_eq!((levels[0].window, levels[0].available), (budget.windows[0], 0));
    assert!(levels[0].full_in > Duration::from_secs(55));
}

async fn every_window_must_agree(bench: Bench) {
    let (quota, budget) = (&bench.broker.quota, budget("alphavantage", &[(60_000, 2), (86_400_000, 25)]));
    assert_eq!(quota.take(&budget, 2).await, Ok(Taken::Granted));
    for _ in 0..3 {
        assert!(matches!(quota.take(&budget, 1).await, Ok(Taken::Wait(_))));
    }
    assert_eq!(available(&bench, &budget).await, [0, 23], "a refusal spends nothing");
}

async fn more_than_the_limit_is_never_granted(bench: Bench) {
    let budget = budget("twelvedata", &[(60_000, 8), (86_400_000, 800)]);
    assert_eq!(bench.broker.quota.take(&budget, 9).await, Ok(Taken::Never));
    assert_eq!(bench.broker.quota.take(&budget, 8).await, Ok(Taken::Granted));
}

async fn a_wait_is_kept(bench: Bench) {
    let (quota, budget) = (&bench.broker.quota, budget("finnhub", &[(200, 2)]));
    assert_eq!(quota.take(&budget, 2).await, Ok(Taken::Granted));
    let Ok(Taken::Wait(wait)) = quota.take(&budget, 1).await else { panic!("all of it is spent") };
    assert!(wait <= Duration::from_millis(205), "{wait:?}");
    tokio::time::sleep(wait).await;
    bench.until("it is granted", async || quota.take(&budget, 1).await == Ok(Taken::Granted)).await;
}

async fn a_hold_grants_nothing(bench: Bench) {
    let (quota, budget) = (&bench.broker.quota, budget("nse", &[(1_000, 20)]));
    quota.hold(&budget, Duration::from_secs(60)).await.unwrap();
    quota.hold(&budget, Duration::from_secs(1)).await.unwrap();
    let Ok(Taken::Wait(wait)) = quota.take(&budget, 1).await else { panic!("it is held") };
    assert!(wait > Duration::from_secs(50), "{wait:?}");
    assert_eq!(available(&bench, &budget).await, [0]);
}

async fn a_reset_forgets(bench: Bench) {
    let (quota, budget) = (&bench.broker.quota, budget("nse", &[(60_000, 20)]));
    quota.take(&budget, 20).await.unwrap();
    quota.hold(&budget, Duration::from_secs(60)).await.unwrap();
    quota.reset(&budget).await.unwrap();
    assert_eq!(available(&bench, &budget).await, [20]);
    assert_eq!(quota.take(&budget, 20).await, Ok(Taken::Granted));
}

async fn what_was_spent_while_away_counts(bench: Bench) {
    let (quota, budget) = (&bench.broker.quota, budget("yahoo", &[(60_000, 5)]));
    let spent = [(Duration::from_secs(30), 4), (Duration::from_secs(50), 3), (Duration::from_secs(70), 9)];
    quota.record(&budget, &spent).await.unwrap();
    assert_eq!(available(&bench, &budget).await, [0]);
    let Ok(Taken::Wait(wait)) = quota.take(&budget, 1).await else { panic!("7 of 5 are spent") };
    assert!(wait > Duration::from_secs(2) && wait < Duration::from_secs(12), "the oldest three free enough: {wait:?}");
}

async fn budgets_do_not_touch_each_other(bench: Bench) {
    let (one, two) = (budget("massive:1", &[(60_000, 1)]), budget("massive:2", &[(60_000, 1)]));
    assert_eq!(bench.broker.quota.take(&one, 1).await, Ok(Taken::Granted));
    assert_eq!(bench.broker.quota.take(&two, 1).await, Ok(Taken::Granted));
}
