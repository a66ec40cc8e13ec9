//! Where a value came from, and what is wrong with it.

use std::fmt;

/// The place a value was read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Built in.
    Default,
    /// A line of the configuration file.
    File {
        /// As it was given.
        path: String,
        /// Counted from 1.
        line: usize,
    },
    /// An environment variable of the process.
    Env(String),
    /// The same, out of `.env`.
    DotEnv(String),
    /// A command-line flag.
    Flag(&'static str),
    /// Follows from another setting.
    Implied(Box<Origin>),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Default => f.write_str("default"),
            Origin::File { path, line } => write!(f, "file {path}:{line}"),
            Origin::Env(name) => write!(f, "env {name}"),
            Origin::DotEnv(name) => write!(f, ".env {name}"),
            Origin::Flag(name) => write!(f, "flag {name}"),
            Origin::Implied(by) => write!(f, "implied by {by}"),
        }
    }
}

/// One thing that is wrong, with all that is needed to mend it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The key, or what stands in its place: a file, an environment name.
    pub subject: String,
    /// The value as given; `***` when secret, `None` when there is none or it must not be shown.
    pub value: Option<String>,
    /// Where it was given, where it was.
    pub origin: Option<Origin>,
    /// What is wrong.
    pub problem: String,
    /// What would be right, where that is a range or a list.
    pub allowed: Option<String>,
}

impl Mistake {
    /// A mistake without a value.
    pub(super) fn new(subject: impl Into<String>, problem: impl Into<String>) -> Mistake {
        Mistake { subject: subject.into(), value: None, origin: None, problem: problem.into(), allowed: None }
    }

    pub(super) fn at(mut self, origin: Origin) -> Mistake {
        self.origin = Some(origin);
        self
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.subject)?;
        if let Some(value) = &self.value {
            write!(f, " = {value}")?;
        }
        if let Some(origin) = &self.origin {
            write!(f, " ({origin})")?;
        }
        write!(f, ": {}", self.problem)?;
        if let Some(allowed) = &self.allowed {
            write!(f, "; allowed: {allowed}")?;
        }
        Ok(())
    }
}

/// Every mistake there is, so that one run is enough to mend them all. Never empty.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct Mistakes(pub Vec<Mistake>);

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [one] => write!(f, "the configuration has a mistake\n  {one}"),
            all => {
                write!(f, "the configuration has {} mistakes", all.len())?;
                all.iter().try_for_each(|mistake| write!(f, "\n  {mistake}"))
            }
        }
    }
}
