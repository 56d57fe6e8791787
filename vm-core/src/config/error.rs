//! What can be wrong with a configuration's text, and suggestions for what was meant.

/// Why a part of a configuration was refused. Each message is one line: what is wrong, and what to write.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ConfigError {
    /// A choice that does not exist.
    #[error("unknown {what} '{found}'{}: use {allowed}", hint(.nearest.as_deref()))]
    Unknown {
        /// What was chosen.
        what: &'static str,
        /// What was written.
        found: String,
        /// What was probably meant.
        nearest: Option<String>,
        /// All there is.
        allowed: String,
    },
    /// A choice that does not exist yet.
    #[error("{0}")]
    NotBuilt(String),
    /// A value of the wrong form.
    #[error("{what} '{found}' {problem}")]
    Malformed {
        /// What was given.
        what: &'static str,
        /// What was written.
        found: String,
        /// What is wrong, and what to write.
        problem: String,
    },
    /// Something that has to be given is not there.
    #[error("{0}")]
    Missing(&'static str),
}

impl ConfigError {
    /// An unknown choice, with the nearest of those that exist.
    pub fn unknown(what: &'static str, found: &str, allowed: &[&str]) -> Self {
        Self::Unknown {
            what,
            found: found.to_owned(),
            nearest: nearest(found, allowed.iter().copied()).map(str::to_owned),
            allowed: allowed.join(", "),
        }
    }

    pub(super) fn malformed(what: &'static str, found: &str, problem: impl Into<String>) -> Self {
        Self::Malformed {
            what,
            found: found.to_owned(),
            problem: problem.into(),
        }
    }
}

fn hint(nearest: Option<&str>) -> String {
    nearest.map_or_else(String::new, |name| format!(" (did you mean '{name}'?)"))
}

/// Fewest letters by which a word may stand for a longer one that begins with it.
const FEWEST_LETTERS: usize = 2;

/// The one of `known` that was probably meant by `word`: a slip of the hand away from it, or the beginning of one or
/// the other. A longer word may hold more slips: one in three letters.
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_ascii_lowercase();
    let most_slips = (word.chars().count() + 1) / 3;
    let distance = |known: &str| {
        let slips = strsim::osa_distance(&word, known);
        let begins = word.len().min(known.len()) >= FEWEST_LETTERS
            && (known.starts_with(&word) || word.starts_with(known));
        (slips <= most_slips || begins).then_some(slips)
    };
    known
        .into_iter()
        .filter_map(|known| Some((distance(known)?, known)))
        .min_by_key(|(slips, _)| *slips)
        .map(|(_, known)| known)
}
