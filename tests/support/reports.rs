//! A gateway as the registry sees it: its reports, made as it would make them.

use std::time::Instant;

use tickcast::broker::{Broker, GatewayId, Reporter};
use tickcast::market::Symbol;
use tokio::task::JoinHandle;
use tokio::time::sleep_until;

/// Reports the same counts until it is dropped, which is a kill -9: its lease runs out.
pub struct Gateway(JoinHandle<()>);

impl Gateway {
    pub fn start(broker: &Broker, name: &str, counts: &[(&str, u32)]) -> Gateway {
        let (broker, id) = (broker.clone(), GatewayId(name.into()));
        let counts: Vec<_> = counts.iter().map(|(text, count)| (Symbol::parse(text).unwrap(), *count)).collect();
        Gateway(tokio::spawn(async move {
            let mut reporter = Reporter::new();
            for (symbol, count) in counts {
                reporter.set(symbol, count, Instant::now());
            }
            loop {
                let due = reporter.due(Instant::now()).expect("no report is under way");
                sleep_until(due.into()).await;
                if let Some(report) = reporter.take(Instant::now()) {
                    let held = broker.registry.report(&id, &report).await;
                    reporter.answered(held.ok(), Instant::now());
                }
            }
        }))
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.0.abort();
    }
}
