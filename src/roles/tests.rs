//! A publisher that panics is followed by a new one, and quotes go on.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::*;
use crate::broker::{Channel, Event, Feed, GatewayId, Timing, memory};
use crate::config::{Flag, Input};
use crate::market::{Number, Quote, Update};
use crate::ops::Publishing as _;
use crate::provider::{Fetched, Name, Provider, Status};

const DEADLINE: Duration = Duration::from_secs(30);

/// Has every symbol but two: of `LOOP` it cannot tell whether it has it, of `TASK` it cannot tell the price. Each time it
/// is asked for one of them it panics, twice.
struct Defective {
    in_loop: AtomicU64,
    in_task: AtomicU64,
    price: AtomicU64,
}

#[async_trait]
impl Provider for Defective {
    fn name(&self) -> Name {
        Name::Simulated
    }
    fn batch(&self) -> NonZeroUsize {
        NonZeroUsize::MAX
    }
    fn interval(&self) -> Duration {
        Duration::from_secs(1)
    }
    fn serves(&self, symbol: Symbol) -> bool {
        assert!(symbol.as_str() != "LOOP" || self.in_loop.fetch_add(1, Ordering::SeqCst) >= 2, "a defect");
        true
    }
    async fn fetch(&self, symbols: &[Symbol]) -> Fetched {
        let fails = symbols.iter().any(|symbol| symbol.as_str() == "TASK");
        assert!(!fails || self.in_task.fetch_add(1, Ordering::SeqCst) >= 2, "a defect");
        let price = self.price.fetch_add(1, Ordering::SeqCst);
        let quote = |&symbol| Quote::new(symbol, Number::from(price), "test");
        Fetched { quotes: symbols.iter().map(quote).collect(), ..Fetched::default() }
    }
    fn status(&self) -> Status {
        Status::default()
    }
}

fn symbol(text: &str) -> Symbol {
    Symbol::parse(text).expect("a symbol")
}

/// Reads updates until one of `wanted` came; the highest number of each symbol, which only rise.
async fn hear(feed: &mut Box<dyn Feed>, seqs: &mut BTreeMap<Symbol, u64>, wanted: Symbol) {
    loop {
        let mut events = Vec::new();
        tokio::time::timeout(DEADLINE, feed.next(&mut events)).await.expect("quotes go on");
        let mut has_come = false;
        for event in events {
            let Event::Message(_, payload) = event else { continue };
            crate::market::update::read_message(&payload, |item| {
                let Ok(crate::market::update::Item::Update(Update { symbol, seq: Some(seq), .. })) = item else {
                    return;
                };
                let before = seqs.insert(symbol, seq);
                assert!(before.is_none_or(|before| before < seq), "{symbol}: {seq} after {before:?}");
                has_come |= symbol == wanted;
            });
        }
        if has_come {
            return;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_publisher_that_panics_is_followed_by_another_and_numbers_only_rise() {
    let broker = memory::start(Timing::default());
    let mut feed = broker.feeds.subscribe(&[Channel::Updates]);
    let (in_loop, in_task, price) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(1));
    let provider = Arc::new(Defective { in_loop, in_task, price });
    let input = Input { flags: vec![Flag::set("publisher.pinned", "A")], ..Input::default() };
    let config = crate::config::load(&input).expect("nothing is wrong with it").config;
    let publishing = start_publisher(&config, &broker, vec![Arc::clone(&provider) as Arc<dyn Provider>]);
    let mut seqs = BTreeMap::new();
    hear(&mut feed, &mut seqs, symbol("A")).await;
    let first = Reported(Arc::clone(&publishing.handle)).stats()["name"].clone();

    // In a task of it: that fetch is lost, and nothing else.
    let watched = async |text: &str| {
        broker.registry.report(&GatewayId("g".into()), &[(symbol(text), 1)]).await.expect("it is there");
    };
    watched("TASK").await;
    hear(&mut feed, &mut seqs, symbol("TASK")).await;
    assert!(provider.in_task.load(Ordering::SeqCst) > 2, "it panicked twice, and was asked again");
    assert_eq!(Reported(Arc::clone(&publishing.handle)).stats()["name"], first, "the same publisher");

    // In its loop: it ends, and so does the one after it, which finds the same symbol watched.
    watched("LOOP").await;
    let report = async {
        loop {
            watched("LOOP").await;
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
    };
    tokio::select! {
        () = hear(&mut feed, &mut seqs, symbol("LOOP")) => {}
        () = report => unreachable!("it repeats for ever"),
    }
    assert!(provider.in_loop.load(Ordering::SeqCst) > 2);
    assert_ne!(Reported(Arc::clone(&publishing.handle)).stats()["name"], first, "the ops port shows its successor");
    publishing.stop.cancel();
    publishing.task.await.expect("it stops");
}
