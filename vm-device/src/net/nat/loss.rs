//! Frames lost on purpose, to see how a guest's network does without them.

/// Most frames of a hundred that may be lost; beyond it connections hardly come about.
pub(super) const PERCENT_MAX: u8 = 50;

/// Chooses which frames are lost: the same ones in every run.
pub(super) struct Loss {
    percent: u8,
    /// State of a xorshift generator (Marsaglia 2003); never zero.
    state: u64,
}

impl Loss {
    pub(super) fn new(percent: u8) -> Self {
        Self {
            percent,
            state: 0x9e37_79b9_7f4a_7c15,
        }
    }

    /// Whether the next frame is lost.
    pub(super) fn next(&mut self) -> bool {
        if self.percent == 0 {
            return false;
        }
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        (self.state >> 32) % 100 < u64::from(self.percent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lost(percent: u8) -> Vec<bool> {
        let mut loss = Loss::new(percent);
        (0..10_000).map(|_| loss.next()).collect()
    }

    #[test]
    fn next_loses_the_share_asked_for_and_the_same_frames_again() {
        let count = |percent| lost(percent).iter().filter(|lost| **lost).count();
        assert_eq!(count(0), 0);
        assert!((400..600).contains(&count(5)), "{}", count(5));
        assert!((4700..5300).contains(&count(50)), "{}", count(50));
        assert_eq!(lost(5), lost(5));
    }
}
