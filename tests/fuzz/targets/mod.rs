//! The borders at which something from outside is read, each with good inputs to start from.

pub(crate) mod config;
pub(crate) mod control;
pub(crate) mod provider;
pub(crate) mod request;
pub(crate) mod session;
pub(crate) mod update;
