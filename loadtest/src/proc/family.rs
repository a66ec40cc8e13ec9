//! A process and its descendants.

use std::fs;

/// `root` and all its children's children, as `/proc` lists them now.
pub(crate) fn family(root: u32) -> Vec<u32> {
    let parents = parents();
    let mut family = vec![root];
    let mut next = 0;
    while next < family.len() {
        let parent = family[next];
        family.extend(parents.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
        next += 1;
    }
    family
}

/// (process, its parent) for every process.
fn parents() -> Vec<(u32, u32)> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pid = |entry: fs::DirEntry| entry.file_name().to_str()?.parse::<u32>().ok();
    entries.flatten().filter_map(pid).filter_map(|pid| Some((pid, parent(pid)?))).collect()
}

fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    after_name(&stat)?.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// The fields of a `stat` line after the name, which is in parentheses and may hold anything.
pub(crate) fn after_name(stat: &str) -> Option<&str> {
    Some(&stat[stat.rfind(')')? + 1..])
}

/// Whether there is such a process.
pub(crate) fn exists(pid: u32) -> bool {
    fs::metadata(format!("/proc/{pid}")).is_ok()
}

/// The process' short name.
pub(crate) fn name(pid: u32) -> Option<String> {
    Some(fs::read_to_string(format!("/proc/{pid}/comm")).ok()?.trim().to_owned())
}

/// How many files the process may open.
pub(crate) fn open_file_limit(pid: u32) -> Option<u64> {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    let soft = line.split_ascii_whitespace().next()?;
    if soft == "unlimited" { Some(u64::MAX) } else { soft.parse().ok() }
}

/// How many files the family has open.
pub(crate) fn open_files(family: &[u32]) -> usize {
    let count = |pid: &u32| fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count);
    family.iter().map(count).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::process::{Command, Stdio};

    #[test]
    fn a_childs_child_is_of_the_family() {
        // The shell's child reads the pipe, says so, and lives until the pipe is closed.
        let mut shell = Command::new("sh")
            .args(["-c", "sh -c 'echo here; cat'; true"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut here = [0; 5];
        shell.stdout.as_mut().unwrap().read_exact(&mut here).unwrap();
        let family = family(std::process::id());
        drop(shell.stdin.take());
        shell.wait().unwrap();
        assert!(family.contains(&shell.id()), "{family:?}");
        let grandchild = family.iter().position(|&pid| pid == shell.id()).unwrap() + 1;
        assert!(family.len() > grandchild, "{family:?}");
    }

    #[test]
    fn a_name_may_hold_parentheses_and_spaces() {
        assert_eq!(after_name("7 (a) b) R 3 4").unwrap().split_ascii_whitespace().nth(1), Some("3"));
    }

    #[test]
    fn this_process_is_found() {
        let me = std::process::id();
        assert!(exists(me) && open_files(&[me]) > 0 && name(me).is_some());
        assert!(open_file_limit(me).unwrap() > 0);
    }
}
