//! kill -9: of a gateway, and of a publisher at any point of what it does.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use crate::*;
use serde_json::Value;
use support::redis::RawConnection;
use tokio::time::sleep;

/// Publishers here poll this often.
const INTERVAL_MS: u64 = 100;

/// Everything that is published, in order, as Redis gives it to whoever subscribes.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<(String, u64)>>>);

impl Heard {
    /// Listens on a thread of its own, until Redis is gone.
    fn on(redis: &RedisServer) -> Heard {
        let heard = Heard::default();
        let mut connection = redis.connect();
        assert_eq!(connection.command(&["SUBSCRIBE", UPDATES]).texts()[0], "subscribe");
        let list = heard.clone();
        std::thread::spawn(move || list.listen(connection));
        heard
    }

    fn listen(&self, mut connection: RawConnection) {
        while let Some(reply) = connection.next_message() {
            let message: Value = serde_json::from_str(&reply.texts()[2]).unwrap();
            let updates = message.as_array().cloned().unwrap_or_else(|| vec![message]);
            let updates =
                updates.iter().map(|u| (u["symbol"].as_str().unwrap().to_owned(), u["seq"].as_u64().unwrap()));
            self.0.lock().unwrap().extend(updates);
        }
    }

    fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    async fn grows_by(&self, more: usize) {
        let wanted = self.len() + more;
        eventually("more is published", async || self.len() >= wanted).await;
    }

    fn newest(&self) -> BTreeMap<String, u64> {
        self.0.lock().unwrap().iter().cloned().collect()
    }

    /// Nothing was published twice, and nothing late: numbers only rise over all publishers there were.
    #[track_caller]
    fn only_rises(&self) {
        let heard = self.0.lock().unwrap();
        let fell = heard.windows(2).find(|pair| pair[0].1 >= pair[1].1);
        assert!(fell.is_none(), "{fell:?} of {}", heard.len());
    }
}

async fn publisher(redis: &str) -> Role {
    let file = concat!("providers.replay.file=", env!("CARGO_MANIFEST_DIR"), "/tests/data/stocks_monthly.csv");
    let interval = format!("publisher.interval_s={}", INTERVAL_MS as f64 / 1000.0);
    let args = ["--provider", "replay", "--set", file, "--set", "providers.replay.repeat=true", "--set", &interval];
    Role::start(&[&["publisher", "--redis-url", redis][..], &args].concat()).await
}

/// The lease's end, brought forward: a standby that is told nothing waits for up to 6 s.
fn end_the_lease(redis: &RedisServer) {
    redis.command(&["DEL", "publisher:leader"]);
}

#[tokio::test]
async fn a_publisher_killed_at_any_point_loses_nothing_and_repeats_nothing() {
    const KILLS: u64 = 16;
    let redis = RedisServer::start().await;
    let gateway = Role::gateway(&redis.url(), &[]).await;
    let mut client = Watcher::connect(gateway.address(), "AMZN,MSFT,IBM").await;
    let heard = Heard::on(&redis);
    let mut reached = Vec::new();
    for kill in 0..KILLS {
        let publisher = publisher(&redis.url()).await;
        heard.grows_by(1).await;
        // Each at another point of the cycle, and one in four at a random one within the first few.
        let into_cycle = Duration::from_micros(kill * INTERVAL_MS * 1000 / KILLS);
        let cycles =
            if kill % 4 == 3 { Duration::from_millis(fastrand::u64(..3 * INTERVAL_MS)) } else { Duration::ZERO };
        sleep(into_cycle + cycles).await;
        publisher.kill9().await;
        end_the_lease(&redis);
        // What was on its way when it died has arrived when Redis has answered somebody who came later.
        eventually("the cache is what was published", async || {
            let cached = |symbol: &String| redis.get(&format!("cache:quote:{symbol}")).unwrap_or_default();
            let cached_seq =
                |symbol| serde_json::from_str::<Value>(&cached(symbol)).unwrap_or_default()["seq"].as_u64();
            heard.newest().iter().all(|(symbol, seq)| cached_seq(symbol) == Some(*seq))
        })
        .await;
        heard.only_rises();
        for (symbol, seq) in
            heard.newest().into_iter().filter(|(symbol, _)| ["AMZN", "MSFT", "IBM"].contains(&&**symbol))
        {
            client.reaches(&symbol, seq).await;
            reached.push(seq);
        }
    }
    assert!(reached.len() as u64 >= KILLS, "{reached:?}");
    client.is_whole();
    assert!(gateway.stop().await.0.success());
}

#[tokio::test]
async fn what_a_dead_publisher_had_sent_is_refused_when_it_arrives_after_its_successors() {
    let redis = RedisServer::start().await;
    let gateway = Role::gateway(&redis.url(), &[]).await;
    let mut client = Watcher::connect(gateway.address(), SYMBOL).await;
    let heard = Heard::on(&redis);
    let wire = Proxy::start(redis.port()).await;
    let first = publisher(&wire.url()).await;
    heard.grows_by(3).await;
    wire.cut();
    // Its next publish is under way on the wire when it dies.
    eventually("a publish waits on the wire", async || wire.holds("cache:quote:")).await;
    first.kill9().await;
    end_the_lease(&redis);
    let second = publisher(&redis.url()).await;
    heard.grows_by(3).await;
    let scripts = redis.calls("evalsha");
    wire.join();
    eventually("it arrives", async || !wire.holds("cache:quote:") && redis.calls("evalsha") > scripts).await;
    heard.grows_by(3).await;
    heard.only_rises();
    client.gets(3).await;
    client.is_whole();
    assert!(second.stop().await.0.success() && gateway.stop().await.0.success());
}

#[tokio::test]
async fn a_killed_gateway_is_subtracted_whoever_is_left_to_see_it() {
    let World { redis, publisher, gateway, client } = World::new().await;
    let count = format!("subscriptions:count:{SYMBOL}");
    eventually("the watchers are counted", async || redis.get(&count).as_deref() == Some("1")).await;
    gateway.kill9().await;
    drop(client);
    within(Duration::from_secs(15), "the killed gateway is subtracted", async {
        eventually("nothing is watched", async || {
            redis.get(&count).is_none() && redis.members("subscriptions:active").is_empty()
        })
        .await;
    })
    .await;
    assert!(publisher.stop().await.0.success());
}

#[tokio::test]
async fn a_killed_publisher_is_followed_by_one_that_stands_by() {
    let World { redis, publisher, gateway, mut client } = World::new().await;
    let standby = Role::replaying(&redis.url()).await;
    let leads = async |role: &Role| role.ask("/stats").await["publisher"]["leader"] == true;
    assert!(leads(&publisher).await && !leads(&standby).await);
    publisher.kill9().await;
    within(Duration::from_secs(10), "the standby leads", async {
        eventually("it leads", async || leads(&standby).await).await;
        client.gets(3).await;
    })
    .await;
    client.is_whole();
    assert!(standby.stop().await.0.success() && gateway.stop().await.0.success());
}
