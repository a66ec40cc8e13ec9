//! Who says what: built-in defaults, file, environment, flags; later wins.
//!
//! Every layer's values are checked, also those a later layer overrides: a mistake in the file is one although today's
//! environment hides it.

use std::collections::{BTreeMap, BTreeSet};

use super::environment::{self, Environment};
use super::file::{self, unknown_key};
use super::form::Form;
use super::key::{self, Default, Env, Slot};
use super::kind::{Kind, Raw, Value};
use super::origin::{Mistake, Origin};
use super::redis_url;
use super::{Flag, Role};
use crate::provider;

/// Somebody's word on a slot.
#[derive(Clone)]
pub(super) struct Assignment {
    pub(super) slot: &'static Slot,
    pub(super) raw: Raw,
    pub(super) origin: Origin,
}

/// A slot's value and whose word it is.
pub(super) struct Setting {
    /// `None`: not set, for keys where that means something.
    pub(super) value: Option<Value>,
    pub(super) origin: Origin,
}

/// Every slot's setting. Complete from the start: a slot that nobody set, or set wrongly, has its default.
pub(super) struct Settings {
    by_path: BTreeMap<&'static str, Setting>,
    /// Slots whose given value was wrong. What depends on them is not worth checking.
    broken: BTreeSet<&'static str>,
}

impl Settings {
    pub(super) fn defaults() -> Settings {
        let by_path = key::slots().iter().map(|slot| {
            let value = match slot.key.default {
                Default::Is(text) => {
                    Some(slot.key.kind.read(&Raw::Words(text.into())).expect("a test reads every default"))
                }
                Default::Unset { .. } => None,
            };
            (slot.path.as_str(), Setting { value, origin: Origin::Default })
        });
        Settings { by_path: by_path.collect(), broken: BTreeSet::new() }
    }

    pub(super) fn get(&self, path: &str) -> &Setting {
        self.by_path.get(path).expect("every path that is asked for is in the table")
    }

    /// Whether none of these was given a wrong value.
    pub(super) fn are_sound(&self, paths: &[&str]) -> bool {
        paths.iter().all(|path| !self.broken.contains(path))
    }

    /// Sets a slot from the outside, or says why not.
    pub(super) fn apply(&mut self, assignment: Assignment, mistakes: &mut Vec<Mistake>) {
        let Assignment { slot, raw, origin } = assignment;
        if raw.is_empty() && matches!(slot.key.default, Default::Unset { .. }) {
            self.by_path.insert(&slot.path, Setting { value: None, origin });
            return;
        }
        match slot.key.kind.read(&raw) {
            Ok(value) => {
                self.by_path.insert(&slot.path, Setting { value: Some(value), origin });
            }
            Err(problem) => {
                self.broken.insert(&slot.path);
                mistakes.push(wrong_value(slot, &raw, origin, problem));
            }
        }
    }

    fn imply(&mut self, path: &'static str, value: Value, origin: Origin) {
        self.by_path.insert(path, Setting { value: Some(value), origin });
    }
}

fn wrong_value(slot: &Slot, raw: &Raw, origin: Origin, problem: String) -> Mistake {
    Mistake {
        subject: slot.path.clone(),
        value: Some(shown_raw(slot, raw)),
        origin: Some(origin),
        problem,
        allowed: Some(slot.key.kind.allowed()),
    }
}

fn shown_raw(slot: &Slot, raw: &Raw) -> String {
    match (slot.key.secret, &slot.key.kind, raw) {
        (true, ..) => "***".into(),
        (false, Kind::Text(Form::RedisUrl), Raw::Words(text) | Raw::Text(text)) => {
            Raw::Text(redis_url::masked(text)).to_string()
        }
        (false, _, raw) => raw.to_string(),
    }
}

/// Slots that one source sets twice, to different values.
pub(super) fn conflicts(assignments: &[Assignment]) -> Vec<Mistake> {
    let mut mistakes = Vec::new();
    for (index, second) in assignments.iter().enumerate() {
        let first = assignments[..index].iter().find(|first| first.slot.path == second.slot.path);
        if let Some(first) = first.filter(|first| first.raw != second.raw) {
            let problem = format!("{} and {} set it to different values; set one", first.origin, second.origin);
            mistakes.push(Mistake::new(second.slot.path.clone(), problem));
        }
    }
    mistakes
}

/// What the environment says, in rising precedence: the older names first, then `TICKCAST__…`.
pub(super) fn from_environment(env: &Environment, mistakes: &mut Vec<Mistake>) -> Vec<Assignment> {
    mistakes.extend_from_slice(env.mistakes());
    let mut assignments = Vec::new();
    for slot in key::slots() {
        let mut given = slot.aliases().iter().filter_map(|name| env.get(name)).map(|(text, origin)| Assignment {
            slot,
            raw: Raw::Words(text.to_owned()),
            origin,
        });
        match slot.key.env {
            Env::FirstOf(_) => assignments.extend(given.next()),
            Env::Agreeing(_) => {
                let given: Vec<_> = given.collect();
                mistakes.extend(conflicts(&given));
                assignments.extend(given);
            }
        }
    }
    if assignments.iter().all(|assignment| assignment.slot.path != "redis.url")
        && let Some((url, origin)) = redis_url::from_parts(env, mistakes)
    {
        let slot = key::find("redis.url").expect("it is in the table");
        assignments.push(Assignment { slot, raw: Raw::Words(url), origin });
    }
    let mut prefixed = Vec::new();
    for (path, text, origin) in env.prefixed() {
        match key::find(&path) {
            Some(slot) => prefixed.push(Assignment { slot, raw: Raw::Words(text.into()), origin: origin.clone() }),
            None => mistakes.push(unknown_key(&path, origin.clone())),
        }
    }
    mistakes.extend(conflicts(&prefixed));
    assignments.append(&mut prefixed);
    assignments
}

/// What the flags say. `--set` comes before the flags that have a name of their own.
pub(super) fn from_flags(flags: &[Flag], mistakes: &mut Vec<Mistake>) -> Vec<Assignment> {
    let (named, set): (Vec<&Flag>, Vec<&Flag>) = flags.iter().partition(|flag| flag.name != Flag::SET);
    let mut assignments = Vec::new();
    for flag in set.into_iter().chain(named) {
        let origin = Origin::Flag(flag.name);
        match key::find(&flag.path) {
            Some(slot) => assignments.push(Assignment { slot, raw: Raw::Words(flag.value.clone()), origin }),
            None => mistakes.push(unknown_key(&flag.path, origin)),
        }
    }
    assignments
}

/// What the file says, if there is one.
pub(super) fn from_file(path: Option<(&str, Origin)>) -> file::Parsed {
    let Some((path, origin)) = path else {
        return file::Parsed { is_whole: true, ..file::Parsed::default() };
    };
    match environment::read_limited(path.as_ref()) {
        Ok(text) => file::parse(path, &text),
        Err(error) => {
            let mistake = Mistake::new(path, format!("the configuration file cannot be read: {error}")).at(origin);
            file::Parsed { mistakes: vec![mistake], ..file::Parsed::default() }
        }
    }
}

/// What follows from other settings where nobody said: the ops port of a publisher, how to authenticate from what there
/// is to check against, whom to ask for quotes from whose key is there, and which market is at home from whom is asked.
pub(super) fn imply(settings: &mut Settings, role: Role) {
    if settings.get("ops.port").value.is_none() {
        let port = if role == Role::Publisher { 8083 } else { 8082 };
        settings.imply("ops.port", Value::Whole(port), Origin::Default);
    }
    if settings.get("auth.mode").value.is_none() {
        let (mode, origin) = implied_auth(settings);
        settings.imply("auth.mode", Value::Text(mode.into()), origin);
    }
    if settings.get("publisher.providers").value.is_none() {
        let (providers, origin) = implied_providers(settings, role);
        settings.imply("publisher.providers", Value::List(providers), origin);
    }
    if settings.get("publisher.home_market").value.is_none() {
        let (market, origin) = implied_home(settings);
        settings.imply("publisher.home_market", Value::Text(market.into()), origin);
    }
}

fn implied_auth(settings: &Settings) -> (&'static str, Origin) {
    let given = |path: &str| settings.get(path).value.as_ref().is_some_and(|value| *value != Value::List(Vec::new()));
    let by = |path: &str| Origin::Implied(Box::new(settings.get(path).origin.clone()));
    if given("auth.jwt_secret") {
        ("jwt", by("auth.jwt_secret"))
    } else if given("auth.jwks_url") {
        ("jwt", by("auth.jwks_url"))
    } else if given("auth.tokens") {
        ("token", by("auth.tokens"))
    } else {
        ("none", Origin::Default)
    }
}

/// Whoever asks NSE before anyone else who has stocks means stocks of NSE.
fn implied_home(settings: &Settings) -> (&'static str, Origin) {
    let setting = settings.get("publisher.providers");
    let Some(Value::List(names)) = &setting.value else { return ("nyse", Origin::Default) };
    let has_stocks = |name: &&String| !["binance", "coinbase"].contains(&name.as_str());
    match names.iter().find(has_stocks) {
        Some(first) if first == "nse" => ("nse", Origin::Implied(Box::new(setting.origin.clone()))),
        Some(_) | None => ("nyse", Origin::Default),
    }
}

fn implied_providers(settings: &Settings, role: Role) -> (Vec<String>, Origin) {
    let with_key = provider::Name::ALL.into_iter().filter_map(|name| {
        let slot = key::find(&format!("providers.{name}.api_key"))?;
        let setting = settings.get(&slot.path);
        setting.value.as_ref().map(|_| (name.to_string(), &setting.origin))
    });
    let (names, origins): (Vec<_>, Vec<_>) = with_key.unzip();
    match (origins.first(), role) {
        (Some(origin), _) => (names, Origin::Implied(Box::new((*origin).clone()))),
        // one command and nothing else must show moving prices
        (None, Role::Serve) => (vec![provider::Name::Simulated.to_string()], Origin::Default),
        // made-up prices must never get into a shared Redis because a key was forgotten
        (None, Role::Gateway | Role::Publisher) => (Vec::new(), Origin::Default),
    }
}
