//! The publisher: provider to broker, on a schedule and within a budget.
//!
//! Four parts, each owned by one future, all awaited by [`Publisher::run`]:
//!
//! - `cycle`: who wants what, what is due, who is asked ([`router`]), how often ([`hours`]);
//! - `outlet`: numbers what was fetched and publishes it;
//! - [`leader`]: whether this publisher polls at all;
//! - `control`: what operators want.
//!
//! Nobody waits for another: the cycle fills a [`buffer`] that turns into the newest quote of each symbol when the
//! outlet cannot keep up, the roles are watched values. It knows neither vendors nor Redis, and no gateway: it learns what is
//! watched from the registry alone.

pub mod answer;
pub mod buffer;
pub mod config;
mod control;
mod cycle;
pub mod demand;
mod heritage;
pub mod hours;
mod lane;
pub mod leader;
mod meters;
pub mod newest;
mod outlet;
pub mod router;
pub mod seq;
mod shared;
pub mod stats;
mod wanted;

use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::broker::Broker;
use crate::cache;
use crate::provider::{Name, Provider};

pub use config::Config;
pub use stats::{Handle, Health, Stats};

/// What a publisher is made of.
pub struct Parts {
    /// Named in logs, statistics and answers; need not be unique.
    pub name: String,
    /// Where quotes go, and demand comes from.
    pub broker: Broker,
    /// Where quotes come from, in the order they are tried.
    pub providers: Vec<Arc<dyn Provider>>,
    /// How long cached quotes live.
    pub cache: cache::Config,
}

/// One publisher, ready to run.
pub struct Publisher {
    shared: Arc<shared::Shared>,
    cycle: cycle::Cycle,
    outlet: outlet::Outlet,
    leader: leader::Leader,
    ear: control::Ear,
}

impl Publisher {
    /// Puts it together; the metrics recorder has to be installed by then.
    #[must_use]
    pub fn new(parts: Parts, config: &Config) -> Publisher {
        Publisher::with_clock(parts, config, Arc::new(Timestamp::now))
    }

    /// The same, where `clock` says what day and hour it is at the markets.
    #[must_use]
    pub fn with_clock(parts: Parts, config: &Config, clock: hours::Clock) -> Publisher {
        let Parts { name, broker, providers, cache } = parts;
        let shared = Arc::new(shared::Shared::new(name, broker, providers));
        let (asks, asked) = mpsc::channel(leader::MAX_ASKS);
        let (commands, commanded) = mpsc::channel(control::MAX_COMMANDS);
        Publisher {
            cycle: cycle::Cycle::new(Arc::clone(&shared), config, cache.clone(), commanded, clock),
            outlet: outlet::Outlet::new(Arc::clone(&shared), cache, &config.indices, asks),
            leader: leader::Leader::new(Arc::clone(&shared), asked),
            ear: control::Ear::new(Arc::clone(&shared), commands),
            shared,
        }
    }

    /// Sees it from outside.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle(Arc::clone(&self.shared))
    }

    /// Runs until `stop`: then stops polling, publishes what waits (for up to 2 s), and gives the lead to the next.
    pub async fn run(self, stop: CancellationToken) {
        let Publisher { shared, cycle, outlet, leader, ear } = self;
        let names: Vec<&str> = shared.lanes.iter().map(|lane| lane.provider.name().as_str()).collect();
        info!(name = %shared.name, providers = names.join(","), "publisher starts");
        if shared.lanes.iter().any(|lane| lane.provider.name() == Name::Simulated) {
            warn!("quotes of provider simulated are invented, not a market's");
        }
        let (polled, published) = (CancellationToken::new(), CancellationToken::new());
        let polling = async {
            cycle.run(stop.clone()).await;
            polled.cancel();
        };
        let publishing = async {
            outlet.run(polled.clone()).await;
            published.cancel();
        };
        tokio::join!(polling, publishing, leader.run(published.clone()), ear.run(stop.clone()));
    }
}

#[cfg(test)]
mod tests;

/// Puts a publisher together and runs it until `stop`.
pub async fn run(parts: Parts, config: &Config, stop: CancellationToken) {
    Publisher::new(parts, config).run(stop).await;
}
