//! Places in the text, and what is wrong at one.

/// Text that is no block, and where. Correct the text there.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("line {line}, column {column}: {problem}")]
pub struct ParseError {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong.
    pub problem: Problem,
}

/// What is wrong with a text.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Problem {
    /// Something else must stand here.
    #[error("expected {0}")]
    Expected(&'static str),
    /// A name that no table has.
    #[error("unknown {what} `{name}`")]
    Unknown {
        /// What was looked for.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// A part of the operation's name that does not belong to it.
    #[error("`{0}` does not belong here")]
    Superfluous(String),
    /// A number that does not fit.
    #[error("`{0}` is not a number that fits here")]
    Number(String),
    /// A temporary with two types.
    #[error("temporary {0} has two types")]
    TwoTypes(usize),
    /// A temporary without type.
    #[error("temporary {0} is never written, nor declared by a `temp` line")]
    Untyped(usize),
    /// More after the terminator.
    #[error("nothing may follow the terminator")]
    AfterTerminator,
}

pub(super) type Result<T> = std::result::Result<T, ParseError>;

/// A place in one line.
pub(super) struct Cursor<'a> {
    pub(super) line: &'a str,
    pub(super) at: usize,
    pub(super) number: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn rest(&self) -> &'a str {
        &self.line[self.at..]
    }

    pub(super) fn error_at(&self, at: usize, problem: Problem) -> ParseError {
        let column = self.line[..at].chars().count() + 1;
        ParseError {
            line: self.number,
            column,
            problem,
        }
    }

    pub(super) fn error(&self, problem: Problem) -> ParseError {
        self.error_at(self.at, problem)
    }

    pub(super) fn skip_space(&mut self) {
        self.at = self.line.len() - self.rest().trim_start().len();
    }

    pub(super) fn is_at_end(&mut self) -> bool {
        self.skip_space();
        self.rest().is_empty()
    }

    /// The longest run of characters that `belongs` accepts; where it starts, and the run.
    pub(super) fn run(&mut self, belongs: impl Fn(char) -> bool) -> (usize, &'a str) {
        self.skip_space();
        let (start, rest) = (self.at, self.rest());
        let length = rest.find(|c| !belongs(c)).unwrap_or(rest.len());
        self.at += length;
        (start, &rest[..length])
    }

    /// A name, slot or number.
    pub(super) fn word(&mut self) -> (usize, &'a str) {
        self.run(|c| c.is_alphanumeric() || matches!(c, '_' | '%' | '#' | '@'))
    }

    /// An operation's name with its parts.
    pub(super) fn mnemonic(&mut self) -> (usize, &'a str) {
        self.run(|c| !c.is_whitespace())
    }

    pub(super) fn eat(&mut self, text: &str) -> bool {
        self.skip_space();
        let found = self.rest().starts_with(text);
        if found {
            self.at += text.len();
        }
        found
    }

    pub(super) fn expect(&mut self, text: &'static str) -> Result<()> {
        if self.eat(text) {
            Ok(())
        } else {
            Err(self.error(Problem::Expected(text)))
        }
    }

    pub(super) fn number(&mut self) -> Result<i64> {
        let negative = self.eat("-");
        let (at, word) = self.word();
        if word.is_empty() {
            return Err(self.error_at(at, Problem::Expected("a number")));
        }
        let wrong = || self.error_at(at, Problem::Number(word.to_owned()));
        let magnitude = magnitude(word).ok_or_else(wrong)?;
        match negative {
            true if magnitude <= 1 << 63 => Ok((magnitude as i64).wrapping_neg()),
            false => i64::try_from(magnitude).map_err(|_| wrong()),
            true => Err(wrong()),
        }
    }

    pub(super) fn number_as<T: TryFrom<i64>>(&mut self) -> Result<T> {
        self.skip_space();
        let at = self.at;
        let value = self.number()?;
        let text = self.line[at..self.at].to_owned();
        T::try_from(value).map_err(|_| self.error_at(at, Problem::Number(text)))
    }
}

pub(super) fn magnitude(word: &str) -> Option<u64> {
    match word.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => word.parse().ok(),
    }
}

/// The parts of an operation's name behind the name itself.
pub(super) struct Parts<'c, 'a> {
    cursor: &'c Cursor<'a>,
    /// Place and text of each, last first.
    left: Vec<(usize, &'a str)>,
    end: usize,
}

impl<'c, 'a> Parts<'c, 'a> {
    /// Splits `word`, which starts at `at`; the first part comes apart.
    pub(super) fn split(cursor: &'c Cursor<'a>, at: usize, word: &'a str) -> (&'a str, Self) {
        let mut place = at;
        let mut left = Vec::new();
        for part in word.split('.') {
            left.push((place, part));
            place += part.len() + 1;
        }
        left.reverse();
        let name = left.pop().map_or("", |(_, name)| name);
        (
            name,
            Self {
                cursor,
                left,
                end: at + word.len(),
            },
        )
    }

    /// The next part as `read` understands it, or nothing.
    pub(super) fn maybe<T>(&mut self, read: impl FnOnce(&'a str) -> Option<T>) -> Option<T> {
        let value = read(self.left.last()?.1)?;
        self.left.pop();
        Some(value)
    }

    /// The next part, which must be one that `read` understands.
    pub(super) fn must<T>(
        &mut self,
        what: &'static str,
        read: impl FnOnce(&'a str) -> Option<T>,
    ) -> Result<T> {
        let Some((at, part)) = self.left.pop() else {
            return Err(self.cursor.error_at(self.end, Problem::Expected(what)));
        };
        let unknown = || Problem::Unknown {
            what,
            name: part.to_owned(),
        };
        read(part).ok_or_else(|| self.cursor.error_at(at, unknown()))
    }

    pub(super) fn flag(&mut self, name: &str) -> bool {
        self.maybe(|part| (part == name).then_some(())).is_some()
    }

    pub(super) fn finish(&self) -> Result<()> {
        match self.left.last() {
            Some(&(at, part)) => Err(self
                .cursor
                .error_at(at, Problem::Superfluous(part.to_owned()))),
            None => Ok(()),
        }
    }
}
