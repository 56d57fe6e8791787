//! How many sockets of the host the guest may take up, and what is said when it takes them all.

use vm_core::Notices;

/// Descriptors left to disks, consoles, look-ups and whatever else the process has.
const RESERVED: u64 = 256;
/// Bounds beyond which a round of the event loop would take too long.
const TCP_MAX: u64 = 4096;
const UDP_MAX: u64 = 1024;
/// What a process that may open next to nothing gets all the same.
const MIN: u64 = 8;

/// Bounds of the numbers of flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    /// Connections.
    pub(super) tcp: usize,
    /// Guest ports that have sent datagrams.
    pub(super) udp: usize,
    /// Files that the process may open, from which the others follow.
    pub(super) open_files: u64,
}

impl Limits {
    /// The bounds for a process that may have so many files open: connections get two thirds of what is free.
    pub(super) fn of(open_files: u64) -> Self {
        let room = open_files - RESERVED.min(open_files / 2);
        Self {
            tcp: (room / 3 * 2).clamp(MIN, TCP_MAX) as usize,
            udp: (room / 3).clamp(MIN, UDP_MAX) as usize,
            open_files,
        }
    }

    /// Connections that the guest may make. The rest is kept for clients of forwarded ports, so that a guest that has
    /// used up its own can still be reached.
    pub(super) fn tcp_of_guest(self) -> usize {
        self.tcp - self.tcp / 8
    }
}

/// Says each kind of shortage once.
pub(super) struct Shortages {
    notices: Notices,
    limits: Limits,
    said_connections: bool,
    said_echo: bool,
}

impl Shortages {
    pub(super) fn new(notices: Notices, limits: Limits) -> Self {
        Self {
            notices,
            limits,
            said_connections: false,
            said_echo: false,
        }
    }

    /// A connection cannot be had: `held` of them are open.
    pub(super) fn connections(&mut self, held: usize) {
        if !std::mem::replace(&mut self.said_connections, true) {
            self.notices.say(&format!(
                "the guest has {held} network connections open, as many as this process has room for with {} open \
                 files: further ones wait until others end; raise the limit with `ulimit -n`",
                self.limits.open_files
            ));
        }
    }

    /// The host allows no echo requests.
    pub(super) fn echo(&mut self) {
        if !std::mem::replace(&mut self.said_echo, true) {
            self.notices.say(
                "the guest's ping gets no further than the gateway, as this host allows echo requests to root only: \
                 allow them with `sysctl -w net.ipv4.ping_group_range=\"0 2147483647\"`",
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_follow_the_open_files_of_the_process() {
        let limits = |open_files| {
            let limits = Limits::of(open_files);
            (limits.tcp, limits.udp)
        };
        assert_eq!(limits(1024), (512, 256));
        assert_eq!(limits(8), (8, 8));
        assert_eq!(limits(256), (84, 42));
        assert_eq!(limits(u64::MAX), (4096, 1024));
    }

    #[test]
    fn shortages_are_said_once_with_what_to_do() {
        let said = std::sync::Arc::new(parking_lot::Mutex::new(Vec::new()));
        let hear = said.clone();
        let notices = Notices::to(move |line| hear.lock().push(line.to_owned()));
        let mut shortages = Shortages::new(notices, Limits::of(64));
        for _ in 0..3 {
            shortages.echo();
            shortages.connections(21);
        }
        let said = said.lock();
        assert_eq!(said.len(), 2, "{said:?}");
        assert!(said[0].contains("net.ipv4.ping_group_range"), "{said:?}");
        assert!(said[1].contains("ulimit -n"), "{said:?}");
    }
}
