//! Quote providers, one file per vendor. Request building and body parsing are pure functions.

pub mod config;

pub use config::{Config, Name, UnknownProvider};
