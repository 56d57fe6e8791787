//! Terminal escape sequences (ECMA-48, 5.4 and 8.3) removed from a byte stream.

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    #[default]
    Text,
    /// After ESC.
    Escape,
    /// After ESC and intermediate bytes, as in `ESC ( B`.
    Intermediate,
    /// After CSI: parameters up to a final byte.
    Control,
    /// In an operating-system command or another string, up to BEL or ST.
    String,
    /// After ESC within a string: the second half of ST ends it.
    StringEscape,
}

/// Removes escape sequences, also ones that arrive in pieces; carriage returns go too.
#[derive(Debug, Default)]
pub(crate) struct Remover {
    state: State,
}

impl Remover {
    /// Appends what is text in `bytes` to `text`.
    pub(crate) fn feed(&mut self, bytes: &[u8], text: &mut Vec<u8>) {
        for &byte in bytes {
            self.state = match (self.state, byte) {
                (State::String, 0x1b) => State::StringEscape,
                (State::String, 0x07) | (State::StringEscape, b'\\') => State::Text,
                (State::String | State::StringEscape, _) => State::String,
                (_, 0x1b) => State::Escape,
                (State::Escape, b'[') => State::Control,
                (State::Escape, b']' | b'P' | b'X' | b'^' | b'_') => State::String,
                (State::Escape | State::Intermediate, 0x20..=0x2f) => State::Intermediate,
                (State::Control, 0x20..=0x3f) => State::Control,
                (State::Escape | State::Intermediate | State::Control, _) => State::Text,
                (State::Text, b'\r') => State::Text,
                (State::Text, _) => {
                    text.push(byte);
                    State::Text
                }
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text_of(pieces: &[&str]) -> String {
        let (mut remover, mut text) = (Remover::default(), Vec::new());
        for piece in pieces {
            remover.feed(piece.as_bytes(), &mut text);
        }
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn feed_colours_titles_and_charsets_leave_the_text() {
        assert_eq!(
            text_of(&["\x1b[1;31mred\x1b[0m \x1b]0;title\x07x\x1b(B\x1b7y\r\n"]),
            "red xy\n"
        );
        assert_eq!(text_of(&["a\x1b]8;;link\x1b\\b"]), "ab");
    }

    #[test]
    fn feed_sequence_in_pieces_is_removed() {
        assert_eq!(text_of(&["guest# \x1b", "[", "6", "necho"]), "guest# echo");
    }
}
