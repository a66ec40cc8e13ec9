//! Claims about publishing and feeds.

use crate::*;

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
    ;
}

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
