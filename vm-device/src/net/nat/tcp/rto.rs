//! How long to wait for an acknowledgement (RFC 6298).

use std::time::Duration;

const FIRST: Duration = Duration::from_secs(1);
/// DEVIATION: RFC 6298, 2.4 says one second; the usual systems and their users expect this.
const MIN: Duration = Duration::from_millis(200);
const MAX: Duration = Duration::from_secs(60);

pub(super) struct Rto {
    /// Smoothed round trip and its variation, once there was a measurement.
    smoothed: Option<(Duration, Duration)>,
    doublings: u32,
}

impl Rto {
    pub(super) fn new() -> Self {
        Self {
            smoothed: None,
            doublings: 0,
        }
    }

    /// Takes a round trip of a segment that was sent once (Karn's rule is the caller's).
    pub(super) fn measure(&mut self, trip: Duration) {
        self.smoothed = Some(match self.smoothed {
            None => (trip, trip / 2),
            Some((smooth, variation)) => {
                let variation = (variation * 3 + smooth.abs_diff(trip)) / 4;
                ((smooth * 7 + trip) / 8, variation)
            }
        });
    }

    /// Something new was acknowledged.
    pub(super) fn relax(&mut self) {
        self.doublings = 0;
    }

    /// Nothing was acknowledged in time.
    pub(super) fn back_off(&mut self) {
        self.doublings = (self.doublings + 1).min(16);
    }

    pub(super) fn wait(&self) -> Duration {
        let base = match self.smoothed {
            None => FIRST,
            Some((smooth, variation)) => (smooth + variation * 4).clamp(MIN, MAX),
        };
        base.saturating_mul(1 << self.doublings).min(MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wait_follows_measurements_and_doubles() {
        let mut rto = Rto::new();
        assert_eq!(rto.wait(), FIRST);
        rto.measure(Duration::from_millis(400));
        assert_eq!(rto.wait(), Duration::from_millis(1200));
        rto.back_off();
        assert_eq!(rto.wait(), Duration::from_millis(2400));
        for _ in 0..40 {
            rto.back_off();
        }
        assert_eq!(rto.wait(), MAX);
        rto.relax();
        for _ in 0..100 {
            rto.measure(Duration::from_micros(50));
        }
        assert_eq!(rto.wait(), MIN);
    }
}
