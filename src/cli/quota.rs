//! `tickcast quota`: each provider's budget.

mod table;

use std::collections::BTreeMap;

use bytes::Bytes;
use clap::{Args, Subcommand};
use hyper::Method;
use serde_json::{Value, json};

use super::Common;
use super::reach::{ReachArgs, ReachError, Way, ask_ops};
use super::report::{Problem, Report};
use crate::broker::{Broker, keys};
use crate::config::Config;
use crate::provider::{self, Name, Provider};
use crate::publisher::stats::ProviderBudget;

/// Shown by `quota --help`.
pub const EXAMPLES: &str = "\
Through the configured Redis; without one, through the ops port of the configuration, or the one given by --ops.

Examples:
  tickcast quota
  tickcast quota --json | jq '.providers.massive.budget.minute.available'
  tickcast quota --ops http://127.0.0.1:8083    of a publisher, with what its cycles cost
  tickcast quota reset massive                  forget what was spent, after the vendor gave a new allowance

A budget belongs to a provider and its key, and is shared by all processes with that key. Through Redis, those of the
configured providers are shown, and others that have spent something; their keys are taken from the configuration here, so
run it where the publisher's is. TODAY is what was spent in the last 24 hours, in the vendor's units.

The ops port of a publisher says what polling costs, too: the requests of its last cycle, as EXPECTED without retries and
halvings, and as they were in fact.";

/// `quota`'s flags.
#[derive(Debug, Args)]
pub struct QuotaArgs {
    /// What to do; shows the table when absent.
    #[command(subcommand)]
    action: Option<Action>,
    /// As JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(flatten)]
    reach: ReachArgs,
}

/// The actions.
#[derive(Debug, Clone, Copy, Subcommand)]
enum Action {
    /// Forget what was spent of a provider's budget
    Reset {
        /// Whose
        #[arg(value_name = "PROVIDER")]
        provider: Name,
    },
}

/// Shows the budgets, or resets one.
///
/// # Errors
/// [`ReachError`] when nobody could be asked.
pub async fn run(common: &Common, args: &QuotaArgs) -> Result<Report, ReachError> {
    let (way, config) = args.reach.way(common).await?;
    let report = match (args.action, &way) {
        (Some(Action::Reset { provider }), way) => reset(way, &config, provider, args.json).await,
        (None, Way::Redis { broker, place }) => of_redis(broker, place, &config).await.map(|(budgets, notes)| {
            let mut report = shown(&json!({ "providers": budgets }), args.json);
            report.notes = notes;
            report
        }),
        (None, Way::Ops { url, .. }) => {
            ask_ops(url, Method::GET, "/quota", Bytes::new(), None).await.map(|answer| match answer {
                Ok(json) => shown(&json, args.json),
                Err(refusal) => Report::problem(Problem::from(refusal)),
            })
        }
    };
    way.close().await;
    report
}

fn shown(json: &Value, as_json: bool) -> Report {
    Report::told(if as_json { format!("{json:#}\n") } else { table::of(&json["providers"]) })
}

async fn reset(way: &Way, config: &Config, name: Name, as_json: bool) -> Result<Report, ReachError> {
    let done = match way {
        Way::Redis { broker, place } => match limited(name, config, broker).await {
            Some(provider) => {
                let failed = |error: crate::broker::BrokerError| ReachError::failed(place, &error);
                provider.reset_budget().await.map_err(failed)?;
                Ok(())
            }
            None => Err(Problem::Refused(format!("nothing limits {name} here"))),
        },
        Way::Ops { url, admin_token } => {
            let path = format!("/quota/reset/{name}");
            let answer = ask_ops(url, Method::POST, &path, Bytes::new(), admin_token.as_ref()).await?;
            answer.map(drop).map_err(Problem::from)
        }
    };
    Ok(match done {
        Ok(()) if as_json => Report::told(format!("{:#}\n", json!({"ok": true, "provider": name.as_str()}))),
        Ok(()) => Report::told(format!("{name}: what was spent is forgotten\n")),
        Err(problem) => Report::problem(problem),
    })
}

/// The budgets of the configured providers, and of those that have spent something; and what else there is to know.
async fn of_redis(
    broker: &Broker,
    place: &str,
    config: &Config,
) -> Result<(BTreeMap<&'static str, ProviderBudget>, Vec<String>), ReachError> {
    let keys = broker.store.keys_with_prefix(keys::RATELIMIT_PREFIX).await;
    let keys = keys.map_err(|error| ReachError::failed(place, &error))?;
    let mut records: Vec<&str> = keys.iter().filter_map(|key| key.strip_prefix(keys::RATELIMIT_PREFIX)).collect();
    let mut budgets = BTreeMap::new();
    for name in Name::ALL {
        let Some(provider) = limited(name, config, broker).await else { continue };
        let Some(budget) = provider.budget() else { continue };
        let has_spent = records.contains(&budget.name.as_str());
        records.retain(|record| *record != budget.name);
        if has_spent || config.publisher.providers.contains(&name) {
            provider.read_budget().await;
            budgets.insert(name.as_str(), ProviderBudget::from(&provider.status()));
        }
    }
    records.sort_unstable();
    let note = |record: &str| format!("there is also a record of {record}, of another key than is configured here");
    Ok((budgets, records.into_iter().map(note).collect()))
}

/// The provider, where something limits it.
async fn limited(name: Name, config: &Config, broker: &Broker) -> Option<std::sync::Arc<dyn Provider>> {
    // One that cannot be set up as configured is told by the publisher; nothing is spent by it.
    let built = provider::build(&[name], &config.publisher.settings, broker).await.ok()?;
    built.into_iter().find(|provider| provider.budget().is_some())
}
