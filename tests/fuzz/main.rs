//! Whatever comes, nothing panics: sessions, requests, updates, control messages, vendors' answers, configuration.
//!
//! Good inputs are broken in random ways ([`inputs`]) and handed to the border that reads them ([`targets`]). A run is
//! repeated by its seed, which a failure names with the input. 120,000 inputs by default; for ten million:
//!
//! ```sh
//! TICKCAST_FUZZ_INPUTS=10000000 cargo test --release --test fuzz -- --nocapture
//! ```

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod inputs;
mod targets;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Instant;

use inputs::Inputs;

/// Over all targets.
const INPUTS: u64 = 120_000;

/// Gives a target its share of inputs, in thousandths.
fn fuzz(
    name: &str,
    share: u64,
    corpus: &[&[u8]],
    dictionary: &[&str],
    mut target: impl FnMut(&mut [u8], &mut fastrand::Rng),
) {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect("a number"));
    let seed = number("TICKCAST_FUZZ_SEED").unwrap_or_else(|| fastrand::u64(..));
    let count = number("TICKCAST_FUZZ_INPUTS").unwrap_or(INPUTS) * share / 1000;
    let mut inputs = Inputs::new(seed, corpus, dictionary);
    let began = Instant::now();
    for at in 0..count {
        let mut input = inputs.next();
        let given = input.clone();
        let rng = inputs.rng();
        if catch_unwind(AssertUnwindSafe(|| target(&mut input, rng))).is_err() {
            panic!("TICKCAST_FUZZ_SEED={seed}, input {at} of {name}: b\"{}\"", given.escape_ascii());
        }
    }
    eprintln!("{name}: {count} inputs in {:.1} s, seed {seed}", began.elapsed().as_secs_f64());
}

#[test]
fn no_bytes_on_a_socket_panic_or_make_a_reader_hold_more_than_a_message() {
    let frames = targets::session::corpus();
    let corpus: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
    fuzz("session", 250, &corpus, &[], targets::session::converse);
}

#[test]
fn no_request_panics() {
    fuzz("request", 250, targets::request::CORPUS, targets::request::WORDS, |input, _| targets::request::read(input));
}

#[test]
fn no_update_panics_and_each_good_one_makes_good_frames() {
    fuzz("update", 200, targets::update::CORPUS, targets::update::WORDS, |input, _| targets::update::read(input));
}

#[test]
fn no_control_message_panics() {
    fuzz("control", 140, targets::control::CORPUS, targets::control::WORDS, |input, _| targets::control::read(input));
}

#[test]
fn no_vendors_answer_panics() {
    fuzz("provider", 150, targets::provider::CORPUS, targets::provider::WORDS, targets::provider::answer);
}

#[test]
fn no_configuration_panics() {
    // A hundred times as slow as the others: it reads a file, and explains every mistake.
    let mut files = targets::config::Files::new();
    fuzz("config", 10, targets::config::CORPUS, targets::config::WORDS, |input, rng| files.load(input, rng));
}
