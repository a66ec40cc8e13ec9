//! Redis that takes no writes, or loses what it was given: clients notice nothing.

use crate::*;

/// Quotes flow, to newcomers too, and nobody is told of trouble.
async fn nobody_notices(world: &mut World) {
    world.client.gets(5).await;
    let mut newcomer = world.newcomer().await;
    newcomer.gets(2).await;
    for client in [&world.client, &newcomer] {
        assert_eq!((client.count("degraded"), client.count("paused")), (0, 0));
    }
}

/// What operators see meanwhile.
async fn health_says(world: &World, status: &str) {
    for role in [&world.gateway, &world.publisher] {
        eventually(&format!("health says {status}"), async || role.ask("/health").await["status"] == status).await;
    }
}

#[tokio::test]
async fn a_read_only_redis_goes_unnoticed_by_clients_for_as_long_as_it_lasts() {
    let mut world = World::new().await;
    // Longer than the broker keeps a connection to what may be a replica by now.
    let ends_at = Instant::now() + Duration::from_secs(17);
    world.redis.command(&["REPLICAOF", "127.0.0.1", "1"]);
    health_says(&world, "degraded").await;
    while Instant::now() < ends_at {
        nobody_notices(&mut world).await;
    }
    world.redis.command(&["REPLICAOF", "NO", "ONE"]);
    health_says(&world, "healthy").await;
    let before = cached_seq(&world.redis, SYMBOL).await;
    eventually("quotes are cached again", async || cached_seq(&world.redis, SYMBOL).await > before).await;
    nobody_notices(&mut world).await;
    world.converges().await;
    world.stop().await;
}

#[tokio::test]
async fn a_redis_out_of_memory_goes_unnoticed_by_clients() {
    let mut world = World::new().await;
    world.redis.command(&["CONFIG", "SET", "maxmemory", "1"]);
    health_says(&world, "degraded").await;
    nobody_notices(&mut world).await;
    world.redis.command(&["CONFIG", "SET", "maxmemory", "0"]);
    health_says(&world, "healthy").await;
    let before = cached_seq(&world.redis, SYMBOL).await;
    eventually("quotes are cached again", async || cached_seq(&world.redis, SYMBOL).await > before).await;
    world.converges().await;
    world.stop().await;
}

#[tokio::test]
async fn a_flushed_redis_goes_unnoticed_by_clients_and_its_keys_are_there_again() {
    let mut world = World::new().await;
    let count = format!("subscriptions:count:{SYMBOL}");
    eventually("the watchers are counted", async || world.redis.get(&count).as_deref() == Some("1")).await;
    for _ in 0..3 {
        world.redis.command(&["FLUSHALL"]);
        within(Duration::from_secs(15), "the keys are there again", async {
            eventually("the watchers are counted", async || world.redis.get(&count).as_deref() == Some("1")).await;
            eventually("it is active", async || world.redis.members("subscriptions:active") == [SYMBOL, RARE]).await;
            cached_seq(&world.redis, SYMBOL).await;
        })
        .await;
        nobody_notices(&mut world).await;
    }
    world.converges().await;
    world.stop().await;
}
