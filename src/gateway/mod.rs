//! The gateway: browser sockets in, updates out.

pub mod config;

pub use config::Config;
