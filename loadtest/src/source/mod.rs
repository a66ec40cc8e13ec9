//! Where updates come from: the [`publisher`] through Redis, or the [`sender`] that writes ready frames to the clients itself
//! and so measures what the kernel alone costs. Each is a process of its own, so that its CPU is told apart.

mod audience;
mod orders;
mod probe;
pub(crate) mod publisher;
pub(crate) mod redis;
pub(crate) mod resp;
pub(crate) mod sender;
