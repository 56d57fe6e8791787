//! Sequence numbers: 32 bits that wrap (RFC 9293, 3.4).

/// A position in one direction of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Seq(pub(super) u32);

impl Seq {
    /// The position `bytes` further on.
    pub(super) fn plus(self, bytes: usize) -> Self {
        Self(self.0.wrapping_add(bytes as u32))
    }

    /// How far this position is behind `earlier`; negative when it is before it.
    pub(super) fn since(self, earlier: Self) -> i32 {
        self.0.wrapping_sub(earlier.0) as i32
    }

    /// [`Self::since`], with nothing below zero.
    pub(super) fn bytes_since(self, earlier: Self) -> usize {
        self.since(earlier).max(0) as usize
    }

    pub(super) fn is_after(self, other: Self) -> bool {
        self.since(other) > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn since_across_the_wrap_is_small() {
        let before = Seq(u32::MAX - 3);
        let after = before.plus(10);
        assert_eq!(after, Seq(6));
        assert_eq!(after.since(before), 10);
        assert_eq!(before.since(after), -10);
        assert_eq!(before.bytes_since(after), 0);
        assert!(after.is_after(before) && !before.is_after(after) && !after.is_after(after));
    }
}
