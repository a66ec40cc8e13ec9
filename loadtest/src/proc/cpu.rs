//! CPU time that processes and cores have used.
//!
//! `/proc/PID/stat` counts in ticks of 10 ms and splits user from system time by sampling; its sum is exact to a tick. A
//! window of some seconds makes that a fraction of a percent.

use std::collections::BTreeMap;
use std::fs;

use serde::{Deserialize, Serialize};

use super::family::after_name;

/// `getconf CLK_TCK`: the unit of `/proc/PID/stat` is fixed at 100 per second on every Linux architecture of today.
const TICKS_PER_SECOND: f64 = 100.0;

/// CPU seconds in user space and in the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Cpu {
    pub(crate) user_s: f64,
    pub(crate) sys_s: f64,
}

impl Cpu {
    pub(crate) fn total_s(self) -> f64 {
        self.user_s + self.sys_s
    }

    /// What was used since `earlier`.
    pub(crate) fn since(self, earlier: Cpu) -> Cpu {
        let used = |now: f64, before: f64| (now - before).max(0.0);
        Cpu { user_s: used(self.user_s, earlier.user_s), sys_s: used(self.sys_s, earlier.sys_s) }
    }
}

impl std::ops::Add for Cpu {
    type Output = Cpu;

    fn add(self, other: Cpu) -> Cpu {
        Cpu { user_s: self.user_s + other.user_s, sys_s: self.sys_s + other.sys_s }
    }
}

impl std::iter::Sum for Cpu {
    fn sum<I: Iterator<Item = Cpu>>(all: I) -> Cpu {
        all.fold(Cpu::default(), |sum, cpu| sum + cpu)
    }
}

/// What the processes `pids` have used since they began, ended threads and awaited children included.
pub(crate) fn used_by(pids: &[u32]) -> Cpu {
    // A child that ended was awaited by its parent, in whose cutime and cstime (fields 16 and 17) it lives on.
    pids.iter().filter_map(|pid| fs::read_to_string(format!("/proc/{pid}/stat")).ok()).filter_map(|s| process(&s)).sum()
}

fn process(stat: &str) -> Option<Cpu> {
    let fields: Vec<&str> = after_name(stat)?.split_ascii_whitespace().collect();
    let seconds = |field: usize| Some(fields.get(field)?.parse::<f64>().ok()? / TICKS_PER_SECOND);
    // Field 14 of the line (utime) is the twelfth after the name.
    Some(Cpu { user_s: seconds(11)? + seconds(13)?, sys_s: seconds(12)? + seconds(14)? })
}

/// What each thread of the processes has used, summed by the threads' names.
pub(crate) fn used_by_threads(pids: &[u32]) -> BTreeMap<String, Vec<Cpu>> {
    let mut threads: BTreeMap<String, Vec<Cpu>> = BTreeMap::new();
    for pid in pids {
        let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { continue };
        let mut stats: Vec<_> =
            tasks.flatten().filter_map(|task| fs::read_to_string(task.path().join("stat")).ok()).collect();
        stats.sort_unstable();
        for stat in stats {
            if let (Some(name), Some(cpu)) = (thread_name(&stat), thread(&stat)) {
                threads.entry(name.to_owned()).or_default().push(cpu);
            }
        }
    }
    threads
}

fn thread_name(stat: &str) -> Option<&str> {
    stat.get(stat.find('(')? + 1..stat.rfind(')')?)
}

fn thread(stat: &str) -> Option<Cpu> {
    let fields: Vec<&str> = after_name(stat)?.split_ascii_whitespace().collect();
    let seconds = |field: usize| Some(fields.get(field)?.parse::<f64>().ok()? / TICKS_PER_SECOND);
    Some(Cpu { user_s: seconds(11)?, sys_s: seconds(12)? })
}

/// How long each core has worked, and how long its host has worked for others, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub(crate) struct Core {
    pub(crate) busy_s: f64,
    pub(crate) stolen_s: f64,
}

/// All cores, by number.
pub(crate) fn cores() -> Vec<Core> {
    fs::read_to_string("/proc/stat").map(|stat| read_cores(&stat)).unwrap_or_default()
}

fn read_cores(stat: &str) -> Vec<Core> {
    let core = |line: &str| {
        let (name, times) = line.split_once(' ')?;
        name.strip_prefix("cpu")?.parse::<usize>().ok()?;
        let times: Vec<f64> = times.split_ascii_whitespace().filter_map(|time| time.parse().ok()).collect();
        // user nice system idle iowait irq softirq steal
        let at = |field: usize| times.get(field).copied().unwrap_or(0.0) / TICKS_PER_SECOND;
        Some(Core { busy_s: at(0) + at(1) + at(2) + at(5) + at(6), stolen_s: at(7) })
    };
    stat.lines().filter_map(core).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_line_gives_user_and_system_seconds_with_awaited_children() {
        let stat = "7 (node (x)) S 1 7 7 0 -1 4194304 99 0 0 0 250 130 50 20 20 0 1 0 178395 3133440 358";
        assert_eq!(process(stat), Some(Cpu { user_s: 3.0, sys_s: 1.5 }));
        assert_eq!(thread(stat), Some(Cpu { user_s: 2.5, sys_s: 1.3 }));
        assert_eq!(thread_name(stat), Some("node (x)"));
        assert_eq!(process("7 (node) S 1"), None);
    }

    #[test]
    fn cores_are_read_without_their_sum() {
        let stat = "cpu  30 0 30 900 0 0 0 0 0 0\ncpu0 100 0 50 700 0 10 40 25 0 0\ncpu1 1 2 3 4 5 6 7 8 9 0\nintr 5\n";
        let cores = read_cores(stat);
        assert_eq!(cores.len(), 2);
        assert_eq!(cores[0], Core { busy_s: 2.0, stolen_s: 0.25 });
    }

    #[test]
    fn working_is_seen() {
        let me = [std::process::id()];
        let before = used_by(&me);
        while used_by(&me).since(before).total_s() < 0.02 {}
        // The kernel counts each thread in ticks of its own.
        while used_by_threads(&me).values().flatten().copied().sum::<Cpu>().total_s() == 0.0 {}
    }
}
