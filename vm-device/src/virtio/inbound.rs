//! A queue that the host's side fills: network frames, typed characters.

use parking_lot::Mutex;

use super::chain::Chain;
use super::queue::{RingError, VirtQueue};

#[derive(Default)]
struct State {
    queue: Option<VirtQueue>,
    chain: Chain,
    starved: bool,
}

/// A queue shared between the thread that has data for the guest and the device's own thread. Whoever has data
/// writes it to the guest's buffers directly; the device's thread only passes on that there is room again.
#[derive(Default)]
pub(super) struct Inbound(Mutex<State>);

impl Inbound {
    /// The device runs: data may flow.
    pub(super) fn open(&self, queue: Option<VirtQueue>) {
        let mut state = self.0.lock();
        state.queue = queue;
        // Whoever has waited for the driver learns that it is there.
        state.starved = true;
    }

    /// The device stops; returns when nobody is using the queue.
    pub(super) fn close(&self) -> Option<VirtQueue> {
        self.0.lock().queue.take()
    }

    /// Lets `deliver` put data into the queue. `None` when it found no room (it must have come upon
    /// [`VirtQueue::pop_or_wait`] returning false) or the device does not run: [`Inbound::take_room`] tells when to
    /// try again.
    pub(super) fn deliver<R>(
        &self,
        deliver: impl FnOnce(&mut VirtQueue, &mut Chain) -> Result<Option<R>, RingError>,
    ) -> Option<R> {
        let mut state = self.0.lock();
        let State {
            queue,
            chain,
            starved,
        } = &mut *state;
        *starved = true;
        let queue = queue.as_mut()?;
        let delivered = queue
            .disable_notification()
            .and_then(|()| deliver(queue, chain));
        match delivered {
            Ok(done) => {
                *starved = done.is_none();
                done
            }
            Err(_) => {
                queue.fail();
                state.queue = None;
                None
            }
        }
    }

    /// Whether somebody waits for room; asked when the driver has added buffers.
    pub(super) fn take_room(&self) -> bool {
        std::mem::take(&mut self.0.lock().starved)
    }
}
