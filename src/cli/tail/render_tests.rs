use super::*;
use crate::market::Number;

const NOW: &str = "2026-11-21T10:00:02.5Z";

fn quote(symbol: &str, price: &str, change: &str, percent: &str) -> Quote {
    let number = |text: &str| (!text.is_empty()).then(|| Number::parse(text).unwrap());
    Quote {
        symbol: symbol.into(),
        price: number(price),
        change: number(change),
        change_percent: number(percent),
        volume: number("1234567"),
        traded_at: Some("2026-11-21T10:00:00Z".parse().unwrap()),
        published_at: Some("2026-11-21T10:00:01Z".parse().unwrap()),
        source: Some("simulated".into()),
        ..Quote::default()
    }
}

fn page(width: Option<usize>, colour: Colour) -> Page {
    Page { width, colour, zone: TimeZone::UTC }
}

fn lines(table: &mut Table, quote: &Quote, width: Option<usize>) -> Lines {
    table.lines(quote, Direction::Flat, NOW.parse().unwrap(), &page(width, Colour::Hidden))
}

fn line(quote: &Quote, width: Option<usize>) -> String {
    lines(&mut Table::new([]), quote, width).line
}

#[test]
fn quotes_stand_in_columns() {
    let mut table = Table::new(["RELIANCE", "TCS"]);
    let mut page = String::new();
    for quote in [
        quote("RELIANCE", "2450.50", "12.30", "0.50"),
        quote("TCS", "3100", "-1.5", "-0.05"),
        Quote { market_state: Some("CLOSED".into()), is_snapshot: true, ..quote("TCS", "3100.00", "0.00", "0") },
        Quote { symbol: "TCS".into(), price: Some(Number::from(1)), ..Quote::default() },
    ] {
        let lines = lines(&mut table, &quote, None);
        page.extend(lines.header.map(|header| header + "\n"));
        page.push_str(&lines.line);
        page.push('\n');
    }
    assert_eq!(
        page,
        "\
TIME      SYMBOL         PRICE    CHANGE   CHANGE%      VOLUME   AGE  SOURCE
10:00:01  RELIANCE     2450.50    +12.30    +0.50%     1234567  2.5s  simulated
10:00:01  TCS             3100      -1.5    -0.05%     1234567  2.5s  simulated
10:00:01  TCS          3100.00      0.00        0%     1234567  2.5s  simulated  closed, snapshot
10:00:02  TCS                1         -         -           -     -  -
"
    );
}

#[test]
fn a_wider_value_widens_its_column_for_good_and_repeats_the_header() {
    let mut table = Table::new([]);
    assert!(lines(&mut table, &quote("A", "1", "", ""), None).header.is_some());
    assert_eq!(lines(&mut table, &quote("A", "2", "", ""), None).header, None);
    let wide = lines(&mut table, &quote("A", "88199.90000000", "", ""), None);
    assert!(wide.header.is_some());
    let narrow = lines(&mut table, &quote("A", "3", "", ""), None);
    assert_eq!((narrow.header, narrow.line.len()), (None, wide.line.len()));
}

#[test]
fn no_line_is_wider_than_the_terminal_and_the_price_goes_last() {
    let full = Quote { is_stale: true, is_snapshot: true, ..quote("RELIANCE", "2450.50", "12.30", "0.50") };
    for width in 1..140 {
        let lines = lines(&mut Table::new([]), &full, Some(width));
        for line in lines.header.iter().chain([&lines.line]) {
            assert!(line.width() <= width, "{width}: {line:?}");
        }
        for (column, from) in [("2450.50", 22), ("+0.50%", 32), ("10:00:01", 60), ("simulated", 90), ("stale", 100)] {
            assert!(width < from || lines.line.contains(column), "{width}: {column} is not in {:?}", lines.line);
        }
    }
    assert_eq!(line(&full, Some(6)), "RELIA…");
    assert_eq!(line(&full, Some(16)), "RELIANCE     24…");
    assert_eq!(line(&full, Some(20)), "RELIANCE     2450.50");
}

#[test]
fn what_others_wrote_cannot_steer_the_terminal() {
    let hostile = Quote {
        source: Some("\x1b[2Jx\r\n\u{9b}31m\u{202e}".into()),
        market_state: Some("\x07".into()),
        ..quote("A\x1b]0;t\x07", "1", "", "")
    };
    for colour in [Colour::Hidden, Colour::Shown] {
        let lines = Table::new([]).lines(&hostile, Direction::Up, NOW.parse().unwrap(), &page(None, colour));
        let ours = ["\x1b[0m", "\x1b[1m", "\x1b[2m", "\x1b[32m"];
        let rest = ours.iter().fold(lines.line, |line, code| line.replace(code, ""));
        assert!(!rest.contains(|c: char| c.is_control() || c == '\u{202e}'), "{rest:?}");
    }
}

#[test]
fn colours_follow_the_direction_and_only_where_they_are_shown() {
    for (direction, code) in [(Direction::Up, "\x1b[32m"), (Direction::Down, "\x1b[31m")] {
        for (colour, shown) in [(Colour::Shown, true), (Colour::Hidden, false)] {
            let quote = quote("A", "1.50", "0.5", "50");
            let line = Table::new([]).lines(&quote, direction, NOW.parse().unwrap(), &page(None, colour)).line;
            assert_eq!(line.contains(&format!("{code}1.50\x1b[0m")), shown, "{line:?}");
            assert_eq!(line.contains('\x1b'), shown, "{line:?}");
        }
    }
}

#[test]
fn spans_are_short() {
    for (ms, text) in [
        (0, "0.0s"),
        (9_999, "9.9s"),
        (10_000, "10s"),
        (119_999, "119s"),
        (120_000, "2m"),
        (7_200_000, "2h"),
        (172_800_000, "2d"),
    ] {
        assert_eq!(short(Duration::from_millis(ms)), text);
    }
    // a clock behind the vendor's
    let early = "2026-11-21T09:00:00Z".parse().unwrap();
    assert!(
        Table::new([])
            .lines(&quote("A", "1", "", ""), Direction::Flat, early, &page(None, Colour::Hidden))
            .line
            .contains("0.0s")
    );
}

#[test]
fn a_cut_says_so_and_counts_wide_characters_as_two() {
    for (text, width, expected) in [
        ("abc", 3, "abc"),
        ("abcd", 3, "ab…"),
        ("日本語", 4, "日…"),
        ("日本語", 6, "日本語"),
        ("ab", 1, "…"),
        ("ab", 0, ""),
    ] {
        assert_eq!(cut(text, width), expected);
    }
}
