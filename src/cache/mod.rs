//! The quote and bar cache: memory in front of the broker's store.

pub mod config;

pub use config::Config;
