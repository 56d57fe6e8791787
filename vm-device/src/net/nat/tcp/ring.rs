//! A byte queue in a circle, which can also take bytes ahead of its end.

/// Holds up to its capacity of bytes. It grows only on demand, so an idle connection costs little.
#[derive(Default)]
pub(super) struct Ring {
    bytes: Box<[u8]>,
    head: usize,
    len: usize,
}

impl Ring {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            bytes: vec![0; capacity].into_boxed_slice(),
            head: 0,
            len: 0,
        }
    }

    pub(super) fn capacity(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn free(&self) -> usize {
        self.bytes.len() - self.len
    }

    /// Makes room; bytes written ahead are kept too.
    pub(super) fn grow(&mut self, capacity: usize) {
        if capacity > self.bytes.len() {
            let mut bytes = vec![0; capacity];
            let first = self.bytes.len() - self.head;
            bytes[..first].copy_from_slice(&self.bytes[self.head..]);
            bytes[first..self.bytes.len()].copy_from_slice(&self.bytes[..self.head]);
            self.bytes = bytes.into_boxed_slice();
            self.head = 0;
        }
    }

    fn wrap(&self, position: usize) -> usize {
        let position = self.head + position;
        if position >= self.bytes.len() {
            position - self.bytes.len()
        } else {
            position
        }
    }

    /// The `bytes` from `offset` on, in two parts. Both must lie within the capacity.
    pub(super) fn range(&self, offset: usize, bytes: usize) -> (&[u8], &[u8]) {
        if bytes == 0 {
            return (&[], &[]);
        }
        let start = self.wrap(offset);
        let first = bytes.min(self.bytes.len() - start);
        (
            &self.bytes[start..start + first],
            &self.bytes[..bytes - first],
        )
    }

    /// The free space, in two parts, in the order in which it is to be filled before [`Self::commit`].
    pub(super) fn free_mut(&mut self) -> (&mut [u8], &mut [u8]) {
        let free = self.free();
        if free == 0 {
            return (&mut [], &mut []);
        }
        let start = self.wrap(self.len);
        let first = free.min(self.bytes.len() - start);
        let (low, high) = self.bytes.split_at_mut(start);
        (&mut high[..first], &mut low[..free - first])
    }

    /// Writes `data` at `ahead` bytes behind the end, without extending the queue; within the free space.
    pub(super) fn write_ahead(&mut self, ahead: usize, data: &[u8]) {
        debug_assert!(ahead + data.len() <= self.free());
        if data.is_empty() {
            return;
        }
        let start = self.wrap(self.len + ahead);
        let first = data.len().min(self.bytes.len() - start);
        self.bytes[start..start + first].copy_from_slice(&data[..first]);
        self.bytes[..data.len() - first].copy_from_slice(&data[first..]);
    }

    /// Extends the queue over `bytes` that were written into the free space.
    pub(super) fn commit(&mut self, bytes: usize) {
        self.len = (self.len + bytes).min(self.bytes.len());
    }

    /// Drops `bytes` at the front.
    pub(super) fn consume(&mut self, bytes: usize) {
        let bytes = bytes.min(self.len);
        self.head = self.wrap(bytes);
        self.len -= bytes;
        if self.bytes.is_empty() {
            self.head = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    #[derive(Clone, Debug)]
    enum Step {
        Push(usize),
        Pop(usize),
        Grow(usize),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0usize..40).prop_map(Step::Push),
            (0usize..40).prop_map(Step::Pop),
            (0usize..80).prop_map(Step::Grow),
        ]
    }

    proptest! {
        #[test]
        fn ring_behaves_as_a_bounded_queue(steps in proptest::collection::vec(step(), 0..60)) {
            let (mut ring, mut model) = (Ring::new(16), VecDeque::new());
            let mut next = 0u8;
            for step in steps {
                match step {
                    Step::Push(bytes) => {
                        let bytes = bytes.min(ring.free());
                        let data: Vec<u8> = (0..bytes).map(|i| next.wrapping_add(i as u8)).collect();
                        next = next.wrapping_add(bytes as u8);
                        // The later half first, as out-of-order segments do.
                        let half = bytes / 2;
                        ring.write_ahead(half, &data[half..]);
                        ring.write_ahead(0, &data[..half]);
                        ring.commit(bytes);
                        model.extend(data);
                    }
                    Step::Pop(bytes) => {
                        ring.consume(bytes);
                        model.drain(..bytes.min(model.len()));
                    }
                    Step::Grow(capacity) => ring.grow(capacity),
                }
                let (a, b) = ring.range(0, ring.len());
                prop_assert!(a.iter().chain(b).eq(model.iter()));
                let free = ring.free();
                let (a, b) = ring.free_mut();
                prop_assert_eq!(a.len() + b.len(), free);
            }
        }
    }

    #[test]
    fn grow_keeps_bytes_written_ahead() {
        let mut ring = Ring::new(8);
        ring.commit(6);
        ring.consume(6);
        ring.write_ahead(3, b"xyz");
        ring.grow(32);
        ring.write_ahead(0, b"abc");
        ring.commit(6);
        let (a, b) = ring.range(0, 6);
        assert_eq!([a, b].concat(), b"abcxyz");
    }
}
