//! The committed configuration files and their documentation agree with the table of keys.
//!
//! `TICKCAST_UPDATE_DOCS=1 cargo test --test reference` prints the generated ones anew.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use tickcast::config::{self, Environment, Input, Purpose, Role, key, reference};

fn root(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Loads a file of the repository, with nothing else around.
fn load(path: &str, role: Role, env: &[(&str, &str)]) -> config::Loaded {
    let input = Input {
        file: Some(root(path).to_str().expect("the repository's path is UTF-8").to_owned()),
        env: Environment::of(env.iter().copied()),
        role,
        purpose: Purpose::Run,
        ..Input::default()
    };
    config::load(&input).unwrap_or_else(|mistakes| panic!("{path} as {role}: {mistakes}"))
}

fn is_up_to_date(path: &str, generated: &str) {
    if std::env::var_os("TICKCAST_UPDATE_DOCS").is_some() {
        std::fs::write(root(path), generated).unwrap_or_else(|error| panic!("{path}: {error}"));
    }
    let committed = read(path);
    let differing = committed.lines().zip(generated.lines()).position(|(a, b)| a != b);
    assert!(
        committed == generated,
        "{path} differs from the table of keys from line {} on; print it with TICKCAST_UPDATE_DOCS=1 cargo test --test reference",
        differing.unwrap_or_else(|| committed.lines().count().min(generated.lines().count())) + 1
    );
}

#[test]
fn the_reference_is_up_to_date() {
    is_up_to_date("config/default.toml", &reference::default_toml());
}

#[test]
fn the_documentation_is_up_to_date() {
    is_up_to_date("docs/configuration.md", &reference::markdown());
}

#[test]
fn the_reference_says_exactly_the_built_in_defaults() {
    for role in Role::ALL {
        let env = [("REDIS_URL", "redis://127.0.0.1"), ("TRADIER_API_KEY", "k")];
        let built_in = Input { env: Environment::of(env), role, purpose: Purpose::Run, ..Input::default() };
        let built_in = config::load(&built_in).unwrap_or_else(|mistakes| panic!("{mistakes}"));
        let reference = load("config/default.toml", role, &env);
        assert_eq!(format!("{:#?}", reference.config), format!("{:#?}", built_in.config), "as {role}");
        assert_eq!(reference.warnings, built_in.warnings);
    }
}

/// The paths of a file, commented keys included.
fn mentioned(text: &str) -> BTreeSet<String> {
    let mut section = String::new();
    let mut paths = BTreeSet::new();
    for line in text.lines() {
        let bare = line.strip_prefix("# ").unwrap_or(line);
        if let Some(name) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            section = name.to_owned();
        } else if let Some((name, _)) = bare.split_once(" = ")
            && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
        {
            assert!(paths.insert(format!("{section}.{name}")), "{section}.{name} is there twice");
        }
    }
    paths
}

#[test]
fn the_reference_mentions_every_key_and_no_other() {
    let mentioned = mentioned(&read("config/default.toml"));
    for path in &mentioned {
        assert!(key::find(path).is_some(), "{path} is no key");
    }
    // a provider's section need not repeat what is the same for all
    let mentioned: BTreeSet<&str> =
        mentioned.iter().filter_map(|path| key::find(path)).map(|slot| slot.key.path).collect();
    let keys: BTreeSet<&str> = key::slots().iter().map(|slot| slot.key.path).collect();
    assert_eq!(mentioned, keys);
}

#[test]
fn the_documentation_mentions_every_key_and_every_environment_name() {
    let text = read("docs/configuration.md");
    for slot in key::slots() {
        assert!(text.contains(&format!("| `{}` |", slot.key.name())), "{}", slot.path);
        for name in slot.aliases() {
            assert!(text.contains(&format!("`{name}`")), "{name}");
        }
    }
}

#[test]
fn what_the_reference_comments_out_is_legal_when_uncommented() {
    let text = read("config/default.toml");
    let uncommented: Vec<&str> = text
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(rest) if rest.split_once(" = ").is_some_and(|(name, _)| !name.contains(' ')) => rest,
            _ => line,
        })
        // the one pair that excludes each other
        .filter(|line| !line.starts_with("jwt_secret"))
        .collect();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("all.toml");
    std::fs::write(&path, uncommented.join("\n")).unwrap();
    let input = Input { file: Some(path.to_str().unwrap().to_owned()), ..Input::default() };
    config::load(&input).unwrap_or_else(|mistakes| panic!("{mistakes}"));
}

#[test]
fn the_deployment_profile_loads_for_every_role_with_what_a_platform_gives() {
    let env = [
        ("PORT", "8080"),
        ("REDIS_URL", "rediss://default:pw@redis.example:6379"),
        ("ADMIN_TOKEN", "a-long-random-text"),
        ("MASSIVE_API_KEY", "k"),
    ];
    for role in Role::ALL {
        let loaded = load("config/production.toml", role, &env);
        assert_eq!(loaded.warnings, Vec::<String>::new(), "as {role}");
        assert_eq!(loaded.config.log.format, config::log::Format::Json);
        assert!(loaded.config.ops.bind.is_unspecified());
        assert!(!loaded.config.gateway.allowed_origins.is_empty(), "a deployment names its origins");
    }
    assert_eq!(load("config/production.toml", Role::Gateway, &env).config.gateway.port, 8080);
    assert_eq!(load("config/production.toml", Role::Publisher, &env).config.ops.port, 8083);
}
