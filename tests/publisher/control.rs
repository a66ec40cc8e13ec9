//! What operators say, and what becomes of it.

use std::num::NonZeroUsize;

use serde_json::{Value, json};
use tickcast::broker::{Channel, keys};
use tickcast::publisher::Config;
use tokio::time::{Instant, sleep, timeout};

use super::stage::*;
use super::support::DEADLINE;
use super::support::switch::Switch;

#[tokio::test(start_paused = true)]
async fn a_pause_works_within_a_second_and_a_resume_too() {
    let (broker, vendor) = (embedded(), Vendor::moving());
    let mut updates = listen(&broker, Channel::Updates);
    let config = Config { interval: Some(SECOND), ..config() };
    let publisher = Running::start("p", &broker, vendor.clone(), &config);
    let _gateway = Gateway::watching(&broker, "g", &["A"]).await;
    next(&mut updates).await;
    say(&broker, json!({"action": "pause", "data": {"reason": "maintenance"}})).await;
    while timeout(SECOND, next(&mut updates)).await.is_ok() {}
    let calls = vendor.calls();
    silence(&mut updates, 60 * SECOND).await;
    assert_eq!(vendor.calls(), calls);
    let stats = publisher.handle.stats();
    assert_eq!((stats.state, stats.paused.unwrap().all.unwrap().reason.as_deref()), ("paused", Some("maintenance")));
    let resumed = Instant::now();
    say(&broker, json!({"action": "resume"})).await;
    next(&mut updates).await;
    assert!(resumed.elapsed() <= SECOND);
    assert_eq!(publisher.handle.stats().state, "running");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_comes_after_the_pause_is_not_published_until_it_is_resumed() {
    let vendor = Vendor::with(NonZeroUsize::MAX, 2 * SECOND, |_, symbols| quotes(symbols, 1));
    let broker = embedded();
    let mut updates = listen(&broker, Channel::Updates);
    let _publisher = Running::start("p", &broker, vendor.clone(), &config());
    let _gateway = Gateway::watching(&broker, "g", &["A"]).await;
    sleep(SECOND).await;
    assert_eq!(vendor.calls(), 1);
    say(&broker, json!({"action": "pause"})).await;
    silence(&mut updates, 20 * SECOND).await;
    say(&broker, json!({"action": "resume"})).await;
    assert_eq!(show(&next(&mut updates).await), "A1", "the vendor repeats itself, but nobody has heard it");
}

#[tokio::test(start_paused = true)]
async fn a_paused_publisher_stays_paused_over_a_restart() {
    let (broker, vendor) = (embedded(), Vendor::moving());
    let mut updates = listen(&broker, Channel::Updates);
    let _gateway = Gateway::watching(&broker, "g", &["A"]).await;
    let publisher = Running::start("p", &broker, vendor.clone(), &config());
    next(&mut updates).await;
    say(&broker, json!({"action": "pause", "data": {"reason": "maintenance"}})).await;
    sleep(SECOND).await;
    publisher.kill().await;
    let calls = vendor.calls();
    let publisher = Running::start("p", &broker, vendor.clone(), &config());
    silence(&mut updates, 60 * SECOND).await;
    assert_eq!(vendor.calls(), calls);
    let paused = publisher.handle.stats().paused.unwrap().all.unwrap();
    assert_eq!(paused.reason.as_deref(), Some("maintenance"));
    say(&broker, json!({"action": "resume"})).await;
    next(&mut updates).await;
}

#[tokio::test(start_paused = true)]
async fn a_pause_can_be_narrowed_to_symbols_and_to_a_provider() {
    let (broker, vendor) = (embedded(), Vendor::moving());
    let mut updates = listen(&broker, Channel::Updates);
    let _publisher = Running::start("p", &broker, vendor.clone(), &config());
    let _gateway = Gateway::watching(&broker, "g", &["A", "B"]).await;
    sleep(SECOND).await;
    say(&broker, json!({"action": "pause", "data": {"symbols": ["a"]}})).await;
    sleep(5 * SECOND).await;
    while let Ok(update) = timeout(10 * SECOND, next(&mut updates)).await {
        if show(&update).starts_with('B') {
            break;
        }
    }
    assert!(vendor.seconds("A").iter().all(|second| *second <= 1));
    say(&broker, json!({"action": "pause", "data": {"provider": "polygon"}})).await;
    sleep(SECOND).await;
    let calls = vendor.calls();
    sleep(60 * SECOND).await;
    assert_eq!(vendor.calls(), calls, "the provider's other name is known too");
    say(&broker, json!({"action": "resume", "data": {"provider": "massive"}})).await;
    sleep(SECOND).await;
    assert_eq!(vendor.asked().last().unwrap().1, ["B"], "the symbol is still paused");
}

#[tokio::test(start_paused = true)]
async fn a_pause_survives_a_broker_that_lost_its_keys() {
    let (broker, vendor) = (embedded(), Vendor::moving());
    let (line, far) = Switch::new(&broker);
    let _publisher = Running::start("p", &far, vendor.clone(), &config());
    let _gateway = Gateway::watching(&broker, "g", &["A"]).await;
    sleep(SECOND).await;
    say(&broker, json!({"action": "pause"})).await;
    sleep(SECOND).await;
    line.cut();
    sleep(SECOND).await;
    broker.store.remove(&[keys::STATE.to_owned()]).await.unwrap();
    line.mend();
    sleep(SECOND).await;
    assert!(stored(&broker, keys::STATE).await.unwrap()["all"].is_object());
    let calls = vendor.calls();
    sleep(60 * SECOND).await;
    assert_eq!(vendor.calls(), calls);
}

#[tokio::test(start_paused = true)]
async fn a_pause_heard_by_others_while_the_line_was_cut_is_learnt_on_return() {
    let (broker, vendor) = (embedded(), Vendor::moving());
    let (line, far) = Switch::new(&broker);
    let leader = Running::start("p1", &far, vendor, &config());
    sleep(SECOND).await;
    let _standby = Running::start("p2", &broker, Vendor::moving(), &config());
    line.cut();
    sleep(SECOND).await;
    say(&broker, json!({"action": "pause"})).await;
    sleep(SECOND).await;
    assert_eq!(leader.handle.stats().state, "running");
    line.mend();
    sleep(SECOND).await;
    assert_eq!(leader.handle.stats().state, "paused");
}

async fn answer(replies: &mut Listener) -> Value {
    let text = timeout(DEADLINE, replies.text()).await.expect("it is answered");
    serde_json::from_str(&text).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_message_with_an_id_is_answered() {
    let broker = embedded();
    let mut replies = listen(&broker, Channel::Replies);
    let _publisher = Running::start("p-1", &broker, Vendor::moving(), &config());
    sleep(SECOND).await;
    for (message, ok, code) in [
        (json!({"action": "status", "id": 1}), true, None),
        (json!({"action": "pause", "id": "x"}), true, None),
        (json!({"action": "refresh", "id": 2}), false, Some("paused")),
        (json!({"action": "resume", "id": 3}), true, None),
        (json!({"action": "refresh", "data": {"symbols": ["A"]}, "id": 4}), true, None),
        (json!({"action": "set_interval", "data": {"seconds": 0}, "id": 5}), false, Some("invalid_request")),
        (
            json!({"action": "set_interval", "data": {"seconds": 1, "provider": "yahoo"}, "id": 6}),
            false,
            Some("unknown_provider"),
        ),
        (json!({"action": "pause", "data": {"provider": "nobody"}, "id": 7}), false, Some("unknown_provider")),
        (json!({"action": "stop", "id": 8}), false, Some("unknown_action")),
    ] {
        say(&broker, message.clone()).await;
        let reply = answer(&mut replies).await;
        assert_eq!((&reply["id"], &reply["ok"]), (&message["id"], &json!(ok)), "{message}: {reply}");
        assert_eq!(reply["error"]["code"].as_str(), code, "{message}: {reply}");
        assert_eq!((&reply["publisher"], &reply["state"]["leader"]), (&json!("p-1"), &json!(true)));
    }
    for message in [json!({"action": "drain", "data": {"gateway": "g"}, "id": 9}), json!({"action": "status"})] {
        say(&broker, message).await;
    }
    silence(&mut replies, SECOND).await;
}

#[tokio::test(start_paused = true)]
async fn a_refresh_polls_at_once_watched_or_not_and_only_the_leader_obeys_it() {
    let (broker, first, second) = (embedded(), Vendor::new(|_, symbols| quotes(symbols, 1)), Vendor::moving());
    let mut updates = listen(&broker, Channel::Updates);
    let mut replies = listen(&broker, Channel::Replies);
    let _leader = Running::start("p1", &broker, first.clone(), &config());
    sleep(SECOND).await;
    let _standby = Running::start("p2", &broker, second.clone(), &config());
    let _gateway = Gateway::watching(&broker, "g", &["A"]).await;
    assert_eq!(show(&next(&mut updates).await), "A1");
    sleep(2 * SECOND).await;
    say(&broker, json!({"action": "refresh", "data": {"symbols": ["COLD", "A"]}, "id": 1})).await;
    assert_eq!(answer(&mut replies).await["publisher"], "p1");
    assert_eq!(show(&next(&mut updates).await), "A1 COLD1", "unchanged or not");
    silence(&mut replies, 20 * SECOND).await;
    assert_eq!((first.seconds("COLD").len(), second.calls()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn an_interval_can_be_set_while_it_runs() {
    let (broker, vendor) = (embedded(), Vendor::moving());
    let _publisher = Running::start("p", &broker, vendor.clone(), &config());
    let _gateway = Gateway::watching(&broker, "g", &["A"]).await;
    sleep(SECOND).await;
    say(&broker, json!({"action": "set_interval", "data": {"seconds": 1}})).await;
    sleep(10 * SECOND).await;
    assert!((9..=12).contains(&vendor.calls()), "{} calls", vendor.calls());
}

#[tokio::test(start_paused = true)]
async fn stats_have_the_documented_shape() {
    let (broker, vendor) = (embedded(), Vendor::moving());
    let publisher = Running::start("p-1", &broker, vendor, &config());
    let _gateway = Gateway::watching(&broker, "g", &["A", "B"]).await;
    sleep(SECOND).await;
    let mut stats = serde_json::to_value(publisher.handle.stats()).unwrap();
    let epoch = stats["epoch"].take();
    assert!(epoch.as_u64().unwrap() > 0);
    assert_eq!(
        stats,
        json!({
            "state": "running", "leader": true, "name": "p-1", "epoch": null,
            "paused": {"all": null, "providers": {}, "symbols": {}},
            "symbols": 2, "unserved": 0, "buffered": 0, "published": 2, "unchanged": 0, "last_publish_age_ms": 1000,
            "providers": {"massive": {
                "breaker": "closed", "budget": {}, "calls": {"expected": 1, "actual": 1, "last_cycle": {"expected": 1, "actual": 1}}, "queued": 0, "in_flight": 0,
            }},
        })
    );
}
