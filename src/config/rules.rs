//! What must hold between keys, and what the role needs.
//!
//! A rule keeps silent about keys whose values are wrong in themselves: that is said already, and what would follow from
//! it is a guess.

use super::key;
use super::kind::Value;
use super::layers::Settings;
use super::origin::{Mistake, Origin};
use super::{Input, Purpose, Role, redis_url};

/// RFC 7518 §3.2: HS256 wants a key at least as long as its hash, 256 bits.
const HS256_BYTES: usize = 32;

/// Checks every rule. `is_whole` is false when the file could not be read: then what seems to be missing may be in it.
pub(super) fn check(settings: &Settings, input: &Input, is_whole: bool) -> Found {
    let mut rules = Rules { settings, input, found: Found::default() };
    rules.ports();
    rules.origins();
    rules.auth();
    rules.tls();
    rules.channels();
    rules.admin();
    if is_whole {
        rules.redis();
        rules.providers();
    }
    rules.found
}

/// What the rules found.
#[derive(Default)]
pub(super) struct Found {
    pub(super) mistakes: Vec<Mistake>,
    pub(super) warnings: Vec<String>,
}

struct Rules<'a> {
    settings: &'a Settings,
    input: &'a Input,
    found: Found,
}

impl<'a> Rules<'a> {
    fn ports(&mut self) {
        if self.input.role == Role::Publisher || !self.settings.are_sound(&["gateway.port", "ops.port"]) {
            return;
        }
        let (public, ops) = (self.settings.get("gateway.port"), self.settings.get("ops.port"));
        if public.value == ops.value && public.value != Some(Value::Whole(0)) {
            let other = public.origin.clone();
            self.mistake("ops.port", format!("is gateway.port too ({other}); they must differ"));
        }
    }

    fn origins(&mut self) {
        let origins = self.list("gateway.allowed_origins");
        if origins.len() > 1 && origins.iter().any(|origin| origin == "*") {
            self.mistake("gateway.allowed_origins", "has * among others: either * alone, or the list");
        }
    }

    fn auth(&mut self) {
        if !self.settings.are_sound(&["auth.mode", "auth.tokens", "auth.jwt_secret", "auth.jwks_url"]) {
            return;
        }
        let (secret, jwks, tokens) =
            (self.text("auth.jwt_secret"), self.text("auth.jwks_url"), !self.list("auth.tokens").is_empty());
        match self.text("auth.mode") {
            Some("jwt") => match (secret, jwks) {
                (None, None) => self.mistake(
                    "auth.mode",
                    "needs auth.jwt_secret (JWT_SECRET) or auth.jwks_url (JWKS_URL); neither is set",
                ),
                (Some(_), Some(_)) => {
                    let (a, b) = (self.origin("auth.jwt_secret"), self.origin("auth.jwks_url"));
                    self.mistake(
                        "auth.jwks_url",
                        format!("is set ({b}) and auth.jwt_secret too ({a}); set exactly one"),
                    );
                }
                (Some(secret), None) if secret.len() < HS256_BYTES => self.warn(format!(
                    "auth.jwt_secret ({}) has {} bytes; RFC 7518 wants at least {HS256_BYTES} for HS256",
                    self.origin("auth.jwt_secret"),
                    secret.len()
                )),
                _ => {}
            },
            Some("token") if !tokens => self.mistake("auth.mode", "needs auth.tokens; the list is empty"),
            Some("none") if secret.is_some() || jwks.is_some() || tokens => {
                let by = self.origin("auth.mode");
                self.warn(format!("auth.mode is none ({by}): anyone may connect, although credentials are configured"));
            }
            _ => {}
        }
        if tokens
            && (secret.is_some() || jwks.is_some())
            && matches!(self.settings.get("auth.mode").origin, Origin::Implied(_))
        {
            self.mistake("auth.mode", "could be token or jwt, both are configured; set it");
        }
    }

    fn tls(&mut self) {
        for (one, other) in [("tls.cert_file", "tls.key_file"), ("tls.key_file", "tls.cert_file")] {
            if self.text(one).is_some() && self.text(other).is_none() && self.settings.are_sound(&[other]) {
                self.mistake(one, format!("needs {other} too"));
            }
        }
    }

    fn channels(&mut self) {
        let channels = ["redis.channel_updates", "redis.channel_subscriptions", "redis.channel_control"];
        if !self.settings.are_sound(&channels) {
            return;
        }
        for (index, channel) in channels.into_iter().enumerate() {
            match self.text(channel) {
                Some("") => self.mistake(channel, "is empty"),
                name => {
                    if let Some(same) = channels[..index].iter().find(|earlier| self.text(earlier) == name) {
                        self.mistake(channel, format!("is {same} too; the channels must differ"));
                    }
                }
            }
        }
    }

    fn admin(&mut self) {
        let bind = self.text("ops.bind").and_then(|bind| bind.parse::<std::net::IpAddr>().ok());
        if bind.is_some_and(|bind| !bind.is_loopback()) && self.text("ops.admin_token").is_none() {
            let by = self.origin("ops.bind");
            self.warn(format!(
                "ops.bind ({by}) is not loopback and ops.admin_token (ADMIN_TOKEN) is not set: calls that change \
                 something are refused"
            ));
        }
    }

    fn redis(&mut self) {
        if !self.settings.are_sound(&["redis.url", "redis.prefix"]) {
            return;
        }
        match (self.text("redis.url"), self.input.env.get(redis_url::REST)) {
            (None, Some((_, origin))) => {
                let problem = format!("{} alone does not do: {}", redis_url::REST, redis_url::UPSTASH_HELP);
                self.found.mistakes.push(Mistake::new("redis.url", problem).at(origin));
            }
            (None, None) => self.missing_redis(),
            (Some(url), _) => {
                let prefix = self.text("redis.prefix").unwrap_or_default();
                if redis_url::is_cluster(url) && !prefix.is_empty() && !has_hash_tag(prefix) {
                    self.mistake("redis.prefix", "has no hash tag {like this}, which redis.url, a cluster, needs");
                }
                self.unused_parts();
            }
        }
    }

    fn missing_redis(&mut self) {
        let hint = if self.input.env.get("REDIS_PASSWORD").or_else(|| self.input.env.get("REDIS_PORT")).is_some() {
            " (REDIS_PORT and REDIS_PASSWORD count only beside REDIS_HOST)"
        } else {
            ""
        };
        match (self.input.purpose, self.input.role) {
            (Purpose::Run, role @ (Role::Gateway | Role::Publisher)) => {
                let problem = format!(
                    "is not set, and a {role} meets the others through Redis: set REDIS_URL, for example \
                     redis://127.0.0.1:6379, or run `tickcast serve`, which needs none{hint}"
                );
                self.found.mistakes.push(Mistake::new("redis.url", problem));
            }
            (Purpose::Run, Role::Serve) if !hint.is_empty() => {
                self.warn(format!("the built-in broker is used: neither REDIS_URL nor REDIS_HOST is set{hint}"));
            }
            (Purpose::Run, Role::Serve) | (Purpose::Find, _) => {}
        }
    }

    fn unused_parts(&mut self) {
        let origin = self.origin("redis.url");
        let from_parts = matches!(origin, Origin::Env(name) | Origin::DotEnv(name) if name == "REDIS_HOST");
        if !from_parts && self.input.env.get("REDIS_HOST").is_some() {
            self.warn(format!("REDIS_HOST is ignored, since redis.url is set ({origin})"));
        }
    }

    fn providers(&mut self) {
        let publishes = match self.input.role {
            Role::Publisher => true,
            Role::Serve => self.settings.get("publisher.enabled").value == Some(Value::Bool(true)),
            Role::Gateway => false,
        };
        if self.input.purpose == Purpose::Find
            || !publishes
            || !self.settings.are_sound(&["publisher.providers", "publisher.enabled"])
        {
            return;
        }
        let providers = self.list("publisher.providers");
        if providers.is_empty() {
            self.mistake(
                "publisher.providers",
                "names nobody to ask for quotes: --provider binance needs no key, --provider massive needs \
                 MASSIVE_API_KEY, --provider simulated invents prices",
            );
        }
        for provider in providers {
            let key_path = format!("providers.{provider}.api_key");
            let slot = key::find(&key_path);
            if let Some(slot) = slot.filter(|slot| self.is_missing(&slot.path)) {
                let problem = format!(
                    "is needed, since publisher.providers names {provider}; set {}",
                    slot.aliases().join(" or ")
                );
                self.missing(&slot.path, problem);
            }
            if provider == "replay" && self.is_missing("providers.replay.file") {
                self.missing("providers.replay.file", "is needed, since publisher.providers names replay".into());
            }
        }
    }

    fn is_missing(&self, path: &str) -> bool {
        self.settings.are_sound(&[path]) && self.settings.get(path).value.is_none()
    }

    fn missing(&mut self, path: &str, problem: String) {
        let by = self.origin("publisher.providers").clone();
        self.found.mistakes.push(Mistake::new(path, problem).at(by));
    }

    fn mistake(&mut self, path: &str, problem: impl Into<String>) {
        let slot = key::find(path).expect("rules are about keys of the table");
        let setting = self.settings.get(path);
        self.found.mistakes.push(Mistake {
            subject: path.to_owned(),
            value: setting.value.as_ref().map(|value| super::effective::shown(slot, value)),
            origin: Some(setting.origin.clone()),
            problem: problem.into(),
            allowed: None,
        });
    }

    fn warn(&mut self, warning: String) {
        self.found.warnings.push(warning);
    }

    fn origin(&self, path: &str) -> &'a Origin {
        &self.settings.get(path).origin
    }

    fn text(&self, path: &str) -> Option<&'a str> {
        match &self.settings.get(path).value {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    fn list(&self, path: &str) -> &'a [String] {
        match &self.settings.get(path).value {
            Some(Value::List(items)) => items,
            _ => &[],
        }
    }
}

/// Redis cluster specification, "Hash tags": something between the first `{` and the next `}`.
fn has_hash_tag(prefix: &str) -> bool {
    prefix.split_once('{').and_then(|(_, rest)| rest.split_once('}')).is_some_and(|(tag, _)| !tag.is_empty())
}
