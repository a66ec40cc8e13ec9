//! What a command that asks running processes has to say, and with which exit code it ends.

use super::exit::Exit;
use super::reach::Refusal;

/// What came of it.
#[derive(Debug, Default)]
pub struct Report {
    /// For standard output.
    pub told: String,
    /// For standard error, a line each.
    pub notes: Vec<String>,
    /// Why it was not done, or not by all.
    pub problem: Option<Problem>,
}

/// Why it was not done.
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// No process answered.
    #[error("{0}")]
    NobodyAnswered(String),
    /// It cannot be done as asked.
    #[error("refused: {0}")]
    Refused(String),
    /// It cannot be done now.
    #[error("not done: {0}")]
    NotNow(String),
}

impl Report {
    pub(super) fn told(text: String) -> Report {
        Report { told: text, ..Report::default() }
    }

    pub(super) fn problem(problem: Problem) -> Report {
        Report { problem: Some(problem), ..Report::default() }
    }
}

impl Problem {
    /// Its exit code.
    #[must_use]
    pub const fn exit(&self) -> Exit {
        match self {
            Problem::Refused(_) => Exit::Usage,
            Problem::NobodyAnswered(_) | Problem::NotNow(_) => Exit::Unavailable,
        }
    }

    /// By the code of a refusal: what is wrong with the message stays wrong, other things pass.
    pub(super) fn of(code: &str, message: String) -> Problem {
        match code {
            "paused" | "unavailable" => Problem::NotNow(message),
            _ => Problem::Refused(message),
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Problem {
        Problem::of(&refusal.code, format!("{} ({})", refusal.message, refusal.code))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_passes_or_stays() {
        assert_eq!(Problem::of("unknown_provider", String::new()).exit(), Exit::Usage);
        assert_eq!(Problem::of("paused", String::new()).exit(), Exit::Unavailable);
        assert_eq!(Problem::NobodyAnswered(String::new()).exit(), Exit::Unavailable);
    }
}
