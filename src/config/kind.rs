//! What a key's value may be, and reading one from a file's types or an environment variable's text.

use std::fmt;

use super::form::Form;

/// The kinds of value there are, with their ranges (both ends included).
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// Yes or no.
    Bool,
    /// A whole number.
    Whole {
        /// The least.
        min: u64,
        /// The most.
        max: u64,
    },
    /// A number that may have a fraction.
    Number {
        /// The least.
        min: f64,
        /// The most.
        max: f64,
    },
    /// One text.
    Text(Form),
    /// Any number of texts, up to [`MAX_ITEMS`].
    List(Form),
}

/// The longest list. The largest one that makes sense is a list of pinned symbols, and a budget polls no more than a few
/// thousand.
pub const MAX_ITEMS: usize = 10_000;

/// A value as it was written.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Raw {
    /// By an environment variable or a flag, which have no types: any kind may be meant.
    Words(String),
    /// By a file, as are all below.
    Bool(bool),
    /// A whole number.
    Whole(i128),
    /// A number with a fraction or an exponent.
    Number(f64),
    /// A text.
    Text(String),
    /// An array.
    List(Vec<Raw>),
    /// Something that no key can be: its name.
    Other(&'static str),
}

/// A checked value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// See [`Kind::Bool`].
    Bool(bool),
    /// See [`Kind::Whole`].
    Whole(u64),
    /// See [`Kind::Number`].
    Number(f64),
    /// See [`Kind::Text`].
    Text(String),
    /// See [`Kind::List`].
    List(Vec<String>),
}

impl Kind {
    /// Reads and checks a value, or says what is wrong with it.
    pub(super) fn read(&self, raw: &Raw) -> Result<Value, String> {
        match self {
            Kind::Bool => read_bool(raw).map(Value::Bool),
            Kind::Whole { min, max } => read_whole(raw, *min, *max).map(Value::Whole),
            Kind::Number { min, max } => read_number(raw, *min, *max).map(Value::Number),
            Kind::Text(form) => match raw {
                Raw::Words(text) | Raw::Text(text) => form.check(text).map(Value::Text),
                other => Err(format!("must be a text in quotes, not {}", other.type_name())),
            },
            Kind::List(form) => read_list(raw, form).map(Value::List),
        }
    }

    /// What may be written, for documentation and error messages; empty where the form says it itself.
    #[must_use]
    pub fn allowed(&self) -> String {
        match self {
            Kind::Bool => "true, false".into(),
            Kind::Whole { min, max } => format!("{min} to {max}"),
            Kind::Number { min, max } => format!("{min} to {max}"),
            Kind::Text(form) => form.allowed(),
            Kind::List(form) => format!("a list; each: {}", form.allowed()),
        }
    }
}

fn read_bool(raw: &Raw) -> Result<bool, String> {
    match raw {
        Raw::Bool(value) => Ok(*value),
        Raw::Words(text) => match text.trim().to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Ok(true),
            "false" | "0" | "no" | "off" => Ok(false),
            _ => Err("is neither true nor false".into()),
        },
        other => Err(format!("must be true or false, not {}", other.type_name())),
    }
}

fn read_whole(raw: &Raw, min: u64, max: u64) -> Result<u64, String> {
    let number = match raw {
        Raw::Whole(value) => *value,
        Raw::Words(text) => text.trim().parse::<i128>().map_err(|_| "is not a whole number".to_owned())?,
        other => return Err(format!("must be a whole number, not {}", other.type_name())),
    };
    if number < i128::from(min) {
        return Err("is too small".into());
    }
    u64::try_from(number).ok().filter(|number| *number <= max).ok_or_else(|| "is too large".into())
}

fn read_number(raw: &Raw, min: f64, max: f64) -> Result<f64, String> {
    let number = match raw {
        #[expect(clippy::cast_precision_loss, reason = "beyond 2^53 it is out of every range there is")]
        Raw::Whole(value) => *value as f64,
        Raw::Number(value) => *value,
        Raw::Words(text) => text.trim().parse().map_err(|_| "is not a number".to_owned())?,
        other => return Err(format!("must be a number, not {}", other.type_name())),
    };
    if number.is_nan() {
        return Err("is not a number".into());
    }
    if number < min {
        return Err("is too small".into());
    }
    if number > max {
        return Err("is too large".into());
    }
    Ok(number)
}

fn read_list(raw: &Raw, form: &Form) -> Result<Vec<String>, String> {
    let texts: Vec<&str> = match raw {
        Raw::Words(text) => text.split(',').map(str::trim).filter(|item| !item.is_empty()).collect(),
        Raw::List(items) => items
            .iter()
            .map(|item| match item {
                Raw::Text(text) => Ok(text.as_str()),
                other => Err(format!("must be a list of texts; it holds {}", other.type_name())),
            })
            .collect::<Result<_, _>>()?,
        other => return Err(format!("must be a list of texts in square brackets, not {}", other.type_name())),
    };
    if texts.len() > MAX_ITEMS {
        return Err(format!("has {} items; at most {MAX_ITEMS} are taken", texts.len()));
    }
    let mut items = Vec::with_capacity(texts.len());
    let mut problems = Vec::new();
    for (position, text) in texts.iter().enumerate() {
        match form.check(text) {
            Ok(item) if items.contains(&item) => {}
            Ok(item) => items.push(item),
            Err(problem) => problems.push(format!("item {} {problem}", position + 1)),
        }
    }
    if problems.is_empty() { Ok(items) } else { Err(problems.join(", ")) }
}

impl Raw {
    fn type_name(&self) -> &'static str {
        match self {
            Raw::Words(_) | Raw::Text(_) => "a text",
            Raw::Bool(_) => "a boolean",
            Raw::Whole(_) | Raw::Number(_) => "a number",
            Raw::List(_) => "a list",
            Raw::Other(name) => name,
        }
    }

    /// Nothing between the quotes: how a file or a flag takes back what an earlier source set.
    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Raw::Words(text) | Raw::Text(text) if text.trim().is_empty())
    }
}

impl fmt::Display for Raw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Raw::Words(text) | Raw::Text(text) => f.write_str(&quoted(text)),
            Raw::Bool(value) => write!(f, "{value}"),
            Raw::Whole(value) => write!(f, "{value}"),
            Raw::Number(value) => write!(f, "{value}"),
            Raw::List(items) => {
                f.write_str("[")?;
                for (position, item) in items.iter().enumerate() {
                    f.write_str(if position == 0 { "" } else { ", " })?;
                    item.fmt(f)?;
                }
                f.write_str("]")
            }
            Raw::Other(name) => f.write_str(name),
        }
    }
}

/// Valid TOML.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Bool(value) => write!(f, "{value}"),
            Value::Whole(value) => write!(f, "{value}"),
            Value::Number(value) => write!(f, "{value}"),
            Value::Text(text) => f.write_str(&quoted(text)),
            Value::List(items) => {
                write!(f, "[{}]", items.iter().map(|item| quoted(item)).collect::<Vec<_>>().join(", "))
            }
        }
    }
}

fn quoted(text: &str) -> String {
    // one line and in double quotes, whatever is in it
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PORT: Kind = Kind::Whole { min: 0, max: 65_535 };
    const SECONDS: Kind = Kind::Number { min: 0.1, max: 60.0 };

    #[track_caller]
    fn reads(kind: Kind, raw: impl std::borrow::Borrow<Raw>, expected: Result<Value, &str>) {
        let raw = raw.borrow();
        assert_eq!(kind.read(raw), expected.map_err(str::to_owned), "{raw}");
    }

    fn words(text: &str) -> Raw {
        Raw::Words(text.into())
    }

    #[test]
    fn whole_numbers_keep_to_their_range() {
        reads(PORT, words("8081"), Ok(Value::Whole(8081)));
        reads(PORT, words(" 8081 "), Ok(Value::Whole(8081)));
        reads(PORT, Raw::Whole(65_535), Ok(Value::Whole(65_535)));
        reads(PORT, Raw::Whole(65_536), Err("is too large"));
        reads(PORT, words("-1"), Err("is too small"));
        reads(PORT, words("80.5"), Err("is not a whole number"));
        reads(PORT, words("tcp://10.0.0.1:80"), Err("is not a whole number"));
        reads(PORT, Raw::Number(8081.0), Err("must be a whole number, not a number"));
        reads(PORT, Raw::Text("8081".into()), Err("must be a whole number, not a text"));
        reads(PORT, Raw::Whole(i128::MAX), Err("is too large"));
    }

    #[test]
    fn durations_may_have_a_fraction() {
        reads(SECONDS, words("0.5"), Ok(Value::Number(0.5)));
        reads(SECONDS, Raw::Whole(5), Ok(Value::Number(5.0)));
        reads(SECONDS, Raw::Number(0.05), Err("is too small"));
        reads(SECONDS, words("inf"), Err("is too large"));
        reads(SECONDS, words("NaN"), Err("is not a number"));
        reads(SECONDS, words("5s"), Err("is not a number"));
        reads(SECONDS, Raw::Bool(true), Err("must be a number, not a boolean"));
    }

    #[test]
    fn booleans_have_the_spellings_that_environments_use() {
        for yes in ["true", "TRUE", "1", "yes", "on"] {
            reads(Kind::Bool, words(yes), Ok(Value::Bool(true)));
        }
        for no in ["false", "False", "0", "no", "off"] {
            reads(Kind::Bool, words(no), Ok(Value::Bool(false)));
        }
        reads(Kind::Bool, words("maybe"), Err("is neither true nor false"));
        reads(Kind::Bool, Raw::Text("true".into()), Err("must be true or false, not a text"));
    }

    #[test]
    fn lists_are_comma_separated_outside_of_files() {
        let list = Kind::List(Form::Symbol);
        let value = |items: &[&str]| Ok(Value::List(items.iter().map(|item| (*item).to_owned()).collect()));
        reads(list, words("aapl, MSFT,,AAPL"), value(&["AAPL", "MSFT"]));
        reads(list, words(""), value(&[]));
        reads(list, Raw::List(vec![Raw::Text("AAPL".into())]), value(&["AAPL"]));
        reads(list, Raw::List(vec![Raw::Whole(1)]), Err("must be a list of texts; it holds a number"));
        reads(list, Raw::Text("AAPL".into()), Err("must be a list of texts in square brackets, not a text"));
        reads(
            list,
            words("AAPL,TC S,M+M"),
            Err("item 2 is no symbol: a symbol is made of A-Z 0-9 . - _ : ^ = / & @, \
                 item 3 is no symbol: a symbol is made of A-Z 0-9 . - _ : ^ = / & @"),
        );
    }
}
