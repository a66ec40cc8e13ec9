//! What cannot be seen from outside within a test's time: the end of an epoch's numbers.

use std::time::Duration;

use super::leader::{Leader, MAX_ASKS};
use super::outlet::Outlet;
use super::shared::{Role, Shared};
use super::*;
use crate::broker::{Channel, Event, Timing, memory};
use crate::market::{Number, Quote, Symbol, Update};

fn batch(price: u64) -> Vec<Quote> {
    ["A", "B", "C"].map(|text| Quote::new(Symbol::parse(text).unwrap(), Number::from(price), "test")).into()
}

fn cache() -> cache::Config {
    cache::Config {
        enabled: true,
        ttl_latest: Duration::from_secs(300),
        ttl_recent: Duration::from_secs(3600),
        ttl_list: Duration::from_secs(21_600),
        popular: vec![],
        popular_multiplier: 2,
        max_bytes: 1 << 20,
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_epoch_is_taken_before_the_numbers_run_out() {
    let broker = memory::start(Timing::default());
    let mut feed = broker.feeds.subscribe(&[Channel::Updates]);
    let shared = Arc::new(Shared::new("p".into(), broker, vec![]));
    let (asks, asked) = mpsc::channel(MAX_ASKS);
    let stop = CancellationToken::new();
    let leader = tokio::spawn(Leader::new(Arc::clone(&shared), asked).run(stop.clone()));
    let mut role = shared.role.subscribe();
    let Role::Leading { epoch, .. } = *role.wait_for(|role| role.is_leading()).await.unwrap() else { unreachable!() };

    let mut outlet = Outlet::new(Arc::clone(&shared), cache(), &[], asks);
    // All but four of this epoch's numbers are used: one batch fits, the second does not.
    outlet.use_up(epoch, 4);
    let outlet = tokio::spawn(outlet.run(stop.clone()));
    for price in 1..=3 {
        shared.push(batch(price));
    }
    let (mut seqs, mut events) = (Vec::new(), Vec::new());
    while seqs.len() < 9 {
        tokio::time::timeout(Duration::from_secs(30), feed.next(&mut events)).await.expect("all are published");
        for event in events.drain(..) {
            let Event::Message(_, payload) = event else { continue };
            let updates: Vec<serde_json::Value> = serde_json::from_slice(&payload).unwrap();
            seqs.extend(updates.iter().map(|update| Update::read(&update.to_string()).unwrap().seq.unwrap()));
        }
    }
    stop.cancel();
    assert!(seqs.is_sorted_by(|a, b| a < b), "{seqs:?}");
    assert_eq!((seqs[2] >> 24, seqs[3] >> 24 > epoch.0), (epoch.0, true));
    outlet.await.unwrap();
    leader.await.unwrap();
}
