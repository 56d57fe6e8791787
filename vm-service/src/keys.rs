//! Keys by name, as a US keyboard has them, and the numbers that Linux has for them (`input-event-codes.h`).

/// Why a key was not pressed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum KeyError {
    /// There is no such key.
    #[error(
        "there is no key '{0}': write a character, or a name such as ret, esc, up, f10, ctrl-alt-delete"
    )]
    Unknown(String),
    /// The machine has no keyboard.
    #[error("this machine has no keyboard: type on its serial console")]
    NoKeyboard,
    /// The guest does not listen, or is behind.
    #[error("the guest does not take the key: its keyboard is off or full")]
    NotTaken,
}

const LEFT_SHIFT: u16 = 42;

/// Rows of keys that follow each other: the first one's number, the characters without and with Shift.
const ROWS: [(u16, &str, &str); 5] = [
    (2, "1234567890-=", "!@#$%^&*()_+"),
    (16, "qwertyuiop[]", "QWERTYUIOP{}"),
    (30, "asdfghjkl;'`", "ASDFGHJKL:\"~"),
    (43, "\\zxcvbnm,./", "|ZXCVBNM<>?"),
    (57, " ", " "),
];

#[rustfmt::skip]
const NAMES: [(&str, u16); 37] = [
    ("esc", 1), ("backspace", 14), ("tab", 15), ("ret", 28), ("enter", 28), ("ctrl", 29), ("shift", LEFT_SHIFT), ("alt", 56),
    ("spc", 57), ("space", 57), ("minus", 12), ("caps_lock", 58), ("f1", 59), ("f2", 60), ("f3", 61), ("f4", 62), ("f5", 63), ("f6", 64),
    ("f7", 65), ("f8", 66), ("f9", 67), ("f10", 68), ("num_lock", 69), ("scroll_lock", 70), ("f11", 87), ("f12", 88),
    ("home", 102), ("up", 103), ("pgup", 104), ("left", 105), ("right", 106), ("end", 107), ("down", 108), ("pgdn", 109),
    ("insert", 110), ("delete", 111), ("meta", 125),
];

/// The keys that a name stands for, in the order in which they go down.
pub(crate) fn chord(name: &str) -> Result<Vec<u16>, KeyError> {
    let unknown = || KeyError::Unknown(name.to_owned());
    // The hyphen itself is a key.
    let parts: Vec<&str> = match name.strip_suffix('-') {
        None => name.split('-').collect(),
        Some("") => vec!["-"],
        Some(held) => {
            let held = held.strip_suffix('-').ok_or_else(unknown)?;
            held.split('-').chain(["-"]).collect()
        }
    };
    let mut codes = Vec::new();
    for part in parts {
        codes.extend(one(part).ok_or_else(unknown)?);
    }
    Ok(codes)
}

fn one(name: &str) -> Option<Vec<u16>> {
    if let Some((_, code)) = NAMES.iter().find(|(known, _)| *known == name) {
        return Some(vec![*code]);
    }
    let mut characters = name.chars();
    let character = characters.next().filter(|_| characters.next().is_none())?;
    ROWS.iter().find_map(|(first, plain, shifted)| {
        let code = |at: usize| first + at as u16;
        let place = |row: &str| row.chars().position(|it| it == character);
        match (place(plain), place(shifted)) {
            (Some(at), _) => Some(vec![code(at)]),
            (None, Some(at)) => Some(vec![LEFT_SHIFT, code(at)]),
            (None, None) => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chord_of_characters_and_names() {
        for (name, codes) in [
            ("a", &[30][..]),
            ("A", &[42, 30]),
            ("0", &[11]),
            ("\\", &[43]),
            ("z", &[44]),
            ("/", &[53]),
            ("?", &[42, 53]),
            ("`", &[41]),
            ("ret", &[28]),
            ("ctrl-alt-delete", &[29, 56, 111]),
            ("-", &[12]),
            ("ctrl--", &[29, 12]),
            (" ", &[57]),
        ] {
            assert_eq!(chord(name).unwrap(), codes, "{name}");
        }
        for name in ["", "nokey", "ctrl-", "é"] {
            assert!(chord(name).is_err(), "{name}");
        }
    }
}
