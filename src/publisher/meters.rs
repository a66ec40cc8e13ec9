//! The publisher's metrics, registered once.

use std::time::Duration;

use metrics::{
    Counter, Gauge, Histogram, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};

use crate::broker::{BrokerError, Stored};
use crate::protocol::control::Action;
use crate::provider;

use super::answer::Answer;
use super::buffer::Lost;

const PUBLISHED: &str = "tickcast_updates_published_total";
const PUBLISHES: &str = "tickcast_publishes_total";
const UNCHANGED: &str = "tickcast_quotes_unchanged_total";
const DROPPED: &str = "tickcast_quotes_dropped_total";
const BUFFERED: &str = "tickcast_quotes_buffered";
const LEADER: &str = "tickcast_publisher_leader";
const PAUSED: &str = "tickcast_publisher_paused";
const WATCHED: &str = "tickcast_publisher_symbols";
const CYCLE: &str = "tickcast_cycle_seconds";
const EXPECTED: &str = "tickcast_provider_calls_expected_total";
const PASSED_ON: &str = "tickcast_provider_failovers_total";
const CONTROL: &str = "tickcast_control_messages_total";

/// Handles for what every part of the publisher counts.
pub(super) struct Meters {
    pub(super) published: Counter,
    pub(super) unchanged: Counter,
    pub(super) buffered: Gauge,
    pub(super) leader: Gauge,
    pub(super) paused: Gauge,
    pub(super) watched: Gauge,
    stored: Counter,
    unstored: Counter,
    unavailable: Counter,
    refused: Counter,
    fenced: Counter,
    replaced: Counter,
    evicted: Counter,
    pub(super) paused_quotes: Counter,
    pub(super) not_leading: Counter,
}

impl Meters {
    /// Registers; the recorder has to be installed by then.
    pub(super) fn new() -> Meters {
        describe_counter!(PUBLISHED, "Updates published.");
        describe_counter!(PUBLISHES, "Publish commands by outcome.");
        describe_counter!(UNCHANGED, "Quotes not published because the vendor repeated itself.");
        describe_counter!(DROPPED, "Quotes that were fetched and not published, by reason.");
        describe_gauge!(BUFFERED, "Quotes waiting to be published.");
        describe_gauge!(LEADER, "1 while this publisher leads.");
        describe_gauge!(PAUSED, "1 while everything is paused.");
        describe_gauge!(WATCHED, "Symbols that are polled: watched, pinned and indices.");
        let publishes = |outcome| counter!(PUBLISHES, "outcome" => outcome);
        let dropped = |reason| counter!(DROPPED, "reason" => reason);
        Meters {
            published: counter!(PUBLISHED),
            unchanged: counter!(UNCHANGED),
            buffered: gauge!(BUFFERED),
            leader: gauge!(LEADER),
            paused: gauge!(PAUSED),
            watched: gauge!(WATCHED),
            stored: publishes("stored"),
            unstored: publishes("unstored"),
            unavailable: publishes("unavailable"),
            refused: publishes("refused"),
            fenced: publishes("fenced"),
            replaced: dropped("replaced"),
            evicted: dropped("evicted"),
            paused_quotes: dropped("paused"),
            not_leading: dropped("not_leading"),
        }
    }

    /// How a publish ended.
    pub(super) fn publish(&self, outcome: &Result<Stored, BrokerError>) {
        let counter = match outcome {
            Ok(Stored::Yes) => &self.stored,
            Ok(Stored::No) => &self.unstored,
            Err(BrokerError::Unavailable(_)) => &self.unavailable,
            Err(BrokerError::Refused(_)) => &self.refused,
            Err(BrokerError::Fenced { .. }) => &self.fenced,
        };
        counter.increment(1);
    }

    /// What gave way in the buffer.
    pub(super) fn lost(&self, lost: Lost) {
        self.replaced.increment(lost.replaced);
        self.evicted.increment(lost.evicted);
    }
}

/// Handles for one provider's lane.
pub(super) struct LaneMeters {
    expected: Counter,
    cycle: Histogram,
    away: Counter,
    failed: Counter,
    unknown: Counter,
    no_data: Counter,
}

impl LaneMeters {
    pub(super) fn new(provider: provider::Name) -> LaneMeters {
        describe_counter!(EXPECTED, "Calls that the fetches made would have taken without retries and halvings.");
        describe_histogram!(CYCLE, "From a cycle's start to its last answer.");
        describe_counter!(
            PASSED_ON,
            "Symbols that went on to another provider: this one was away (budget, breaker, key or plan), failed, did not \
             know the symbol or had no price."
        );
        let name = provider.as_str();
        let passed_on = |reason| counter!(PASSED_ON, "provider" => name, "reason" => reason);
        LaneMeters {
            expected: counter!(EXPECTED, "provider" => name),
            cycle: histogram!(CYCLE, "provider" => name),
            away: passed_on("away"),
            failed: passed_on("failed"),
            unknown: passed_on("unknown_symbol"),
            no_data: passed_on("no_data"),
        }
    }

    /// A symbol went on to another provider, after this answer.
    pub(super) fn passed_on(&self, answer: Answer) {
        match answer {
            Answer::Away => self.away.increment(1),
            Answer::Failed => self.failed.increment(1),
            Answer::Unknown => self.unknown.increment(1),
            Answer::NoData => self.no_data.increment(1),
            Answer::Quote => {}
        }
    }

    pub(super) fn expected(&self, calls: u64) {
        self.expected.increment(calls);
    }

    pub(super) fn cycle(&self, took: Duration) {
        self.cycle.record(took.as_secs_f64());
    }
}

/// How a control message ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Obeyed {
    /// It was done.
    Ok,
    /// It is for others.
    Ignored,
    /// It asked for what is not allowed, or cannot be now.
    Refused,
}

/// Handles for control messages, by action and outcome; what cannot be read has the action `unknown`.
pub(super) struct ControlMeters(Vec<[Counter; 3]>);

impl ControlMeters {
    pub(super) fn new() -> ControlMeters {
        describe_counter!(CONTROL, "Control messages by action and outcome.");
        let actions = Action::ALL.map(Action::as_str).into_iter().chain(["unknown"]);
        let counters = actions.map(|action| {
            ["ok", "ignored", "refused"].map(|outcome| counter!(CONTROL, "action" => action, "outcome" => outcome))
        });
        ControlMeters(counters.collect())
    }

    pub(super) fn count(&self, action: Option<Action>, outcome: Obeyed) {
        let row = action.and_then(|action| Action::ALL.iter().position(|known| *known == action));
        let column = match outcome {
            Obeyed::Ok => 0,
            Obeyed::Ignored => 1,
            Obeyed::Refused => 2,
        };
        self.0[row.unwrap_or(Action::ALL.len())][column].increment(1);
    }
}
