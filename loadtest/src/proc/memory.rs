//! Memory that belongs to processes: the proportional set size, in which shared pages count by share.

use std::fs;

/// The sum over `pids`, in bytes; `None` when the system keeps them from us.
pub(crate) fn pss(pids: &[u32]) -> Option<u64> {
    let one = |pid: &u32| read_pss(&fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?);
    let all: Vec<u64> = pids.iter().filter_map(one).collect();
    (!all.is_empty()).then(|| all.iter().sum())
}

fn read_pss(rollup: &str) -> Option<u64> {
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rollups_pss_line_is_read_and_no_other() {
        let rollup = "5630-7ffe ---p 00000000 00:00 0 [rollup]\nRss: 1676 kB\nPss:  374 kB\nPss_Dirty: 116 kB\n";
        assert_eq!(read_pss(rollup), Some(374 * 1_024));
        assert!(pss(&[std::process::id()]).unwrap() > 0);
    }
}
