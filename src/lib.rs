//! tickcast: quotes from rate-limited providers, through Redis pub/sub, to browsers.
//!
//! *Quotes enter through a provider, cross the broker once, and are fanned out by shards that own their connections.
//! What decides is pure and synchronous; what waits is thin.*
//!
//! A tour, from the ground up. Upper floors use lower ones, never the reverse, and publisher and gateway never meet
//! (`tests/floors.rs` holds it).
//!
//! Pure floors (no socket, no clock, no runtime):
//!
//! - [`market`]: symbols, quotes, updates, calendars.
//! - [`protocol`]: what is said on a client's socket and on the control channel.
//! - [`hub`]: who watches what, and what waits for whom.
//! - [`quota`]: budgets, breaker, back-off, and which symbols a call is spent on.
//!
//! The seam:
//!
//! - [`broker`]: what publisher and gateway have in common; in memory or in Redis.
//!
//! Quotes in:
//!
//! - [`cache`], [`provider`], [`publisher`].
//!
//! Quotes out:
//!
//! - [`gateway`], [`api`], [`ops`]; [`web`] holds the pages of the last two.
//!
//! Above both:
//!
//! - [`config`]: file, environment and flags to each part's types;
//! - [`logging`]: one event a line, as text or JSON;
//! - [`crash`]: work that goes on after a panic in it;
//! - [`roles`]: which parts run in a process, started and stopped in order;
//! - [`cli`]: the command line, logs, exit codes.
pub mod api;
pub mod broker;
pub mod cache;
pub mod cli;
pub mod config;
pub mod crash;
pub mod gateway;
pub mod hub;
pub mod logging;
pub mod market;
pub mod ops;
pub mod protocol;
pub mod provider;
pub mod publisher;
pub mod quota;
pub mod roles;
pub mod web;
