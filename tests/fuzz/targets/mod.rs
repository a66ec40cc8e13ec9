//! The borders at which something from outside is read, each with good inputs to start from.

pub mod config;
pub mod control;
pub mod provider;
pub mod request;
pub mod session;
pub mod update;
