//! The session's claims, against a desk that is a set and a list of what was sent.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::protocol::auth::{AUTH_TIMEOUT_MS, Grant, Unauthorized};
use crate::protocol::reader::Binary;

#[derive(Default)]
struct Paper {
    watched: BTreeSet<Symbol>,
    all: bool,
    sent: Vec<String>,
}

impl Desk for Paper {
    fn watch(&mut self, symbol: Symbol, _: Terms) {
        self.watched.insert(symbol);
    }
    fn watch_all(&mut self, _: Terms) {
        self.all = true;
    }
    fn unwatch(&mut self, symbol: Symbol) -> bool {
        self.watched.remove(&symbol)
    }
    fn unwatch_all(&mut self) -> Vec<Symbol> {
        self.all = false;
        std::mem::take(&mut self.watched).into_iter().collect()
    }
    fn watches(&self, symbol: Symbol) -> bool {
        self.watched.contains(&symbol)
    }
    fn watches_all(&self) -> bool {
        self.all
    }
    fn watched(&self) -> Vec<Symbol> {
        self.watched.iter().copied().collect()
    }
    fn active(&self) -> usize {
        self.watched.len()
    }
    fn send(&mut self, json: &str) {
        self.sent.push(json.to_owned());
    }
}

struct OneToken;

impl Verify for OneToken {
    fn verify(&self, token: &str, now: Timestamp) -> Result<Grant, Unauthorized> {
        match token {
            "all" => Ok(Grant::default()),
            "only-a" => Ok(Grant { expires: None, symbols: Some(vec!["A*".into()]) }),
            "short" => Ok(Grant { expires: Some(at(60_000).wall), symbols: None }),
            "shorter" => Ok(Grant { expires: Some(at(5_000).wall), symbols: None }),
            "key-is-away" => Err(Unauthorized::Unavailable),
            "key-comes" if now < at(1_000).wall => Err(Unauthorized::Unavailable),
            "key-comes" => Ok(Grant::default()),
            _ => Err(Unauthorized::Invalid),
        }
    }
}

fn rules() -> Rules {
    Rules {
        name: "tickcast".into(),
        api_base: None,
        read: ReadLimits { message_bytes: 65_536, fragments: 64, binary: Binary::Refuse },
        symbols_per_client: 3,
        messages: Rate { per_second: 10, burst: 50 },
        pings: Rate { per_second: 5, burst: 20 },
        wildcard: Wildcard::Refused,
        ping_interval: Duration::from_secs(25),
        pong_timeout: Duration::from_secs(10),
        talk: Talk::Quotes,
        verify: None,
    }
}

fn at(mono_ms: u64) -> Now {
    let wall = Timestamp::from_millisecond(1_795_000_000_000 + i64::try_from(mono_ms).unwrap()).unwrap();
    Now { mono_ms, wall }
}

struct Chat {
    rules: Rules,
    session: Session,
    desk: Paper,
}

impl Chat {
    fn with(rules: Rules, access: Access) -> Chat {
        Chat { session: Session::new(access, &rules, at(0)), rules, desk: Paper::default() }
    }

    fn open() -> Chat {
        Chat::with(rules(), Access::Open)
    }

    /// Says something at a time; what came back without its timestamps.
    fn say_at(&mut self, ms: u64, text: &str) -> (Vec<serde_json::Value>, Option<u16>) {
        let flow = self.session.on_text(text, &self.rules, at(ms), &mut self.desk);
        let close = match flow {
            Flow::Continue(()) => None,
            Flow::Break(close) => Some(close.code.number()),
        };
        (self.replies(), close)
    }

    fn say(&mut self, text: &str) -> Vec<serde_json::Value> {
        let (replies, close) = self.say_at(0, text);
        assert_eq!(close, None);
        replies
    }

    fn replies(&mut self) -> Vec<serde_json::Value> {
        let sent = std::mem::take(&mut self.desk.sent);
        let strip = |text: String| {
            let mut value: serde_json::Value = serde_json::from_str(&text).unwrap();
            value.as_object_mut().unwrap().remove("timestamp");
            value
        };
        sent.into_iter().map(strip).collect()
    }

    fn tick(&mut self, ms: u64, blocked: bool) -> Tick {
        self.session.tick(blocked, &self.rules, at(ms), &mut self.desk)
    }
}

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn subscribing_is_acknowledged_with_what_was_taken_and_what_was_not() {
    let mut talk = Chat::open();
    assert_eq!(
        talk.say(r#"{"action":"subscribe","symbols":["aapl","TC S","*"],"id":1}"#),
        [json(
            r#"{"type":"subscribed","symbols":["AAPL"],"active":1,"id":1,"rejected":[{"symbol":"TC S","code":"invalid_symbol"},{"symbol":"*","code":"wildcard_not_allowed"}]}"#
        )]
    );
    assert_eq!(
        talk.say(r#"{"action":"subscribe","symbols":["A","B","AAPL","C"]}"#),
        [json(
            r#"{"type":"subscribed","symbols":["A","B","AAPL"],"active":3,"rejected":[{"symbol":"C","code":"too_many_symbols"}]}"#
        )]
    );
    assert_eq!(talk.say(r#"{"action":"list"}"#), [json(r#"{"type":"subscriptions","symbols":["A","AAPL","B"]}"#)]);
}

#[test]
fn unsubscribing_names_what_was_dropped() {
    let mut talk = Chat::open();
    talk.say(r#"{"action":"subscribe","symbols":["A","B","C"]}"#);
    assert_eq!(
        talk.say(r#"{"action":"unsubscribe","symbols":["B","X"],"id":"u"}"#),
        [json(r#"{"type":"unsubscribed","symbols":["B"],"active":2,"id":"u"}"#)]
    );
    assert_eq!(
        talk.say(r#"{"action":"unsubscribe","symbols":["*"]}"#),
        [json(r#"{"type":"unsubscribed","symbols":["A","C"],"active":0}"#)]
    );
}

#[test]
fn a_wildcard_is_taken_where_it_is_allowed() {
    let mut talk = Chat::with(Rules { wildcard: Wildcard::Allowed, ..rules() }, Access::Open);
    assert_eq!(
        talk.say(r#"{"action":"subscribe","symbols":["*"]}"#),
        [json(r#"{"type":"subscribed","symbols":["*"],"active":0}"#)]
    );
    assert_eq!(talk.say(r#"{"action":"list"}"#), [json(r#"{"type":"subscriptions","symbols":["*"]}"#)]);
}

#[test]
fn ten_malformed_messages_in_a_row_close_with_1008_nine_do_not() {
    let mut talk = Chat::open();
    for _ in 0..9 {
        assert_eq!(talk.say("nonsense")[0]["code"], "invalid_json");
    }
    talk.say(r#"{"action":"ping"}"#);
    for _ in 0..9 {
        talk.say(r#"{"action":"dance"}"#);
    }
    let (replies, close) = talk.say_at(0, "{");
    assert_eq!((replies[0]["code"].as_str(), close), (Some("invalid_json"), Some(1008)));
}

#[test]
fn messages_beyond_the_rate_are_refused_and_a_flood_is_closed_with_4429() {
    let mut talk = Chat::open();
    for _ in 0..50 {
        assert_eq!(talk.say(r#"{"action":"ping"}"#)[0]["type"], "pong");
    }
    assert_eq!(talk.say(r#"{"action":"ping"}"#)[0]["code"], "rate_limited");
    let (replies, _) = talk.say_at(100, r#"{"action":"ping"}"#);
    assert_eq!(replies[0]["type"], "pong", "a tenth of a second refills one message");
    for _ in 0..50 {
        assert_eq!(talk.say_at(100, "x").1, None);
    }
    assert_eq!(talk.say_at(100, "x").1, Some(4429));
}

#[test]
fn a_silent_client_is_pinged_then_closed_with_4408() {
    let mut talk = Chat::open();
    assert_eq!(talk.tick(24_999, false), Tick::Quiet(25_000));
    assert_eq!(talk.tick(25_000, false), Tick::Ping(35_000));
    assert_eq!(talk.tick(34_999, false), Tick::Quiet(35_000));
    let Tick::Close(close) = talk.tick(35_000, false) else { panic!() };
    assert_eq!(close.code.number(), 4408);
}

#[test]
fn any_sign_of_life_is_as_good_as_a_pong() {
    let mut talk = Chat::open();
    talk.tick(25_000, false);
    talk.say_at(30_000, r#"{"action":"ping"}"#);
    assert_eq!(talk.tick(35_000, false), Tick::Quiet(55_000));
}

#[test]
fn a_blocked_clients_missing_pong_is_not_held_against_it() {
    let mut talk = Chat::open();
    talk.tick(25_000, false);
    assert_eq!(talk.tick(36_000, true), Tick::Quiet(61_000));
}

#[test]
fn without_a_token_only_auth_and_ping_are_served_for_ten_seconds() {
    let rules = Rules { verify: Some(Arc::new(OneToken)), ..rules() };
    let access = Access::Waiting { deadline_ms: AUTH_TIMEOUT_MS, wanted: None };
    let mut talk = Chat::with(rules, access);
    let wanted = crate::protocol::request::read_list("AAPL,MSFT");
    talk.session.greet("client_1", wanted, &talk.rules, at(0), &mut talk.desk);
    assert_eq!(talk.replies().len(), 1, "what the URL wants waits for the token");
    assert_eq!(talk.say(r#"{"action":"subscribe","symbol":"A"}"#)[0]["code"], "unauthorized");
    assert_eq!(talk.tick(9_999, false), Tick::Quiet(10_000));
    let replies = talk.say(r#"{"action":"auth","token":"only-a","id":7}"#);
    assert_eq!(
        replies,
        [
            json(r#"{"type":"authenticated","id":7}"#),
            json(
                r#"{"type":"subscribed","symbols":["AAPL"],"active":1,"rejected":[{"symbol":"MSFT","code":"forbidden_symbol"}]}"#
            )
        ]
    );
    assert_eq!(talk.tick(10_000, false), Tick::Quiet(25_000));
}

#[test]
fn a_token_that_does_not_come_or_is_bad_or_expires_closes_with_4401() {
    let rules = || Rules { verify: Some(Arc::new(OneToken)), ..rules() };
    let waiting = || Access::Waiting { deadline_ms: AUTH_TIMEOUT_MS, wanted: None };
    let code = |tick| match tick {
        Tick::Close(close) => close.code.number(),
        other => panic!("{other:?}"),
    };
    let mut silent = Chat::with(rules(), waiting());
    assert_eq!(code(silent.tick(10_000, false)), 4401);
    let mut wrong = Chat::with(rules(), waiting());
    assert_eq!(wrong.say_at(0, r#"{"action":"auth","token":"guess"}"#).1, Some(4401));
    let mut short = Chat::with(rules(), waiting());
    short.say(r#"{"action":"auth","token":"short"}"#);
    short.session.heard(at(30_000));
    short.tick(30_000, false);
    short.session.heard(at(59_999));
    assert_eq!(short.tick(59_999, false), Tick::Quiet(60_000));
    assert_eq!(code(short.tick(60_000, false)), 4401);
}

#[test]
fn a_narrower_token_drops_what_it_no_longer_covers() {
    let mut talk = Chat::with(Rules { verify: Some(Arc::new(OneToken)), ..rules() }, Access::Open);
    talk.say(r#"{"action":"subscribe","symbols":["A","B"]}"#);
    let replies = talk.say(r#"{"action":"auth","token":"only-a"}"#);
    assert_eq!(replies[1], json(r#"{"type":"unsubscribed","symbols":["B"],"active":1}"#));
}

#[test]
fn a_token_that_expires_soon_is_announced_once_and_can_be_replaced_in_place() {
    let waiting = Access::Waiting { deadline_ms: AUTH_TIMEOUT_MS, wanted: None };
    let mut talk = Chat::with(Rules { verify: Some(Arc::new(OneToken)), ..rules() }, waiting);
    talk.say(r#"{"action":"auth","token":"short"}"#);
    talk.say_at(20_000, r#"{"action":"ping"}"#);
    assert_eq!(talk.tick(20_000, false), Tick::Quiet(30_000), "looked at when the warning is due");
    assert_eq!(talk.tick(29_999, false), Tick::Quiet(30_000));
    assert!(talk.replies().is_empty());
    assert_eq!(talk.tick(30_000, false), Tick::Quiet(45_000));
    let expires = Stamp(at(60_000).wall);
    let expected = serde_json::json!({"type": "auth_expiring", "expires": expires, "expires_in_ms": 30_000});
    assert_eq!(talk.replies(), [expected]);
    talk.tick(31_000, false);
    assert!(talk.replies().is_empty(), "once");
    talk.say_at(40_000, r#"{"action":"auth","token":"all"}"#);
    assert_eq!(talk.tick(60_000, false), Tick::Quiet(65_000), "the new token knows no end");
}

#[test]
fn a_token_that_ends_sooner_than_the_next_look_has_it_looked_at_now() {
    let mut talk = Chat::with(Rules { verify: Some(Arc::new(OneToken)), ..rules() }, Access::Open);
    assert_eq!(talk.tick(0, false), Tick::Quiet(25_000));
    talk.say(r#"{"action":"auth","token":"shorter"}"#);
    assert!(talk.session.take_hurried() && !talk.session.take_hurried());
    assert_eq!(talk.tick(0, false), Tick::Quiet(5_000));
    assert_eq!(talk.replies()[0]["expires_in_ms"], 5_000);
}

#[test]
fn a_token_whose_key_is_being_fetched_is_answered_when_it_is_there() {
    let waiting = || Access::Waiting { deadline_ms: AUTH_TIMEOUT_MS, wanted: None };
    let rules = || Rules { verify: Some(Arc::new(OneToken)), ..rules() };
    let mut talk = Chat::with(rules(), waiting());
    assert!(talk.say(r#"{"action":"auth","token":"key-comes","id":1}"#).is_empty());
    assert_eq!(talk.tick(0, false), Tick::Quiet(200));
    assert!(talk.replies().is_empty());
    talk.tick(1_000, false);
    assert_eq!(talk.replies(), [json(r#"{"type":"authenticated","id":1}"#)]);

    let mut away = Chat::with(rules(), waiting());
    assert!(away.say(r#"{"action":"auth","token":"key-is-away","id":2}"#).is_empty());
    assert_eq!(away.tick(2_999, false), Tick::Quiet(3_199));
    assert_eq!(away.tick(3_000, false), Tick::Quiet(10_000), "it may try again until its time is over");
    let replies = away.replies();
    assert_eq!((&replies[0]["code"], &replies[0]["id"], replies.len()), (&json("\"unauthorized\""), &json("2"), 1));

    let mut twice = Chat::with(rules(), waiting());
    twice.say(r#"{"action":"auth","token":"key-is-away","id":3}"#);
    let replies = twice.say(r#"{"action":"auth","token":"all","id":4}"#);
    assert_eq!((&replies[0]["id"], &replies[1]["type"]), (&json("3"), &json("\"authenticated\"")));
}

#[test]
fn a_narrower_token_ends_a_wildcard_and_keeps_what_it_covers() {
    let open = Rules { wildcard: Wildcard::Allowed, verify: Some(Arc::new(OneToken)), ..rules() };
    let mut talk = Chat::with(open, Access::Open);
    talk.say(r#"{"action":"subscribe","symbols":["A","B","*"]}"#);
    let replies = talk.say(r#"{"action":"auth","token":"only-a"}"#);
    assert_eq!(replies[1], json(r#"{"type":"unsubscribed","symbols":["B","*"],"active":1}"#));
    assert_eq!(talk.say(r#"{"action":"list"}"#), [json(r#"{"type":"subscriptions","symbols":["A"]}"#)]);
}

#[test]
fn more_pings_than_the_rate_allows_close_with_4429() {
    let mut talk = Chat::open();
    let mut ping = |ms| talk.session.on_control(&talk.rules, at(ms));
    for _ in 0..20 {
        assert_eq!(ping(0), Flow::Continue(()));
    }
    assert_eq!(ping(200), Flow::Continue(()), "a fifth of a second refills one");
    let Flow::Break(close) = ping(200) else { panic!() };
    assert_eq!(close.code.number(), 4429);
}

proptest! {
    #[test]
    fn every_message_is_answered_or_closes(texts in prop::collection::vec("[{}\\[\\]\":,a-zA-Z*0-9. ]{0,60}", 0..40)) {
        let mut talk = Chat::open();
        for text in texts {
            let (replies, close) = talk.say_at(0, &text);
            prop_assert_eq!(replies.len(), 1);
            prop_assert!(talk.desk.active() <= talk.rules.symbols_per_client);
            if close.is_some() { break; }
        }
    }
}
