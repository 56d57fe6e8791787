//! What a running emulator occupies, read from `/proc/PID` (proc(5)).

use std::fs;

const PAGE_KIB: u64 = 4;

/// Bytes in memory of one emulator process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Footprint {
    /// The largest resident set so far.
    pub(super) peak_bytes: u64,
    /// Resident pages of guest RAM.
    pub(super) guest_bytes: u64,
}

impl Footprint {
    /// What the emulator itself took, at most: guest pages only grow in number.
    pub(super) fn overhead_bytes(self) -> u64 {
        self.peak_bytes.saturating_sub(self.guest_bytes)
    }
}

/// Reads the footprint of a process whose guest has `ram_bytes`.
pub(super) fn footprint(pid: u32, ram_bytes: u64) -> Option<Footprint> {
    let maps = fs::read_to_string(format!("/proc/{pid}/smaps")).ok()?;
    Some(Footprint {
        peak_bytes: peak_bytes(pid)?,
        guest_bytes: guest_kib(&maps, ram_bytes / 1024) * 1024,
    })
}

/// The largest resident set of a process since [`forget_peak`], or since its start.
pub(super) fn peak_bytes(pid: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    Some(field_kib(&status, "VmHWM:")? * 1024)
}

/// Lets the largest resident set of a process begin anew with today's.
pub(super) fn forget_peak(pid: u32) {
    /// Linux, `Documentation/filesystems/proc.rst`, `clear_refs`.
    const RESET_PEAK: &str = "5";
    // A kernel without it leaves the peak of the whole run, which is still true.
    let _ = fs::write(format!("/proc/{pid}/clear_refs"), RESET_PEAK);
}

/// Processor time that a process has used, in seconds: fields 14 and 15 of `stat`, in ticks.
pub(super) fn cpu_seconds(pid: u32) -> Option<f64> {
    /// `USER_HZ`, 100 on every architecture that the hosts have.
    const TICKS_A_SECOND: f64 = 100.0;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field, the program's name, may hold spaces and ends with the last parenthesis.
    let after_name = stat.rsplit_once(") ")?.1;
    let ticks: u64 = after_name
        .split(' ')
        .skip(11)
        .take(2)
        .map(|word| word.parse::<u64>().unwrap_or(0))
        .sum();
    Some(ticks as f64 / TICKS_A_SECOND)
}

fn field_kib(text: &str, name: &str) -> Option<u64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}

/// Guest RAM is the memory file of that name, or else any mapping as large as the RAM.
fn guest_kib(maps: &str, ram_kib: u64) -> u64 {
    let mut named = 0;
    let mut large = 0;
    let mut is_named = false;
    let mut is_large = false;
    for line in maps.lines() {
        if line.starts_with(|c: char| c.is_ascii_digit() || ('a'..='f').contains(&c)) {
            is_named = line.contains("memfd:guest-ram");
        } else if let Some(kib) = field_kib(line, "Size:") {
            // A mapping may have merged with small neighbours.
            is_large = kib >= ram_kib && kib < ram_kib + ram_kib / 2;
        } else if let Some(kib) = field_kib(line, "Rss:") {
            named += if is_named { kib } else { 0 };
            large += if is_large && kib >= PAGE_KIB { kib } else { 0 };
        }
    }
    if named > 0 { named } else { large }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAPS: &str = "\
7f0000000000-7f0020000000 rw-p 00000000 00:00 0 \n\
Size:             524288 kB\nKernelPageSize:        4 kB\nRss:              180000 kB\n\
7f0030000000-7f0030001000 rw-p 00000000 00:00 0 [heap]\n\
Size:                  4 kB\nRss:                   4 kB\n";

    #[test]
    fn guest_kib_anonymous_ram_is_found_by_size() {
        assert_eq!(guest_kib(MAPS, 512 << 10), 180_000);
        assert_eq!(guest_kib(MAPS, 256 << 10), 0);
    }

    #[test]
    fn guest_kib_memory_file_counts_all_its_pieces() {
        let maps = format!(
            "{MAPS}7f1000000000-7f1010000000 rw-s 00000000 00:01 7 /memfd:guest-ram (deleted)\n\
             Size:             262144 kB\nRss:                1000 kB\n\
             7f1010000000-7f1020000000 rw-s 10000000 00:01 7 /memfd:guest-ram (deleted)\n\
             Size:             262144 kB\nRss:                 500 kB\n"
        );
        assert_eq!(guest_kib(&maps, 512 << 10), 1500);
    }

    #[test]
    fn footprint_of_this_process_has_a_peak() {
        let own = footprint(std::process::id(), 1 << 50).unwrap();
        assert!(own.peak_bytes > 100_000);
        assert_eq!(own.overhead_bytes(), own.peak_bytes);
    }

    #[test]
    fn forget_peak_leaves_what_is_resident_now() {
        let pid = std::process::id();
        let large = vec![1u8; 64 << 20];
        let with = peak_bytes(pid).unwrap();
        drop(std::hint::black_box(large));
        forget_peak(pid);
        assert!(peak_bytes(pid).unwrap() + (32 << 20) < with);
    }

    #[test]
    fn cpu_seconds_grow_with_work() {
        let pid = std::process::id();
        let before = cpu_seconds(pid).unwrap();
        let start = std::time::Instant::now();
        while cpu_seconds(pid).unwrap() < before + 0.02 {
            assert!(start.elapsed().as_secs() < 60);
        }
    }
}
