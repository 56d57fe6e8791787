//! Division of RDX:RAX by 64 bits (Intel SDM 2A, "DIV", "IDIV").

use vm_ir::ExceptionCode;

use crate::guest::Exception;
use crate::x86::helpers::Cpu;
use crate::x86::state::gpr::{RAX, RDX};

/// #DE: the divisor is zero, or the quotient does not fit.
const DIVIDE_ERROR: Exception = Exception {
    code: ExceptionCode(0),
    value: 0,
};

/// `div r/m64`. Argument: the divisor. Sets RAX to the quotient and RDX to the remainder.
pub(super) fn unsigned(cpu: &mut Cpu<'_>, [divisor, ..]: [u64; 3]) -> Result<u64, Exception> {
    let [low, high] = [RAX, RDX].map(|n| cpu.state.gpr[n]);
    let (quotient, remainder) = if high == 0 {
        let quotient = low.checked_div(divisor).ok_or(DIVIDE_ERROR)?;
        (quotient, low % divisor)
    } else {
        if high >= divisor {
            return Err(DIVIDE_ERROR);
        }
        let dividend = u128::from(high) << 64 | u128::from(low);
        let divisor = u128::from(divisor);
        ((dividend / divisor) as u64, (dividend % divisor) as u64)
    };
    cpu.state.gpr[RAX] = quotient;
    cpu.state.gpr[RDX] = remainder;
    Ok(0)
}

/// `idiv r/m64`. The same, signed.
pub(super) fn signed(cpu: &mut Cpu<'_>, [divisor, ..]: [u64; 3]) -> Result<u64, Exception> {
    let [low, high] = [RAX, RDX].map(|n| cpu.state.gpr[n]);
    let divisor = divisor as i64;
    let (quotient, remainder) = if high as i64 == (low as i64) >> 63 {
        let low = low as i64;
        let quotient = low.checked_div(divisor).ok_or(DIVIDE_ERROR)?;
        (quotient, low % divisor)
    } else {
        let dividend = (u128::from(high) << 64 | u128::from(low)) as i128;
        let divisor = i128::from(divisor);
        let quotient = dividend.checked_div(divisor).ok_or(DIVIDE_ERROR)?;
        let fits = i64::try_from(quotient).map_err(|_| DIVIDE_ERROR)?;
        (fits, (dividend % divisor) as i64)
    };
    cpu.state.gpr[RAX] = quotient as u64;
    cpu.state.gpr[RDX] = remainder as u64;
    Ok(0)
}
