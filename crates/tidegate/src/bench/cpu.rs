//! CPU time of a process, from `/proc/PID/stat` (proc(5)); nothing where there is no such file.

use std::time::Duration;

/// What the kernel counts in, per second: `USER_HZ`, which is 100 on every architecture that Linux supports today.
const TICKS_PER_SECOND: u64 = 100;

/// User and system time of all threads of a process so far, to 10 ms.
pub(crate) fn of_process(pid: u32) -> Option<Duration> {
    read(&format!("/proc/{pid}/stat"))
}

/// The same of this process.
pub(crate) fn own() -> Option<Duration> {
    read("/proc/self/stat")
}

fn read(path: &str) -> Option<Duration> {
    parse(&std::fs::read_to_string(path).ok()?)
}

/// Fields 14 and 15. The second field is the name in parentheses, which may contain anything.
fn parse(stat: &str) -> Option<Duration> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields.split_whitespace().skip(11).map(|field| field.parse::<u64>().ok());
    let ticks = times.next()??.checked_add(times.next()??)?;
    Some(Duration::from_millis(ticks.checked_mul(1000 / TICKS_PER_SECOND)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 2 0 0 0 150 50 0 0 20 0 1 0 5 6 7";
        assert_eq!(parse(stat), Some(Duration::from_secs(2)));
    }

    #[test]
    fn what_is_no_stat_line_is_nothing() {
        for text in ["", "7 (a", "7 (a) S 1", "7 (a) S 1 7 7 0 -1 4 2 0 0 0 x y"] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }
}
