//! Floating-point exceptions that are not masked (Intel SDM 3A, 7.15, interrupts 16 and 19).

use iced_x86::code_asm::*;

use super::machine::*;

type Code = fn(&mut CodeAssembler) -> Result<(), IcedError>;

/// Runs code with every exception of SSE and x87 unmasked; CR0.NE, and CR4.OSXMMEXCPT as said.
fn unmasked(tells_sse: bool, code: Code) -> (Machine, Delivered) {
    let mut machine = Machine::long(|a| {
        a.fninit()?;
        a.push(0x340)?;
        a.fldcw(word_ptr(rsp))?;
        a.mov(dword_ptr(rsp), 0)?;
        a.ldmxcsr(ptr(rsp))?;
        a.pop(rax)?;
        a.xorps(xmm1, xmm1)?;
        a.mov(eax, 0x3f80_0000)?;
        a.movd(xmm0, eax)?;
        a.jmp(CODE + 0x100)
    });
    if !tells_sse {
        machine.vcpu.state_mut().cr4 &= !0x400;
    }
    machine.assemble(64, CODE + 0x100, |a| {
        code(a)?;
        a.ud2()
    });
    let delivered = machine.run_to_stub();
    (machine, delivered)
}

#[test]
fn unmasked_sse_exceptions_fault_and_leave_the_destination() {
    let cases: [(Code, u64); 4] = [
        (|a| a.divss(xmm0, xmm1), 4),
        (|a| a.divps(xmm0, xmm1), 4),
        (|a| a.sqrtss(xmm0, xmm0), 0),
        (|a| a.cvttss2si(eax, xmm0), 0),
    ];
    for (n, (code, flags)) in cases.into_iter().enumerate() {
        let (machine, delivered) = unmasked(true, code);
        let wanted = if flags == 0 { 6 } else { 19 };
        assert_eq!(delivered.what(), (wanted, None), "{n}");
        assert_eq!(machine.state().xmm[0][0] & 0xffff_ffff, 0x3f80_0000, "{n}");
        if flags != 0 {
            assert_eq!(delivered.rip, CODE + 0x100, "{n}");
        }
    }
    // Without CR4.OSXMMEXCPT it is #UD.
    let (_, delivered) = unmasked(false, |a| a.divss(xmm0, xmm1));
    assert_eq!((delivered.what(), delivered.rip), ((6, None), CODE + 0x100));
}

#[test]
fn unmasked_x87_exception_faults_at_the_next_waiting_instruction() {
    let (_, delivered) = unmasked(true, |a| {
        a.fld1()?;
        a.fldz()?;
        a.fdivp(st1, st0)?;
        a.nop()?;
        a.fnop()?;
        a.wait()
    });
    assert_eq!(delivered.what(), (16, None));
    // FNOP is the first that waits, in spite of its name.
    assert_eq!(delivered.rip, CODE + 0x107);
    let (_, delivered) = unmasked(true, |a| {
        a.fld1()?;
        a.fldz()?;
        a.fdivp(st1, st0)?;
        a.fnclex()?;
        a.wait()
    });
    assert_eq!(delivered.what(), (6, None));
}
