//! One connection after the other, for as long as somebody looks.
//!
//! Waits; what to make of what comes is decided by `session` and `talk`. Owns the connection, so that whoever stops it can
//! still say good-bye. Holds one message at a time: while the screen takes none, none is read.

use std::num::{NonZeroU32, NonZeroU64};
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use secrecy::SecretString;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Message};
use tokio_tungstenite::tungstenite::{Bytes, Error};

use super::TailError;
use super::link::{self, Link, NoLink, Target};
use super::output::ReaderGone;
use super::render::short;
use super::screen::Screen;
use super::session::{Heard, Session};
use super::talk::{Look, Next, Parted, Talk};
use crate::quota::backoff::Backoff;

/// Before the first connection stands: at most 0.25 + 0.5 + 1 + 2 s, so that a wrong URL is told within seconds.
const AT_FIRST: Backoff = Backoff {
    base: Duration::from_millis(250),
    cap: Duration::from_secs(2),
    attempts: Some(NonZeroU32::MIN.saturating_add(4)),
};
/// Afterwards: for ever.
const LATER: Backoff = Backoff { base: Duration::from_millis(250), cap: Duration::from_secs(10), attempts: None };
/// For the other side to take note that we leave.
const GOODBYE: Duration = Duration::from_millis(500);

/// How long to go on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// Try for ever although nobody was there at the start.
    pub(super) at_first: bool,
    /// Stop after so many quotes.
    pub(super) quotes: Option<NonZeroU64>,
}

/// A run.
pub(super) struct Follower {
    target: Target,
    token: Option<SecretString>,
    session: Session,
    screen: Screen,
    link: Option<Link>,
    backoff: Backoff,
    /// Attempts in a row that came to nothing.
    failed: u32,
    quotes_left: Option<u64>,
    rng: fastrand::Rng,
}

/// Why following ended.
enum Stop {
    /// All that was asked for was shown, nobody reads any more, or the gateway said that there is no more.
    Done,
    Refused(TailError),
}

impl From<ReaderGone> for Stop {
    fn from(_: ReaderGone) -> Stop {
        Stop::Done
    }
}

impl From<TailError> for Stop {
    fn from(error: TailError) -> Stop {
        Stop::Refused(error)
    }
}

impl Follower {
    pub(super) fn new(
        target: Target,
        token: Option<SecretString>,
        session: Session,
        screen: Screen,
        patience: Patience,
    ) -> Follower {
        Follower {
            target,
            token,
            session,
            screen,
            link: None,
            backoff: if patience.at_first { LATER } else { AT_FIRST },
            failed: 0,
            quotes_left: patience.quotes.map(NonZeroU64::get),
            rng: fastrand::Rng::new(),
        }
    }

    /// Follows until there is no more to show. May be dropped at any moment; [`Self::leave`] comes next.
    ///
    /// # Errors
    /// What the gateway refuses, and would again.
    pub(super) async fn run(&mut self) -> Result<(), TailError> {
        loop {
            if let Err(stop) = self.turn().await {
                return match stop {
                    Stop::Done => Ok(()),
                    Stop::Refused(error) => Err(error),
                };
            }
        }
    }

    /// Says good-bye, if there is a connection, and gives the screen back.
    pub(super) async fn leave(mut self) -> Screen {
        self.hang_up().await;
        self.screen
    }

    /// One connection, and the wait after it.
    async fn turn(&mut self) -> Result<(), Stop> {
        let parted = match link::connect(&self.target, self.token.as_ref()).await {
            Ok(link) => {
                self.link = Some(link);
                self.backoff = LATER;
                self.screen.remark(&format!("connected to {}", self.target)).await?;
                let mut talk = Talk::begin(Instant::now());
                let parted = self.converse(&mut talk).await?;
                self.hang_up().await;
                if talk.is_settled(Instant::now()) {
                    self.failed = 0;
                }
                parted
            }
            Err(NoLink::Final(error)) => return Err(error.into()),
            Err(NoLink::ForNow { why, retry_after }) => {
                let not_before = retry_after.map(|span| Instant::now() + span);
                Parted { why, next: Next::BackOff { not_before } }
            }
        };
        self.pause(parted).await
    }

    /// Waits before the next attempt.
    async fn pause(&mut self, parted: Parted) -> Result<(), Stop> {
        let Parted { why, next } = parted;
        let is_first = self.failed == 0;
        self.failed = self.failed.saturating_add(1);
        let failed = NonZeroU32::new(self.failed).expect("one was just added");
        let Some(wait) = self.backoff.wait(failed, &mut self.rng) else {
            return Err(TailError::Unreachable { url: self.target.to_string(), why }.into());
        };
        let wait = match next {
            Next::Never => {
                self.screen.remark(&why).await?;
                return Err(Stop::Done);
            }
            // whoever sends us away again and again is not asked in a loop
            Next::Now if is_first => Duration::ZERO,
            Next::Now | Next::BackOff { not_before: None } => wait,
            Next::BackOff { not_before: Some(moment) } => wait.max(moment.saturating_duration_since(Instant::now())),
        };
        let when = if wait.is_zero() { "at once".to_owned() } else { format!("in {}", short(wait)) };
        self.screen.remark(&format!("no connection to {}: {why}; trying again {when}", self.target)).await?;
        sleep(wait).await;
        Ok(())
    }

    /// One connection, from subscribing to its end.
    async fn converse(&mut self, talk: &mut Talk) -> Result<Parted, Stop> {
        let request = self.session.request();
        if let Err(error) = self.link().send(Message::text(request)).await {
            return Ok(talk.broken(&error));
        }
        loop {
            let quiet_until = match talk.look(Instant::now()) {
                Look::Quiet(until) => until,
                Look::Part(parted) => return Ok(parted),
                Look::Ping => match self.link().send(Message::Ping(Bytes::new())).await {
                    Ok(()) => continue,
                    Err(error) => return Ok(talk.broken(&error)),
                },
            };
            let message = tokio::select! {
                message = self.link().next() => message.unwrap_or(Err(Error::ConnectionClosed)),
                () = sleep_until(quiet_until) => continue,
            };
            talk.heard(Instant::now());
            match message {
                Ok(Message::Text(text)) => self.hear(&text, talk).await?,
                Ok(Message::Close(frame)) => return Ok(talk.closed(frame.as_ref())?),
                Ok(Message::Binary(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => {}
                Err(error) => return Ok(talk.broken(&error)),
            }
        }
    }

    /// One message.
    async fn hear(&mut self, text: &str, talk: &mut Talk) -> Result<(), Stop> {
        match self.session.hear(text)? {
            Heard::Quote(quote, direction) => {
                if self.session.finds_simulated(&quote) {
                    self.screen.remark("these quotes are simulated, not the market's").await?;
                }
                self.screen.quote(text, &quote, direction).await?;
                if let Some(left) = &mut self.quotes_left {
                    *left -= 1;
                    if *left == 0 {
                        return Err(Stop::Done);
                    }
                }
            }
            Heard::News(news) => {
                if let Some(slot) = news.slot {
                    talk.set_slot(Instant::now() + slot);
                }
                self.screen.news(text, &news).await?;
            }
            Heard::Subscribed(refused) => {
                talk.served(Instant::now());
                if let Some(refused) = refused {
                    self.screen.warn(&format!("not watched, since the gateway refuses: {refused}")).await?;
                }
            }
            Heard::Pings(interval) => talk.set_ping_interval(interval),
            Heard::Complaint(told) => self.screen.warn(&told).await?,
            Heard::Nothing => {}
        }
        Ok(())
    }

    fn link(&mut self) -> &mut Link {
        self.link.as_mut().expect("a conversation has a connection")
    }

    async fn hang_up(&mut self) {
        let Some(mut link) = self.link.take() else { return };
        let goodbye = async {
            // whatever goes wrong with it: we leave
            let _ = link.close(Some(CloseFrame { code: CloseCode::Normal, reason: "".into() })).await;
            while let Some(Ok(_)) = link.next().await {}
        };
        let _ = timeout(GOODBYE, goodbye).await;
    }
}
