//! What a process and its children have used, from the kernel.

use std::fs;

use crate::Result;

/// The processes of one server under measurement.
#[derive(Clone, Debug)]
pub(crate) struct Processes(u32);

impl Processes {
    /// The process with this id, and whatever it starts.
    pub(crate) fn of(pid: u32) -> Self {
        Self(pid)
    }

    /// The processor time of all threads, in nanoseconds.
    ///
    /// `schedstat` counts in nanoseconds; the ticks of `stat` are 10 ms, too coarse for a run of seconds.
    pub(crate) fn cpu_nanoseconds(&self) -> Result<u64> {
        let mut sum = 0;
        for pid in self.all()? {
            for thread in threads(pid)? {
                let text = fs::read_to_string(format!("/proc/{pid}/task/{thread}/schedstat"))?;
                sum += text.split_whitespace().next().unwrap_or_default().parse::<u64>()?;
            }
        }
        Ok(sum)
    }

    /// The memory in use: what is private, and a share of what is shared.
    pub(crate) fn memory_bytes(&self) -> Result<u64> {
        let mut sum = 0;
        for pid in self.all()? {
            let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
            let line =
                text.lines().find_map(|line| line.strip_prefix("Pss:")).ok_or("no Pss in smaps_rollup")?;
            let kibibytes = line.trim().trim_end_matches(" kB").trim().parse::<u64>()?;
            sum += kibibytes * 1024;
        }
        Ok(sum)
    }

    fn all(&self) -> Result<Vec<u32>> {
        let mut found = vec![self.0];
        let mut next = 0;
        while let Some(pid) = found.get(next).copied() {
            next += 1;
            for thread in threads(pid)? {
                let children = fs::read_to_string(format!("/proc/{pid}/task/{thread}/children"))?;
                found.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
            }
        }
        Ok(found)
    }
}

fn threads(pid: u32) -> Result<Vec<String>> {
    let entries = fs::read_dir(format!("/proc/{pid}/task"))?;
    Ok(entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_and_memory_are_counted() -> Result<()> {
        let mine = Processes::of(std::process::id());
        let before = mine.cpu_nanoseconds()?;
        let block = std::hint::black_box((0..2_000_000_u64).collect::<Vec<_>>());
        assert!(mine.cpu_nanoseconds()? > before, "the work above took time");
        assert!(mine.memory_bytes()? as usize > block.len() * size_of::<u64>() / 2);
        Ok(())
    }
}
