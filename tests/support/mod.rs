//! What integration tests share. Each test file compiles its own copy and uses a part of it.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

pub mod balancer;
pub mod bench;
pub mod binary;
pub mod client;
pub mod gateway;
pub mod http;
pub mod process;
pub mod proxy;
pub mod raw;
pub mod redis;
pub mod relay;
pub mod reports;
pub mod switch;
pub mod token;
pub mod vendor;
pub mod watcher;

use std::time::Duration;

/// How long a test waits for what must happen. Generous: the machine may be busy.
pub const DEADLINE: Duration = Duration::from_secs(30);
