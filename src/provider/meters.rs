//! One provider's metrics, registered once.

use metrics::{Counter, Gauge, counter, describe_counter, describe_gauge, gauge};

use super::config::Name;
use super::vendor::{Failure, Missing};
use crate::quota::breaker;
use crate::quota::{Level, Window};

const REQUESTS: &str = "tickcast_provider_requests_total";
const ACTUAL: &str = "tickcast_provider_calls_actual_total";
const MISSING: &str = "tickcast_provider_missing_total";
const BUDGET: &str = "tickcast_provider_budget_available";
const BREAKER: &str = "tickcast_breaker_state";

/// Handles for one provider.
pub struct Meters {
    ok: Counter,
    rate_limited: Counter,
    quota_exhausted: Counter,
    auth: Counter,
    plan: Counter,
    transient: Counter,
    malformed: Counter,
    unknown_symbol: Counter,
    not_in_plan: Counter,
    no_data: Counter,
    actual: Counter,
    breaker: Gauge,
    budget: Vec<Gauge>,
}

impl Meters {
    /// Registers; the recorder has to be installed by then.
    #[must_use]
    pub fn new(provider: Name, windows: &[Window]) -> Meters {
        describe_counter!(REQUESTS, "Requests to providers by outcome.");
        describe_counter!(ACTUAL, "Requests made to providers, retries included.");
        describe_counter!(MISSING, "Symbols a provider answered without a price for, by reason.");
        describe_gauge!(BUDGET, "Units left of a provider's budget, by window, when last read.");
        describe_gauge!(BREAKER, "A provider's circuit breaker: 0 closed, 1 half-open, 2 open.");
        let name = provider.as_str();
        let outcome = |outcome| counter!(REQUESTS, "provider" => name, "outcome" => outcome);
        let missing = |missing: Missing| counter!(MISSING, "provider" => name, "reason" => missing.as_str());
        Meters {
            ok: outcome("ok"),
            rate_limited: outcome("rate_limited"),
            quota_exhausted: outcome("quota_exhausted"),
            auth: outcome("auth"),
            plan: outcome("plan"),
            transient: outcome("transient"),
            malformed: outcome("malformed"),
            unknown_symbol: missing(Missing::UnknownSymbol),
            not_in_plan: missing(Missing::NotInPlan),
            no_data: missing(Missing::NoData),
            actual: counter!(ACTUAL, "provider" => name),
            breaker: gauge!(BREAKER, "provider" => name),
            budget: limits(windows).map(|w| gauge!(BUDGET, "provider" => name, "window" => window_name(w))).collect(),
        }
    }

    /// A request was made.
    pub fn call(&self) {
        self.actual.increment(1);
    }

    /// How a request ended.
    pub fn outcome(&self, outcome: Result<(), &Failure>) {
        let counter = match outcome {
            Ok(()) => &self.ok,
            Err(Failure::RateLimited { .. }) => &self.rate_limited,
            Err(Failure::QuotaExhausted { .. }) => &self.quota_exhausted,
            Err(Failure::Auth(_)) => &self.auth,
            Err(Failure::Plan(_)) => &self.plan,
            Err(Failure::Transient(_)) => &self.transient,
            Err(Failure::Malformed(_)) => &self.malformed,
        };
        counter.increment(1);
    }

    /// A symbol without a price.
    pub fn missing(&self, missing: Missing) {
        match missing {
            Missing::UnknownSymbol => self.unknown_symbol.increment(1),
            Missing::NotInPlan => self.not_in_plan.increment(1),
            Missing::NoData => self.no_data.increment(1),
        }
    }

    /// The breaker's state now.
    pub fn breaker(&self, state: breaker::State) {
        self.breaker.set(match state {
            breaker::State::Closed => 0.0,
            breaker::State::HalfOpen => 1.0,
            breaker::State::Open => 2.0,
        });
    }

    /// Where the budget stands, in the windows' order.
    pub fn budget(&self, levels: &[Level]) {
        for (gauge, level) in self.budget.iter().zip(levels.iter().filter(|level| !level.window.is_tally())) {
            gauge.set(level.available);
        }
    }
}

fn limits(windows: &[Window]) -> impl Iterator<Item = &Window> {
    windows.iter().filter(|window| !window.is_tally())
}

/// `second`, `minute`, `day`, or the length in seconds.
#[must_use]
pub fn window_name(window: &Window) -> String {
    match window.length.as_secs() {
        1 => "second".into(),
        60 => "minute".into(),
        3600 => "hour".into(),
        86_400 => "day".into(),
        _ => format!("{}s", window.length.as_secs_f64()),
    }
}
