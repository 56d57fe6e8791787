//! The escape key: what is typed behind it is for this program, not for the guest.

use vm_core::config::EscapeKey;

/// What a typed byte means.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Typed {
    /// For the guest.
    Text(Vec<u8>),
    /// End the machine.
    Quit,
    /// Press the reset button.
    Reset,
    /// Open the monitor.
    Monitor,
    /// Say what the keys are.
    Help,
}

/// What the keys are behind an escape key.
pub(crate) fn help(key: EscapeKey) -> String {
    let Some(letter) = key.letter() else {
        return String::new();
    };
    let key = format!("Ctrl-{letter}");
    format!(
        "\
{key} x  quit: end the machine at once
{key} r  reset the machine
{key} c  open the monitor (also {key} m): the guest waits
{key} h  this help
{key} {key}  send {key} to the guest
"
    )
}

/// Finds the escape key in what is typed.
#[derive(Debug)]
pub(crate) struct Keys {
    escape: EscapeKey,
    escaped: bool,
}

impl Keys {
    /// Keys of which those behind `escape` are not for the guest.
    pub(crate) fn behind(escape: EscapeKey) -> Self {
        Self {
            escape,
            escaped: false,
        }
    }

    /// Takes one byte; `None` when its meaning depends on the next.
    fn byte(&mut self, byte: u8) -> Option<Typed> {
        let Some(escape) = self.escape.byte() else {
            return Some(Typed::Text(vec![byte]));
        };
        if !std::mem::take(&mut self.escaped) {
            self.escaped = byte == escape;
            return (!self.escaped).then(|| Typed::Text(vec![byte]));
        }
        let letter = self
            .escape
            .letter()
            .map(|letter| letter.to_ascii_lowercase());
        match byte {
            b'x' | b'X' => Some(Typed::Quit),
            b'r' | b'R' => Some(Typed::Reset),
            b'c' | b'C' | b'm' | b'M' => Some(Typed::Monitor),
            b'h' | b'H' | b'?' => Some(Typed::Help),
            other if other == escape || Some(char::from(other)) == letter => {
                Some(Typed::Text(vec![escape]))
            }
            other => Some(Typed::Text(vec![escape, other])),
        }
    }

    /// Takes what was typed up to the first thing that is not for the guest; returns how many bytes that were.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> (usize, Option<Typed>) {
        let mut text = Vec::new();
        for (at, &byte) in bytes.iter().enumerate() {
            match self.byte(byte) {
                None => {}
                Some(Typed::Text(more)) => text.extend(more),
                Some(order) if text.is_empty() => return (at + 1, Some(order)),
                Some(_) => {
                    // The text comes first; the order is found again behind it.
                    self.escaped = true;
                    return (at, Some(Typed::Text(text)));
                }
            }
        }
        (bytes.len(), (!text.is_empty()).then_some(Typed::Text(text)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ESCAPE: u8 = 0x01;

    fn typed(pieces: &[&[u8]]) -> Vec<Typed> {
        typed_behind("ctrl-a", pieces)
    }

    fn typed_behind(escape: &str, pieces: &[&[u8]]) -> Vec<Typed> {
        let mut key = Keys::behind(escape.parse().unwrap());
        let mut all = Vec::new();
        for piece in pieces {
            let mut rest = *piece;
            while !rest.is_empty() {
                let (taken, what) = key.take(rest);
                rest = &rest[taken..];
                all.extend(what);
            }
        }
        all
    }

    fn text(bytes: &[u8]) -> Typed {
        Typed::Text(bytes.to_vec())
    }

    #[test]
    fn take_orders_between_text_keep_their_places() {
        assert_eq!(
            typed(&[b"ls\r\x01hpwd\x01x"]),
            [text(b"ls\r"), Typed::Help, text(b"pwd"), Typed::Quit]
        );
    }

    #[test]
    fn take_escape_at_the_end_of_a_piece_waits_for_the_next() {
        assert_eq!(
            typed(&[b"a\x01", b"r", b"b"]),
            [text(b"a"), Typed::Reset, text(b"b")]
        );
    }

    #[test]
    fn take_escape_twice_sends_one() {
        assert_eq!(typed(&[b"\x01\x01"]), [text(b"\x01")]);
        assert_eq!(typed(&[b"\x01a"]), [text(b"\x01")]);
    }

    #[test]
    fn take_every_order_is_known() {
        for (key, order) in [
            (b'c', Typed::Monitor),
            (b'm', Typed::Monitor),
            (b'x', Typed::Quit),
            (b'r', Typed::Reset),
            (b'h', Typed::Help),
        ] {
            assert_eq!(typed(&[&[ESCAPE, key]]), [order]);
        }
        assert_eq!(typed(&[b"\x01q"]), [text(b"\x01q")]);
    }

    #[test]
    fn take_other_escape_keys_leave_ctrl_a_to_the_guest() {
        let keys: &[&[u8]] = &[b"\x01x\x02", b"hq\x02\x02\x02b"];
        let orders = [text(b"\x01x"), Typed::Help, text(b"q\x02\x02")];
        assert_eq!(typed_behind("ctrl-b", keys), orders);
        assert_eq!(typed_behind("ctrl-]", &[b"\x1dx"]), [Typed::Quit]);
        assert_eq!(typed_behind("ctrl-c", &[b"\x03c"]), [Typed::Monitor]);
        assert_eq!(
            typed_behind("none", &[b"\x01x\x1dx"]),
            [text(b"\x01x\x1dx")]
        );
        assert!(help("^]".parse().unwrap()).starts_with("Ctrl-] x  quit"));
        assert_eq!(help(EscapeKey::NONE), "");
    }
}
