//! CPU and memory of everything in a run, at a moment, and the difference of two moments.

use std::collections::BTreeMap;

use crate::clock::{Clock, Ns};
use crate::proc::cpu::{self, Core, Cpu};
use crate::report::{CoreReport, CpuReport, ServerCpu, Split, ThreadReport, round3};

/// How many threads of the server are listed.
const THREADS_LISTED: usize = 12;

/// The processes of a run.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cast {
    /// The server and its children, or the bare sender; empty when unknown.
    pub(crate) server: Vec<u32>,
    pub(crate) clients: Vec<u32>,
    pub(crate) publisher: Option<u32>,
    pub(crate) redis: Option<u32>,
    /// Hostile clients: what they use is theirs, and neither the load test's limit nor a disturbance.
    pub(crate) attacker: Option<u32>,
}

/// What all had used at a moment.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    at: Ns,
    server: Cpu,
    threads: BTreeMap<String, Vec<Cpu>>,
    clients: Vec<Cpu>,
    publisher: Cpu,
    redis: Cpu,
    attacker: Cpu,
    myself: Cpu,
    cores: Vec<Core>,
}

impl Cast {
    pub(crate) fn sample(&self, clock: Clock) -> Sample {
        let one = |pid: &Option<u32>| pid.map_or(Cpu::default(), |pid| cpu::used_by(&[pid]));
        Sample {
            at: clock.now(),
            server: cpu::used_by(&self.server),
            threads: cpu::used_by_threads(&self.server),
            clients: self.clients.iter().map(|&pid| cpu::used_by(&[pid])).collect(),
            publisher: one(&self.publisher),
            redis: one(&self.redis),
            attacker: one(&self.attacker),
            myself: cpu::used_by(&[std::process::id()]),
            cores: cpu::cores(),
        }
    }

    /// What was used between two samples, with the server's share divided over `deliveries` and `updates`.
    pub(crate) fn report(&self, from: &Sample, to: &Sample, deliveries: u64, updates: u64) -> CpuReport {
        let window_s = (to.at - from.at) as f64 / 1e9;
        let share = |used: Cpu| round3(used.total_s() / window_s);
        let server = to.server.since(from.server);
        let clients: Vec<Cpu> = to.clients.iter().zip(&from.clients).map(|(to, from)| to.since(*from)).collect();
        let publisher = to.publisher.since(from.publisher);
        let redis = to.redis.since(from.redis);
        let cores = to.cores.iter().zip(&from.cores);
        let busy_s: f64 = cores.clone().map(|(to, from)| to.busy_s - from.busy_s).sum();
        let myself = to.myself.since(from.myself);
        let attacker = to.attacker.since(from.attacker);
        let ours = server + clients.iter().copied().sum() + publisher + redis + attacker + myself;
        CpuReport {
            window_s: round3(window_s),
            server: (!self.server.is_empty()).then(|| ServerCpu {
                share: share(server),
                per_delivery_us: Split::per(server, deliveries),
                per_update_us: Split::per(server, updates),
                threads: threads(from, to, window_s),
            }),
            clients: clients.into_iter().map(share).collect(),
            publisher: self.publisher.map(|_| share(publisher)),
            redis: self.redis.map(|_| share(redis)),
            cores: cores
                .map(|(to, from)| CoreReport {
                    busy: round3((to.busy_s - from.busy_s) / window_s),
                    stolen: round3((to.stolen_s - from.stolen_s) / window_s),
                })
                .collect(),
            others: if self.server.is_empty() { 0.0 } else { round3(((busy_s - ours.total_s()) / window_s).max(0.0)) },
        }
    }
}

impl Sample {
    /// The server's CPU since `earlier`.
    pub(crate) fn server_since(&self, earlier: &Sample) -> Cpu {
        self.server.since(earlier.server)
    }

    /// The busiest client process' share of a core since `earlier`.
    pub(crate) fn client_share_since(&self, earlier: &Sample) -> f64 {
        let elapsed_s = (self.at - earlier.at) as f64 / 1e9;
        let shares =
            self.clients.iter().zip(&earlier.clients).map(|(now, then)| now.since(*then).total_s() / elapsed_s);
        round3(shares.fold(0.0, f64::max))
    }
}

/// The busiest threads; those of one name are told apart by their order.
fn threads(from: &Sample, to: &Sample, window_s: f64) -> Vec<ThreadReport> {
    let mut all: Vec<ThreadReport> = to
        .threads
        .iter()
        .flat_map(|(name, now)| {
            let before = from.threads.get(name).map_or(&[][..], Vec::as_slice);
            now.iter().enumerate().map(move |(at, cpu)| {
                let used = cpu.since(before.get(at).copied().unwrap_or_default());
                ThreadReport { name: name.clone(), share: round3(used.total_s() / window_s) }
            })
        })
        .filter(|thread| thread.share > 0.0)
        .collect();
    all.sort_by(|a, b| b.share.total_cmp(&a.share));
    all.truncate(THREADS_LISTED);
    all
}
