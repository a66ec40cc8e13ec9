//! What is known of a key, and finding one by its path.
//!
//! The table itself is `keys/`. Everything that knows a key knows it from there: parsing, checks, `tickcast
//! config`, `config/default.toml` and `docs/configuration.md`.

use std::sync::LazyLock;

use super::keys;
use super::kind::Kind;
use crate::provider::Name;

/// One key of the table. `providers.*.name` stands for that key of every provider it applies to.
#[derive(Debug)]
pub struct Key {
    /// Section and name, with a dot between.
    pub path: &'static str,
    /// What its value may be.
    pub kind: Kind,
    /// What it is when nobody says.
    pub default: Default,
    /// What the number counts; empty where that goes without saying.
    pub unit: &'static str,
    /// The environment names older deployments use.
    pub env: Env,
    /// The flag that sets it.
    pub flag: Option<&'static str>,
    /// Never shown.
    pub secret: bool,
    /// The providers that have it; empty is all that ask a vendor.
    pub only: &'static [Name],
    /// What it does and why the default is what it is.
    pub doc: &'static str,
}

/// A key's value when nobody sets it.
#[derive(Debug, Clone, Copy)]
pub enum Default {
    /// This, in the syntax of an environment variable.
    Is(&'static str),
    /// Nothing, which means something of its own.
    Unset {
        /// What that is.
        means: &'static str,
        /// What one could write, in the syntax of an environment variable.
        example: &'static str,
    },
}

/// A key's environment names, beside `TICKCAST__SECTION__KEY`.
#[derive(Debug, Clone, Copy)]
pub enum Env {
    /// Any of these; the first that is set counts.
    FirstOf(&'static [&'static str]),
    /// By provider; several names of one provider must agree.
    Agreeing(&'static [(Name, &'static [&'static str])]),
}

impl Key {
    /// A key with a default.
    pub(super) const fn new(path: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Key {
        Key {
            path,
            kind,
            default: Default::Is(default),
            unit: "",
            env: Env::FirstOf(&[]),
            flag: None,
            secret: false,
            only: &[],
            doc,
        }
    }

    /// A key that may be left out, and what that means.
    pub(super) const fn unset(
        path: &'static str,
        kind: Kind,
        means: &'static str,
        example: &'static str,
        doc: &'static str,
    ) -> Key {
        let mut key = Key::new(path, kind, "", doc);
        key.default = Default::Unset { means, example };
        key
    }

    pub(super) const fn unit(mut self, unit: &'static str) -> Key {
        self.unit = unit;
        self
    }

    pub(super) const fn env(mut self, names: &'static [&'static str]) -> Key {
        self.env = Env::FirstOf(names);
        self
    }

    pub(super) const fn env_by_provider(mut self, names: &'static [(Name, &'static [&'static str])]) -> Key {
        self.env = Env::Agreeing(names);
        self
    }

    pub(super) const fn flag(mut self, flag: &'static str) -> Key {
        self.flag = Some(flag);
        self
    }

    pub(super) const fn secret(mut self) -> Key {
        self.secret = true;
        self
    }

    pub(super) const fn only(mut self, providers: &'static [Name]) -> Key {
        self.only = providers;
        self
    }

    /// The section: `gateway`, or `providers.*`.
    #[must_use]
    pub fn section(&self) -> &'static str {
        split(self.path).0
    }

    /// The name within the section.
    #[must_use]
    pub fn name(&self) -> &'static str {
        split(self.path).1
    }

    fn applies_to(&self, provider: Name) -> bool {
        match self.only {
            [] => !matches!(provider, Name::Replay | Name::Simulated),
            only => only.contains(&provider),
        }
    }
}

/// A place for a value: a key, of one provider where it is a provider's.
#[derive(Debug)]
pub struct Slot {
    /// The whole path, with the provider's name in it.
    pub path: String,
    /// Its line of the table.
    pub key: &'static Key,
    /// Whose it is.
    pub provider: Option<Name>,
}

impl Slot {
    /// The section: `gateway`, `providers.massive`.
    #[must_use]
    pub fn section(&self) -> &str {
        split(&self.path).0
    }

    /// `TICKCAST__SECTION__KEY`.
    #[must_use]
    pub fn env_name(&self) -> String {
        [super::environment::PREFIX, &self.path.replace('.', "__").to_uppercase()].concat()
    }

    /// The older environment names of this very slot.
    #[must_use]
    pub fn aliases(&self) -> &'static [&'static str] {
        match self.key.env {
            Env::FirstOf(names) => names,
            Env::Agreeing(by_provider) => by_provider
                .iter()
                .find(|(provider, _)| Some(*provider) == self.provider)
                .map_or(&[], |(_, names)| *names),
        }
    }

    /// What the documents show for it, and whether that is the provider's own.
    #[must_use]
    pub fn example(&self) -> (&'static str, bool) {
        let of_provider = keys::TYPICAL.iter().find(|(provider, _)| Some(*provider) == self.provider);
        let own = of_provider.and_then(|(_, values)| values.iter().find(|(name, _)| *name == self.key.name()));
        match (own, self.key.default) {
            (Some((_, value)), _) => (value, true),
            (None, Default::Is(value) | Default::Unset { example: value, .. }) => (value, false),
        }
    }
}

/// Every slot, in the table's order, providers in documentation order.
pub fn slots() -> &'static [Slot] {
    static SLOTS: LazyLock<Vec<Slot>> = LazyLock::new(|| {
        let (provider_keys, keys): (Vec<_>, Vec<_>) = keys::all().partition(|key| key.section() == keys::PROVIDERS);
        let mut slots: Vec<_> =
            keys.into_iter().map(|key| Slot { path: key.path.to_owned(), key, provider: None }).collect();
        for name in Name::ALL {
            slots.extend(provider_keys.iter().filter(|key| key.applies_to(name)).map(|key| Slot {
                path: key.path.replace('*', name.as_str()),
                key,
                provider: Some(name),
            }));
        }
        slots
    });
    &SLOTS
}

/// The slot at a path. `providers.polygon` is `providers.massive`.
pub fn find(path: &str) -> Option<&'static Slot> {
    let path = canonical(path);
    slots().iter().find(|slot| slot.path == path)
}

/// Whether anything lies below a path.
pub fn is_section(path: &str) -> bool {
    let below = [&canonical(path), "."].concat();
    slots().iter().any(|slot| slot.path.starts_with(&below))
}

fn canonical(path: &str) -> String {
    let rest = path.strip_prefix("providers.polygon");
    match rest {
        Some(rest) if rest.is_empty() || rest.starts_with('.') => ["providers.massive", rest].concat(),
        _ => path.to_owned(),
    }
}

/// The slot somebody most likely meant. The name counts more than the section: a key is more often looked for in the
/// wrong place than called something else.
pub fn nearest(path: &str) -> &'static Slot {
    let path = canonical(&path.to_lowercase());
    if let Some((_, meant)) = keys::EXPECTED_ELSEWHERE.iter().find(|(expected, _)| *expected == path) {
        return find(meant).expect("a test holds that these exist");
    }
    let (section, name) = split(&path);
    let likeness = |slot: &Slot| {
        let (its_section, its_name) = split(&slot.path);
        0.3 * strsim::normalized_damerau_levenshtein(section, its_section) + 0.7 * name_likeness(name, its_name)
    };
    slots().iter().rev().max_by(|a, b| likeness(a).total_cmp(&likeness(b))).expect("the table is not empty")
}

/// A beginning of a name is as good as a name with a few slips in it.
fn name_likeness(name: &str, its_name: &str) -> f64 {
    let begins = name.len() > 2 && its_name.starts_with(name);
    strsim::normalized_damerau_levenshtein(name, its_name).max(if begins { 0.8 } else { 0.0 })
}

fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('.').unwrap_or(("", path))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn paths_and_environment_names_are_unique() {
        let mut paths = HashSet::new();
        let mut names = HashSet::new();
        for slot in slots() {
            assert!(paths.insert(&slot.path), "{}", slot.path);
            for name in slot.aliases() {
                assert!(names.insert(*name), "{name}");
            }
        }
        assert!(find("gateway.port").is_some());
    }

    #[test]
    fn a_number_that_lasts_says_its_unit_in_its_name() {
        for key in keys::all() {
            let unit = match key.name() {
                name if name.ends_with("_ms") => "milliseconds",
                name if name.ends_with("_s") => "seconds",
                name if name.ends_with("_bytes") => "bytes",
                _ => continue,
            };
            assert_eq!(key.unit, unit, "{}", key.path);
        }
    }

    #[test]
    fn every_key_is_documented_in_whole_sentences() {
        for key in keys::all() {
            assert!(key.doc.len() > 20 && key.doc.ends_with('.'), "{}: {:?}", key.path, key.doc);
        }
    }

    #[test]
    fn polygon_is_massive() {
        assert_eq!(find("providers.polygon.api_key").unwrap().path, "providers.massive.api_key");
        assert!(is_section("providers.polygon"));
        assert!(!is_section("providers.polygons"));
    }

    #[test]
    fn keys_that_a_provider_does_not_have_are_unknown() {
        assert!(find("providers.massive.seed").is_none());
        assert!(find("providers.simulated.seed").is_some());
        assert!(find("providers.simulated.api_key").is_none());
    }

    #[test]
    fn the_nearest_key_is_the_one_somebody_meant() {
        for (wrote, meant) in [
            ("gateway.prot", "gateway.port"),
            ("gateway.max_connections", "limits.max_connections"),
            ("gatway.port", "gateway.port"),
            ("port", "gateway.port"),
            ("log_level", "log.level"),
            ("redis.host", "redis.url"),
            ("limits.symbols_per_clients", "limits.symbols_per_client"),
            ("limits.symbols", "limits.symbols_per_client"),
            ("providers.binanse.base_url", "providers.binance.base_url"),
            ("providers.polygon.apikey", "providers.massive.api_key"),
            ("providers.tradier.token", "providers.tradier.api_key"),
            ("cache.ttl_latest", "cache.ttl_latest_s"),
            ("gateway.tls.cert_file", "tls.cert_file"),
        ] {
            assert_eq!(nearest(wrote).path, meant, "for {wrote}");
        }
        for (_, meant) in keys::EXPECTED_ELSEWHERE {
            assert!(find(meant).is_some(), "{meant}");
        }
    }
}
