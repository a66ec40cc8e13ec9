//! A role of the real binary, running beside the test.

use serde_json::Value;

use super::binary::{Running, tickcast};

/// A role that serves.
pub struct Role {
    running: Running,
    /// Its ops port.
    pub ops: String,
}

impl Role {
    /// Starts it on free ports, and waits until its ops port serves.
    pub async fn start(role: &str, args: &[&str]) -> Role {
        let ports = if role == "publisher" { &["--ops-port", "0"][..] } else { &["--ops-port", "0", "--port", "0"] };
        let common = ["--log-format", "json", "--set", "gateway.bind=127.0.0.1", "--set", "drain.window_s=1"];
        let mut running = tickcast(&[&[role], ports, &common, args].concat()).env("ADMIN_TOKEN", "s3cret").starts();
        let line = running.told("ops port serves").await;
        let event: Value = serde_json::from_str(&line).expect("the log is JSON");
        let ops = format!("http://{}", event["address"].as_str().expect("it says where"));
        Role { running, ops }
    }

    /// The next event of its log that has this text.
    pub async fn logs(&mut self, text: &str) -> Value {
        serde_json::from_str(&self.running.told(text).await).expect("the log is JSON")
    }

    /// Waits for its end; its exit code.
    pub async fn ends(self) -> Option<i32> {
        self.running.end().await.0.code()
    }
}
