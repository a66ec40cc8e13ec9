//! Which market a symbol belongs to, and what its spelling says.
//!
//! Bare tickers are names of different companies in different markets (`TCS` is Tata Consultancy in Mumbai and was The
//! Container Store in New York), so an operator may tag symbols with their exchange and say which market is at home; what
//! is left goes by the look of it. Vendors spell an [`Instrument`] in their own way and refuse those they do not have.
//!
//! Pure. Bounded by the configured list; a look-up is linear in it, and is done once for each symbol and poll.

use std::str::FromStr;
use std::sync::Arc;

use super::calendar::{Exchange, UnknownExchange};
use super::pattern::Pattern;
use super::symbol::Symbol;

/// Where symbols are listed. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listings {
    home: Exchange,
    tags: Arc<[Tag]>,
}

/// `PATTERN=EXCHANGE`: symbols that match are listed there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag {
    pattern: Pattern,
    exchange: Exchange,
}

/// The text is no tag.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadTag {
    /// No `=`, or nothing before it.
    #[error("not PATTERN=EXCHANGE, as in TCS=nse")]
    Form,
    /// Something else behind it.
    #[error(transparent)]
    Exchange(#[from] UnknownExchange),
}

impl FromStr for Tag {
    type Err = BadTag;

    fn from_str(text: &str) -> Result<Tag, BadTag> {
        // The last one: a symbol may have one too (`EURUSD=X`).
        let (pattern, exchange) =
            text.rsplit_once('=').filter(|(pattern, _)| !pattern.trim().is_empty()).ok_or(BadTag::Form)?;
        Ok(Tag { pattern: Pattern::new(pattern), exchange: exchange.trim().to_ascii_lowercase().parse()? })
    }
}

impl Default for Listings {
    /// At home in New York, nothing tagged.
    fn default() -> Listings {
        Listings::new(Exchange::Nyse, [])
    }
}

impl Listings {
    /// The first tag that matches counts; `home` is where a bare ticker trades that could be anywhere.
    pub fn new(home: Exchange, tags: impl IntoIterator<Item = Tag>) -> Listings {
        Listings { home, tags: tags.into_iter().collect() }
    }

    /// Where `symbol` trades.
    #[must_use]
    pub fn exchange(&self, symbol: Symbol) -> Exchange {
        let tag = self.tags.iter().find(|tag| tag.pattern.matches(symbol));
        tag.map_or_else(|| Exchange::guess(symbol, self.home), |tag| tag.exchange)
    }

    /// What `symbol` is.
    #[must_use]
    pub fn instrument<'a>(&self, symbol: &'a Symbol) -> Instrument<'a> {
        let text = symbol.as_str();
        match self.exchange(*symbol) {
            Exchange::Nyse => us_stock(text),
            Exchange::Nse => indian_stock(text),
            Exchange::Crypto => pair(text),
        }
        .unwrap_or(Instrument::Other(text))
    }
}

/// A symbol, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Instrument<'a> {
    /// A stock in the US, `AAPL` or `BRK.B`.
    Us {
        /// `BRK`
        root: &'a str,
        /// `B`
        class: Option<&'a str>,
    },
    /// A stock in India, without its suffix: `RELIANCE`, `M&M`, `BAJAJ-AUTO`.
    India {
        /// `RELIANCE`
        name: &'a str,
        /// Where; of a bare ticker NSE.
        venue: Venue,
    },
    /// `BTC-USD`: crypto.
    Pair {
        /// `BTC`
        base: &'a str,
        /// `USD`
        quote: &'a str,
    },
    /// Anything else: an index, a currency, a vendor's own spelling.
    Other(&'a str),
}

/// The two exchanges of Mumbai.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Venue {
    /// National Stock Exchange.
    Nse,
    /// Bombay Stock Exchange.
    Bse,
}

/// The longest ticker of a stock in the US (Nasdaq's fifth letter included); a longer one is listed elsewhere.
const LONGEST_US: usize = 5;
/// Share classes, units and warrants that follow a dot, dash or slash. `.L`, `.F` and the like are other countries.
const CLASSES: [&str; 8] = ["A", "B", "C", "D", "E", "K", "U", "WS"];

fn us_stock(text: &str) -> Option<Instrument<'_>> {
    let (root, class) = match text.split_once(['.', '-', '/']) {
        Some((root, class)) => (root, Some(class)),
        None => (text, None),
    };
    let is_root = (1..=LONGEST_US).contains(&root.len()) && root.bytes().all(|byte| byte.is_ascii_uppercase());
    (is_root && class.is_none_or(|class| CLASSES.contains(&class))).then_some(Instrument::Us { root, class })
}

fn indian_stock(text: &str) -> Option<Instrument<'_>> {
    const BEHIND: [(&str, Venue); 5] =
        [(".NS", Venue::Nse), (":NSE", Venue::Nse), (".BO", Venue::Bse), (".BSE", Venue::Bse), (":BSE", Venue::Bse)];
    const BEFORE: [(&str, Venue); 2] = [("NSE:", Venue::Nse), ("BSE:", Venue::Bse)];
    let behind = BEHIND.iter().find_map(|(end, venue)| Some((text.strip_suffix(end)?, *venue)));
    let before = || BEFORE.iter().find_map(|(start, venue)| Some((text.strip_prefix(start)?, *venue)));
    let (name, venue) = behind.or_else(before).unwrap_or((text, Venue::Nse));
    let is_name =
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'&' | b'-'));
    is_name.then_some(Instrument::India { name, venue })
}

fn pair(text: &str) -> Option<Instrument<'_>> {
    let (base, quote) = text.split_once(['-', '/'])?;
    let is_asset = |asset: &str| !asset.is_empty() && asset.bytes().all(|byte| byte.is_ascii_alphanumeric());
    (is_asset(base) && is_asset(quote)).then_some(Instrument::Pair { base, quote })
}

/// Whether a ticker without any suffix is too long for the US, or has a character that no ticker has there.
pub(super) fn is_indian_by_shape(text: &str) -> bool {
    let name = text.split('-').next().unwrap_or_default();
    let is_plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'&' | b'-'));
    let behind_dash = text.split_once('-').map_or(0, |(_, behind)| behind.len());
    is_plain
        && name.bytes().any(|byte| byte.is_ascii_alphabetic())
        && (name.len() > LONGEST_US || behind_dash > 3 || text.contains('&'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn symbol(text: &str) -> Symbol {
        Symbol::parse(text).unwrap()
    }

    fn listings(home: Exchange, tags: &[&str]) -> Listings {
        Listings::new(home, tags.iter().map(|tag| tag.parse::<Tag>().unwrap()))
    }

    #[test]
    fn the_first_tag_that_matches_counts() {
        let listings = listings(Exchange::Nyse, &["TCS=nse", "tc*=nasdaq", "EURUSD=X=crypto", "*INR = BSE"]);
        for (text, exchange) in [
            ("TCS", Exchange::Nse),
            ("TCX", Exchange::Nyse),
            ("EURUSD=X", Exchange::Crypto),
            ("USDINR", Exchange::Nse),
            ("INFY", Exchange::Nyse),
            ("RELIANCE", Exchange::Nse),
            ("BTC-USD", Exchange::Crypto),
        ] {
            assert_eq!(listings.exchange(symbol(text)), exchange, "{text}");
        }
    }

    #[test]
    fn a_bare_ticker_that_could_be_anywhere_is_at_home() {
        let (us, india) = (listings(Exchange::Nyse, &[]), listings(Exchange::Nse, &[]));
        for text in ["TCS", "INFY", "AAPL", "BRK-B"] {
            assert_eq!(
                (us.exchange(symbol(text)), india.exchange(symbol(text))),
                (Exchange::Nyse, Exchange::Nse),
                "{text}"
            );
        }
        for text in ["RELIANCE", "M&M", "BAJAJ-AUTO", "HDFCBANK", "NSE:TCS"] {
            assert_eq!(
                (us.exchange(symbol(text)), india.exchange(symbol(text))),
                (Exchange::Nse, Exchange::Nse),
                "{text}"
            );
        }
    }

    #[test]
    fn a_tag_says_what_is_wrong_with_it() {
        assert_eq!("TCS".parse::<Tag>(), Err(BadTag::Form));
        assert_eq!("=nse".parse::<Tag>(), Err(BadTag::Form));
        assert!(matches!("TCS=lse".parse::<Tag>(), Err(BadTag::Exchange(_))));
    }

    #[test]
    fn a_symbol_is_taken_apart() {
        let listings = Listings::default();
        let us = |root, class| Instrument::Us { root, class };
        let india = |name, venue| Instrument::India { name, venue };
        for (text, expected) in [
            ("AAPL", us("AAPL", None)),
            ("BRK.B", us("BRK", Some("B"))),
            ("BRK-B", us("BRK", Some("B"))),
            ("BRK/B", us("BRK", Some("B"))),
            ("RELIANCE", india("RELIANCE", Venue::Nse)),
            ("RELIANCE.NS", india("RELIANCE", Venue::Nse)),
            ("RELIANCE:NSE", india("RELIANCE", Venue::Nse)),
            ("NSE:RELIANCE", india("RELIANCE", Venue::Nse)),
            ("RELIANCE.BO", india("RELIANCE", Venue::Bse)),
            ("RELIANCE.BSE", india("RELIANCE", Venue::Bse)),
            ("M&M", india("M&M", Venue::Nse)),
            ("BAJAJ-AUTO.NS", india("BAJAJ-AUTO", Venue::Nse)),
            ("BTC-USD", Instrument::Pair { base: "BTC", quote: "USD" }),
            ("BTC/USD", Instrument::Pair { base: "BTC", quote: "USD" }),
            ("X:BTCUSD", Instrument::Other("X:BTCUSD")),
            ("BTCUSDT", Instrument::Other("BTCUSDT")),
            ("^NSEI", Instrument::Other("^NSEI")),
            ("^GSPC", Instrument::Other("^GSPC")),
            ("VOD.L", Instrument::Other("VOD.L")),
            ("TSCO.LON", Instrument::Other("TSCO.LON")),
            ("EURUSD=X", Instrument::Other("EURUSD=X")),
            ("7203.T", Instrument::Other("7203.T")),
        ] {
            assert_eq!(listings.instrument(&symbol(text)), expected, "{text}");
        }
    }
}
