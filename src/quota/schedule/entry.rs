//! What the schedule knows of one symbol, and where that puts it.
//!
//! Where an entry belongs is a function of what is known of it and the time ([`Entry::place_at`]), so that every change
//! is the same three steps: change the entry, compute its place, move it if that differs.

use std::num::NonZeroU32;
use std::time::Duration;

use super::config::{Config, Outcome};
use super::pace::{Lane, WHOLE};
use super::ranks::Class;

/// One symbol.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) watchers: u64,
    pub(super) pinned: bool,
    /// To be polled once, watched or not.
    pub(super) asked_for: bool,
    pub(super) stretch: NonZeroU32,
    /// Its watchers have nothing yet.
    pub(super) cold: bool,
    /// From when its age counts: when the last call that answered for it was made, or when it became cold.
    pub(super) since: Duration,
    /// When it lost its last watcher.
    pub(super) left: Option<Duration>,
    pub(super) flight: Option<Flight>,
    pub(super) rest_until: Duration,
    /// [`Outcome::NoData`] in a row.
    pub(super) misses: u32,
    /// Whose load it is: who refreshed it last, unless that failed since.
    pub(super) lane: Option<Lane>,
    /// The last `replace_demand` that named it.
    pub(super) sweep: u64,
    pub(super) place: Place,
}

/// Handed out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Flight {
    pub(super) asked: Duration,
    pub(super) lane: Lane,
}

/// Which of the schedule's orders an entry is in, with the key it has there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Waiting, never refreshed.
    Cold { class: Class, since: Duration },
    /// Waiting.
    Warm { class: Class, since: Duration, deadline: Duration },
    /// Until it waits again.
    Resting { until: Duration },
    /// Until it is taken for lost.
    InFlight { until: Duration },
    /// Unwatched, until it is forgotten.
    Idle { until: Duration },
}

impl Entry {
    pub(super) const fn new(now: Duration) -> Entry {
        Entry {
            watchers: 0,
            pinned: false,
            asked_for: false,
            stretch: NonZeroU32::MIN,
            cold: true,
            since: now,
            left: Some(now),
            flight: None,
            rest_until: Duration::ZERO,
            misses: 0,
            lane: None,
            sweep: 0,
            place: Place::Idle { until: now },
        }
    }

    /// Watchers as they count: pinned and asked for is one at least.
    pub(super) fn demand(&self) -> u64 {
        self.watchers.max(u64::from(self.pinned || self.asked_for))
    }

    /// What it adds to its lane's load.
    pub(super) fn load(&self) -> u64 {
        if self.demand() == 0 { 0 } else { (WHOLE / u64::from(self.stretch.get())).max(1) }
    }

    /// Becomes cold: its watchers have nothing, or want better at once.
    pub(super) const fn chill(&mut self, now: Duration) {
        if !self.cold {
            self.cold = true;
            self.since = now;
        }
    }

    /// Takes the outcome of a call that was made at `asked` for `lane` (`None`: nobody asked, the quote came along).
    pub(super) fn land(
        &mut self,
        outcome: Outcome,
        asked: Duration,
        lane: Option<Lane>,
        config: &Config,
        now: Duration,
    ) {
        self.flight = None;
        let rest = match outcome {
            Outcome::NotAsked => return,
            Outcome::Failed => {
                // Once is once: what nobody watches is not tried again for an operator who has long left.
                self.asked_for = false;
                self.rest_until = now + config.rest_failed;
                return;
            }
            Outcome::Refreshed => Duration::ZERO,
            Outcome::NoData => config.rest_no_data.saturating_mul(1 << self.misses.min(31)).min(config.rest_unknown),
            Outcome::Unknown => config.rest_unknown,
        };
        self.misses = if outcome == Outcome::NoData { self.misses.saturating_add(1) } else { 0 };
        self.lane = if outcome == Outcome::Refreshed { lane.or(self.lane) } else { None };
        self.rest_until = now + rest;
        self.since = asked;
        (self.cold, self.asked_for) = (false, false);
    }

    /// Somebody else's call of `asked` answered for it.
    pub(super) fn inherit(&mut self, asked: Duration) {
        if self.flight.is_none() && !self.asked_for && (self.cold || asked > self.since) {
            (self.cold, self.since) = (false, asked);
        }
    }

    /// Notes when demand went away, or that it is back.
    pub(super) fn note_demand(&mut self, now: Duration) {
        match (self.demand(), self.left) {
            (0, None) => self.left = Some(now),
            (1.., Some(_)) => self.left = None,
            (0, Some(_)) | (1.., None) => {}
        }
    }

    /// Where it belongs.
    pub(super) fn place_at(&self, config: &Config, now: Duration) -> Place {
        if let Some(flight) = self.flight {
            return Place::InFlight { until: flight.asked + config.lease };
        }
        if let Some(left) = self.left {
            // A symbol never refreshed has nothing worth remembering, except that it must rest.
            let remembered = if self.cold { left } else { left + config.remember };
            return Place::Idle { until: remembered.max(self.rest_until) };
        }
        let stretch = self.stretch.get();
        let ripe = if self.cold { Duration::ZERO } else { self.since + config.min_age.saturating_mul(stretch) };
        let ready = ripe.max(self.rest_until);
        if ready > now {
            return Place::Resting { until: ready };
        }
        let class = self.class();
        if self.cold {
            return Place::Cold { class, since: self.since };
        }
        let max_age = config.max_age.max(config.min_age).saturating_mul(stretch);
        Place::Warm { class, since: self.since, deadline: self.since + max_age - max_age / 10 }
    }

    /// `demand / stretch²`, in 2^-16ths: an age that counts `stretch` times less, squared. Below 2^48.
    fn class(&self) -> Class {
        let demand = self.demand().min(u64::from(u32::MAX)) * WHOLE;
        let stretch = u64::from(self.stretch.get());
        Class::of((demand / stretch.saturating_mul(stretch)).max(1))
    }
}
