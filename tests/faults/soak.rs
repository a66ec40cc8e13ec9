//! Churn and one fault after the other, for as long as it takes: counts, memory and descriptors end where they began.
//!
//! 10 s with 50 clients here. The whole claim, twenty minutes with 5,000:
//! `TICKCAST_SOAK_S=1200 TICKCAST_SOAK_CLIENTS=5000 cargo test --release --test faults soak -- --nocapture`.

use crate::*;
use tokio::time::sleep;

const FAULTS: [Fault; 7] = [
    Fault::KilledSubscriptions,
    Fault::Flushed,
    Fault::Restarted,
    Fault::KilledPublisher,
    Fault::Frozen,
    Fault::OutOfMemory,
    Fault::ReadOnly,
];
/// How long what lasts, lasts.
const LASTS: Duration = Duration::from_secs(2);
/// Clients that leave and come again, per second.
const CHURN: u32 = 10;
/// What may be gained: buffers of connections that came and went, which the allocator keeps.
const MAX_GROWTH_KIB: u64 = 20 * 1024;

#[derive(Debug, Clone, Copy)]
enum Fault {
    KilledSubscriptions,
    Flushed,
    Restarted,
    KilledPublisher,
    Frozen,
    OutOfMemory,
    ReadOnly,
}

/// What a gateway holds.
#[derive(Debug)]
struct Holding {
    files: usize,
    memory_kib: u64,
}

impl Holding {
    fn of(role: &Role) -> Holding {
        let status = std::fs::read_to_string(format!("/proc/{}/status", role.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
        let memory_kib = line.split_whitespace().next().unwrap().parse().unwrap();
        Holding { files: std::fs::read_dir(format!("/proc/{}/fd", role.pid())).unwrap().count(), memory_kib }
    }
}

async fn strike(fault: Fault, world: &mut World) {
    match fault {
        Fault::KilledSubscriptions => drop(world.redis.command(&["CLIENT", "KILL", "TYPE", "pubsub"])),
        Fault::Flushed => drop(world.redis.command(&["FLUSHALL"])),
        Fault::Restarted => {
            world.redis.kill9();
            world.redis.restart().await;
        }
        Fault::KilledPublisher => {
            let next = Role::replaying(&world.redis.url()).await;
            std::mem::replace(&mut world.publisher, next).kill9().await;
        }
        Fault::Frozen => {
            world.redis.freeze();
            sleep(LASTS).await;
            world.redis.thaw();
        }
        Fault::OutOfMemory => {
            world.redis.command(&["CONFIG", "SET", "maxmemory", "1"]);
            sleep(LASTS).await;
            world.redis.command(&["CONFIG", "SET", "maxmemory", "0"]);
        }
        Fault::ReadOnly => {
            world.redis.command(&["REPLICAOF", "127.0.0.1", "1"]);
            sleep(LASTS).await;
            world.redis.command(&["REPLICAOF", "NO", "ONE"]);
        }
    }
}

/// Everybody's connection stands, has the newest, and is counted.
async fn all_is_well(world: &mut World, clients: &mut [Watcher]) {
    world.client.gets(2).await;
    let gateway = &world.gateway;
    eventually("it is healthy", async || gateway.ask("/health").await["status"] == "healthy").await;
    let newest = cached_seq(&world.redis, SYMBOL).await;
    for client in &mut *clients {
        client.reaches(SYMBOL, newest).await;
    }
    let count = (clients.len() + 1).to_string();
    let key = format!("subscriptions:count:{SYMBOL}");
    eventually("all are counted", async || world.redis.get(&key).as_deref() == Some(&*count)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_soak_of_churn_and_faults_ends_where_it_began() {
    let wanted = |name: &str, otherwise| std::env::var(name).map_or(otherwise, |text| text.parse().expect("a number"));
    let (seconds, many) = (wanted("TICKCAST_SOAK_S", 10), wanted("TICKCAST_SOAK_CLIENTS", 50));
    raise_open_files();
    let redis = RedisServer::start().await;
    let limits = ["connections_per_ip", "connects_per_ip_per_second", "connect_burst"];
    let limits = limits.map(|limit| format!("limits.{limit}=100000"));
    let flags: Vec<&str> = limits.iter().flat_map(|value| ["--set", value]).collect();
    let flags = [&flags[..], &["--set", "drain.window_s=1"]].concat();
    // As deployed: docs/deploy.md, Memory.
    let gateway = Role::gateway_with(&redis.url(), &flags, &[("MALLOC_MMAP_THRESHOLD_", "1048576")]).await;
    let publisher = Role::replaying(&redis.url()).await;
    let mut world = World::of(redis, publisher, gateway).await;
    let mut clients = Vec::new();
    for _ in 1..many {
        clients.push(Watcher::connect(world.gateway.address(), SYMBOL).await);
    }
    all_is_well(&mut world, &mut clients).await;
    let before = Holding::of(&world.gateway);

    let end = Instant::now() + Duration::from_secs(seconds);
    let mut faults = 0;
    while Instant::now() < end {
        let fault = FAULTS[faults % FAULTS.len()];
        faults += 1;
        strike(fault, &mut world).await;
        for _ in 0..CHURN {
            let at = fastrand::usize(..clients.len());
            clients[at].is_whole();
            clients[at] = Watcher::connect(world.gateway.address(), SYMBOL).await;
            sleep(Duration::from_secs(1) / CHURN).await;
        }
        all_is_well(&mut world, &mut clients).await;
    }
    let address = world.gateway.address();
    let mut after = Holding::of(&world.gateway);
    eventually("files are as many as before", async || {
        after = Holding::of(&world.gateway);
        after.files <= before.files
    })
    .await;
    eprintln!("{faults} faults in {seconds} s on {many} clients of {address}: {before:?}, then {after:?}");
    assert!(after.memory_kib <= before.memory_kib + MAX_GROWTH_KIB, "{before:?}, then {after:?}");
    clients.iter().for_each(Watcher::is_whole);
    drop(clients);
    let key = format!("subscriptions:count:{SYMBOL}");
    eventually("one is counted", async || world.redis.get(&key).as_deref() == Some("1")).await;
    world.stop().await;
}
