//! tickcast: quotes from rate-limited providers, through Redis pub/sub, to browsers.
//!
//! A tour, from the ground up. Upper floors use lower ones, never the reverse (`tests/floors.rs` holds it):
//!
//! - [`market`]: symbols, quotes, updates.
//! - [`protocol`]: what is said on a client's socket, and the frames it is said in.
//! - [`hub`]: who watches what, and what waits for whom.
//! - [`quota`]: budgets, breakers, back-off, and which symbol to poll next.
//! - [`broker`]: the seam between publisher and gateway; in memory or in Redis.
pub mod market;
