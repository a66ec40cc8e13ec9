//! What the ops port needs to be told.

use std::net::IpAddr;

use secrecy::SecretString;

/// The operators' port.
#[derive(Debug, Clone)]
pub struct Config {
    /// Loopback unless configured.
    pub bind: IpAddr,
    /// 8082; 8083 for a stand-alone publisher; 0 takes a free one.
    pub port: u16,
    /// Bearer for changing verbs; required for them once `bind` is not loopback.
    pub admin_token: Option<SecretString>,
}
