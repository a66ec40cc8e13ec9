//! Open-loop pacing of events that have no number of their own: connects, reconnects, resubscribes. Pure.

use crate::clock::Ns;

/// So many events per second from a moment on. What is late stays due.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pacer {
    from: Ns,
    per_second: f64,
    taken: u64,
}

impl Pacer {
    /// `None` for a rate of zero.
    pub(crate) fn new(per_second: f64, from: Ns) -> Option<Pacer> {
        (per_second > 0.0).then_some(Pacer { from, per_second, taken: 0 })
    }

    /// When the next event is due.
    pub(crate) fn next(&self) -> Ns {
        self.from.saturating_add(crate::clock::seconds(self.taken as f64 / self.per_second))
    }

    /// Takes one event when it is due.
    pub(crate) fn take(&mut self, now: Ns) -> bool {
        let due = self.next() <= now;
        self.taken += u64::from(due);
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_due_one_by_one_and_none_is_forgotten() {
        let mut pacer = Pacer::new(10.0, 1_000).unwrap();
        assert!(!pacer.take(999));
        assert!(pacer.take(1_000));
        assert!(!pacer.take(1_000));
        assert_eq!(pacer.next(), 100_001_000);
        let late = (0..).take_while(|_| pacer.take(1_000_001_000)).count();
        assert_eq!(late, 10);
        assert!(Pacer::new(0.0, 0).is_none());
    }
}
