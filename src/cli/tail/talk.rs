//! One connection's clock and its end: when to ping, when to give up, and what a close means for what comes next.
//!
//! Decides; the loop that waits is in `follow`. Time comes in as an argument.

use std::time::Duration;

use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Error;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

use super::TailError;
use super::link::plain;
use crate::protocol::message::{CloseCode, Reconnect};

/// What a gateway promises unless it says otherwise: a sign of life this often.
const PING_INTERVAL: Duration = Duration::from_secs(25);
/// From our own ping to the end of hope.
const PONG_TIMEOUT: Duration = Duration::from_secs(10);
/// Beyond the moment at which a draining gateway said it would close.
const SLOT_GRACE: Duration = Duration::from_secs(2);
/// A connection that served for so long was a good one: what comes after it is a new trouble.
const SETTLED: Duration = Duration::from_secs(5);

/// One connection's state.
#[derive(Debug)]
pub(super) struct Talk {
    /// When our subscription was answered.
    served_at: Option<Instant>,
    ping_interval: Duration,
    heard_at: Instant,
    pinged_at: Option<Instant>,
    /// When a draining gateway said it would close.
    slot: Option<Instant>,
}

/// How a connection ended, or did not begin.
#[derive(Debug, PartialEq)]
pub(super) struct Parted {
    pub(super) why: String,
    pub(super) next: Next,
}

/// When to come back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// At once: the gateway asked for it.
    Now,
    /// With back-off, and not before this moment.
    BackOff { not_before: Option<Instant> },
    /// Never: it was a good-bye.
    Never,
}

/// What a look at the clock asks for.
#[derive(Debug, PartialEq)]
pub(super) enum Look {
    /// Nothing before this moment.
    Quiet(Instant),
    /// A ping, now.
    Ping,
    /// The end.
    Part(Parted),
}

impl Talk {
    pub(super) fn begin(now: Instant) -> Talk {
        Talk { served_at: None, ping_interval: PING_INTERVAL, heard_at: now, pinged_at: None, slot: None }
    }

    /// Something came.
    pub(super) fn heard(&mut self, now: Instant) {
        self.heard_at = now;
        self.pinged_at = None;
    }

    /// Our subscription was answered.
    pub(super) fn served(&mut self, now: Instant) {
        self.served_at.get_or_insert(now);
    }

    /// Whether it was a good connection.
    pub(super) fn is_settled(&self, now: Instant) -> bool {
        self.served_at.is_some_and(|since| now.duration_since(since) >= SETTLED)
    }

    /// The gateway pings this often.
    pub(super) fn set_ping_interval(&mut self, interval: Duration) {
        self.ping_interval = interval.clamp(Duration::from_secs(1), Duration::from_secs(3600));
    }

    /// The gateway will close at this moment, and wants us back then.
    pub(super) fn set_slot(&mut self, at: Instant) {
        self.slot = Some(at);
    }

    /// Looks at the clock.
    pub(super) fn look(&mut self, now: Instant) -> Look {
        let slot = self.slot.map(|slot| slot + SLOT_GRACE);
        if slot.is_some_and(|slot| now >= slot) {
            return Look::Part(Parted { why: "the gateway is going away".into(), next: Next::Now });
        }
        let due = match self.pinged_at {
            Some(at) => at + PONG_TIMEOUT,
            None => self.heard_at + self.ping_interval,
        };
        if now < due {
            return Look::Quiet(slot.map_or(due, |slot| slot.min(due)));
        }
        if self.pinged_at.is_some() {
            let silence = now.duration_since(self.heard_at).as_secs();
            return Look::Part(self.lost(format!("nothing was heard for {silence} s")));
        }
        self.pinged_at = Some(now);
        Look::Ping
    }

    /// The gateway closed.
    ///
    /// # Errors
    /// [`TailError`] when it says that coming back makes no sense.
    pub(super) fn closed(&self, frame: Option<&CloseFrame>) -> Result<Parted, TailError> {
        let Some(frame) = frame else { return Ok(self.lost("closed by the gateway, without a word".into())) };
        let (number, reason) = (u16::from(frame.code), frame.reason.as_str().to_owned());
        let words = if reason.is_empty() { String::new() } else { format!(": {reason}") };
        let why = format!("closed by the gateway ({number}{words})");
        let Some(code) = CloseCode::ALL.into_iter().find(|code| code.number() == number) else {
            return Ok(self.lost(why));
        };
        match code.reconnect() {
            Reconnect::Now => Ok(Parted { why, next: Next::Now }),
            Reconnect::BackOff => Ok(self.lost(why)),
            Reconnect::No => Ok(Parted { why, next: Next::Never }),
            Reconnect::AfterMending if code == CloseCode::Unauthorized => Err(TailError::Unauthorized(reason)),
            Reconnect::AfterMending => Err(TailError::Closed { code: number, reason }),
        }
    }

    /// The connection broke.
    pub(super) fn broken(&self, error: &Error) -> Parted {
        self.lost(match error {
            Error::Io(error) => plain(error),
            Error::ConnectionClosed | Error::AlreadyClosed => "closed".into(),
            Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => "connection lost".into(),
            other => other.to_string(),
        })
    }

    /// A gateway that gave us a slot wants nobody back before.
    fn lost(&self, why: String) -> Parted {
        Parted { why, next: Next::BackOff { not_before: self.slot } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(talk: &Talk, code: u16) -> Result<Parted, TailError> {
        talk.closed(Some(&CloseFrame { code: code.into(), reason: "r".into() }))
    }

    #[test]
    fn close_codes_are_obeyed() {
        let now = Instant::now();
        let mut talk = Talk::begin(now);
        let slot = now + Duration::from_secs(3);
        talk.set_slot(slot);
        let later = Next::BackOff { not_before: Some(slot) };
        for (code, next) in [
            (1000, Next::Never),
            (1001, later),
            (1011, later),
            (1012, Next::Now),
            (1013, later),
            (4408, later),
            (4409, later),
            (4429, later),
            (3999, later),
        ] {
            assert_eq!(close(&talk, code).unwrap().next, next, "{code}");
        }
        for code in [1002, 1003, 1007, 1008, 1009] {
            assert!(close(&talk, code).unwrap_err().to_string().contains(&code.to_string()), "{code}");
        }
        assert!(close(&talk, 4401).unwrap_err().to_string().contains("--token"));
        assert_eq!(talk.closed(None).unwrap().next, later);
    }

    #[test]
    fn silence_is_met_with_a_ping_and_then_the_end() {
        let start = Instant::now();
        let mut talk = Talk::begin(start);
        talk.set_ping_interval(Duration::from_secs(20));
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(talk.look(at(19)), Look::Quiet(at(20)));
        assert_eq!(talk.look(at(20)), Look::Ping);
        assert_eq!(talk.look(at(21)), Look::Quiet(at(30)));
        talk.heard(at(22));
        assert_eq!(talk.look(at(30)), Look::Quiet(at(42)));
        assert_eq!(talk.look(at(42)), Look::Ping);
        assert!(matches!(talk.look(at(52)), Look::Part(Parted { next: Next::BackOff { not_before: None }, .. })));
    }

    #[test]
    fn a_gateway_that_forgets_the_slot_it_gave_is_left() {
        let start = Instant::now();
        let mut talk = Talk::begin(start);
        talk.set_slot(start + Duration::from_secs(1));
        assert_eq!(talk.look(start), Look::Quiet(start + Duration::from_secs(1) + SLOT_GRACE));
        let Look::Part(parted) = talk.look(start + Duration::from_secs(3)) else { panic!("it stays") };
        assert_eq!(parted.next, Next::Now);
    }

    #[test]
    fn only_a_connection_that_served_for_a_while_was_a_good_one() {
        let start = Instant::now();
        let mut talk = Talk::begin(start);
        let late = start + SETTLED;
        assert!(!talk.is_settled(late));
        talk.served(start);
        assert!(!talk.is_settled(start) && talk.is_settled(late));
    }
}
