//! What decides how a provider's budget is spent.
//!
//! Pure: no socket, no clock, no runtime; time is an argument. Knows neither providers nor the broker that shares
//! these decisions between processes.

pub mod window;

pub use window::{Budget, Ledger, Level, Taken, Window};
