//! What the system says of a process, told apart from what only looks alive.

use std::path::Path;
use std::process::Command;

/// The name of a live process. A zombie is dead: it is merely not yet reaped, in some containers for ever.
pub(crate) fn live_name(pid: u32) -> Option<String> {
    let (state, name) = if Path::new("/proc/self/stat").exists() { from_proc(pid)? } else { from_ps(pid)? };
    (!state.starts_with('Z')).then_some(name)
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
