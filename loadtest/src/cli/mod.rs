//! The command line: what can be asked, and how it becomes runs.

pub(crate) mod values;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::plan::{BadReaders, MAX_SYMBOLS, Spread};
use crate::run::setup::{Pins, ServerChoice, Setup};
use crate::run::spec::{Pace, Spec, Storm};
use crate::scenario::{self, Scenario};
use crate::update::SMALLEST_UPDATE_BYTES;
use crate::{host, run};

use self::values::{Cores, Share, Slow, assignment, count, count32, duration, rate, spread};

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
3 the load test or the machine was the limit, so the figures do not count; 4 it could not be run.";

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
    /// (PORT, WS_PORT, HEALTH_PORT, REDIS_URL, REDIS_HOST, REDIS_PORT, CHANNEL) or in the places {port}, {ops_port},
    /// {redis_url}, {redis_port}, {channel}; tickcast's limits per address are raised
    #[arg(long, value_name = "CMD", conflicts_with = "url", help_heading = "Server")]
    server: Option<String>,
    /// One more environment variable for the started server
    #[arg(long, value_name = "KEY=VALUE", value_parser = assignment, requires = "server", help_heading = "Server")]
    server_env: Vec<(String, String)>,
    /// A server that runs already
    #[arg(long, value_name = "WS_URL", default_value = "ws://127.0.0.1:8081/ws", help_heading = "Server")]
    url: String,
    /// Its process, for CPU and memory
    #[arg(long, value_name = "PID", conflicts_with = "server", help_heading = "Server")]
    server_pid: Option<u32>,
    /// Its ops port, for its own counters
    #[arg(long, value_name = "ADDRESS", conflicts_with = "server", help_heading = "Server")]
    ops: Option<SocketAddr>,
    /// The Redis to publish through; without it a private redis-server is started (with --server only)
    #[arg(long, value_name = "URL", help_heading = "Server")]
    redis: Option<String>,
    /// The channel to publish on
    #[arg(long, default_value = "market-data:updates", help_heading = "Server")]
    channel: String,

    #[command(flatten)]
    work: WorkArgs,

    /// New connections per second while connecting; without it as fast as the server answers
    #[arg(long, value_name = "N/S", value_parser = rate, help_heading = "Clients")]
    connect_rate: Option<f64>,
    /// Connects that may be unanswered at a time [256]
    #[arg(long, value_name = "N", value_parser = count32, help_heading = "Clients")]
    in_flight: Option<u32>,
    /// Clients per second that leave and come again
    #[arg(long, value_name = "N/S", value_parser = rate, help_heading = "Clients")]
    churn: Option<f64>,
    /// Clients per second that unsubscribe and subscribe again
    #[arg(long, value_name = "N/S", value_parser = rate, help_heading = "Clients")]
    resubscribe: Option<f64>,
    /// Clients that stop reading once publishing begins
    #[arg(long, value_name = "SHARE", help_heading = "Clients")]
    stuck: Option<Share>,
    /// Clients that read slowly, and how many bytes per second: 1%:10k
    #[arg(long, value_name = "SHARE[:BYTES/S]", help_heading = "Clients")]
    slow: Option<Slow>,
    /// Instead of publishing, connect and disconnect everybody N times, without and with subscribing
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = "3", help_heading = "Clients")]
    storm: Option<u32>,
    /// Let clients be idle for so long before publishing
    #[arg(long, value_name = "TIME", value_parser = duration, help_heading = "Clients")]
    idle: Option<f64>,

    /// Updates per message: 500 publishes arrays of 500
    #[arg(long, value_name = "N", value_parser = count32, help_heading = "Updates")]
    cycle: Option<u32>,
    /// Measure Redis' own latency with a plain subscriber
    #[arg(long, help_heading = "Updates")]
    probe_redis: bool,

    /// Search the highest good rate, from --rate upwards
    #[arg(long, help_heading = "Search")]
    find_max: bool,
    /// Good is a p99 below this
    #[arg(long, value_name = "MS", default_value_t = 100.0, help_heading = "Search")]
    p99: f64,
    /// Measured time of one step
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "3s", help_heading = "Search")]
    step: f64,
    /// Stop when good and bad are so near
    #[arg(long, value_name = "SHARE", default_value = "10%", help_heading = "Search")]
    precision: Share,
    /// Never above this rate
    #[arg(long, value_name = "N/S", value_parser = rate, default_value = "1m", help_heading = "Search")]
    highest: f64,

    /// Gaps that the server announced to a client as `lagging` are no fault
    #[arg(long, help_heading = "Verdict")]
    allow_conflation: bool,
}

/// What is shared by servers and floors.
#[derive(Debug, Args)]
pub(crate) struct WorkArgs {
    /// A named run; other flags change single values of it
    #[arg(long, value_enum, value_name = "NAME")]
    scenario: Option<Scenario>,
    /// Clients
    #[arg(long, value_name = "N", value_parser = count32, help_heading = "Clients")]
    clients: Option<u32>,
    /// Symbols that are published in turn
    #[arg(long, value_name = "N", value_parser = count32, help_heading = "Clients")]
    symbols: Option<u32>,
    /// Symbols that each client subscribes
    #[arg(long, value_name = "K", value_parser = count32, help_heading = "Clients")]
    per_client: Option<u32>,
    /// How subscriptions spread over symbols: uniform, zipf, zipf:S
    #[arg(long, value_parser = spread, help_heading = "Clients")]
    spread: Option<Spread>,
    /// Another seed, other subscriptions
    #[arg(long, value_parser = count, help_heading = "Clients")]
    seed: Option<u64>,
    /// Client processes, at least; one more for every 19,000 clients
    #[arg(long, value_name = "N", default_value_t = 1, help_heading = "Clients")]
    workers: u32,
    /// Updates per second, over all symbols; open loop: what is late stays due
    #[arg(long, value_name = "N/S", value_parser = rate, help_heading = "Updates")]
    rate: Option<f64>,
    /// Bytes per update [233]
    #[arg(long, value_name = "N", value_parser = count32, help_heading = "Updates")]
    bytes: Option<u32>,
    /// Published before anything is measured
    #[arg(long, value_name = "TIME", value_parser = duration, help_heading = "Updates")]
    warmup: Option<f64>,
    /// Measured time
    #[arg(long, value_name = "TIME", value_parser = duration, help_heading = "Updates")]
    duration: Option<f64>,
    /// How long after the last update its delivery is waited for
    #[arg(long, value_name = "TIME", value_parser = duration, help_heading = "Updates")]
    drain: Option<f64>,
    /// Cores for the server: 0 or 0,2 or 1-3
    #[arg(long, value_name = "CORES", help_heading = "Machine")]
    pin_server: Option<Cores>,
    /// Cores for clients, publisher and Redis
    #[arg(long, value_name = "CORES", help_heading = "Machine")]
    pin_client: Option<Cores>,
    /// Cores for a private Redis, if other than the clients'
    #[arg(long, value_name = "CORES", help_heading = "Machine")]
    pin_redis: Option<Cores>,
    /// Print the report as JSON instead of text
    #[arg(long, help_heading = "Output")]
    json: bool,
    /// Write the report as JSON to this file as well
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    out: Option<PathBuf>,
    /// What this is a measurement of, in a word: a column of `table`
    #[arg(long, value_name = "NAME", help_heading = "Output")]
    label: Option<String>,
    /// No progress
    #[arg(long, short, help_heading = "Output")]
    quiet: bool,
}

#[derive(Debug, Args)]
pub(crate) struct FloorArgs {
    #[command(flatten)]
    work: WorkArgs,
    /// Frames gathered into one write, where they are
    #[arg(long, value_name = "K", default_value_t = 16)]
    frames_per_write: u32,
    /// Which floors: paced like the run it is compared to, or as fast as it goes
    #[arg(long, value_enum)]
    only: Option<FloorPace>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum FloorPace {
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
    Exec {
        #[arg(last = true, required = true)]
        command: Vec<String>,
    },
}

/// How and where the result is to be told.
#[derive(Debug, Clone)]
pub(crate) struct Output {
    pub(crate) json: bool,
    pub(crate) out: Option<PathBuf>,
    pub(crate) label: String,
    pub(crate) quiet: bool,
}

/// What an invocation is to do.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) scenario: Option<Scenario>,
    pub(crate) runs: Vec<Spec>,
    pub(crate) search: Option<run::search::Search>,
    pub(crate) setup: Setup,
    pub(crate) output: Output,
}

impl RunArgs {
    /// # Errors
    /// When flags do not fit together, in words for the user.
    pub(crate) fn program(self) -> Result<Program, String> {
        let (target, path) = parse_ws_url(&self.url)?;
        let redis = self.redis.as_deref().map(|url| host::redis::parse_url(url).map_err(|error| error.to_string()));
        let redis = redis.transpose()?;
        let server = match &self.server {
            Some(command) => ServerChoice::Command(command.clone()),
            None if redis.is_none() => {
                return Err("either --server CMD starts a server with a Redis of its own, or --redis URL says which \
                            Redis the server at --url reads"
                    .to_owned());
            }
            None => ServerChoice::Running { target, ops: self.ops, pid: self.server_pid },
        };
        let mut runs = self.work.specs(scenario::s1);
        for spec in &mut runs {
            self.change(spec);
            check(spec)?;
        }
        let search = self.find_max.then_some(run::search::Search {
            p99_ms: self.p99,
            precision: self.precision.0.max(0.01),
            highest: self.highest,
        });
        if search.is_some() && runs.len() != 1 {
            return Err("--find-max searches one run; this scenario has several".to_owned());
        }
        Ok(Program {
            scenario: self.work.scenario,
            runs,
            search,
            setup: Setup {
                server,
                redis,
                channel: self.channel.clone(),
                path,
                workers: self.work.workers,
                pins: self.work.pins(),
                server_env: self.server_env.iter().cloned().collect(),
            },
            output: self.work.output("server"),
        })
    }

    fn change(&self, spec: &mut Spec) {
        let bad = &mut spec.plan.bad_readers;
        if let Some(Share(stuck)) = self.stuck {
            bad.stuck = stuck;
        }
        if let Some(Slow { share, bytes_per_s }) = self.slow {
            *bad = BadReaders { slow: share, slow_bytes_per_s: bytes_per_s, ..*bad };
        }
        spec.connect.per_second = self.connect_rate.filter(|rate| *rate > 0.0).or(spec.connect.per_second);
        set(&mut spec.connect.in_flight, self.in_flight);
        set(&mut spec.reconnects_per_second, self.churn);
        set(&mut spec.resubscribes_per_second, self.resubscribe);
        set(&mut spec.idle_s, self.idle);
        set(&mut spec.feed.cycle, self.cycle);
        spec.feed.probe_redis |= self.probe_redis;
        spec.promises.allow_conflation |= self.allow_conflation;
        if let Some(rounds) = self.storm {
            spec.storm = Some(Storm { rounds });
        }
        if self.find_max {
            (spec.warmup_s, spec.duration_s) =
                (self.work.warmup.unwrap_or(1.0), self.work.duration.unwrap_or(self.step));
        }
    }
}

impl FloorArgs {
    /// # Errors
    /// When flags do not fit together, in words for the user.
    pub(crate) fn program(self) -> Result<Program, String> {
        let model = self.work.specs(scenario::s1).swap_remove(0);
        if model.plan.clients == 0 || model.storm.is_some() {
            return Err(format!("{} has nothing that a bare sender could do", model.name));
        }
        let gathered = self.frames_per_write.max(2) as usize;
        let mut runs = Vec::new();
        for pace in [FloorPace::Paced, FloorPace::Unpaced] {
            if self.only.is_some_and(|only| only != pace) {
                continue;
            }
            for frames_per_write in [1, gathered] {
                runs.push(floor_of(&model, pace, frames_per_write)?);
            }
        }
        runs.iter().try_for_each(check)?;
        Ok(Program {
            scenario: None,
            runs,
            search: None,
            setup: Setup {
                server: ServerChoice::Command(String::new()),
                redis: None,
                channel: String::new(),
                path: "/ws".to_owned(),
                workers: self.work.workers,
                pins: self.work.pins(),
                server_env: std::collections::BTreeMap::new(),
            },
            output: self.work.output("floor"),
        })
    }
}

/// The floor of a run: the same work without its disturbances.
fn floor_of(model: &Spec, pace: FloorPace, frames_per_write: usize) -> Result<Spec, String> {
    let mut spec = model.clone();
    spec.source = run::spec::Source::Floor { frames_per_write };
    (spec.reconnects_per_second, spec.resubscribes_per_second, spec.idle_s) = (0.0, 0.0, 0.0);
    (spec.plan.bad_readers, spec.feed.cycle, spec.feed.probe_redis) = (BadReaders::default(), 1, false);
    let paced = match (pace, spec.feed.pace) {
        (FloorPace::Paced, Pace::PerSecond(_)) => "paced",
        (FloorPace::Paced, Pace::Silent | Pace::Unpaced) => {
            return Err(format!("{} publishes nothing: give a --rate", spec.name));
        }
        (FloorPace::Unpaced, _) => {
            spec.feed.pace = Pace::Unpaced;
            (spec.warmup_s, spec.duration_s) = (1.0, spec.duration_s.min(5.0));
            "unpaced"
        }
    };
    spec.name = format!("{}: {paced}, {frames_per_write} a write", spec.name);
    Ok(spec)
}

impl WorkArgs {
    /// The scenario's runs, or `otherwise` under the name `custom`, with the flags' changes.
    fn specs(&self, otherwise: fn() -> Spec) -> Vec<Spec> {
        let custom = || vec![Spec { name: "custom".to_owned(), ..otherwise() }];
        let mut runs = self.scenario.map_or_else(custom, Scenario::runs);
        for spec in &mut runs {
            set(&mut spec.plan.clients, self.clients);
            set(&mut spec.plan.symbols, self.symbols);
            set(&mut spec.plan.per_client, self.per_client);
            set(&mut spec.plan.spread, self.spread);
            set(&mut spec.plan.seed, self.seed);
            set(&mut spec.feed.bytes, self.bytes.map(|bytes| bytes as usize));
            set(&mut spec.warmup_s, self.warmup);
            set(&mut spec.duration_s, self.duration);
            set(&mut spec.drain_s, self.drain);
            set(
                &mut spec.feed.pace,
                self.rate.map(|rate| if rate > 0.0 { Pace::PerSecond(rate) } else { Pace::Silent }),
            );
        }
        runs
    }

    fn pins(&self) -> Pins {
        Pins {
            server: self.pin_server.clone(),
            client: self.pin_client.clone(),
            redis: self.pin_redis.clone().or_else(|| self.pin_client.clone()),
        }
    }

    fn output(&self, label: &str) -> Output {
        Output {
            json: self.json,
            out: self.out.clone(),
            label: self.label.clone().unwrap_or_else(|| label.to_owned()),
            quiet: self.quiet,
        }
    }
}

fn set<T: Clone>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

fn check(spec: &Spec) -> Result<(), String> {
    let plan = &spec.plan;
    if plan.symbols == 0 || plan.symbols > MAX_SYMBOLS {
        return Err(format!("--symbols {}: from 1 to {MAX_SYMBOLS}", plan.symbols));
    }
    if plan.bad_readers.stuck + plan.bad_readers.slow > 1.0 {
        return Err("--stuck and --slow together are more than all clients".to_owned());
    }
    if spec.feed.cycle == 0 || spec.connect.in_flight == 0 {
        return Err("--cycle and --in-flight are at least 1".to_owned());
    }
    if spec.feed.bytes != 0 && spec.feed.bytes < SMALLEST_UPDATE_BYTES {
        return Err(format!("--bytes {}: an update has at least {SMALLEST_UPDATE_BYTES}", spec.feed.bytes));
    }
    if spec.feed.bytes > 200_000 {
        return Err("--bytes: at most 200,000".to_owned());
    }
    Ok(())
}

/// `ws://host:port/path` as an address and a path.
fn parse_ws_url(url: &str) -> Result<(SocketAddr, String), String> {
    let rest = url.strip_prefix("ws://").ok_or_else(|| format!("--url {url}: the load test speaks plain ws://"))?;
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = if host.contains(':') { host.to_owned() } else { format!("{host}:80") };
    let mut addresses =
        std::net::ToSocketAddrs::to_socket_addrs(&host).map_err(|error| format!("--url {url}: {error}"))?;
    let address = addresses.next().ok_or_else(|| format!("--url {url}: no such host"))?;
    Ok((address, if path.is_empty() { "/ws".to_owned() } else { path.to_owned() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(line: &str) -> Result<Program, String> {
        let cli = Cli::try_parse_from(line.split_whitespace()).map_err(|error| error.to_string())?;
        match cli.command {
            Command::Run(args) => args.program(),
            Command::Floor(args) => args.program(),
            Command::Table(_) | Command::Helper(_) => Err("not a run".to_owned()),
        }
    }

    #[test]
    fn the_command_line_is_consistent() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn flags_change_single_values_of_a_scenario() {
        let program = program("x run --server s --scenario s2 --clients 1k --slow 1%:5k --rate 100").unwrap();
        let [spec] = program.runs.as_slice() else { panic!("one run") };
        assert_eq!((spec.plan.clients, spec.plan.symbols, spec.plan.per_client), (1_000, 500, 20));
        assert_eq!(spec.plan.bad_readers.slow_bytes_per_s, 5_000);
        assert_eq!(spec.feed.pace, Pace::PerSecond(100.0));
    }

    #[test]
    fn what_does_not_fit_together_is_refused_in_words() {
        for (line, words) in [
            ("x run --scenario s1", "--redis"),
            ("x run --server s --scenario s4 --find-max", "several"),
            ("x run --server s --symbols 0", "--symbols"),
            ("x run --server s --bytes 10", "at least 233"),
            ("x run --server s --stuck 60% --slow 60%", "more than all"),
            ("x run --url wss://a/ws --redis 127.0.0.1", "plain ws://"),
            ("x floor --scenario unwatched", "nothing that a bare sender"),
            ("x floor --scenario s3", "--rate"),
        ] {
            let error = program(line).map(|program| program.runs.len()).unwrap_err();
            assert!(error.contains(words), "{line}: {error}");
        }
    }

    #[test]
    fn a_floor_is_the_same_work_with_and_without_pace_and_gathering() {
        let program = program("x floor --scenario s2 --frames-per-write 8").unwrap();
        let names: Vec<_> = program.runs.iter().map(|spec| spec.name.as_str()).collect();
        let expected =
            ["s2: paced, 1 a write", "s2: paced, 8 a write", "s2: unpaced, 1 a write", "s2: unpaced, 8 a write"];
        assert_eq!(names, expected);
        assert!(program.runs.iter().all(|spec| spec.plan == Scenario::S2.runs()[0].plan));
    }

    #[test]
    fn every_scenario_has_runs_that_can_be_run() {
        for scenario in <Scenario as clap::ValueEnum>::value_variants() {
            let program = program(&format!("x run --server s --scenario {}", scenario.name())).unwrap();
            assert!(!program.runs.is_empty());
        }
    }
}
