//! What a process on this machine has used, as Linux tells it in /proc.

use std::fs;
use std::io;
use std::time::Duration;

/// Linux counts CPU time in hundredths of a second here, whatever its timer does.
const TICKS_PER_SECOND: u64 = 100;

/// Used since the process began, and held now.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Usage {
    /// On all cores, in user mode and in the kernel.
    pub cpu: Duration,
    pub resident_bytes: u64,
    pub resident_bytes_max: u64,
    /// Caused to be written to disk; 0 where only the process's owner may know.
    pub written_bytes: u64,
}

impl Usage {
    /// Of a process; of the harness itself with `self`.
    pub(super) fn of(pid: &str) -> io::Result<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let written = fs::read_to_string(format!("/proc/{pid}/io")).unwrap_or_default();
        let malformed = || io::Error::new(io::ErrorKind::InvalidData, "not what Linux writes there");
        Ok(Self {
            cpu: cpu(&stat).ok_or_else(malformed)?,
            resident_bytes: field(&status, "VmRSS:").unwrap_or(0) * 1_024,
            resident_bytes_max: field(&status, "VmHWM:").unwrap_or(0) * 1_024,
            written_bytes: field(&written, "write_bytes:").unwrap_or(0),
        })
    }
}

/// User and system time are the 14th and 15th fields; the 2nd, a name in parentheses, may hold anything.
fn cpu(stat: &str) -> Option<Duration> {
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let (user, system): (u64, u64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(Duration::from_millis((user + system) * (1_000 / TICKS_PER_SECOND)))
}

fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.split_ascii_whitespace().next()?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_cpu_time_behind_any_name() {
        let stat = "42 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 250 50 13 14 15";
        assert_eq!(cpu(stat), Some(Duration::from_secs(3)));
        assert_eq!(cpu("42 (a"), None);
    }

    #[test]
    fn knows_itself() {
        let usage = Usage::of("self").unwrap();
        assert!(usage.resident_bytes > 0 && usage.resident_bytes_max >= usage.resident_bytes, "{usage:?}");
    }
}
