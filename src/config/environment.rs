//! The environment and `.env`, read once. The process environment is input: it is never changed.
//!
//! A variable of the process wins over the same name in `.env`. An empty one counts as unset in both, since compose files
//! and platforms pass empty strings for what nobody filled in.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{ErrorKind, Read as _};
use std::path::Path;

use super::origin::{Mistake, Origin};

/// What any key's environment name begins with; `__` parts section and key.
pub const PREFIX: &str = "TICKCAST__";

/// The most that is read of `.env` or a configuration file: 1 MiB, a hundred times the documented reference.
pub(super) const MAX_FILE_BYTES: u64 = 1 << 20;

/// The variables that are set.
#[derive(Clone, Default)]
pub struct Environment {
    vars: BTreeMap<String, (String, Origin)>,
    mistakes: Vec<Mistake>,
}

impl Environment {
    /// The process environment, and the `.env` of a directory where there is one.
    #[must_use]
    pub fn read(directory: &Path) -> Environment {
        let mut env = Environment::default();
        for (name, value) in std::env::vars_os() {
            env.add_process_var(name, value);
        }
        let path = directory.join(".env");
        match read_limited(&path) {
            Ok(text) => env.add_dotenv(&text),
            // some keep a directory of that name, which is nothing of ours
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::IsADirectory) => {}
            Err(error) => env.mistakes.push(Mistake::new(".env", format!("cannot be read: {error}"))),
        }
        env
    }

    /// The given variables as those of a process.
    #[must_use]
    pub fn of<'a>(vars: impl IntoIterator<Item = (&'a str, &'a str)>) -> Environment {
        let mut env = Environment::default();
        for (name, value) in vars {
            env.add_process_var(name.into(), value.into());
        }
        env
    }

    /// Adds what the text of a `.env` file says; what is already there stays.
    pub fn add_dotenv(&mut self, text: &str) {
        let text = text.trim_start_matches('\u{feff}');
        for pair in dotenvy::from_read_iter(text.as_bytes()) {
            match pair {
                Ok((name, value)) if !value.is_empty() => {
                    let origin = Origin::DotEnv(name.clone());
                    self.vars.entry(name).or_insert((value, origin));
                }
                Ok(_) => {}
                Err(error) => self.mistakes.push(dotenv_mistake(text, &error)),
            }
        }
    }

    fn add_process_var(&mut self, name: OsString, value: OsString) {
        let Ok(name) = name.into_string() else { return };
        match value.into_string() {
            Ok(value) if value.is_empty() => {}
            Ok(value) => {
                let origin = Origin::Env(name.clone());
                self.vars.insert(name, (value, origin));
            }
            Err(_) if is_ours(&name) => {
                self.mistakes.push(Mistake::new(name, "is not valid UTF-8"));
            }
            Err(_) => {}
        }
    }

    /// A variable that is set and not empty.
    pub(super) fn get(&self, name: &str) -> Option<(&str, Origin)> {
        self.vars.get(name).map(|(value, origin)| (value.as_str(), origin.clone()))
    }

    /// Every variable whose name begins with [`PREFIX`]: path, value, origin.
    pub(super) fn prefixed(&self) -> impl Iterator<Item = (String, &str, &Origin)> {
        self.vars.iter().filter_map(|(name, (value, origin))| {
            let path = name.strip_prefix(PREFIX)?.replace("__", ".").to_ascii_lowercase();
            Some((path, value.as_str(), origin))
        })
    }

    /// What could not be read.
    pub(super) fn mistakes(&self) -> &[Mistake] {
        &self.mistakes
    }
}

fn is_ours(name: &str) -> bool {
    name.starts_with(PREFIX) || super::environment_names().any(|(ours, _)| ours == name)
}

/// Reads a whole text file, up to [`MAX_FILE_BYTES`].
pub(super) fn read_limited(path: &Path) -> std::io::Result<String> {
    let mut text = String::new();
    std::fs::File::open(path)?.take(MAX_FILE_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(std::io::Error::new(ErrorKind::FileTooLarge, format!("larger than {MAX_FILE_BYTES} bytes")));
    }
    Ok(text)
}

/// Names the line, and shows nothing of it: it may hold a secret.
fn dotenv_mistake(text: &str, error: &dotenvy::Error) -> Mistake {
    match error {
        dotenvy::Error::LineParse(line, _) => {
            // it has the whole line, or what is right of the =
            let first = line.lines().next().unwrap_or_default().trim_end();
            let number =
                text.lines().position(|candidate| candidate.trim_end().ends_with(first)).map(|index| index + 1);
            let place = number.map_or(".env".to_owned(), |number| format!(".env:{number}"));
            Mistake::new(place, "is not NAME=value (quote a value with spaces, # or quotes in it)")
        }
        other => Mistake::new(".env", format!("cannot be read: {other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_wins_over_dotenv_and_empty_counts_as_unset() {
        let mut env = Environment::of([("REDIS_URL", "redis://process"), ("WS_PORT", "")]);
        env.add_dotenv("REDIS_URL=redis://file\nWS_PORT=9000\nLOG_LEVEL=\nexport ADMIN_TOKEN='a b'\n");
        assert_eq!(env.get("REDIS_URL").unwrap().0, "redis://process");
        assert_eq!(env.get("WS_PORT"), Some(("9000", Origin::DotEnv("WS_PORT".into()))));
        assert_eq!(env.get("LOG_LEVEL"), None);
        assert_eq!(env.get("ADMIN_TOKEN").unwrap().0, "a b");
        assert!(env.mistakes().is_empty());
    }

    #[test]
    fn a_broken_line_is_named_by_its_number_and_not_shown() {
        let mut env = Environment::default();
        env.add_dotenv("# a comment\nWS_PORT=9000\nADMIN_TOKEN=s3cret and more\nHEALTH_PORT=9001\n");
        assert_eq!(env.get("WS_PORT").unwrap().0, "9000");
        assert_eq!(env.get("HEALTH_PORT").unwrap().0, "9001");
        let [mistake] = env.mistakes() else { panic!("{:?}", env.mistakes()) };
        assert_eq!(mistake.subject, ".env:3");
        assert!(!mistake.to_string().contains("s3cret"));
    }

    #[test]
    fn a_directory_named_dotenv_is_left_alone_and_an_unreadable_file_is_not() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join(".env")).unwrap();
        assert!(Environment::read(dir.path()).mistakes().is_empty());
        std::fs::remove_dir(dir.path().join(".env")).unwrap();
        std::fs::write(dir.path().join(".env"), b"ADMIN_TOKEN=\xff\n").unwrap();
        let env = Environment::read(dir.path());
        assert!(env.mistakes()[0].to_string().starts_with(".env: cannot be read"), "{:?}", env.mistakes());
    }

    #[test]
    fn prefixed_names_are_paths() {
        let env = Environment::of([("TICKCAST__PROVIDERS__MASSIVE__API_KEY", "k"), ("TICKCAST_PORT", "tcp://x")]);
        let found: Vec<_> = env.prefixed().map(|(path, value, _)| (path, value)).collect();
        assert_eq!(found, [("providers.massive.api_key".to_owned(), "k")]);
    }
}
