//! What each guest's manual says and other guests do otherwise, case by case.

mod arm;
mod edges;
mod riscv;
mod x86;

use vm_softfloat::Flags;

/// What one operation delivers and raises.
fn run<T>(operation: impl FnOnce(&mut Flags) -> T) -> (T, Flags) {
    let mut flags = Flags::NONE;
    let result = operation(&mut flags);
    (result, flags)
}

const F32_ONE: u32 = 0x3f80_0000;
const F32_INFINITY: u32 = 0x7f80_0000;
const F32_SNAN: u32 = 0x7f80_0001;
const F32_QNAN: u32 = 0x7fc0_0000;
const F32_MIN_NORMAL: u32 = 0x0080_0000;
const F32_NEGATIVE: u32 = 0x8000_0000;
