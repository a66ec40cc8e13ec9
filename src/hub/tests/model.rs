//! Any history of clients and updates against what a model says of each client.

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Op {
    Connect,
    Disconnect(usize),
    Watch(usize, u8, bool),
    Unwatch(usize, u8),
    UnwatchAll(usize),
    WatchAll(usize),
    Publish(u8),
    Flush,
    Room(usize, usize),
    Break(usize),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let lane = 0usize..6;
    let name = 0u8..5;
    let op = prop_oneof![
        2 => Just(Op::Connect),
        1 => lane.clone().prop_map(Op::Disconnect),
        6 => (lane.clone(), name.clone(), any::<bool>()).prop_map(|(l, s, b)| Op::Watch(l, s, b)),
        2 => (lane.clone(), name.clone()).prop_map(|(l, s)| Op::Unwatch(l, s)),
        1 => lane.clone().prop_map(Op::UnwatchAll),
        1 => lane.clone().prop_map(Op::WatchAll),
        12 => name.prop_map(Op::Publish),
        6 => Just(Op::Flush),
        4 => (lane.clone(), 0usize..120).prop_map(|(l, r)| Op::Room(l, r)),
        1 => lane.prop_map(Op::Break),
    ];
    prop::collection::vec(op, 0..120)
}

/// What the model knows of one client.
#[derive(Default)]
struct Client {
    /// Watched symbols, with the `seq` from which updates are owed.
    watched: BTreeMap<String, u64>,
    wild_since: Option<u64>,
    /// Every update published while its symbol was watched.
    owed: BTreeMap<String, Vec<u64>>,
    /// It dropped something, so what was queued may have been dropped too.
    dropped: bool,
}

proptest! {
    #[test]
    fn every_client_ends_with_the_newest_and_a_fast_one_gets_everything(ops in ops()) {
        let mut world = World::new();
        let mut clients: Vec<(LaneId, Client)> = Vec::new();
        let mut newest: BTreeMap<String, u64> = BTreeMap::new();
        let names = |s: u8| char::from(b'A' + s).to_string();
        for op in ops {
            let count = clients.len().max(1);
            match op {
                Op::Connect if clients.len() < 6 => clients.push((world.connect(), Client::default())),
                Op::Disconnect(at) if !clients.is_empty() => {
                    let (lane, _) = clients.remove(at % count);
                    world.hub.detach(lane);
                    world.sockets.remove(&lane);
                }
                Op::Watch(at, s, snapshot) if !clients.is_empty() => {
                    let (lane, client) = &mut clients[at % count];
                    world.hub.watch(*lane, symbol(&names(s)), Terms { min_gap_ms: 0, snapshot });
                    client.watched.entry(names(s)).or_insert(world.seq);
                }
                Op::Unwatch(at, s) if !clients.is_empty() => {
                    let (lane, client) = &mut clients[at % count];
                    let was = world.hub.unwatch(*lane, symbol(&names(s)));
                    prop_assert_eq!(was, client.watched.remove(&names(s)).is_some());
                    client.dropped |= was;
                }
                Op::UnwatchAll(at) if !clients.is_empty() => {
                    let (lane, client) = &mut clients[at % count];
                    world.hub.unwatch_all(*lane);
                    client.watched.clear();
                    client.wild_since = None;
                    client.dropped = true;
                }
                Op::WatchAll(at) if !clients.is_empty() => {
                    let (lane, client) = &mut clients[at % count];
                    world.hub.watch_all(*lane, LIVE_ONLY);
                    client.wild_since.get_or_insert(world.seq);
                }
                Op::Publish(s) => {
                    let seq = world.publish(&names(s));
                    newest.insert(names(s), seq);
                    for (_, client) in &mut clients {
                        if client.wild_since.is_some() || client.watched.contains_key(&names(s)) {
                            client.owed.entry(names(s)).or_default().push(seq);
                        }
                    }
                }
                Op::Flush => world.flush(),
                Op::Room(at, room) if !clients.is_empty() => {
                    let (lane, _) = clients[at % count];
                    world.read(lane, room);
                }
                Op::Break(at) if !clients.is_empty() => {
                    let (lane, _) = clients[at % count];
                    world.sockets.get_mut(&lane).unwrap().breaks = true;
                }
                _ => {}
            }
            clients.retain(|(lane, _)| world.sockets.contains_key(lane));
        }
        for (lane, _) in &clients {
            world.read(*lane, usize::MAX);
        }
        world.flush();
        clients.retain(|(lane, _)| world.sockets.contains_key(lane));
        prop_assert_eq!(world.hub.queued(), 0);
        for (lane, client) in &clients {
            for s in 0..5 {
                let name = names(s);
                let got = world.seqs(*lane, &name);
                let live: Vec<u64> = world.messages(*lane).iter()
                    .filter(|m| m["symbol"] == name && m.get("snapshot").is_none())
                    .map(|m| m["seq"].as_u64().unwrap()).collect();
                prop_assert!(live.windows(2).all(|w| w[0] < w[1]), "live updates rise: {live:?}");
                prop_assert!(got.windows(2).all(|w| w[0] <= w[1]), "nothing older after something newer: {got:?}");
                let owed = client.owed.get(&name).cloned().unwrap_or_default();
                if !world.sockets[lane].was_blocked && !client.dropped {
                    prop_assert_eq!(&live, &owed, "a fast client gets everything");
                }
                let since = client.watched.get(&name).copied().or(client.wild_since);
                if let (Some(since), Some(&newest)) = (since, newest.get(&name)) && newest > since {
                    prop_assert_eq!(got.last(), Some(&newest), "every watcher ends with the newest");
                }
            }
            prop_assert_eq!(world.hub.active(*lane), client.watched.len());
            prop_assert_eq!(world.hub.watched(*lane).len(), client.watched.len());
        }
        let watchers: usize = clients.iter().map(|(_, client)| client.watched.len()).sum();
        prop_assert_eq!(world.hub.census().1, watchers);
        for (lane, _) in clients {
            world.hub.detach(lane);
        }
        prop_assert_eq!(world.hub.board.len(), 0);
    }
}
