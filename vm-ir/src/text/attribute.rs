//! The parts of an operation's name that make its attribute.

use super::cursor::{Parts, Result};
use super::{INT_RULES, MINMAX_RULES, ORDERS, value_in};
use crate::attr::{
    Attr, Cond, Endian, FenceSet, FlagCond, FlagKind, FpToIntRule, MemAttr, Rounding,
};
use crate::op::{AttrClass, Op};
use crate::slot::Type;

pub(super) fn type_named(name: &str) -> Option<Type> {
    Type::ALL.into_iter().find(|ty| ty.name() == name)
}

pub(super) fn cond_named(name: &str) -> Option<Cond> {
    Cond::ALL.into_iter().find(|cond| cond.name() == name)
}

fn rounding_named(name: &str) -> Option<Rounding> {
    Rounding::ALL
        .into_iter()
        .find(|rounding| rounding.name() == name)
}

/// `b4`, `b4s`.
fn size_named(name: &str) -> Option<(u8, bool)> {
    let digits = name.strip_prefix('b')?;
    let (digits, signed) = match digits.strip_suffix('s') {
        Some(digits) => (digits, true),
        None => (digits, false),
    };
    let size_log2 = ["1", "2", "4", "8", "16"]
        .iter()
        .position(|size| *size == digits)?;
    Some((size_log2 as u8, signed))
}

/// `[7:0]`, `s[7:0]`: position, length, whether signed.
fn field_named(name: &str) -> Option<(u8, u8, bool)> {
    let (name, signed) = match name.strip_prefix('s') {
        Some(name) => (name, true),
        None => (name, false),
    };
    let (high, low) = name.strip_prefix('[')?.strip_suffix(']')?.split_once(':')?;
    let (high, low): (u8, u8) = (high.parse().ok()?, low.parse().ok()?);
    Some((low, high.checked_sub(low)?.checked_add(1)?, signed))
}

/// `i8`, `i8[3]`: type and index.
fn lane_named(name: &str) -> Option<(Type, u8)> {
    match name.split_once('[') {
        Some((ty, index)) => Some((type_named(ty)?, index.strip_suffix(']')?.parse().ok()?)),
        None => Some((type_named(name)?, 0)),
    }
}

/// One side of a fence: loads, stores.
fn side_named(name: &str) -> Option<(bool, bool)> {
    Some(match name {
        "rw" => (true, true),
        "r" => (true, false),
        "w" => (false, true),
        "none" => (false, false),
        _ => return None,
    })
}

/// The attribute that an operation's table row asks for.
pub(super) fn attribute(op: Op, parts: &mut Parts<'_, '_>) -> Result<Attr> {
    Ok(match op.info().attr {
        AttrClass::None | AttrClass::Insn | AttrClass::Helper | AttrClass::Vector => Attr::None,
        AttrClass::Mem => {
            let (size_log2, signed) = parts.must("access size", size_named)?;
            let endian = if parts.flag("be") {
                Endian::Big
            } else {
                Endian::Little
            };
            let order = parts
                .maybe(|part| value_in(&ORDERS, part))
                .unwrap_or_default();
            let must_align = parts.flag("align");
            let plain = MemAttr::plain(size_log2);
            Attr::Mem(MemAttr {
                signed,
                endian,
                order,
                must_align,
                ..plain
            })
        }
        AttrClass::Fp => Attr::Fp(parts.must("rounding", rounding_named)?),
        AttrClass::Convert => Attr::Convert {
            from: parts.must("type", type_named)?,
            rounding: parts.must("rounding", rounding_named)?,
            signed: !parts.flag("unsigned") | parts.flag("signed"),
            rule: parts
                .maybe(|part| value_in(&INT_RULES, part))
                .unwrap_or(FpToIntRule::SaturateNanMax),
        },
        AttrClass::Integral => Attr::Integral {
            rounding: parts.must("rounding", rounding_named)?,
            exact: parts.flag("exact"),
        },
        AttrClass::MinMax => {
            Attr::MinMax(parts.must("rule", |part| value_in(&MINMAX_RULES, part))?)
        }
        AttrClass::Cond => Attr::Cond(parts.must("condition", cond_named)?),
        AttrClass::FlagCond => Attr::FlagCond(parts.must("flag condition", |part| {
            FlagCond::ALL.into_iter().find(|cond| cond.name() == part)
        })?),
        AttrClass::FlagKind => Attr::FlagKind(parts.must("flag kind", |part| {
            FlagKind::ALL.into_iter().find(|kind| kind.name() == part)
        })?),
        AttrClass::Lane => {
            let (ty, index) = parts.must("lane", lane_named)?;
            Attr::Lane { ty, index }
        }
        AttrClass::Field => {
            let (pos, len, signed) = parts.must("bit field", field_named)?;
            Attr::Field { pos, len, signed }
        }
        AttrClass::Fence => {
            let (before_loads, before_stores) = parts.must("fence set", side_named)?;
            let (after_loads, after_stores) = parts.must("fence set", side_named)?;
            Attr::Fence(FenceSet {
                before_loads,
                before_stores,
                after_loads,
                after_stores,
            })
        }
    })
}
