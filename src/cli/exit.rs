//! Exit codes, in one place. They are those of `sysexits.h` where it has one.

use std::error::Error;
use std::io;
use std::process::ExitCode;

use super::reach::ReachError;
use super::report::Problem;
use super::tail::TailError;
use crate::broker::BrokerError;
use crate::config::Mistakes;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// It did its job; a role was told to stop and drained.
    Ok = 0,
    /// `healthcheck`: not healthy.
    Unhealthy = 1,
    /// The command line or the configuration is wrong (`EX_USAGE`).
    Usage = 64,
    /// Something it needs cannot be had: Redis, a port, the running role (`EX_UNAVAILABLE`). Trying again may help.
    Unavailable = 69,
    /// Anything else; a fault of ours or of the machine (`EX_SOFTWARE`).
    Internal = 70,
}

/// For `--help`.
pub const HELP: &str = "\
Exit codes:
  0   done; for a role: stopped and drained
  1   healthcheck: not healthy
  64  the command line or the configuration is wrong; every mistake is listed
  69  something needed cannot be had: Redis, a port, the running role
  70  anything else";

impl Exit {
    /// The code of an error, by what is in its chain of causes.
    #[must_use]
    pub fn of(error: &(dyn Error + 'static)) -> Exit {
        let mut cause = Some(error);
        while let Some(error) = cause {
            if error.is::<Mistakes>() {
                return Exit::Usage;
            }
            let own = [
                error.downcast_ref().map(TailError::exit),
                error.downcast_ref().map(ReachError::exit),
                error.downcast_ref().map(Problem::exit),
            ];
            if let Some(exit) = own.into_iter().flatten().next() {
                return exit;
            }
            if let Some(BrokerError::Unavailable(_)) = error.downcast_ref() {
                return Exit::Unavailable;
            }
            if error.downcast_ref::<io::Error>().is_some_and(is_of_the_network) {
                return Exit::Unavailable;
            }
            cause = error.source();
        }
        Exit::Internal
    }
}

fn is_of_the_network(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(
        error.kind(),
        Kind::AddrInUse
            | Kind::AddrNotAvailable
            | Kind::ConnectionAborted
            | Kind::ConnectionRefused
            | Kind::ConnectionReset
            | Kind::HostUnreachable
            | Kind::NetworkDown
            | Kind::NetworkUnreachable
            | Kind::TimedOut
    )
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("wrapped")]
    struct Wrapped<E: Error + 'static>(#[source] E);

    #[test]
    fn the_cause_decides_the_code_however_deep_it_is() {
        assert_eq!(Exit::of(&Wrapped(Mistakes(Vec::new()))), Exit::Usage);
        assert_eq!(Exit::of(&Wrapped(BrokerError::Unavailable("no route".into()))), Exit::Unavailable);
        assert_eq!(Exit::of(&Wrapped(io::Error::from(io::ErrorKind::AddrInUse))), Exit::Unavailable);
        assert_eq!(Exit::of(&BrokerError::Refused("read-only".into())), Exit::Internal);
        assert_eq!(Exit::of(&io::Error::from(io::ErrorKind::NotFound)), Exit::Internal);
    }
}
