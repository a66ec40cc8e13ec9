//! The publisher: provider to broker, on a schedule and within a budget.

pub mod config;

pub use config::Config;
