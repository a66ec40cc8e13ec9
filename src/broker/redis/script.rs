//! The Lua scripts. Each is one file's text; the registry's have a common head.

use std::sync::LazyLock;

use sha1::{Digest, Sha1};

/// A script, and the digest by which Redis knows it once it has seen it.
pub(super) struct Script {
    pub(super) text: &'static str,
    pub(super) digest: String,
}

macro_rules! scripts {
    ($($name:ident = $($file:literal),+;)*) => {
        $(pub(super) static $name: LazyLock<Script> =
            LazyLock::new(|| Script::new(concat!($(include_str!(concat!("scripts/", $file))),+)));)*
    };
}

scripts! {
    PUBLISH = "publish.lua";
    PROBE = "probe.lua";
    ACQUIRE = "acquire.lua";
    RESIGN = "resign.lua";
    REPORT = "registry.lua", "report.lua";
    LEAVE = "registry.lua", "leave.lua";
    SWEEP = "registry.lua", "sweep.lua";
    QUOTA = "quota.lua";
}

impl Script {
    fn new(text: &'static str) -> Script {
        // The protocol names scripts by SHA-1; nothing here depends on its strength.
        let digest = Sha1::digest(text).iter().map(|byte| format!("{byte:02x}")).collect();
        Script { text, digest }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_is_the_one_redis_computes() {
        // redis-cli SCRIPT LOAD "return 1"
        assert_eq!(Script::new("return 1").digest, "e0e1f9fabfc9d4800c877a703b823ac0578ff8db");
    }

    #[test]
    fn the_registrys_scripts_begin_with_dragonflys_flags() {
        for script in [&REPORT, &LEAVE, &SWEEP] {
            assert!(script.text.starts_with("--!df flags="), "it is read on the first line only");
        }
    }
}
