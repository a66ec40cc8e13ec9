//! Configuration files, environments, flags.

use std::path::PathBuf;

use fastrand::Rng;
use tempfile::TempDir;
use tickcast::config::environment::Environment;
use tickcast::config::{Flag, Input, load};

pub(crate) const CORPUS: &[&[u8]] = &[
    b"[gateway]\nbind = \"0.0.0.0\"\nport = 8081\nshards = 0\nflush_window_ms = 0\nwildcard = false\n",
    b"[limits]\nmax_connections = 0\nmessage_bytes = 65536\ntrusted_proxies = [\"10.0.0.0/8\", \"::1\"]\n",
    b"[auth]\nmode = \"jwt\"\njwt_secret = \"0123456789abcdef0123456789abcdef\"\naudience = \"a\"\nleeway_s = 5\n",
    b"[redis]\nurl = \"redis-sentinel://u:p@h:1/0?sentinelServiceName=x\"\nprefix = \"{a}:\"\n",
    b"[publisher]\nproviders = [\"binance\", \"simulated\"]\ninterval_s = 2.5\npinned = [\"AAPL\"]\n[providers.binance]\nper_minute = 3\nsymbols = [\"*-USDT\"]\n",
    b"[cache]\nenabled = true\nttl_latest_s = 300\npopular = [\"MSFT\"]\nmax_bytes = 1000000\n[drain]\nwindow_s = 20\n",
    b"REDIS_URL=rediss://h\nWS_PORT=1\nTICKCAST__LIMITS__FRAGMENTS=64\nALLOWED_ORIGINS=https://a.example,http://b:1\n",
    b"gateway.port=8081",
    b"providers.massive.plan=paid",
];
pub(crate) const WORDS: &[&str] = &[
    "[gateway]\n",
    "[providers.x]\n",
    "port = ",
    "-1",
    "18446744073709551616",
    "1e308",
    "inf",
    "\"\"\"",
    "= [[",
    "redis://",
    "unix:",
    "redis-cluster://[::1]:",
    "%00",
    "@",
    "\u{feff}",
    "10.0.0.0/33",
    "\"\\u0000\"",
    "1979-05-27",
];

/// A place for configuration files.
pub(crate) struct Files {
    path: PathBuf,
    _dir: TempDir,
}

impl Files {
    pub(crate) fn new() -> Files {
        let dir = tempfile::tempdir().unwrap();
        Files { path: dir.path().join("tickcast.toml"), _dir: dir }
    }

    /// As a file, as `.env`, or as a flag.
    pub(crate) fn load(&mut self, text: &[u8], rng: &mut Rng) {
        let mut input = Input::default();
        let lossy = String::from_utf8_lossy(text);
        match rng.u8(..4) {
            0 => {
                let mut env = Environment::default();
                env.add_dotenv(&lossy);
                input.env = env;
            }
            1 => {
                let (path, value) = lossy.split_once('=').unwrap_or((&lossy, ""));
                input.flags = vec![Flag::set(path, value)];
            }
            _ => {
                std::fs::write(&self.path, text).unwrap();
                input.file = Some(self.path.to_str().unwrap().to_owned());
            }
        }
        match load(&input) {
            Ok(loaded) => drop(loaded.effective.to_text()),
            Err(mistakes) => assert!(!mistakes.to_string().is_empty()),
        }
    }
}
