//! From flags to runs: the scenario's values, the flags' changes, and what does not fit together.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::plan::{BadReaders, MAX_SYMBOLS};
use crate::run::setup::{Pins, ServerChoice, Setup};
use crate::run::spec::{Pace, Spec, Storm};
use crate::scenario::{self, Scenario};
use crate::update::SMALLEST_UPDATE_BYTES;
use crate::{host, run};

use super::args::{FloorArgs, FloorPace, RunArgs, WorkArgs};
use super::values::{Share, Slow};

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
    use crate::cli::args::{Cli, Command};
    use clap::Parser;

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
