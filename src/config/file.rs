//! The configuration file: TOML to assignments, each with its line.
//!
//! Types and ranges are not its business; unknown keys and sections are.

use toml::de::{DeTable, DeValue};

use super::key::{self, Slot};
use super::kind::Raw;
use super::layers::{Assignment, conflicts};
use super::origin::{Mistake, Origin};

/// What a file says.
#[derive(Default)]
pub(super) struct Parsed {
    pub(super) assignments: Vec<Assignment>,
    pub(super) mistakes: Vec<Mistake>,
    /// It is TOML. Where it is not, keys may be missing that are there for whoever looks.
    pub(super) is_whole: bool,
}

/// Reads a file's text. `path` is for the messages.
pub(super) fn parse(path: &str, text: &str) -> Parsed {
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut reader = Reader { path, text, parsed: Parsed { is_whole: errors.is_empty(), ..Parsed::default() } };
    for error in &errors {
        // the error's own text would show the line, secrets included
        let at = reader.origin(error.span().map_or(0, |span| span.start));
        reader.parsed.mistakes.push(Mistake::new("file", format!("is not TOML: {}", error.message())).at(at));
    }
    reader.read_table("", table.get_ref());
    let mut parsed = reader.parsed;
    parsed.mistakes.extend(conflicts(&parsed.assignments));
    parsed
}

struct Reader<'a> {
    path: &'a str,
    text: &'a str,
    parsed: Parsed,
}

impl Reader<'_> {
    fn read_table(&mut self, section: &str, table: &DeTable<'_>) {
        // in the order of the file, so that mistakes are too
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(name, _)| name.span().start);
        for (name, value) in entries {
            let path =
                if section.is_empty() { name.get_ref().to_string() } else { format!("{section}.{}", name.get_ref()) };
            let origin = self.origin(name.span().start);
            match (key::find(&path), value.get_ref()) {
                (Some(slot), value) => self.assign(slot, value, origin),
                (None, DeValue::Table(below)) if key::is_section(&path) => self.read_table(&path, below),
                (None, DeValue::Table(below)) => self.unknown_section(&path, below, origin),
                (None, _) => self.parsed.mistakes.push(unknown_key(&path, origin)),
            }
        }
    }

    fn assign(&mut self, slot: &'static Slot, value: &DeValue<'_>, origin: Origin) {
        self.parsed.assignments.push(Assignment { slot, raw: raw(value), origin });
    }

    fn unknown_section(&mut self, path: &str, below: &DeTable<'_>, origin: Origin) {
        // what it holds says best what was meant
        let inside = below.keys().next().map_or(path.to_owned(), |name| format!("{path}.{}", name.get_ref()));
        let nearest = key::nearest(&inside);
        let problem = format!("no such section; the nearest is [{}] with {}", nearest.section(), nearest.path);
        self.parsed.mistakes.push(Mistake::new(format!("[{path}]"), problem).at(origin));
    }

    fn origin(&self, offset: usize) -> Origin {
        let before = self.text.as_bytes().get(..offset).unwrap_or(self.text.as_bytes());
        Origin::File { path: self.path.to_owned(), line: 1 + before.iter().filter(|byte| **byte == b'\n').count() }
    }
}

/// The mistake of a path that leads nowhere. Its value stays hidden: the key may be that of a secret, misspelt.
pub(super) fn unknown_key(path: &str, origin: Origin) -> Mistake {
    let nearest = key::nearest(path);
    let problem = match &origin {
        Origin::Env(_) | Origin::DotEnv(_) => {
            format!("no such key; the nearest is {} ({})", nearest.path, nearest.env_name())
        }
        _ => format!("no such key; the nearest is {}", nearest.path),
    };
    Mistake::new(path, problem).at(origin)
}

fn raw(value: &DeValue<'_>) -> Raw {
    match value {
        DeValue::String(text) => Raw::Text(text.to_string()),
        DeValue::Integer(number) => i128::from_str_radix(number.as_str(), number.radix())
            .map_or(Raw::Other("a number beyond all ranges"), Raw::Whole),
        DeValue::Float(number) => number.as_str().parse().map_or(Raw::Other("a number beyond all ranges"), Raw::Number),
        DeValue::Boolean(value) => Raw::Bool(*value),
        DeValue::Array(items) => Raw::List(items.iter().map(|item| raw(item.get_ref())).collect()),
        DeValue::Datetime(_) => Raw::Other("a date"),
        DeValue::Table(_) => Raw::Other("a table"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mistakes(text: &str) -> Vec<String> {
        parse("t.toml", text).mistakes.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn each_key_knows_its_line() {
        let parsed = parse("t.toml", "# head\n[gateway]\nport = 9000\n\n[providers.polygon]\napi_key = \"k\"\n");
        assert!(parsed.mistakes.is_empty(), "{:?}", parsed.mistakes);
        let found: Vec<_> = parsed
            .assignments
            .iter()
            .map(|a| (a.slot.path.as_str(), a.raw.to_string(), a.origin.to_string()))
            .collect();
        assert_eq!(
            found,
            [
                ("gateway.port", "9000".to_owned(), "file t.toml:3".to_owned()),
                ("providers.massive.api_key", "\"k\"".to_owned(), "file t.toml:6".to_owned()),
            ]
        );
    }

    #[test]
    fn dotted_keys_and_inline_tables_are_the_same_as_sections() {
        let parsed = parse("t.toml", "gateway.port = 1\nops = { port = 2 }\nproviders.yahoo.batch = 3\n");
        assert!(parsed.mistakes.is_empty(), "{:?}", parsed.mistakes);
        assert_eq!(parsed.assignments.len(), 3);
    }

    #[test]
    fn unknown_keys_and_sections_name_the_nearest_and_hide_the_value() {
        assert_eq!(
            mistakes("[gateway]\nprot = 1\n[ops]\nadmin_tokn = \"s3cret\"\n[gatway]\nport = 1\n"),
            [
                "gateway.prot (file t.toml:2): no such key; the nearest is gateway.port",
                "ops.admin_tokn (file t.toml:4): no such key; the nearest is ops.admin_token",
                "[gatway] (file t.toml:5): no such section; the nearest is [gateway] with gateway.port",
            ]
        );
        assert!(mistakes("[nonsense]\n")[0].contains("no such section; the nearest is ["));
    }

    #[test]
    fn every_syntax_error_is_told_with_its_line_and_without_its_text() {
        let told = mistakes("[gateway]\nport = \n[ops]\nadmin_token = s3cret\"\n");
        assert!(told.len() >= 2, "{told:?}");
        assert!(told[0].contains("t.toml:2") && told.iter().any(|mistake| mistake.contains("t.toml:4")), "{told:?}");
        assert!(!told.concat().contains("s3cret"), "{told:?}");
        assert!(!parse("t.toml", "port = ").is_whole);
    }

    #[test]
    fn one_key_under_two_names_must_be_the_same() {
        assert!(mistakes("[providers.polygon]\nbatch = 5\n[providers.massive]\nbatch = 5\n").is_empty());
        let told = mistakes("[providers.polygon]\nbatch = 5\n[providers.massive]\nbatch = 6\n");
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].contains("t.toml:2") && told[0].contains("t.toml:4"), "{told:?}");
    }

    #[test]
    fn a_path_of_any_depth_is_one_unknown_section() {
        let told = mistakes(&format!("{}a = 1\n", "a.".repeat(200_000)));
        assert!(!told.is_empty());
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in r#"([\[\]{}=.",#'\n 0-9a-fx_+-]|gateway|port|providers|polygon|\PC){0,60}"#) {
            let _ = parse("t.toml", &text);
        }
    }

    #[test]
    fn numbers_of_every_notation_are_read() {
        let parsed = parse("t.toml", "[limits]\nmessage_bytes = 0x1_0000\nhandshake_timeout_s = 1e1\n");
        let raws: Vec<_> = parsed.assignments.iter().map(|a| a.raw.clone()).collect();
        assert!(raws.contains(&Raw::Whole(65_536)) && raws.contains(&Raw::Number(10.0)), "{raws:?}");
    }
}
