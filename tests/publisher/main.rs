//! The publisher's claims: in virtual time over the embedded broker and a line to it that can be cut, and over a real
//! Redis.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

mod control;
mod demand;
mod failures;
mod fleet;
mod redis;
mod routes;
mod stage;
#[path = "../support/mod.rs"]
mod support;
