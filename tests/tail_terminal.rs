//! `tickcast tail` on a terminal: width, resizes, colours, header.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod support;

use std::fs::File;
use std::time::Duration;

use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use support::binary::{Lines, Running, tickcast};
use support::client::eventually;
use support::gateway::{config, start};
use tickcast::broker::{Broker, Epoch, Outgoing, Timing, memory};
use tickcast::gateway::Gateway;
use tickcast::market::Symbol;

/// A terminal with a tail on its standard output, watching RELIANCE.
struct Terminal {
    broker: Broker,
    _gateway: Gateway,
    /// Before `screen`: what reads the terminal ends when nobody writes to it any more.
    _tail: Running,
    keyboard: File,
    screen: Lines,
}

impl Terminal {
    async fn open(columns: u16, env: &[(&str, &str)]) -> Terminal {
        let broker = memory::start(Timing::default());
        let gateway = start(&config(), &broker).await;
        let keyboard = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&keyboard).unwrap();
        unlockpt(&keyboard).unwrap();
        let tty = ioctl_tiocgptpeer(&keyboard, OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        let keyboard = File::from(keyboard);
        resize(&keyboard, columns);
        let url = format!("ws://{}", gateway.handle().address());
        let run = tickcast(&["tail", "RELIANCE", "--url", &url]).env("TZ", "UTC").output(tty);
        let tail = env.iter().fold(run, |run, (name, value)| run.env(name, value)).starts();
        let served = async || gateway.handle().summary().subscriptions > 0;
        eventually("the subscription is there", served).await;
        let screen = Lines::of(tokio::fs::File::from_std(keyboard.try_clone().unwrap()));
        Terminal { broker, _gateway: gateway, _tail: tail, keyboard, screen }
    }

    async fn publish(&self, change: &str, seq: u64) {
        let json = format!(
            r#"{{"type":"price_update","symbol":"RELIANCE","data":{{"price":2450.50,"change":{change},"changePercent":0.50,"volume":1234567,"timestamp":"2026-11-20T10:00:00Z","source":"simulated"}},"timestamp":"2026-11-20T10:00:01Z","seq":{seq}}}"#
        );
        let symbol = Symbol::parse("RELIANCE").unwrap();
        let update = Outgoing { symbol, json: json.into(), ttl: Duration::from_secs(300) };
        self.broker.publish.publish(&[update], Epoch(1)).await.unwrap();
    }

    /// The next line, with its colours and without the terminal's carriage return.
    async fn line(&mut self) -> String {
        self.screen.next().await.expect("the terminal is open").trim_end_matches('\r').to_owned()
    }
}

fn resize(terminal: &File, columns: u16) {
    let size = Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    tcsetwinsize(terminal, size).unwrap();
}

fn without_colours(line: &str) -> String {
    let mut pieces = line.split("\x1b[");
    let first = pieces.next().unwrap_or_default();
    pieces.fold(first.to_owned(), |text, piece| text + piece.split_once('m').map_or("", |(_, rest)| rest))
}

#[tokio::test]
async fn lines_are_never_wider_than_the_terminal_and_follow_its_size() {
    let mut terminal = Terminal::open(100, &[("TERM", "xterm")]).await;
    let mut headers = Vec::new();
    for (seq, columns) in [100, 60, 33, 21, 100].into_iter().enumerate() {
        resize(&terminal.keyboard, columns);
        terminal.publish("12.30", seq as u64 + 1).await;
        let header = without_colours(&terminal.line().await);
        let line = without_colours(&terminal.line().await);
        for line in [&header, &line] {
            assert!(line.chars().count() <= usize::from(columns), "{columns}: {line:?}");
        }
        assert!(line.contains("RELIANCE"), "{line:?}");
        headers.push(header);
    }
    assert_eq!(headers[0], "TIME      SYMBOL         PRICE    CHANGE   CHANGE%      VOLUME   AGE  SOURCE");
    assert_eq!(headers[3], "SYMBOL         PRICE");
    assert_eq!(headers[4], headers[0]);
    resize(&terminal.keyboard, 10);
    terminal.publish("12.30", 9).await;
    terminal.line().await;
    assert_eq!(without_colours(&terminal.line().await), "RELIANCE …");
}

#[tokio::test]
async fn a_header_comes_once_and_colours_say_where_a_price_went() {
    let mut terminal = Terminal::open(120, &[("TERM", "xterm")]).await;
    terminal.publish("12.30", 1).await;
    assert!(without_colours(&terminal.line().await).starts_with("TIME"));
    let up = terminal.line().await;
    assert!(up.contains("\x1b[32m2450.50\x1b[0m"), "{up:?}");
    terminal.publish("-12.30", 2).await;
    let down = terminal.line().await;
    assert!(down.contains("\x1b[31m2450.50\x1b[0m"), "{down:?}");
}

#[tokio::test]
async fn no_color_is_heeded_on_a_terminal() {
    for env in [&[("TERM", "xterm"), ("NO_COLOR", "1")][..], &[("TERM", "dumb")]] {
        let mut terminal = Terminal::open(120, env).await;
        terminal.publish("12.30", 1).await;
        for _ in 0..2 {
            let line = terminal.line().await;
            assert!(!line.contains('\x1b'), "{line:?}");
        }
    }
}
