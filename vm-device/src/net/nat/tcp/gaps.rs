//! Which bytes beyond the next expected one have already come.

/// Pieces kept at most; a sender that makes more of them has to repeat some.
const PIECES_MAX: usize = 64;

/// Pieces ahead of the stream, as (start, end) distances from the next expected byte; sorted, never touching.
#[derive(Default)]
pub(super) struct Gaps {
    pieces: Vec<(usize, usize)>,
}

impl Gaps {
    pub(super) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// Notes that `start..end` has come; false when there are too many pieces to note another.
    pub(super) fn insert(&mut self, start: usize, end: usize) -> bool {
        let from = self.pieces.partition_point(|piece| piece.1 < start);
        let to = self.pieces.partition_point(|piece| piece.0 <= end);
        if from == to {
            if self.pieces.len() >= PIECES_MAX {
                return false;
            }
            self.pieces.insert(from, (start, end));
        } else {
            let merged = (
                start.min(self.pieces[from].0),
                end.max(self.pieces[to - 1].1),
            );
            self.pieces.splice(from..to, [merged]);
        }
        true
    }

    /// Notes that the first `bytes` have come; tells how many follow each other now and moves the origin behind them.
    pub(super) fn advance(&mut self, bytes: usize) -> usize {
        let mut reached = bytes;
        let mut used = 0;
        for piece in &self.pieces {
            if piece.0 > reached {
                break;
            }
            reached = reached.max(piece.1);
            used += 1;
        }
        self.pieces.drain(..used);
        for piece in &mut self.pieces {
            *piece = (piece.0 - reached, piece.1 - reached);
        }
        reached
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn gaps_agree_with_a_set_of_bytes(
            steps in proptest::collection::vec((0usize..60, 1usize..12), 1..50),
        ) {
            let mut gaps = Gaps::default();
            let mut have = [false; 128];
            for (start, bytes) in steps {
                if start == 0 {
                    have[..bytes].fill(true);
                    let reached = gaps.advance(bytes);
                    prop_assert_eq!(reached, have.iter().take_while(|byte| **byte).count());
                    have.copy_within(reached.., 0);
                    have[128 - reached..].fill(false);
                } else if gaps.insert(start, start + bytes) {
                    have[start..start + bytes].fill(true);
                }
                let mut listed = [false; 128];
                for piece in &gaps.pieces {
                    listed[piece.0..piece.1].fill(true);
                }
                // A first piece can start at 0 only while the bytes before it are missing: none is.
                prop_assert!(gaps.pieces.windows(2).all(|pair| pair[0].1 < pair[1].0));
                prop_assert_eq!(&listed[1..], &have[1..]);
            }
        }
    }

    #[test]
    fn insert_too_many_pieces_is_refused_but_merges_go_on() {
        let mut gaps = Gaps::default();
        for i in 1..=PIECES_MAX {
            assert!(gaps.insert(i * 10, i * 10 + 5));
        }
        assert!(!gaps.insert(5, 6));
        assert!(gaps.insert(15, 20));
        assert!(gaps.insert(5, 6));
    }
}
