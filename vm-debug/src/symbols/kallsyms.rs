//! The tables in which a Linux kernel keeps the names of its symbols (Linux 6.12, `scripts/kallsyms.c` and
//! `kernel/kallsyms.c`).
//!
//! In memory, each aligned to eight bytes: the number of symbols (u32); their names, each a length and that many token
//! numbers, the first character of the expanded name being its type letter; markers (u32), the offset of every 256th
//! name; the token table, 256 strings that end with 0; the token index (u16), where each of these strings starts;
//! offsets of the symbols' addresses (u32) from the relative base; and the relative base (u64). Before Linux 6.4 the
//! last two came first. Kernels for x86 before Linux 6.15 sign the offsets: one that is not negative is an absolute
//! address (of a variable that every processor has), and another says how far below the relative base less one the
//! negated address is. The token table is the landmark: each character that appears in a name has itself as its token,
//! so the ten digits stand there as strings of their own, and its index says whether a candidate is one.

use vm_core::GuestVirtAddr;

use super::{Symbol, SymbolKind};

/// Tokens, and names between two markers.
const TOKENS: usize = 256;
/// The token of the digit 0, which is its character.
const ZERO: usize = b'0' as usize;
/// Alignment of each table.
const ALIGN: usize = 8;
/// Fewer symbols than this no kernel has; more than that neither.
const SYMBOLS: std::ops::RangeInclusive<usize> = 16..=1 << 22;
/// Longest name with its type letter (`KSYM_NAME_LEN`).
const MAX_NAME_BYTES: usize = 512;
/// Bit 7 of a name's first byte: the length goes on in the next byte.
const LONG_NAME: u8 = 0x80;

/// How many places that might hold the number of symbols are tried.
const MAX_HEADERS: usize = 256;

/// The strings that the token table has for the ten digits.
const DIGITS: &[u8] = b"0\x001\x002\x003\x004\x005\x006\x007\x008\x009\0";

/// Finds and decodes the tables.
pub(super) fn decode(image: &[u8]) -> Option<Vec<Symbol>> {
    let mut from = 0;
    while let Some(found) = find(image, DIGITS, from) {
        if let Some(symbols) = Tokens::around(image, found).and_then(|tokens| tokens.symbols()) {
            return Some(symbols);
        }
        from = found + 1;
    }
    None
}

fn find(image: &[u8], what: &[u8], from: usize) -> Option<usize> {
    image
        .get(from..)?
        .windows(what.len())
        .position(|window| window == what)
        .map(|at| from + at)
}

const fn aligned(at: usize) -> usize {
    at.next_multiple_of(ALIGN)
}

fn u16_at(image: &[u8], at: usize) -> Option<u16> {
    let bytes = image.get(at..at.checked_add(2)?)?;
    Some(u16::from_le_bytes(bytes.try_into().ok()?))
}

fn u32_at(image: &[u8], at: usize) -> Option<u32> {
    let bytes = image.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(bytes.try_into().ok()?))
}

fn u64_at(image: &[u8], at: usize) -> Option<u64> {
    let bytes = image.get(at..at.checked_add(8)?)?;
    Some(u64::from_le_bytes(bytes.try_into().ok()?))
}

/// The token table of an image.
struct Tokens<'a> {
    image: &'a [u8],
    /// Where it starts.
    start: usize,
    /// Behind its index.
    end: usize,
    strings: Vec<&'a [u8]>,
}

impl<'a> Tokens<'a> {
    /// The table whose strings of digits are at `digits`, if its index agrees.
    fn around(image: &'a [u8], digits: usize) -> Option<Self> {
        // Behind the string before the first one there is padding or another table, whose last byte need not be 0; so
        // the start is what the index says, which must then be at its place.
        let mut start = digits;
        for _ in 0..ZERO {
            let before = start.checked_sub(1)?;
            // The longest token is shorter than the longest name.
            let low = before.saturating_sub(MAX_NAME_BYTES);
            start = low + image[low..before].iter().rposition(|&byte| byte == 0)? + 1;
        }
        let mut strings = Vec::with_capacity(TOKENS);
        let mut offsets = Vec::with_capacity(TOKENS);
        let mut at = start;
        for _ in 0..TOKENS {
            let rest = image.get(at..)?;
            let bytes = rest
                .get(..rest.len().min(MAX_NAME_BYTES))?
                .iter()
                .position(|&byte| byte == 0)?;
            offsets.push(u16::try_from(at - start).ok()?);
            strings.push(&rest[..bytes]);
            at += bytes + 1;
        }
        let index = aligned(at);
        let agrees = offsets
            .iter()
            .enumerate()
            .all(|(token, &offset)| u16_at(image, index + 2 * token) == Some(offset));
        agrees.then_some(Self {
            image,
            start,
            end: index + 2 * TOKENS,
            strings,
        })
    }

    /// The symbols that these tokens spell.
    fn symbols(&self) -> Option<Vec<Symbol>> {
        let markers = self.markers()?;
        let names = self.names(&markers)?;
        let count = names.list.len();
        let (addresses, offsets) = self.addresses(count, names.header)?;
        names
            .list
            .into_iter()
            .enumerate()
            .map(|(number, name)| {
                let offset = u32_at(self.image, offsets + 4 * number)?;
                symbol(&name, addresses.of(offset))
            })
            .collect()
    }

    /// The markers, which stand before the token table and start with a 0.
    fn markers(&self) -> Option<Markers> {
        let mut at = self.start.checked_sub(4)?;
        // Padding of the markers to eight bytes.
        if u32_at(self.image, at)? == 0 {
            at = at.checked_sub(4)?;
        }
        let last = u32_at(self.image, at)?;
        let (mut value, mut count) = (last, 1);
        while value != 0 {
            at = at.checked_sub(4)?;
            let before = u32_at(self.image, at)?;
            if before >= value || count > *SYMBOLS.end() / TOKENS {
                return None;
            }
            value = before;
            count += 1;
        }
        Some(Markers {
            start: at,
            count,
            last: last as usize,
        })
    }

    /// The names, which stand before the markers. Where they start is not marked: it is where a number stands that
    /// makes as many markers as there are, and from where on the names end at the markers.
    fn names(&self, markers: &Markers) -> Option<Names> {
        let fewest = (markers.count - 1) * TOKENS + 1;
        // The last marker says how long all names but those behind it are.
        let longest = markers.last + TOKENS * (MAX_NAME_BYTES + 2) + ALIGN;
        let nearest = markers.start.checked_sub(markers.last)?;
        let first = markers.start.saturating_sub(longest) & !(ALIGN - 1);
        (first..nearest)
            .step_by(ALIGN)
            .rev()
            .filter(|&header| {
                u32_at(self.image, header).is_some_and(|count| {
                    (fewest..fewest + TOKENS).contains(&(count as usize))
                        && SYMBOLS.contains(&(count as usize))
                })
            })
            .take(MAX_HEADERS)
            .find_map(|header| self.names_at(header, markers))
    }

    /// The names behind the number of symbols at `header`, if they agree with the markers.
    fn names_at(&self, header: usize, markers: &Markers) -> Option<Names> {
        let count = u32_at(self.image, header)? as usize;
        let start = header + ALIGN;
        let mut at = start;
        let mut list = Vec::new();
        for number in 0..count {
            if number.is_multiple_of(TOKENS) {
                let marker = u32_at(self.image, markers.start + 4 * (number / TOKENS))?;
                if marker as usize != at - start {
                    return None;
                }
            }
            let (tokens, next) = self.name_tokens(at)?;
            let name: Vec<u8> = tokens
                .iter()
                .flat_map(|&token| self.strings[usize::from(token)])
                .copied()
                .collect();
            if !(2..=MAX_NAME_BYTES).contains(&name.len()) {
                return None;
            }
            list.push(name);
            at = next;
        }
        (aligned(at) == markers.start).then_some(Names { header, list })
    }

    /// The tokens of the name at `at`, and where the next one is.
    fn name_tokens(&self, at: usize) -> Option<(&'a [u8], usize)> {
        let first = *self.image.get(at)?;
        let (bytes, start) = if first & LONG_NAME == 0 {
            (usize::from(first), at + 1)
        } else {
            let high = usize::from(*self.image.get(at + 1)?);
            (usize::from(first & !LONG_NAME) | high << 7, at + 2)
        };
        let end = start.checked_add(bytes)?;
        Some((self.image.get(start..end)?, end))
    }

    /// What offsets mean and where they are: behind the token index, or before the number of symbols.
    fn addresses(&self, count: usize, header: usize) -> Option<(Addresses, usize)> {
        let table = aligned(4 * count);
        let behind = (self.end, self.end.checked_add(table)?);
        let before = header
            .checked_sub(ALIGN)
            .and_then(|base| Some((base.checked_sub(table)?, base)));
        [Some(behind), before]
            .into_iter()
            .flatten()
            .find_map(|(offsets, base)| {
                let base = u64_at(self.image, base)?;
                let rules = [Addresses::Above(base), Addresses::Signed(base)];
                let mut rules = rules
                    .into_iter()
                    .filter(|rule| is_kernel_address(base) && self.ascend(*rule, offsets, count));
                rules.next().map(|rule| (rule, offsets))
            })
    }

    /// Whether the offsets are those of symbols sorted by address.
    fn ascend(&self, rule: Addresses, offsets: usize, count: usize) -> bool {
        let at = |number: usize| Some(rule.of(u32_at(self.image, offsets + 4 * number)?));
        (0..count).all(|number| at(number).is_some())
            && (1..count).all(|number| at(number - 1) <= at(number))
    }
}

/// How offsets become addresses, with the relative base.
#[derive(Clone, Copy)]
enum Addresses {
    /// They lie above the base.
    Above(u64),
    /// They are signed (`CONFIG_KALLSYMS_ABSOLUTE_PERCPU`).
    Signed(u64),
}

impl Addresses {
    fn of(self, offset: u32) -> u64 {
        match self {
            Self::Above(base) => base.wrapping_add(u64::from(offset)),
            Self::Signed(base) => match offset.cast_signed() {
                absolute @ 0.. => u64::from(absolute.unsigned_abs()),
                below => base
                    .wrapping_sub(1)
                    .wrapping_sub(i64::from(below).cast_unsigned()),
            },
        }
    }
}

struct Markers {
    start: usize,
    count: usize,
    last: usize,
}

struct Names {
    header: usize,
    /// With their type letters.
    list: Vec<Vec<u8>>,
}

/// Kernels run in the upper half of the address space.
fn is_kernel_address(addr: u64) -> bool {
    addr >> 63 != 0
}

/// A symbol of a name that starts with its type, as `nm` writes it: capital letters are global.
fn symbol(name: &[u8], addr: u64) -> Option<Symbol> {
    let (&letter, name) = name.split_first()?;
    let name = std::str::from_utf8(name).ok()?;
    if !name.bytes().all(|byte| byte.is_ascii_graphic()) || !letter.is_ascii_alphabetic() {
        return None;
    }
    Some(Symbol {
        addr: GuestVirtAddr(addr),
        bytes: 0,
        name: name.to_owned(),
        kind: match letter.to_ascii_lowercase() {
            b't' | b'w' => SymbolKind::Function,
            b'd' | b'b' | b'r' | b'v' | b'g' | b's' => SymbolKind::Object,
            _ => SymbolKind::Other,
        },
        global: letter.is_ascii_uppercase(),
    })
}
