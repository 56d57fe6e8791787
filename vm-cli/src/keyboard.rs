//! The user at a terminal in raw mode.

use std::io::Read as _;
use std::sync::Arc;

use vm_core::config::EscapeKey;
use vm_service::serial::Outlet;
use vm_service::{CharSink as _, SerialInput, VmHandle};

use crate::escape::{self, Keys, Typed};
use crate::monitor::{Action, Monitor};
use crate::symbols::Symbols;

/// What may be typed or pasted ahead of the guest. Up to there everything is read, so that the escape key is seen behind
/// a long paste that the guest does not take; beyond it, reading waits for the guest, and so does the terminal.
const MOST_AHEAD_BYTES: usize = 16 << 20;

/// The user at a terminal in raw mode.
pub(crate) struct Keyboard {
    pub(crate) input: SerialInput,
    pub(crate) screen: Arc<Outlet>,
    pub(crate) handle: VmHandle,
    pub(crate) symbols: Symbols,
    pub(crate) escape: EscapeKey,
}

impl Keyboard {
    fn say(&self, text: &str) {
        self.screen.write(text.as_bytes());
    }

    /// Reads standard input to its end.
    pub(crate) fn read(mut self) {
        let mut keys = Keys::behind(self.escape);
        let mut monitor = None;
        let mut stdin = std::io::stdin().lock();
        let mut bytes = [0; 4096];
        while self.input.wait_until_below(MOST_AHEAD_BYTES)
            && let Ok(count @ 1..) = stdin.read(&mut bytes)
        {
            let mut rest = &bytes[..count];
            while !rest.is_empty() {
                let (taken, typed) = keys.take(rest);
                rest = &rest[taken..];
                if let Some(typed) = typed {
                    self.obey(typed, &mut monitor);
                }
            }
        }
    }

    fn obey(&mut self, typed: Typed, monitor: &mut Option<Monitor>) {
        match typed {
            Typed::Quit => self.handle.stop(),
            Typed::Reset => {
                self.say("\n[reset]\n");
                self.handle.reset();
            }
            Typed::Help => self.say(&format!("\n{}", escape::help(self.escape))),
            Typed::Monitor if monitor.is_none() => {
                let handle = self.handle.clone();
                let target = handle.debugger().clone();
                let opened = Monitor::open(target, self.symbols.table(), Some(handle));
                self.say(&opened.greeting());
                *monitor = Some(opened);
            }
            Typed::Monitor => {}
            Typed::Text(text) => match monitor {
                // It is refused only when the machine has ended.
                None => {
                    self.input.type_ahead(&text);
                }
                Some(open) => {
                    let (answer, action) = open.typed(&text);
                    self.say(&answer);
                    match action {
                        None => {}
                        Some(Action::Continue) => *monitor = None,
                        Some(Action::Quit) => self.handle.stop(),
                        Some(Action::Reset) => {
                            self.handle.reset();
                            *monitor = None;
                        }
                    }
                }
            },
        }
    }
}
