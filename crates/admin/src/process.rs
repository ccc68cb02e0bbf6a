//! What the operating system knows about this process. Only Linux is asked; elsewhere there is no answer.

use std::fs;

/// Physical memory that the process holds, in bytes (`VmRSS` in proc_pid_status(5)).
pub(crate) fn resident_memory_bytes() -> Option<u64> {
    resident_in(&fs::read_to_string("/proc/self/status").ok()?)
}

/// Open file descriptors, without the one that reading their list takes.
pub(crate) fn open_files() -> Option<u64> {
    let listed = fs::read_dir("/proc/self/fd").ok()?.count();
    u64::try_from(listed.saturating_sub(1)).ok()
}

fn resident_in(status: &str) -> Option<u64> {
    let value = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = value.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The figure is in KiB, although the file says kB; a file of another shape has no answer.
    #[test]
    fn resident_memory_is_read_from_its_line() {
        assert_eq!(resident_in("Name:\tx\nVmRSS:\t    1234 kB\nThreads:\t1\n"), Some(1234 * 1024));
        for odd in ["", "VmRSS:", "VmRSS:\t12 MB", "VmRSS:\t-1 kB", "VmRSS:\t18446744073709551615 kB"] {
            assert_eq!(resident_in(odd), None, "{odd:?}");
        }
    }

    /// A running process holds memory and has at least its standard streams open.
    #[cfg(target_os = "linux")]
    #[test]
    fn linux_answers() {
        assert!(resident_memory_bytes().unwrap() > 0);
        assert!(open_files().unwrap() > 0);
    }
}
