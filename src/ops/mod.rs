//! The operators' port: health, metrics, statistics, control.

pub mod config;

pub use config::Config;
