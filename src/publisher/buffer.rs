//! Quotes on their way to the broker.
//!
//! While the broker keeps up, batches wait in order and none is lost: up to [`MAX_BATCHES`], or [`MAX_QUEUED`] quotes.
//! Beyond that, and while the broker is away, they turn into the newest quote of each symbol, at most [`MAX_SYMBOLS`]
//! of them; a new symbol then pushes out the one that has waited longest. So nothing here waits for the broker, and on
//! its return what was kept goes out before anything newer.
//!
//! Quotes are kept, not bytes: an update gets its number when it is published, since the epoch may have moved by then.
//! Pure; its owner is the publisher.

use std::collections::VecDeque;
use std::num::NonZeroUsize;

use crate::market::latest::Pushed;
use crate::market::{Latest, Quote, Symbol};

/// Batches that wait in order: three seconds' worth of twenty vendor answers a second.
pub const MAX_BATCHES: usize = 64;
/// Quotes that wait in order.
pub const MAX_QUEUED: usize = 65_536;
/// Symbols of which the newest quote is kept: about 350 B each, 22 MiB.
pub const MAX_SYMBOLS: NonZeroUsize = NonZeroUsize::new(65_536).expect("65536 is not 0");

/// What waits.
#[derive(Debug)]
pub struct Buffer {
    queue: VecDeque<Vec<Quote>>,
    queued: usize,
    newest: Latest<Symbol, Quote>,
    symbols: NonZeroUsize,
    lost: Lost,
}

/// What did not go out, since last asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lost {
    /// A newer quote of the same symbol took their place.
    pub replaced: u64,
    /// Pushed out by other symbols.
    pub evicted: u64,
}

impl Default for Buffer {
    fn default() -> Self {
        Buffer::new(MAX_SYMBOLS)
    }
}

impl Buffer {
    fn new(symbols: NonZeroUsize) -> Buffer {
        Buffer { queue: VecDeque::new(), queued: 0, newest: Latest::new(symbols), symbols, lost: Lost::default() }
    }

    /// Puts a batch behind what waits.
    pub fn push(&mut self, batch: Vec<Quote>) {
        if batch.is_empty() {
            return;
        }
        let room = self.queue.len() < MAX_BATCHES && self.queued + batch.len() <= MAX_QUEUED;
        if self.newest.is_empty() && (room || self.queue.is_empty()) {
            self.queued += batch.len();
            self.queue.push_back(batch);
            return;
        }
        self.conflate();
        self.keep(batch);
    }

    /// Takes what has waited longest, at most `max` quotes.
    pub fn take(&mut self, max: NonZeroUsize) -> Vec<Quote> {
        let Some(mut batch) = self.queue.pop_front() else {
            let taken = self.newest.drain().take(max.get()).map(|(_, quote)| quote).collect();
            self.newest.release_if_empty();
            return taken;
        };
        if batch.len() > max.get() {
            self.queue.push_front(batch.split_off(max.get()));
        }
        self.queued -= batch.len();
        batch
    }

    /// Puts back what was taken and not tried, as if it had not been taken.
    pub fn untake(&mut self, batch: Vec<Quote>) {
        if self.newest.is_empty() {
            self.queued += batch.len();
            self.queue.push_front(batch);
        } else {
            self.put_back(batch);
        }
    }

    /// Puts back what was taken and could not be sent: in front of what waits, unless there is a newer quote.
    pub fn put_back(&mut self, batch: Vec<Quote>) {
        let mut waiting = std::mem::replace(&mut self.newest, Latest::new(self.symbols));
        self.keep(batch);
        self.conflate();
        self.keep(waiting.drain().map(|(_, quote)| quote));
    }

    /// Forgets everything; somebody else publishes by now.
    pub fn clear(&mut self) {
        *self = Buffer { lost: self.lost, ..Buffer::new(self.symbols) };
    }

    /// Quotes waiting.
    #[must_use]
    pub fn len(&self) -> usize {
        self.queued + self.newest.len()
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What was lost since the last call.
    pub fn take_lost(&mut self) -> Lost {
        std::mem::take(&mut self.lost)
    }

    fn conflate(&mut self) {
        self.queued = 0;
        for batch in std::mem::take(&mut self.queue) {
            self.keep(batch);
        }
    }

    fn keep(&mut self, quotes: impl IntoIterator<Item = Quote>) {
        for quote in quotes {
            match self.newest.push(quote.symbol, quote) {
                Pushed::New => {}
                Pushed::Replaced(_) => self.lost.replaced += 1,
                Pushed::Evicted(..) => self.lost.evicted += 1,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::market::Number;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    const ALL: NonZeroUsize = NonZeroUsize::MAX;

    fn quote(symbol: &str, price: u64) -> Quote {
        Quote::new(Symbol::parse(symbol).unwrap(), Number::from(price), "test")
    }

    fn batch(texts: &[(&str, u64)]) -> Vec<Quote> {
        texts.iter().map(|(symbol, price)| quote(symbol, *price)).collect()
    }

    fn show(batch: &[Quote]) -> String {
        batch.iter().map(|quote| format!("{}{}", quote.symbol, quote.price)).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn batches_keep_their_order_and_lose_nothing_while_the_broker_keeps_up() {
        let mut buffer = Buffer::default();
        buffer.push(batch(&[("A", 1), ("B", 1)]));
        buffer.push(batch(&[("A", 2)]));
        assert_eq!(buffer.len(), 3);
        assert_eq!(show(&buffer.take(ALL)), "A1 B1");
        assert_eq!(show(&buffer.take(ALL)), "A2");
        assert!(buffer.is_empty() && buffer.take(ALL).is_empty());
        assert_eq!(buffer.take_lost(), Lost::default());
    }

    #[test]
    fn what_could_not_be_sent_goes_first_unless_there_is_newer() {
        let mut buffer = Buffer::default();
        buffer.push(batch(&[("A", 1), ("B", 1)]));
        let taken = buffer.take(ALL);
        buffer.push(batch(&[("B", 2), ("C", 2)]));
        buffer.put_back(taken);
        buffer.push(batch(&[("C", 3), ("D", 3)]));
        assert_eq!(show(&buffer.take(ALL)), "A1 B2 C3 D3");
        assert_eq!(buffer.take_lost(), Lost { replaced: 2, evicted: 0 });
        buffer.push(batch(&[("A", 9)]));
        buffer.push(batch(&[("A", 10)]));
        assert_eq!(buffer.len(), 2, "in order again");
    }

    #[test]
    fn too_many_batches_turn_into_the_newest_of_each_symbol() {
        let mut buffer = Buffer::default();
        for price in 0..=MAX_BATCHES as u64 {
            buffer.push(batch(&[("A", price)]));
        }
        assert_eq!((buffer.len(), show(&buffer.take(ALL)).as_str()), (1, "A64"));
    }

    #[test]
    fn the_longest_waiting_symbol_gives_way_when_there_are_too_many() {
        let mut buffer = Buffer::new(NonZeroUsize::new(2).unwrap());
        buffer.put_back(batch(&[("A", 1), ("B", 1)]));
        buffer.push(batch(&[("C", 1)]));
        assert_eq!(buffer.take_lost(), Lost { replaced: 0, evicted: 1 });
        assert_eq!(show(&buffer.take(NonZeroUsize::MIN)), "B1");
        assert_eq!(show(&buffer.take(ALL)), "C1");
    }

    #[test]
    fn a_batch_longer_than_a_publish_is_split() {
        let mut buffer = Buffer::default();
        buffer.push(batch(&[("A", 1), ("B", 1), ("C", 1)]));
        assert_eq!(show(&buffer.take(NonZeroUsize::new(2).unwrap())), "A1 B1");
        assert_eq!((buffer.len(), show(&buffer.take(ALL)).as_str()), (1, "C1"));
        buffer.push(batch(&[("A", 2)]));
        buffer.clear();
        assert!(buffer.is_empty());
    }

    proptest! {
        /// Whatever is pushed, sent and put back: of each symbol the last quote goes out, and never an older one after
        /// a newer one.
        #[test]
        fn the_newest_goes_out_last(
            steps in prop::collection::vec((prop::collection::vec(0u8..5, 0..4), 0u8..5), 0..60),
        ) {
            let two = NonZeroUsize::new(2).unwrap();
            let (mut buffer, mut price) = (Buffer::default(), 0);
            let (mut pushed, mut sent) = (BTreeMap::new(), BTreeMap::new());
            let send = |batch: Vec<Quote>, sent: &mut BTreeMap<Symbol, u64>| {
                for quote in batch {
                    let price: u64 = quote.price.as_str().parse().unwrap();
                    assert!(sent.insert(quote.symbol, price).is_none_or(|before| before <= price));
                }
            };
            for (symbols, step) in steps {
                let mut quotes = Vec::new();
                for number in symbols {
                    price += 1;
                    quotes.push(quote(&format!("S{number}"), price));
                    pushed.insert(quotes.last().unwrap().symbol, price);
                }
                buffer.push(quotes);
                let taken = if step < 3 { buffer.take(two) } else { vec![] };
                match step {
                    0 => send(taken, &mut sent),
                    1 => buffer.put_back(taken),
                    2 => buffer.untake(taken),
                    _ => {}
                }
            }
            while !buffer.is_empty() {
                send(buffer.take(two), &mut sent);
            }
            prop_assert_eq!(sent, pushed);
        }
    }
}
