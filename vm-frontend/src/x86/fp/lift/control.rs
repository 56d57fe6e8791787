//! MXCSR, EMMS, and what saves and restores state (Intel SDM 1, 9.6, 10.5, 13.7 and on).

use iced_x86::Mnemonic;
use vm_ir::{Operand, Slot, Type};

use super::{INVALID, NOT_AVAILABLE, is_vex, mmx};
use crate::x86::fp::helper;
use crate::x86::fp::save::form;
use crate::x86::lift::Flow;
use crate::x86::lift::context::{Context, Use};
use crate::x86::mode;
use crate::x86::state::{X87_TAGS, gpr, gpr_slot};

/// How an instruction is lifted.
#[derive(Clone, Copy)]
pub(super) enum Rule {
    /// `ldmxcsr`.
    Load,
    /// `stmxcsr`.
    Store,
    /// `emms`.
    Empty,
    /// `fxsave`, in a form.
    Save(i64),
    /// `fxrstor`.
    Restore(i64),
    /// `xsave` and its kin.
    SaveComponents(i64),
    /// `xrstor`.
    RestoreComponents(i64),
}

use Rule::*;

pub(super) const TABLE: &[(Mnemonic, Rule)] = &[
    (Mnemonic::Ldmxcsr, Load),
    (Mnemonic::Vldmxcsr, Load),
    (Mnemonic::Stmxcsr, Store),
    (Mnemonic::Vstmxcsr, Store),
    (Mnemonic::Emms, Empty),
    (Mnemonic::Fxsave, Save(0)),
    (Mnemonic::Fxsave64, Save(form::WIDE)),
    (Mnemonic::Fxrstor, Restore(0)),
    (Mnemonic::Fxrstor64, Restore(form::WIDE)),
    (Mnemonic::Xsave, SaveComponents(0)),
    (Mnemonic::Xsave64, SaveComponents(form::WIDE)),
    (Mnemonic::Xsaveopt, SaveComponents(form::OPTIMIZED)),
    (
        Mnemonic::Xsaveopt64,
        SaveComponents(form::OPTIMIZED | form::WIDE),
    ),
    (Mnemonic::Xsavec, SaveComponents(form::COMPACTED)),
    (
        Mnemonic::Xsavec64,
        SaveComponents(form::COMPACTED | form::WIDE),
    ),
    (Mnemonic::Xrstor, RestoreComponents(0)),
    (Mnemonic::Xrstor64, RestoreComponents(form::WIDE)),
];

/// Bytes of FXSAVE's area.
const LEGACY_BYTES: u32 = 512;
/// Bytes of XSAVE's area with AVX state.
const AREA_BYTES: u32 = 832;

pub(super) fn lift(c: &mut Context<'_>, rule: Rule) -> Flow {
    match rule {
        Load | Store => return control_word(c, rule),
        Empty => {
            let no_unit = c.has(mode::NO_X87) && !c.has(mode::TASK_SWITCHED);
            if no_unit {
                return INVALID;
            }
            if c.has(mode::NO_X87) {
                return Flow::Raise(NOT_AVAILABLE);
            }
            mmx::check(c);
            mmx::enter(c);
            c.b.mov(Slot::state(X87_TAGS), Operand::Imm(0));
        }
        Save(form) | Restore(form) => {
            if c.has(mode::NO_X87) {
                return Flow::Raise(NOT_AVAILABLE);
            }
            let saves = matches!(rule, Save(_));
            let how = if saves { Use::Write } else { Use::Read };
            let address = c.address(LEGACY_BYTES, how);
            let address = c.flatten(address);
            let form = Operand::Imm(form | long_mode(c));
            let helper = match saves {
                true => const { helper("fxsave") },
                false => const { helper("fxrstor") },
            };
            c.b.call(helper, None, [address, form]);
            if !saves {
                return c.exit();
            }
        }
        SaveComponents(form) | RestoreComponents(form) => {
            if c.has(mode::NO_XSAVE) {
                return INVALID;
            }
            if c.has(mode::TASK_SWITCHED) {
                return Flow::Raise(NOT_AVAILABLE);
            }
            let saves = matches!(rule, SaveComponents(_));
            let how = if saves { Use::Write } else { Use::Read };
            let address = c.address(AREA_BYTES, how);
            let address = c.flatten(address);
            let (low, high) = (gpr_slot(gpr::RAX), gpr_slot(gpr::RDX));
            let mask = c.deposit(low, 32, 32, high);
            let form = Operand::Imm(form | long_mode(c));
            let helper = match saves {
                true => const { helper("xsave") },
                false => const { helper("xrstor") },
            };
            c.b.call(helper, None, [address, mask.into(), form]);
            if !saves {
                return c.exit();
            }
        }
    }
    Flow::Next
}

/// The form's bit of 64-bit mode.
fn long_mode(c: &Context<'_>) -> i64 {
    if c.is_64() { form::LONG_MODE } else { 0 }
}

/// `ldmxcsr` ends the block: the mode follows from what it loads.
fn control_word(c: &mut Context<'_>, rule: Rule) -> Flow {
    let absent = if is_vex(c) {
        mode::NO_AVX
    } else {
        mode::NO_SSE
    };
    if c.has(absent) {
        return INVALID;
    }
    if c.has(mode::TASK_SWITCHED) {
        return Flow::Raise(NOT_AVAILABLE);
    }
    if let Load = rule {
        let address = c.address(4, Use::Read);
        let value = c.load(address, Type::I32);
        c.b.call(const { helper("write_mxcsr") }, None, [value.into()]);
        return c.exit();
    }
    let address = c.address(4, Use::Write);
    let value = c.call(const { helper("read_mxcsr") }, []);
    c.store(address, Type::I32, value.into());
    Flow::Next
}
