//! The effective configuration for people and scripts: each key, its value, whose word it is. Holds no secret.

use std::fmt::Write as _;

use serde_json::{Map, Value as Json, json};

use super::form::Form;
use super::key::{self, Default, Slot};
use super::kind::{Kind, Value};
use super::layers::Settings;
use super::origin::Origin;
use super::{Role, redis_url};

/// What stands for a secret.
pub const MASK: &str = "***";

/// Beyond this column a source follows its value instead of lining up with the others.
const SOURCE_COLUMN: usize = 56;

/// Each key with its value and its source.
#[derive(Debug, Clone)]
pub struct Effective {
    role: Role,
    lines: Vec<Line>,
    warnings: Vec<String>,
}

#[derive(Debug, Clone)]
struct Line {
    slot: &'static Slot,
    /// Secrets masked.
    value: Option<Value>,
    origin: Origin,
}

impl Effective {
    pub(super) fn of(settings: &Settings, role: Role, warnings: &[String]) -> Effective {
        let line = |slot: &'static Slot| {
            let setting = settings.get(&slot.path);
            let value = setting.value.as_ref().map(|value| masked(slot, value));
            Line { slot, value, origin: setting.origin.clone() }
        };
        Effective { role, lines: key::slots().iter().map(line).collect(), warnings: warnings.to_vec() }
    }

    /// A value by its path, as it is shown, and its source.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<(String, String)> {
        let line = self.lines.iter().find(|line| line.slot.path == path)?;
        let value = line.value.as_ref().map_or_else(|| "not set".to_owned(), ToString::to_string);
        Some((value, line.origin.to_string()))
    }

    /// TOML with the sources as comments. Providers of whom nothing is said are left out.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text =
            format!("# tickcast {}, effective configuration of `{}`\n", env!("CARGO_PKG_VERSION"), self.role);
        let shown: Vec<_> = self.lines.iter().filter(|line| self.is_worth_a_line(line)).collect();
        let left = |line: &Line| match &line.value {
            Some(value) => format!("{} = {value}", line.slot.key.name()),
            None => format!("# {}", line.slot.key.name()),
        };
        let width = shown.iter().map(|line| left(line).chars().count()).filter(|width| *width <= SOURCE_COLUMN).max();
        let width = width.unwrap_or(SOURCE_COLUMN);
        let mut section = "";
        for line in shown {
            if line.slot.section() != section {
                section = line.slot.section();
                writeln!(text, "\n[{section}]").expect(INFALLIBLE);
            }
            let source = match (&line.value, line.slot.key.default, &line.origin) {
                (None, Default::Unset { means, .. }, Origin::Default) => format!("not set: {means}"),
                (None, _, origin) => format!("not set ({origin})"),
                (Some(_), _, origin) => origin.to_string(),
            };
            writeln!(text, "{:width$}  # {source}", left(line)).expect(INFALLIBLE);
        }
        text
    }

    /// `{"role", "settings": {path: {"value", "source"}}, "warnings"}`, with every key there is.
    #[must_use]
    pub fn to_json(&self) -> Json {
        let setting = |line: &Line| {
            let mut setting = Map::new();
            setting.insert("value".into(), line.value.as_ref().map_or(Json::Null, json_of));
            setting.insert("source".into(), line.origin.to_string().into());
            if let (None, Default::Unset { means, .. }) = (&line.value, line.slot.key.default) {
                setting.insert("not_set_means".into(), means.into());
            }
            (line.slot.path.clone(), Json::Object(setting))
        };
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "role": self.role.as_str(),
            "settings": self.lines.iter().map(setting).collect::<Map<_, _>>(),
            "warnings": self.warnings,
        })
    }

    fn is_worth_a_line(&self, line: &Line) -> bool {
        let Some(provider) = line.slot.provider else { return true };
        let asked = self.lines.iter().any(|line| match (&line.value, line.slot.path.as_str()) {
            (Some(Value::List(names)), "publisher.providers") => names.iter().any(|name| name == provider.as_str()),
            _ => false,
        });
        asked || self.lines.iter().any(|line| line.slot.provider == Some(provider) && line.origin != Origin::Default)
    }
}

const INFALLIBLE: &str = "writing to a String does not fail";

/// A value as it may be shown.
pub(super) fn shown(slot: &Slot, value: &Value) -> String {
    masked(slot, value).to_string()
}

fn masked(slot: &Slot, value: &Value) -> Value {
    match (slot.key.secret, slot.key.kind, value) {
        (true, _, Value::List(items)) => Value::List(items.iter().map(|_| MASK.to_owned()).collect()),
        (true, ..) => Value::Text(MASK.to_owned()),
        (false, Kind::Text(Form::RedisUrl), Value::Text(url)) => Value::Text(redis_url::masked(url)),
        (false, _, value) => value.clone(),
    }
}

fn json_of(value: &Value) -> Json {
    match value {
        Value::Bool(value) => json!(value),
        Value::Whole(value) => json!(value),
        // 300, not 300.0
        Value::Number(value) => value.to_string().parse().map_or(Json::Null, Json::Number),
        Value::Text(text) => json!(text),
        Value::List(items) => json!(items),
    }
}
