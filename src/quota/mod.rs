//! What may be asked of a provider, and when: budget windows, circuit breaker, backoff, and the schedule that decides
//! which symbols a call is spent on.
//!
//! Pure: no socket, no clock, no runtime. `now` is an argument, the time since any fixed moment on a clock that never
//! goes back; randomness is a generator passed in. Knows neither providers nor the broker that shares these decisions
//! between processes.

pub mod backoff;
pub mod breaker;
pub mod schedule;
pub mod window;

pub use window::{Budget, Ledger, Level, Taken, Window};
