//! What the hub promises, one by one.

use super::*;

#[test]
fn a_slow_client_sees_the_newest_quote_of_each_symbol() {
    let mut world = World::new();
    let lane = world.connect();
    for name in ["A", "B"] {
        world.hub.watch(lane, symbol(name), LIVE_ONLY);
    }
    world.sockets.get_mut(&lane).unwrap().room = 10;
    let cut = world.publish("A");
    world.flush();
    for _ in 0..100 {
        world.publish("A");
        world.publish("B");
    }
    let newest_a = world.publish("A");
    let newest_b = world.seq - 1;
    world.flush();
    world.read(lane, usize::MAX);
    assert_eq!(world.seqs(lane, "A"), [cut, newest_a]);
    assert_eq!(world.seqs(lane, "B"), [newest_b]);
    let lagging: Vec<_> = world.messages(lane).into_iter().filter(|m| m["type"] == "lagging").collect();
    assert_eq!(lagging, [serde_json::json!({"type": "lagging", "conflated": 199})]);
    assert_eq!(world.hub.counters().conflated, 199);
}

#[test]
fn a_stuck_client_holds_a_mark_per_symbol_however_much_is_published() {
    let mut world = World::new();
    let lane = world.connect();
    world.hub.watch(lane, symbol("A"), LIVE_ONLY);
    world.sockets.get_mut(&lane).unwrap().room = 3;
    for _ in 0..1000 {
        world.publish("A");
        world.flush();
    }
    let side = world.hub.lanes.side(lane);
    assert_eq!(side.backlog().unwrap().queue.len(), 1);
    assert_eq!(world.hub.queued(), 0);
}

#[test]
fn a_late_update_of_an_older_seq_reaches_nobody() {
    let mut world = World::new();
    let lane = world.connect();
    world.hub.watch(lane, symbol("A"), LIVE_ONLY);
    for seq in [5, 4, 5, 6] {
        let publication = world.publication("A", seq);
        world.hub.publish(&publication, Arrival::Live, 0);
    }
    world.flush();
    assert_eq!(world.seqs(lane, "A"), [5, 6]);
    assert_eq!(world.hub.counters().out_of_order, 2);
}

#[test]
fn the_last_known_quote_comes_as_a_snapshot_once() {
    let mut world = World::new();
    let first = world.connect();
    assert!(world.hub.watch(first, symbol("A"), Terms::default()), "nothing is known yet");
    let cached = world.publication("A", 7);
    world.hub.publish(&cached, Arrival::Cached, 0);
    let second = world.connect();
    assert!(!world.hub.watch(second, symbol("A"), Terms::default()));
    let third = world.connect();
    world.hub.watch(third, symbol("A"), LIVE_ONLY);
    world.flush();
    for (lane, count) in [(first, 1), (second, 1), (third, 0)] {
        let messages = world.messages(lane);
        assert_eq!(messages.len(), count);
        assert!(messages.iter().all(|m| m["snapshot"] == true && m["seq"] == 7));
    }
}

#[test]
fn a_cached_quote_brought_late_goes_only_to_those_who_want_a_snapshot_a_recovered_one_to_all() {
    let mut world = World::new();
    let (asks, does_not) = (world.connect(), world.connect());
    world.hub.watch(asks, symbol("A"), Terms::default());
    world.hub.watch(does_not, symbol("A"), LIVE_ONLY);
    let (cached, older, recovered) = (world.publication("A", 3), world.publication("A", 2), world.publication("A", 9));
    world.hub.publish(&cached, Arrival::Cached, 0);
    world.hub.publish(&older, Arrival::Recovered, 0);
    world.hub.publish(&recovered, Arrival::Recovered, 0);
    world.flush();
    assert_eq!((world.seqs(asks, "A"), world.seqs(does_not, "A")), (vec![3, 9], vec![9]));
}

#[test]
fn replies_go_before_updates_and_after_the_cut_frame() {
    let mut world = World::new();
    let lane = world.connect();
    world.hub.watch(lane, symbol("A"), LIVE_ONLY);
    world.sockets.get_mut(&lane).unwrap().room = 4;
    world.publish("A");
    world.flush();
    world.publish("A");
    world.hub.reply(lane, frame::text(r#"{"type":"pong"}"#));
    world.read(lane, usize::MAX);
    let kinds: Vec<_> = world.messages(lane).iter().map(|m| m.get("seq").cloned().unwrap_or_default()).collect();
    assert_eq!(kinds, [serde_json::json!(1), serde_json::Value::Null, serde_json::json!(2)]);
}

#[test]
fn a_connection_found_broken_takes_nothing_from_those_after_it() {
    let mut world = World::new();
    let lanes = [world.connect(), world.connect()];
    for lane in lanes {
        world.hub.watch(lane, symbol("A"), LIVE_ONLY);
    }
    let (broken, sound) = (lanes[0], lanes[1]);
    world.hub.reply(broken, frame::text(r#"{"type":"pong"}"#));
    world.publish("A");
    world.publish("A");
    world.sockets.get_mut(&broken).unwrap().breaks = true;
    world.sockets.get_mut(&sound).unwrap().room = 4;
    world.flush();
    world.read(sound, usize::MAX);
    assert_eq!((world.sockets.len(), world.seqs(sound, "A")), (1, vec![1, 2]));
}

#[test]
fn a_closing_client_gets_the_rest_of_its_frame_and_the_close_and_nothing_else() {
    let mut world = World::new();
    let lane = world.connect();
    world.hub.watch(lane, symbol("A"), LIVE_ONLY);
    world.sockets.get_mut(&lane).unwrap().room = 4;
    world.publish("A");
    world.flush();
    world.publish("A");
    world.hub.close(lane, frame::close_echo(None));
    world.publish("A");
    world.read(lane, usize::MAX);
    assert_eq!(world.seqs(lane, "A"), [1]);
    let socket = &world.sockets[&lane];
    assert!(socket.closed && socket.bytes.ends_with(&[0x88, 0]));
    assert_eq!(world.hub.census(), (0, 0));
}

#[test]
fn max_rate_lets_the_newest_through_when_its_time_comes() {
    let mut world = World::new();
    let lane = world.connect();
    world.hub.watch(lane, symbol("A"), Terms { min_gap_ms: 500, snapshot: false });
    let mut expected = vec![world.publish("A")];
    for ms in [100, 200, 300] {
        world.now_ms = ms;
        world.publish("A");
    }
    expected.push(world.seq);
    assert_eq!(world.hub.pace(499), Some(500));
    world.hub.pace(500);
    world.now_ms = 999;
    expected.push(world.publish("A"));
    assert_eq!(world.hub.pace(999), Some(1000));
    world.hub.pace(1000);
    world.flush();
    assert_eq!(world.seqs(lane, "A"), expected);
}

#[test]
fn a_wildcard_watcher_gets_every_symbol_once() {
    let mut world = World::new();
    let lane = world.connect();
    world.hub.watch(lane, symbol("A"), LIVE_ONLY);
    world.hub.watch_all(lane, LIVE_ONLY);
    for name in ["A", "B", "A"] {
        world.publish(name);
    }
    world.flush();
    assert_eq!((world.seqs(lane, "A"), world.seqs(lane, "B")), (vec![1, 3], vec![2]));
    world.sockets.get_mut(&lane).unwrap().room = 1;
    for name in ["A", "B", "A", "B"] {
        world.publish(name);
    }
    world.flush();
    world.read(lane, usize::MAX);
    // One of the waiting updates was cut and so is sent whole; of the others only the newest.
    assert_eq!((world.seqs(lane, "A"), world.seqs(lane, "B")), (vec![1, 3, 4, 6], vec![2, 7]));
    assert_eq!(world.hub.unwatch_all(lane), [symbol("A")]);
    world.publish("B");
    assert_eq!(world.hub.counters().unwatched, 1);
}

#[test]
fn a_client_of_a_quiet_symbol_does_not_wait_behind_a_large_audience() {
    let mut world = World::new();
    let crowd: Vec<LaneId> = (0..3000).map(|_| world.connect()).collect();
    let quiet = world.connect();
    for &lane in &crowd {
        world.hub.watch(lane, symbol("BIG"), LIVE_ONLY);
    }
    world.hub.watch(quiet, symbol("Q"), LIVE_ONLY);
    world.publish("BIG");
    world.publish("Q");
    let mut before = 0;
    while let Some((lane, _)) = world.hub.flush_next(|_, slices| Ok(slices.iter().map(|s| s.len()).sum())) {
        if lane == quiet {
            break;
        }
        before += 1;
    }
    assert!(before <= 64, "{before} writes came first");
}

#[test]
fn where_most_clients_wait_each_has_one_turn_a_round() {
    let mut world = World::new();
    let crowd: Vec<LaneId> = (0..2000).map(|_| world.connect()).collect();
    for &lane in &crowd {
        world.hub.watch(lane, symbol("BIG"), LIVE_ONLY);
        world.hub.watch(lane, symbol(&format!("S{}", lane.index())), LIVE_ONLY);
    }
    for lane in &crowd {
        world.publish(&format!("S{}", lane.index()));
    }
    let flush = |count: usize, hub: &mut Hub| -> Vec<LaneId> {
        let all = |_, slices: &[io::IoSlice<'_>]| Ok(slices.iter().map(|s| s.len()).sum());
        std::iter::from_fn(|| Some(hub.flush_next(all)?.0)).take(count).collect()
    };
    assert_eq!(flush(100, &mut world.hub), crowd[..100]);
    world.publish("BIG");
    assert_eq!(flush(1900, &mut world.hub), crowd[100..], "those who waited");
    assert_eq!(flush(usize::MAX, &mut world.hub).len(), 100, "and then those who had had their turn");
}

#[test]
fn another_client_is_first_each_time() {
    let mut world = World::new();
    let lanes: Vec<LaneId> = (0..8).map(|_| world.connect()).collect();
    for &lane in &lanes {
        world.hub.watch(lane, symbol("A"), LIVE_ONLY);
    }
    let mut firsts = BTreeSet::new();
    for _ in 0..8 {
        world.publish("A");
        let (first, _) = world.hub.flush_next(|_, slices| Ok(slices.iter().map(|s| s.len()).sum())).unwrap();
        firsts.insert(first);
        world.flush();
    }
    assert_eq!(firsts.len(), lanes.len());
}

#[test]
fn counts_are_told_when_they_change_and_memory_goes_with_the_last_watcher() {
    let mut world = World::new();
    let (one, two) = (world.connect(), world.connect());
    world.hub.watch(one, symbol("A"), LIVE_ONLY);
    world.hub.watch(two, symbol("A"), LIVE_ONLY);
    assert_eq!(world.hub.take_changed(), [(symbol("A"), 2)]);
    assert!(world.watched.may_watch(world.watched.hash(symbol("A"))));
    world.hub.detach(one);
    assert_eq!(world.hub.take_changed(), [(symbol("A"), 1)]);
    world.hub.detach(two);
    assert_eq!(world.hub.take_changed(), [(symbol("A"), 0)]);
    assert!(!world.watched.may_watch(world.watched.hash(symbol("A"))));
    assert_eq!(world.hub.board.len(), 0);
}

#[test]
fn a_symbol_without_updates_is_called_stale_once_and_fresh_before_its_next() {
    let mut world = World::new();
    let lane = world.connect();
    world.hub.watch(lane, symbol("A"), LIVE_ONLY);
    world.publish("A");
    world.hub.find_stale(500, 1000);
    world.hub.find_stale(2_000_000, 1_000_000);
    world.hub.find_stale(3_000_000, 1_000_000);
    let late = world.connect();
    world.hub.watch(late, symbol("A"), Terms::default());
    world.publish("A");
    world.flush();
    let told = |lane| -> Vec<String> {
        let messages = world.messages(lane);
        messages.iter().map(|m| m["type"].as_str().map_or_else(|| m["seq"].to_string(), str::to_owned)).collect()
    };
    assert_eq!(told(lane), ["1", "stale", "fresh", "2"]);
    assert_eq!(told(late), ["1", "stale", "fresh", "2"]);
    assert_eq!(world.messages(lane)[1]["age_ms"], 2000);
}

#[test]
fn a_quote_of_a_closed_market_is_never_stale() {
    let mut world = World::new();
    let lane = world.connect();
    world.hub.watch(lane, symbol("A"), LIVE_ONLY);
    let json = r#"{"symbol":"A","data":{"marketState":"CLOSED"}}"#;
    let publication = Publication::new(symbol("A"), None, json, world.watched.hash(symbol("A")), 0);
    world.hub.publish(&Arc::new(publication), Arrival::Live, 0);
    world.hub.find_stale(u64::MAX, 1);
    world.flush();
    assert_eq!(world.messages(lane).len(), 1);
}

#[test]
fn a_blocked_client_keeps_one_notice_of_each_kind() {
    let mut world = World::new();
    let lane = world.connect();
    world.sockets.get_mut(&lane).unwrap().room = 1;
    let notice = |kind: &str, n: u32| Arc::new(Notice::new(kind, &format!(r#"{{"type":"{kind}","n":{n}}}"#)));
    world.hub.notify_all(&notice("status", 0));
    world.flush();
    for n in 1..5 {
        world.hub.notify_all(&notice("status", n));
        world.hub.notify_all(&notice("market", n));
    }
    world.read(lane, usize::MAX);
    let seen: Vec<_> = world.messages(lane).iter().map(|m| m["n"].as_u64().unwrap()).collect();
    assert_eq!(seen, [0, 4, 4]);
}
