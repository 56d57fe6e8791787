//! From an instruction word to the few table rows that it can match, by one look-up.
//!
//! The key of a 32-bit word is its major opcode and one more field: funct5 where bits 14 to 12 are a rounding mode
//! or a width (OP-FP, AMO), else funct3. The key of a 16-bit word is its quadrant and bits 15 to 13. Every encoding
//! has the first part of the key among its fixed bits.

use super::{Row, compressed, table};

/// How a key is made.
#[derive(Clone, Copy)]
enum Kind {
    Full,
    Compressed,
}

impl Kind {
    /// Position and mask of the first and the second part.
    const fn fields(self, word: u32) -> [(u32, u32); 2] {
        match self {
            Self::Full => {
                let second = match word >> 2 & 31 {
                    0b01011 | 0b10100 => (27, 31),
                    _ => (12, 7),
                };
                [(2, 31), second]
            }
            Self::Compressed => [(0, 3), (13, 7)],
        }
    }

    const fn key(self, word: u32) -> usize {
        let [first, second] = self.fields(word);
        ((word >> first.0 & first.1) << 5 | (word >> second.0 & second.1)) as usize
    }

    /// Whether the encoding leaves `second` possible as the second part of the key.
    const fn allows(self, row: &Row, second: u32) -> bool {
        let [first, field] = self.fields(row.pattern.bits);
        assert!(
            row.pattern.mask >> first.0 & first.1 == first.1,
            "the first part of a key is fixed"
        );
        second <= field.1
            && (row.pattern.bits ^ second << field.0) & row.pattern.mask & field.1 << field.0 == 0
    }

    const fn key_of(self, row: &Row, second: u32) -> usize {
        let [first, _] = self.fields(row.pattern.bits);
        ((row.pattern.bits >> first.0 & first.1) << 5 | second) as usize
    }
}

/// For each key the rows to try, in table order, so that special cases stay before what they are special cases of.
struct Index<const KEYS: usize, const ENTRIES: usize> {
    /// Where the rows of each key begin; those of the next one end them.
    starts: [u16; KEYS],
    rows: [Candidate; ENTRIES],
}

/// A row to try, with what most often rules it out.
#[derive(Clone, Copy)]
struct Candidate {
    mask: u32,
    bits: u32,
    row: u16,
}

const fn entries(kind: Kind, rows: &[Row]) -> usize {
    let (mut count, mut row) = (0, 0);
    while row < rows.len() {
        let mut second = 0;
        while second < 32 {
            count += kind.allows(&rows[row], second) as usize;
            second += 1;
        }
        row += 1;
    }
    count
}

/// A counting sort of (key, row) by key. `KEYS` is one more than the keys there are.
const fn index<const KEYS: usize, const ENTRIES: usize>(
    kind: Kind,
    rows: &[Row],
) -> Index<KEYS, ENTRIES> {
    let mut index = Index {
        starts: [0; KEYS],
        rows: [Candidate {
            mask: 0,
            bits: 0,
            row: 0,
        }; ENTRIES],
    };
    let mut row = 0;
    while row < rows.len() {
        let mut second = 0;
        while second < 32 {
            if kind.allows(&rows[row], second) {
                index.starts[kind.key_of(&rows[row], second) + 1] += 1;
            }
            second += 1;
        }
        row += 1;
    }
    let mut key = 1;
    while key < KEYS {
        index.starts[key] += index.starts[key - 1];
        key += 1;
    }
    let mut next = index.starts;
    row = 0;
    while row < rows.len() {
        let mut second = 0;
        while second < 32 {
            if kind.allows(&rows[row], second) {
                let key = kind.key_of(&rows[row], second);
                index.rows[next[key] as usize] = Candidate {
                    mask: rows[row].pattern.mask,
                    bits: rows[row].pattern.bits,
                    row: row as u16,
                };
                next[key] += 1;
            }
            second += 1;
        }
        row += 1;
    }
    index
}

static FULL: Index<{ 32 * 32 + 1 }, { entries(Kind::Full, &table::ROWS_CONST) }> =
    index(Kind::Full, &table::ROWS_CONST);
static COMPRESSED: Index<{ 4 * 32 + 1 }, { entries(Kind::Compressed, &compressed::ROWS_CONST) }> =
    index(Kind::Compressed, &compressed::ROWS_CONST);

impl<const KEYS: usize, const ENTRIES: usize> Index<KEYS, ENTRIES> {
    /// The rows whose fixed bits are those of `word`.
    #[inline]
    fn candidates<'a>(
        &'a self,
        kind: Kind,
        rows: &'static [Row],
        word: u32,
    ) -> impl Iterator<Item = &'static Row> + 'a {
        let key = kind.key(word);
        self.rows[usize::from(self.starts[key])..usize::from(self.starts[key + 1])]
            .iter()
            .filter(move |candidate| word & candidate.mask == candidate.bits)
            .map(|candidate| &rows[usize::from(candidate.row)])
    }
}

/// The rows to try for a 32-bit word.
#[inline]
pub(super) fn full(word: u32) -> impl Iterator<Item = &'static Row> {
    FULL.candidates(Kind::Full, &table::ROWS, word)
}

/// The rows to try for a 16-bit word.
#[inline]
pub(super) fn compressed(word: u32) -> impl Iterator<Item = &'static Row> {
    COMPRESSED.candidates(Kind::Compressed, &compressed::ROWS, word)
}
