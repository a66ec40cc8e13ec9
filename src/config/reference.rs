//! The table of keys as documents: `config/default.toml` and `docs/configuration.md`. Pure functions of the table;
//! `tests/reference.rs` holds the committed files to them.

use std::fmt::Write as _;

use super::key::{self, Default, Env, Key};
use super::keys;
use super::kind::{Kind, Raw};
use crate::provider::Name;

const INFALLIBLE: &str = "writing to a String does not fail";
/// Where comments are broken.
const WIDTH: usize = 110;

/// `config/default.toml`: every key, set to its default, or commented out where it has none.
#[must_use]
pub fn default_toml() -> String {
    let mut out = String::from(
        "# tickcast's configuration: every key, its default, its unit, its reason.\n\
         #\n\
         # Printed from the table of keys in src/config/keys (TICKCAST_UPDATE_DOCS=1 cargo test --test reference).\n\
         # A file needs to hold only what differs. Later wins: built-in defaults, file (--config, TICKCAST_CONFIG),\n\
         # environment (each key as TICKCAST__SECTION__KEY; some by an older name too), flags.\n\
         # A commented key has no default; its comment says what leaving it out means.\n",
    );
    for (section, about) in keys::SECTIONS {
        out.push('\n');
        comment(&mut out, &format!("---- {about}"));
        if *section == keys::PROVIDERS {
            providers_toml(&mut out);
        } else {
            writeln!(out, "[{section}]").expect(INFALLIBLE);
            for key in keys::all().filter(|key| key.section() == *section) {
                out.push('\n');
                comment(&mut out, key.doc);
                comment(&mut out, &facts(key));
                let (Default::Is(value) | Default::Unset { example: value, .. }) = key.default;
                writeln!(out, "{}", assignment(key, value)).expect(INFALLIBLE);
            }
        }
    }
    out
}

/// Each provider's keys. One that many have is explained where it comes first, and left to that explanation where the
/// provider has nothing of its own to say.
fn providers_toml(out: &mut String) {
    let mut explained: Vec<&str> = Vec::new();
    for name in Name::ALL {
        writeln!(out, "\n[providers.{name}]").expect(INFALLIBLE);
        for slot in key::slots().iter().filter(|slot| slot.provider == Some(name)) {
            let first = !explained.contains(&slot.key.path);
            let (example, is_own) = slot.example();
            let mut line = assignment(slot.key, example);
            if first {
                explained.push(slot.key.path);
                out.push('\n');
                comment(out, slot.key.doc);
                comment(out, &facts(slot.key));
            } else if let [alias, ..] = slot.aliases() {
                write!(line, "  # environment: {alias}").expect(INFALLIBLE);
            } else if !is_own {
                continue;
            }
            writeln!(out, "{line}").expect(INFALLIBLE);
        }
    }
}

/// `name = value`, commented out where there is no default.
fn assignment(key: &Key, value: &str) -> String {
    let comment = match key.default {
        Default::Is(_) => "",
        Default::Unset { .. } => "# ",
    };
    format!("{comment}{} = {}", key.name(), toml(key, value))
}

fn toml(key: &Key, text: &str) -> String {
    key.kind.read(&Raw::Words(text.into())).expect("a test reads every default and example").to_string()
}

/// What may be written, what leaving out means, by which other names.
fn facts(key: &Key) -> String {
    let mut facts = match (key.kind.allowed(), key.unit) {
        (allowed, "") => format!("Allowed: {allowed}."),
        (allowed, unit) => format!("Allowed: {allowed} {unit}."),
    };
    if let Default::Unset { means, .. } = key.default {
        write!(facts, " Left out: {means}.").expect(INFALLIBLE);
    }
    let names = aliases(key);
    if !names.is_empty() {
        write!(facts, " Environment: {}.", names.join(", ")).expect(INFALLIBLE);
    }
    if let Some(flag) = key.flag {
        write!(facts, " Flag: {flag}.").expect(INFALLIBLE);
    }
    facts
}

fn aliases(key: &Key) -> Vec<&'static str> {
    match key.env {
        Env::FirstOf(names) => names.to_vec(),
        Env::Agreeing(by_provider) => by_provider.iter().flat_map(|(_, names)| *names).copied().collect(),
    }
}

/// Appends comment lines no wider than [`WIDTH`].
fn comment(out: &mut String, text: &str) {
    let mut line = String::from("#");
    for word in text.split(' ') {
        if line.chars().count() + 1 + word.chars().count() > WIDTH {
            writeln!(out, "{line}").expect(INFALLIBLE);
            line = String::from("#");
        }
        line.push(' ');
        line.push_str(word);
    }
    writeln!(out, "{line}").expect(INFALLIBLE);
}

/// `docs/configuration.md`.
#[must_use]
pub fn markdown() -> String {
    let mut out = String::from(
        "<!-- Printed from the table of keys in src/config/keys: TICKCAST_UPDATE_DOCS=1 cargo test --test reference -->\n\n\
         # Configuration\n\n\
         Later wins: built-in defaults → file (`--config FILE`, `TICKCAST_CONFIG`) → environment → flags.\n\n\
         - Any key can be set by the environment as `TICKCAST__SECTION__KEY` (`TICKCAST__LIMITS__REST_RPM=120`); that wins over the older\n  \
           names below. Any key can be set by a flag as `--set section.key=value`.\n\
         - `.env` in the working directory is read if present; the real environment wins over it. Empty variables count as unset.\n\
         - Lists are comma-separated outside of the file. Durations are numbers in the unit their name ends with (`_s`, `_ms`); fractions\n  \
           are fine (`0.5`).\n\
         - An empty text takes back what an earlier source set, for keys that may be left out (`--redis-url \"\"`).\n\
         - Unknown keys are errors that name the nearest known one. All mistakes are listed at once, and the exit code is 64.\n\
         - `tickcast config` shows the effective configuration and where each value came from; secrets are masked.\n\n\
         `config/default.toml` has every key with its default; `config/production.toml` is a profile to deploy with.\n",
    );
    for (section, about) in keys::SECTIONS {
        let shown = section.replace('*', "NAME");
        writeln!(out, "\n## `[{shown}]`\n\n{about}\n\n| key | default | allowed | also set by | what and why |")
            .expect(INFALLIBLE);
        out.push_str("|---|---|---|---|---|\n");
        for key in keys::all().filter(|key| key.section() == *section) {
            out.push_str(&row(key));
        }
        if *section == keys::PROVIDERS {
            out.push_str(&provider_notes());
        }
    }
    out.push_str("\n## Environment names\n\nNames that existing deployments use, honoured as they are.\n\n| name | sets |\n|---|---|\n");
    for (name, sets) in super::environment_names() {
        writeln!(out, "| `{name}` | {sets} |").expect(INFALLIBLE);
    }
    writeln!(out, "\n`{}` alone is an error: {}.", super::redis_url::REST, super::redis_url::UPSTASH_HELP)
        .expect(INFALLIBLE);
    out
}

fn row(key: &Key) -> String {
    let default = match key.default {
        Default::Is(text) => format!("`{}`", toml(key, text)),
        Default::Unset { means, .. } => means.to_owned(),
    };
    let allowed = match (key.kind, key.unit) {
        (kind @ (Kind::Whole { .. } | Kind::Number { .. }), unit) if !unit.is_empty() => {
            format!("{} {unit}", kind.allowed())
        }
        (kind, _) => kind.allowed(),
    };
    let mut also: Vec<String> = aliases(key).into_iter().map(|name| format!("`{name}`")).collect();
    also.extend(key.flag.map(|flag| format!("`{flag}`")));
    let secret = if key.secret { " Secret: never shown." } else { "" };
    let cells = [format!("`{}`", key.name()), default, allowed, also.join(" "), format!("{}{secret}", key.doc)];
    format!("| {} |\n", cells.map(|cell| cell.replace('|', "\\|")).join(" | "))
}

/// Which provider has which of the keys that not all have.
fn provider_notes() -> String {
    let mut out = String::from(
        "\nProviders and the keys they have beyond those of every vendor:\n\n| provider | keys |\n|---|---|\n",
    );
    for name in Name::ALL {
        let own: Vec<_> = key::slots()
            .iter()
            .filter(|slot| slot.provider == Some(name) && !slot.key.only.is_empty())
            .map(|slot| format!("`{}`", slot.key.name()))
            .collect();
        writeln!(out, "| `{name}` | {} |", own.join(" ")).expect(INFALLIBLE);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_and_example_is_a_legal_value_of_its_key() {
        for slot in key::slots() {
            let (text, _) = slot.example();
            let read = slot.key.kind.read(&Raw::Words(text.into()));
            assert!(read.is_ok(), "{} = {text}: {read:?}", slot.path);
        }
        for (name, values) in keys::TYPICAL {
            for (key, _) in *values {
                assert!(key::find(&format!("providers.{name}.{key}")).is_some(), "{name}.{key}");
            }
        }
    }

    #[test]
    fn every_section_is_introduced_and_every_introduction_has_keys() {
        for key in keys::all() {
            assert!(keys::SECTIONS.iter().any(|(section, _)| *section == key.section()), "{}", key.path);
        }
        for (section, _) in keys::SECTIONS {
            assert!(keys::all().any(|key| key.section() == *section), "{section}");
        }
    }
}
