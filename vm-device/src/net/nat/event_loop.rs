//! The network's thread, and what other threads hand to it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use vm_osal::net::{Waker, Wakeups};

use super::gateway::Gateway;
use super::token::{Token, Waits};
use crate::net::FrameSink;

/// Frames of the guest that wait at most, in bytes; further ones are lost as on a real wire.
const INBOX_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Longest frame that is looked at, in bytes.
const FRAME_BYTES_MAX: usize = 65_550;
/// A card that never says it has room again is asked after this time.
const CARD_RETRY: Duration = Duration::from_millis(100);

#[derive(Default)]
struct Inbox {
    /// Frames, each behind its length in four bytes.
    frames: Vec<u8>,
    card: Option<Arc<dyn FrameSink>>,
    resume: bool,
    stop: bool,
    /// The loop sleeps, or is about to, and must be woken.
    asleep: bool,
}

/// What the guest's side and the owner want of the loop.
pub(super) struct Mailbox {
    inbox: Mutex<Inbox>,
    waker: Waker,
}

impl Mailbox {
    pub(super) fn new(waker: Waker) -> Self {
        Self {
            inbox: Mutex::default(),
            waker,
        }
    }

    fn post(&self, change: impl FnOnce(&mut Inbox)) {
        let asleep = {
            let mut inbox = self.inbox.lock();
            change(&mut inbox);
            std::mem::take(&mut inbox.asleep)
        };
        if asleep {
            self.waker.wake();
        }
    }

    pub(super) fn frame(&self, frame: &[u8]) {
        if frame.len() > FRAME_BYTES_MAX {
            return;
        }
        self.post(|inbox| {
            if inbox.frames.len() + frame.len() <= INBOX_BYTES_MAX {
                inbox.frames.extend((frame.len() as u32).to_le_bytes());
                inbox.frames.extend(frame);
            }
        });
    }

    pub(super) fn card(&self, card: Arc<dyn FrameSink>) {
        self.post(|inbox| inbox.card = Some(card));
    }

    pub(super) fn resume(&self) {
        self.post(|inbox| inbox.resume = true);
    }

    pub(super) fn stop(&self) {
        self.post(|inbox| {
            inbox.card = None;
            inbox.stop = true;
        });
    }
}

/// Runs the network until [`Mailbox::stop`].
pub(super) fn run(mut gateway: Gateway, mailbox: &Mailbox, mut wakeups: Wakeups) {
    let mut frames = Vec::new();
    let mut resumed = Instant::now();
    loop {
        let now = Instant::now();
        frames.clear();
        let (card, resume) = {
            let mut inbox = mailbox.inbox.lock();
            inbox.asleep = false;
            if inbox.stop {
                break;
            }
            std::mem::swap(&mut inbox.frames, &mut frames);
            (inbox.card.take(), std::mem::take(&mut inbox.resume))
        };
        if let Some(card) = card {
            gateway.cable.plug(card);
        }
        if resume || (!gateway.cable.ready() && now - resumed >= CARD_RETRY) {
            resumed = now;
            gateway.resume();
        }
        for frame in Frames(&frames) {
            gateway.frame(frame, now);
        }
        gateway.run(now);

        let busy = {
            let mut inbox = mailbox.inbox.lock();
            let busy =
                !inbox.frames.is_empty() || inbox.resume || inbox.stop || inbox.card.is_some();
            inbox.asleep = !busy;
            busy
        };
        if !busy {
            gateway.cable.flush_capture();
        }
        let mut set = Waits::default();
        set.read(Token::Wake, &wakeups);
        gateway.watch(&mut set);
        if !gateway.cable.ready() {
            set.at(now + CARD_RETRY);
        }
        let ready = set.wait(Instant::now(), busy);
        let now = Instant::now();
        for (token, ready) in ready {
            match token {
                Token::Wake => wakeups.clear(),
                token => gateway.ready(token, ready, now),
            }
        }
    }
    gateway.cable.flush_capture();
}

/// Takes a batch of frames apart.
struct Frames<'a>(&'a [u8]);

impl<'a> Iterator for Frames<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (length, rest) = self.0.split_first_chunk::<4>()?;
        let (frame, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        self.0 = rest;
        Some(frame)
    }
}
