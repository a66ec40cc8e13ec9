//! Keeps keys out of logs, errors and metrics.
//!
//! Keys travel in query strings and headers, and vendors repeat them in error texts. Whatever is shown of a request or
//! an answer goes through here first.

use secrecy::{ExposeSecret, SecretString};

use super::vendor::escape;

/// What stands in a key's place.
const MASK: &str = "***";
/// A shorter "key" is a test's or a mistake; masking it would garble every text.
const MIN_KEY_BYTES: usize = 4;

/// Knows the secrets of one provider.
#[derive(Clone, Default)]
pub struct Redactor {
    /// Each as it is and as it stands in a query, longest first.
    secrets: Vec<SecretString>,
}

impl Redactor {
    /// Masks these.
    #[must_use]
    pub fn new<'a>(keys: impl IntoIterator<Item = &'a SecretString>) -> Redactor {
        let mut spellings: Vec<String> = Vec::new();
        for key in keys {
            let key = key.expose_secret().trim();
            if key.len() >= MIN_KEY_BYTES {
                spellings.push(key.to_owned());
                spellings.push(escape(key));
            }
        }
        spellings.sort_by_key(|spelling| std::cmp::Reverse(spelling.len()));
        spellings.dedup();
        Redactor { secrets: spellings.into_iter().map(SecretString::from).collect() }
    }

    /// `text` without the secrets.
    #[must_use]
    pub fn clean(&self, text: &str) -> String {
        self.secrets.iter().fold(text.to_owned(), |text, secret| mask(&text, secret.expose_secret()))
    }
}

/// Replaces `secret` in any case: a vendor may repeat it in capitals.
fn mask(text: &str, secret: &str) -> String {
    let (haystack, needle) = (text.to_ascii_lowercase(), secret.to_ascii_lowercase());
    let mut clean = String::with_capacity(text.len());
    let mut from = 0;
    while let Some(at) = haystack[from..].find(&needle) {
        clean.push_str(&text[from..from + at]);
        clean.push_str(MASK);
        from += at + needle.len();
    }
    clean.push_str(&text[from..]);
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_masked_however_it_is_spelled() {
        let redactor = Redactor::new([&SecretString::from("aB3/xyz+9")]);
        assert_eq!(
            redactor.clean("We have detected your API key as AB3/XYZ+9; GET /q?apikey=aB3%2Fxyz%2B9&x=1 ümlaut"),
            "We have detected your API key as ***; GET /q?apikey=***&x=1 ümlaut"
        );
    }

    #[test]
    fn a_text_without_a_key_is_kept() {
        assert_eq!(Redactor::default().clean("abc"), "abc");
        assert_eq!(Redactor::new([&SecretString::from("x")]).clean("xxx"), "xxx");
    }
}
