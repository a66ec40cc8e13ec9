//! Redis gone, frozen, cut off, or no longer sending.

use crate::*;

/// While Redis is away: clients are told, and newcomers are served with the last quotes and told.
async fn is_told_and_serves_newcomers(world: &mut World) {
    within(TOLD, "told that the broker is away", world.client.told("degraded")).await;
    let last = world.client.newest(SYMBOL).unwrap();
    let mut newcomer = world.newcomer().await;
    newcomer.told("degraded").await;
    newcomer.reaches(SYMBOL, last).await;
    assert!(newcomer.has_snapshot(SYMBOL, last));
}

/// Redis is back: clients are told, have the newest, and who watches what is known again.
async fn is_back(world: &mut World) {
    within(BACK, "told that the broker is back", world.client.told("ok")).await;
    within(BACK, "has the newest", world.converges()).await;
    let count = format!("subscriptions:count:{SYMBOL}");
    eventually("the watchers are counted", async || world.redis.get(&count).as_deref() == Some("1")).await;
}

#[tokio::test]
async fn a_restarted_redis_is_told_and_all_end_with_the_newest() {
    let mut world = World::new().await;
    world.redis.terminate();
    is_told_and_serves_newcomers(&mut world).await;
    world.redis.restart().await;
    is_back(&mut world).await;
    world.stop().await;
}

#[tokio::test]
async fn a_killed_redis_is_told_and_all_end_with_the_newest() {
    let mut world = World::new().await;
    world.redis.kill9();
    is_told_and_serves_newcomers(&mut world).await;
    world.redis.restart().await;
    is_back(&mut world).await;
    world.stop().await;
}

#[tokio::test]
async fn a_redis_frozen_for_12_s_is_told_while_it_lasts_and_all_end_with_the_newest() {
    let mut world = World::new().await;
    let thaws_at = Instant::now() + Duration::from_secs(12);
    world.redis.freeze();
    is_told_and_serves_newcomers(&mut world).await;
    sleep_until(thaws_at).await;
    world.redis.thaw();
    is_back(&mut world).await;
    world.stop().await;
}

#[tokio::test]
async fn a_partition_of_15_s_is_told_while_it_lasts_and_what_was_missed_arrives() {
    let redis = RedisServer::start().await;
    let wire = Proxy::start(redis.port()).await;
    let mut world = World::with(redis, &wire.url()).await;
    let joins_at = Instant::now() + Duration::from_secs(15);
    wire.cut();
    is_told_and_serves_newcomers(&mut world).await;
    sleep_until(joins_at).await;
    publish_once(&world.redis, 7);
    assert_eq!(world.client.newest(RARE), None, "the wire is cut");
    wire.join();
    is_back(&mut world).await;
    world.client.reaches(RARE, 7).await;
    world.stop().await;
}

#[tokio::test]
async fn a_subscription_dead_in_silence_is_found_and_what_was_missed_arrives() {
    let redis = RedisServer::start().await;
    let wire = Proxy::start(redis.port()).await;
    let mut world = World::with(redis, &wire.url()).await;
    wire.kill_subscribers_silently();
    assert_eq!(publish_once(&world.redis, 7), 1, "Redis believes that it was received");
    within(TOLD, "told that the broker is away", world.client.told("degraded")).await;
    within(BACK, "told that the broker is back", world.client.told("ok")).await;
    world.client.reaches(RARE, 7).await;
    assert!(world.client.has_snapshot(RARE, 7), "from the cache");
    world.converges().await;
    world.stop().await;
}

#[tokio::test]
async fn a_gateway_that_redis_cut_off_for_reading_too_slowly_ends_with_the_newest() {
    let mut world = World::new().await;
    world.gateway.freeze();
    // Above Redis' own limit (32 MB at once) and what the sockets hold.
    let pad = "x".repeat(1 << 20);
    let mut seq = 0;
    eventually("Redis cuts the gateway off", async || {
        seq += 1;
        let json = format!(r#"{{"type":"price_update","symbol":"{RARE}","pad":"{pad}","seq":{seq}}}"#);
        redis_publish(&world.redis, &json) == 0
    })
    .await;
    assert!(seq > 32, "cut off after {seq} MB");
    publish_once(&world.redis, seq + 1);
    world.gateway.thaw();
    within(BACK, "has the newest", world.client.reaches(RARE, seq + 1)).await;
    world.converges().await;
    world.stop().await;
}

fn redis_publish(redis: &RedisServer, json: &str) -> i64 {
    redis.command(&["PUBLISH", UPDATES, json]).number()
}

#[tokio::test]
async fn killed_subscriptions_are_made_again_and_what_was_missed_arrives() {
    let mut world = World::new().await;
    for seq in 1..=5 {
        // Between the two, whatever is published reaches nobody.
        assert!(matches!(world.redis.command(&["CLIENT", "KILL", "TYPE", "pubsub"]), Reply::Number(1..)));
        publish_once(&world.redis, seq);
        within(BACK, "has the newest", world.client.reaches(RARE, seq)).await;
    }
    world.converges().await;
    world.stop().await;
}
