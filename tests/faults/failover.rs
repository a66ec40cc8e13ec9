//! A sentinel group whose primary goes away, or hands over.

use crate::*;

/// A primary with a replica, watched by a sentinel.
struct Group {
    primary: RedisServer,
    replica: RedisServer,
    sentinel: RedisServer,
}

impl Group {
    async fn start() -> Group {
        let (primary, replica) = (RedisServer::start().await, RedisServer::start().await);
        let port = primary.port().to_string();
        replica.command(&["REPLICAOF", "127.0.0.1", &port]);
        let group = Group { sentinel: RedisServer::start_sentinel(&port).await, primary, replica };
        let known = || group.sentinel.command(&["SENTINEL", "REPLICAS", "quotes"]).texts();
        let successor = group.replica.port().to_string();
        eventually("the sentinel knows the replica", async || {
            let synced = group.replica.command(&["INFO", "replication"]).texts();
            known().contains(&successor) && synced[0].contains("master_link_status:up")
        })
        .await;
        group
    }

    fn url(&self) -> String {
        format!("redis-sentinel://127.0.0.1:{}?sentinelServiceName=quotes", self.sentinel.port())
    }
}

/// The successor serves: quotes go on through it, and it knows who watches.
async fn goes_on_at_the_successor(mut world: World) {
    eventually("it is a primary", async || {
        world.redis.command(&["ROLE"]).texts().first().map(String::as_str) == Some("master")
    })
    .await;
    world.converges().await;
    let count = format!("subscriptions:count:{SYMBOL}");
    eventually("the watchers are counted", async || world.redis.get(&count).as_deref() == Some("1")).await;
    let before = cached_seq(&world.redis, SYMBOL).await;
    eventually("quotes are cached there", async || cached_seq(&world.redis, SYMBOL).await > before).await;
    world.client.gets(5).await;
    world.stop().await;
}

#[tokio::test]
async fn a_primary_that_died_is_followed_by_its_replica_without_an_operator() {
    let Group { mut primary, replica, sentinel } = Group::start().await;
    let url = format!("redis-sentinel://127.0.0.1:{}?sentinelServiceName=quotes", sentinel.port());
    let (publisher, gateway) = (Role::replaying(&url).await, Role::gateway(&url, &[]).await);
    let mut world = World::of(replica, publisher, gateway).await;
    primary.kill9();
    within(TOLD, "told that the broker is away", world.client.told("degraded")).await;
    world.client.told("ok").await;
    goes_on_at_the_successor(world).await;
}

#[tokio::test]
async fn a_primary_that_hands_over_is_left_for_its_successor() {
    let group = Group::start().await;
    let (publisher, gateway) = (Role::replaying(&group.url()).await, Role::gateway(&group.url(), &[]).await);
    let Group { primary, replica, sentinel } = group;
    let world = World::of(replica, publisher, gateway).await;
    eventually("the sentinel hands over", async || {
        matches!(sentinel.command(&["SENTINEL", "FAILOVER", "quotes"]), Reply::Status(_))
    })
    .await;
    goes_on_at_the_successor(world).await;
    drop(primary);
}
