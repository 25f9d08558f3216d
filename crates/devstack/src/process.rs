//! What the system says of a process, told apart from what only looks alive; and signals to all that belongs to one.

use std::path::Path;
use std::process::Command;

use rustix::process::{Pid, Signal, kill_process};

/// The name of a live process. A zombie is dead: it is merely not yet reaped, in some containers for ever.
pub(crate) fn live_name(pid: u32) -> Option<String> {
    let (state, name) = if Path::new("/proc/self/stat").exists() { from_proc(pid)? } else { from_ps(pid)? };
    (!state.starts_with('Z')).then_some(name)
}

/// Sends a signal to a process and to all that descend from it, each before its children: one that is stopped first
/// makes no more of them.
pub(crate) fn signal_family(pid: u32, signal: Signal) {
    let mut family = vec![pid];
    while let Some(member) = family.pop() {
        // It may have ended a moment ago.
        let _gone = Pid::from_raw(member.cast_signed()).map(|member| kill_process(member, signal));
        family.extend(children(member));
    }
}

/// The children of a process. `ps` knows them on every system.
fn children(pid: u32) -> Vec<u32> {
    let answer = Command::new("ps").args(["-A", "-o", "ppid=", "-o", "pid="]).output();
    let text = answer.map(|answer| String::from_utf8_lossy(&answer.stdout).into_owned()).unwrap_or_default();
    let child = |line: &str| {
        let mut numbers = line.split_whitespace().map_while(|number| number.parse::<u32>().ok());
        (numbers.next()? == pid).then(|| numbers.next())?
    };
    text.lines().filter_map(child).collect()
}

/// Linux: `/proc/<pid>/stat` begins with `<pid> (<name>) <state>`.
fn from_proc(pid: u32) -> Option<(String, String)> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (before, after) = text.rsplit_once(')')?;
    let name = before.split_once('(')?.1;
    Some((after.trim_start().to_owned(), name.to_owned()))
}

/// Elsewhere.
fn from_ps(pid: u32) -> Option<(String, String)> {
    let answer =
        Command::new("ps").args(["-o", "stat=", "-o", "comm=", "-p", &pid.to_string()]).output().ok()?;
    let text = String::from_utf8_lossy(&answer.stdout).trim().to_owned();
    let (state, name) = text.split_once(' ')?;
    Some((state.to_owned(), name.to_owned()))
}
