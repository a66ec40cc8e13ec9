//! Configuration: built-in defaults, file, environment, flags into checked types.
//!
//! One table of keys ([`key`], its lines in `keys/`) is the single source of what there is. A run goes `layers` (who
//! says what) → [`kind`] and [`form`] (is it one) → `rules` (does it go together) → `typed` (each part's own type). It
//! collects mistakes instead of stopping at the first, so that one run is enough to mend them all.
//!
//! It knows the parts' configuration types and nothing else of them; it opens no file but the configuration's, and
//! connects to nothing. Lists and files are bounded ([`kind::MAX_ITEMS`], 1 MiB); beyond that is a mistake like any
//! other.

pub mod effective;
pub mod environment;
mod file;
pub mod form;
pub mod key;
mod keys;
pub mod kind;
mod layers;
pub mod log;
mod origin;
mod redis_url;
pub mod reference;
mod rules;
mod typed;

#[cfg(test)]
mod tests;

use std::fmt;

pub use effective::Effective;
pub use environment::Environment;
pub use log::Config as Log;
pub use origin::{Mistake, Mistakes, Origin};
pub use redis_url::masked as masked_url;

use crate::{api, broker, cache, gateway, ops, publisher};
use layers::Settings;

/// Every part's configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// The public port.
    pub gateway: gateway::Config,
    /// The operators' port.
    pub ops: ops::Config,
    /// Redis, or none.
    pub broker: broker::Config,
    /// What is polled; holds the providers' settings.
    pub publisher: publisher::Config,
    /// The cache.
    pub cache: cache::Config,
    /// The log.
    pub log: Log,
}

impl Config {
    /// What the public port's HTTP application needs to be told: a part of what others are told.
    #[must_use]
    pub fn api(&self) -> api::Config {
        let gateway = &self.gateway;
        api::Config {
            name: gateway.name.clone(),
            api_base: gateway.api_base.clone(),
            indices: self.publisher.indices.clone(),
            allowed_origins: gateway.allowed_origins.clone(),
            per_minute: gateway.limits.rest_rpm,
            max_symbols: gateway.limits.symbols_per_client.get(),
            patience: std::time::Duration::from_secs(2),
            stale_after: gateway.stale_after,
            heartbeat: gateway.ping_interval,
            admin_token: self.ops.admin_token.clone(),
        }
    }
}

/// What a process is started as. Some defaults and requirements depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Role {
    /// Gateway and publisher in one process.
    #[default]
    Serve,
    /// Redis to clients.
    Gateway,
    /// Providers to Redis.
    Publisher,
}

impl Role {
    /// All of them.
    pub const ALL: [Role; 3] = [Role::Serve, Role::Gateway, Role::Publisher];

    /// Its command.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Role::Serve => "serve",
            Role::Gateway => "gateway",
            Role::Publisher => "publisher",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What a configuration is put together for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Purpose {
    /// To talk to a role that runs already: its defaults hold, but what it needs to run is not asked for.
    #[default]
    Find,
    /// To run the role: what it needs must be there.
    Run,
}

/// The environment name of the configuration file's path.
pub const FILE_ENV: &str = "TICKCAST_CONFIG";
/// The flag of the configuration file's path.
pub const FILE_FLAG: &str = "--config";

/// A value given on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flag {
    name: &'static str,
    path: String,
    value: String,
}

impl Flag {
    /// The flag that sets any key.
    pub const SET: &'static str = "--set";

    /// A flag of the table.
    ///
    /// # Panics
    /// When no key has that flag, which a test of the command line rules out.
    #[must_use]
    pub fn named(name: &'static str, value: impl Into<String>) -> Flag {
        let key = keys::all().find(|key| key.flag == Some(name)).expect("a key has this flag");
        Flag { name, path: key.path.to_owned(), value: value.into() }
    }

    /// `--set path=value`.
    #[must_use]
    pub fn set(path: impl Into<String>, value: impl Into<String>) -> Flag {
        Flag { name: Flag::SET, path: path.into(), value: value.into() }
    }
}

/// All there is to go by.
#[derive(Clone, Default)]
pub struct Input {
    /// `--config`; [`FILE_ENV`] where it is not given.
    pub file: Option<String>,
    /// The environment.
    pub env: Environment,
    /// The flags, in the order of the command line.
    pub flags: Vec<Flag>,
    /// Whose configuration it is.
    pub role: Role,
    /// What for.
    pub purpose: Purpose,
}

/// A configuration without mistakes.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// What the parts are told.
    pub config: Config,
    /// The same for people: each key with its source.
    pub effective: Effective,
    /// What is legal and probably not meant; for the log.
    pub warnings: Vec<String>,
}

/// Puts the configuration together and checks it.
///
/// # Errors
/// Every mistake there is.
pub fn load(input: &Input) -> Result<Loaded, Mistakes> {
    let mut mistakes = Vec::new();
    let from_env = input.env.get(FILE_ENV);
    let path = match (&input.file, &from_env) {
        (Some(path), _) => Some((path.as_str(), Origin::Flag(FILE_FLAG))),
        (None, Some((path, origin))) => Some((*path, origin.clone())),
        (None, None) => None,
    };
    let mut file = layers::from_file(path);
    mistakes.append(&mut file.mistakes);

    let mut assignments = file.assignments;
    assignments.extend(layers::from_environment(&input.env, &mut mistakes));
    assignments.extend(layers::from_flags(&input.flags, &mut mistakes));

    let mut settings = Settings::defaults();
    for assignment in assignments {
        settings.apply(assignment, &mut mistakes);
    }
    layers::imply(&mut settings, input.role);

    let mut found = rules::check(&settings, input, file.is_whole);
    mistakes.append(&mut found.mistakes);
    if mistakes.is_empty() {
        let effective = Effective::of(&settings, input.role, &found.warnings);
        Ok(Loaded { config: typed::build(&settings), effective, warnings: found.warnings })
    } else {
        Err(Mistakes(mistakes))
    }
}

/// The older environment names and what each sets, in the table's order; those of `redis.url`'s parts last.
pub(crate) fn environment_names() -> impl Iterator<Item = (&'static str, String)> {
    let whole =
        key::slots().iter().flat_map(|slot| slot.aliases().iter().map(|name| (*name, format!("`{}`", slot.path))));
    let parts = redis_url::PARTS.iter().map(|(name, doc)| (*name, (*doc).to_owned()));
    whole.chain(parts).chain([(FILE_ENV, format!("the configuration file, as `{FILE_FLAG}`"))])
}
