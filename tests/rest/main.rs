//! Claims about REST and server-sent events, over real sockets.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod bars;
mod operators;
mod quotes;
mod rules;
mod stage;
mod stream;
#[path = "../support/mod.rs"]
mod support;
mod warm;
