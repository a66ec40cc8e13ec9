//! What may be asked of a provider, and when: circuit breaker, backoff, and the schedule that decides which symbols a
//! call is spent on.
//!
//! Pure: no socket, no clock, no runtime. `now` is an argument, the time since any fixed moment on a clock that never
//! goes back; randomness is a generator passed in.

pub mod backoff;
pub mod breaker;
pub mod schedule;
