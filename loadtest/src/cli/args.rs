//! The command line as clap reads it. Help texts are written for people who have not read anything else.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::plan::Spread;
use crate::scenario::Scenario;

use super::values::{Cores, Share, Slow, assignment, count, count32, duration, rate, spread};

const EXAMPLES: &str = "\
Examples:
  The gateway under 1,000 clients, started and stopped by the load test, with a Redis of its own:
    tickcast-loadtest run --server 'tickcast gateway' --scenario thousand

  A row of the table, server on one core and everything else on the other:
    tickcast-loadtest run --server 'tickcast gateway' --scenario s2 --pin-server 0 --pin-client 1

  The highest rate with p99 below 100 ms and nothing lost:
    tickcast-loadtest run --server 'tickcast gateway' --scenario s1 --find-max

  A server that runs already, with figures of my own, as JSON:
    tickcast-loadtest run --url ws://127.0.0.1:8081/ws --redis redis://127.0.0.1:6379 --server-pid 4711 \\
      --clients 2k --symbols 500 --per-client 20 --spread zipf --rate 1k --duration 30s --json

  What the kernel alone costs for the same work:
    tickcast-loadtest floor --scenario s1 --pin-server 0 --pin-client 1

Exit codes: 0 all promises kept; 1 a promise broken (lost, repeated, reordered, late, refused); 2 bad arguments;
3 the load test or the machine was the limit, so the figures do not count; 4 it could not be run; 130 interrupted.";

/// Load generator and delivery checker for tickcast and other WebSocket gateways of the same job.
#[derive(Debug, Parser)]
#[command(name = "tickcast-loadtest", version, after_help = EXAMPLES, max_term_width = 110)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Load a server and check every delivery
    #[command(after_help = EXAMPLES)]
    Run(Box<RunArgs>),
    /// Measure the kernel's own price: a bare sender writes ready frames to the same clients
    Floor(Box<FloorArgs>),
    /// Put JSON results side by side: medians and ratios as a Markdown table
    Table(TableArgs),
    /// For the load test's own use
    #[command(hide = true)]
    Helper(HelperArgs),
}

#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// Command line that starts the server, once per run, by the shell. It finds its ports and Redis in the environment
    /// (PORT, WS_PORT, HEALTH_PORT, REDIS_URL, CHANNEL) or in the places {port}, {ops_port},
    /// {redis_url}, {redis_port}, {channel}; tickcast's limits per address are raised
    #[arg(long, value_name = "CMD", conflicts_with = "url", help_heading = "Server")]
    pub(super) server: Option<String>,
    /// One more environment variable for the started server
    #[arg(long, value_name = "KEY=VALUE", value_parser = assignment, requires = "server", help_heading = "Server")]
    pub(super) server_env: Vec<(String, String)>,
    /// A server that runs already
    #[arg(long, value_name = "WS_URL", default_value = "ws://127.0.0.1:8081/ws", help_heading = "Server")]
    pub(super) url: String,
    /// Its process, for CPU and memory
    #[arg(long, value_name = "PID", conflicts_with = "server", help_heading = "Server")]
    pub(super) server_pid: Option<u32>,
    /// Its ops port, for its own counters
    #[arg(long, value_name = "ADDRESS", conflicts_with = "server", help_heading = "Server")]
    pub(super) ops: Option<SocketAddr>,
    /// The Redis to publish through; without it a private redis-server is started (with --server only)
    #[arg(long, value_name = "URL", help_heading = "Server")]
    pub(super) redis: Option<String>,
    /// The channel to publish on
    #[arg(long, default_value = "market-data:updates", help_heading = "Server")]
    pub(super) channel: String,

    #[command(flatten)]
    pub(super) work: WorkArgs,

    /// New connections per second while connecting; without it as fast as the server answers
    #[arg(long, value_name = "N/S", value_parser = rate, help_heading = "Clients")]
    pub(super) connect_rate: Option<f64>,
    /// Connects that may be unanswered at a time (256 if not given)
    #[arg(long, value_name = "N", value_parser = count32, help_heading = "Clients")]
    pub(super) in_flight: Option<u32>,
    /// Clients per second that leave and come again
    #[arg(long, value_name = "N/S", value_parser = rate, help_heading = "Clients")]
    pub(super) churn: Option<f64>,
    /// Clients per second that unsubscribe and subscribe again
    #[arg(long, value_name = "N/S", value_parser = rate, help_heading = "Clients")]
    pub(super) resubscribe: Option<f64>,
    /// Clients that stop reading once publishing begins
    #[arg(long, value_name = "SHARE", help_heading = "Clients")]
    pub(super) stuck: Option<Share>,
    /// Clients that read slowly, and how many bytes per second: 1%:10k
    #[arg(long, value_name = "SHARE[:BYTES/S]", help_heading = "Clients")]
    pub(super) slow: Option<Slow>,
    /// Instead of publishing, connect and disconnect everybody N times, without and with subscribing
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = "3", help_heading = "Clients")]
    pub(super) storm: Option<u32>,
    /// Let clients be idle for so long before publishing
    #[arg(long, value_name = "TIME", value_parser = duration, help_heading = "Clients")]
    pub(super) idle: Option<f64>,

    /// Updates per message: 500 publishes arrays of 500
    #[arg(long, value_name = "N", value_parser = count32, help_heading = "Updates")]
    pub(super) cycle: Option<u32>,
    /// Measure Redis' own latency with a plain subscriber
    #[arg(long, help_heading = "Updates")]
    pub(super) probe_redis: bool,

    /// Search the highest good rate, from --rate upwards
    #[arg(long, help_heading = "Search")]
    pub(super) find_max: bool,
    /// Good is a p99 below this
    #[arg(long, value_name = "MS", default_value_t = 100.0, help_heading = "Search")]
    pub(super) p99: f64,
    /// Measured time of one step
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "3s", help_heading = "Search")]
    pub(super) step: f64,
    /// Stop when good and bad are so near
    #[arg(long, value_name = "SHARE", default_value = "10%", help_heading = "Search")]
    pub(super) precision: Share,
    /// Never above this rate
    #[arg(long, value_name = "N/S", value_parser = rate, default_value = "1m", help_heading = "Search")]
    pub(super) highest: f64,

    /// Gaps that the server announced to a client as `lagging` are no fault
    #[arg(long, help_heading = "Verdict")]
    pub(super) allow_conflation: bool,
}

/// What is shared by servers and floors.
#[derive(Debug, Args)]
pub(crate) struct WorkArgs {
    /// A named run; other flags change single values of it
    #[arg(long, value_enum, value_name = "NAME")]
    pub(super) scenario: Option<Scenario>,
    /// Clients
    #[arg(long, value_name = "N", value_parser = count32, help_heading = "Clients")]
    pub(super) clients: Option<u32>,
    /// Symbols that are published in turn
    #[arg(long, value_name = "N", value_parser = count32, help_heading = "Clients")]
    pub(super) symbols: Option<u32>,
    /// Symbols that each client subscribes
    #[arg(long, value_name = "K", value_parser = count32, help_heading = "Clients")]
    pub(super) per_client: Option<u32>,
    /// How subscriptions spread over symbols: uniform, zipf, zipf:S
    #[arg(long, value_parser = spread, help_heading = "Clients")]
    pub(super) spread: Option<Spread>,
    /// Another seed, other subscriptions
    #[arg(long, value_parser = count, help_heading = "Clients")]
    pub(super) seed: Option<u64>,
    /// Client processes, at least; one more for every 19,000 clients
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "Clients")]
    pub(super) workers: u32,
    /// Updates per second, over all symbols; open loop: what is late stays due
    #[arg(long, value_name = "N/S", value_parser = rate, help_heading = "Updates")]
    pub(super) rate: Option<f64>,
    /// Bytes per update (233 if not given)
    #[arg(long, value_name = "N", value_parser = count32, help_heading = "Updates")]
    pub(super) bytes: Option<u32>,
    /// Published before anything is measured
    #[arg(long, value_name = "TIME", value_parser = duration, help_heading = "Updates")]
    pub(super) warmup: Option<f64>,
    /// Measured time
    #[arg(long, value_name = "TIME", value_parser = duration, help_heading = "Updates")]
    pub(super) duration: Option<f64>,
    /// How long after the last update its delivery is waited for
    #[arg(long, value_name = "TIME", value_parser = duration, help_heading = "Updates")]
    pub(super) drain: Option<f64>,
    /// Cores for the server: 0 or 0,2 or 1-3
    #[arg(long, value_name = "CORES", help_heading = "Machine")]
    pub(super) pin_server: Option<Cores>,
    /// Cores for clients, publisher and Redis
    #[arg(long, value_name = "CORES", help_heading = "Machine")]
    pub(super) pin_client: Option<Cores>,
    /// Cores for a private Redis, if other than the clients'
    #[arg(long, value_name = "CORES", help_heading = "Machine")]
    pub(super) pin_redis: Option<Cores>,
    /// Print the report as JSON instead of text
    #[arg(long, help_heading = "Output")]
    pub(super) json: bool,
    /// Write the report as JSON to this file as well
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    pub(super) out: Option<PathBuf>,
    /// What this is a measurement of, in a word: a column of `table`
    #[arg(long, value_name = "NAME", help_heading = "Output")]
    pub(super) label: Option<String>,
    /// No progress
    #[arg(long, short, help_heading = "Output")]
    pub(super) quiet: bool,
}

#[derive(Debug, Args)]
pub(crate) struct FloorArgs {
    #[command(flatten)]
    pub(super) work: WorkArgs,
    /// Frames gathered into one write, where they are
    #[arg(long, value_name = "K", default_value_t = 16)]
    pub(super) frames_per_write: u32,
    /// Which floors: paced like the run it is compared to, or as fast as it goes
    #[arg(long, value_enum)]
    pub(super) only: Option<FloorPace>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum FloorPace {
    Paced,
    Unpaced,
}

#[derive(Debug, Args)]
pub(crate) struct TableArgs {
    /// Reports written by --json or --out; those of one label and run are rounds of each other
    #[arg(required = true)]
    pub(crate) files: Vec<PathBuf>,
    /// The label that the others are compared to
    #[arg(long, default_value = "tickcast")]
    pub(crate) subject: String,
}

#[derive(Debug, Args)]
pub(crate) struct HelperArgs {
    #[arg(long)]
    pub(crate) parent: u32,
    #[arg(long)]
    pub(crate) pin: Option<Cores>,
    #[command(subcommand)]
    pub(crate) kind: HelperKind,
}

#[derive(Debug, Subcommand)]
pub(crate) enum HelperKind {
    Swarm,
    Publisher,
    Sender,
    Attacker,
    Exec {
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
}
