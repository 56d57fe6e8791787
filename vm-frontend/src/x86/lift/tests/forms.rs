//! Random instructions of a code.

use iced_x86::{
    Code, Encoder, Instruction, MemoryOperand, Mnemonic, OpCodeOperandKind, OpKind, Register,
};

use super::host::{AT, CODE, GS_BASE, TARGET};
use super::random::{Addresses as _, Random};

/// An instruction, and what registers must hold for it.
pub(super) struct Form {
    pub(super) insn: Instruction,
    pub(super) bytes: Vec<u8>,
}

const GPR8: [Register; 20] = [
    Register::AL,
    Register::CL,
    Register::DL,
    Register::BL,
    Register::AH,
    Register::CH,
    Register::DH,
    Register::BH,
    Register::SPL,
    Register::BPL,
    Register::SIL,
    Register::DIL,
    Register::R8L,
    Register::R9L,
    Register::R10L,
    Register::R11L,
    Register::R12L,
    Register::R13L,
    Register::R14L,
    Register::R15L,
];

fn gpr(first: Register, n: u64) -> Register {
    let number = first as u64 + n;
    Register::values().nth(number as usize).expect("a register")
}

/// A random register of so many bits, for code of `code` bits; the stack pointer seldom.
fn register(random: &mut Random, code: u32, bits: u32, high: bool) -> Register {
    let mut n = random.below(if code == 64 { 16 } else { 8 });
    if n == 4 && !random.one_in(8) {
        n = 0;
    }
    match bits {
        8 => loop {
            let register = random.pick(&GPR8);
            let is_high = matches!(
                register,
                Register::AH | Register::CH | Register::DH | Register::BH
            );
            let needs_rex = register as u32 >= Register::SPL as u32;
            if (high || code != 64) && !needs_rex || code == 64 && !high && !is_high {
                return register;
            }
        },
        16 => gpr(Register::AX, n),
        32 => gpr(Register::EAX, n),
        _ => gpr(Register::RAX, n),
    }
}

fn memory(random: &mut Random, code: u32, narrow: bool) -> MemoryOperand {
    let bits = if narrow { code / 2 } else { code };
    let displacement = match random.below(4) {
        0 => 0,
        1 => random.below(16) as i64 - 8,
        _ => random.below(1024) as i64 - 512,
    };
    let segment = match code {
        64 if random.one_in(6) => Register::GS,
        32 if random.one_in(8) => random.pick(&[Register::ES, Register::SS]),
        _ => Register::None,
    };
    if random.one_in(12) {
        // Relative to the instruction's end, or absolute.
        let base = match (code, narrow) {
            (64, true) => Register::EIP,
            (64, false) => Register::RIP,
            _ => Register::None,
        };
        let to = random.address();
        let to = if segment == Register::GS {
            to - GS_BASE
        } else {
            to
        };
        let size = code / 8;
        return MemoryOperand::new(base, Register::None, 1, to as i64, size, false, segment);
    }
    let base = register(random, code, bits, false);
    let index = loop {
        let index = register(random, code, bits, false);
        if index.full_register() != Register::RSP && index != base {
            break index;
        }
    };
    let index = if random.one_in(2) {
        Register::None
    } else {
        index
    };
    let scale = if index == Register::None {
        1
    } else {
        random.pick(&[1, 2, 4, 8])
    };
    let size = if displacement == 0 { 0 } else { 1 };
    MemoryOperand::new(base, index, scale, displacement, size, false, segment)
}

/// An instruction of this code with random operands, for code of `mode` bits; `None` if there is none for this test.
pub(super) fn form(code: Code, mode: u32, random: &mut Random) -> Option<Form> {
    let info = code.op_code();
    let mut insn = Instruction::default();
    insn.set_code(code);
    let narrow = mode == 64 && random.one_in(8);
    // High byte registers go without REX, hence without most registers.
    let high = random.one_in(3);
    for n in 0..info.op_count() {
        use OpCodeOperandKind::*;
        let kind = info.op_kind(n);
        let to_memory = random.one_in(2);
        let bits = match kind {
            r8_or_mem | r8_reg | r8_opcode => 8,
            r16_or_mem | r16_reg | r16_reg_mem | r16_rm | r16_opcode => 16,
            r32_or_mem | r32_reg | r32_reg_mem | r32_rm | r32_opcode | r32_vvvv => 32,
            _ => 64,
        };
        match kind {
            mem => set_memory(&mut insn, n, memory(random, mode, narrow)),
            r8_or_mem | r16_or_mem | r32_or_mem | r64_or_mem if to_memory => {
                set_memory(&mut insn, n, memory(random, mode, narrow));
            }
            r8_or_mem | r8_reg | r8_opcode | r16_or_mem | r16_reg | r16_reg_mem | r16_rm
            | r16_opcode | r32_or_mem | r32_reg | r32_reg_mem | r32_rm | r32_opcode | r32_vvvv
            | r64_or_mem | r64_reg | r64_reg_mem | r64_rm | r64_opcode | r64_vvvv => {
                insn.set_op_kind(n, OpKind::Register);
                insn.set_op_register(n, register(random, mode, bits, high));
            }
            al => set_register(&mut insn, n, Register::AL),
            cl => set_register(&mut insn, n, Register::CL),
            ax => set_register(&mut insn, n, Register::AX),
            dx => set_register(&mut insn, n, Register::DX),
            eax => set_register(&mut insn, n, Register::EAX),
            rax => set_register(&mut insn, n, Register::RAX),
            imm8 => {
                insn.set_op_kind(
                    n,
                    if n == 1 && code.mnemonic() == Mnemonic::Enter {
                        OpKind::Immediate8_2nd
                    } else {
                        OpKind::Immediate8
                    },
                );
                if code.mnemonic() == Mnemonic::Enter {
                    insn.set_immediate8_2nd(0);
                } else {
                    insn.set_immediate8(small(random) as u8);
                }
            }
            imm8_const_1 => {
                insn.set_op_kind(n, OpKind::Immediate8);
                insn.set_immediate8(1);
            }
            imm8sex16 => {
                insn.set_op_kind(n, OpKind::Immediate8to16);
                insn.set_immediate8to16((random.value() as i8).into());
            }
            imm8sex32 => {
                insn.set_op_kind(n, OpKind::Immediate8to32);
                insn.set_immediate8to32((random.value() as i8).into());
            }
            imm8sex64 => {
                insn.set_op_kind(n, OpKind::Immediate8to64);
                insn.set_immediate8to64((random.value() as i8).into());
            }
            imm16 => {
                insn.set_op_kind(n, OpKind::Immediate16);
                let value = random.value() as u16;
                let frame = matches!(code.mnemonic(), Mnemonic::Enter | Mnemonic::Ret);
                insn.set_immediate16(if frame { value & 0x7f } else { value });
            }
            imm32 => {
                insn.set_op_kind(n, OpKind::Immediate32);
                insn.set_immediate32(random.value() as u32);
            }
            imm32sex64 => {
                insn.set_op_kind(n, OpKind::Immediate32to64);
                insn.set_immediate32to64((random.value() as i32).into());
            }
            imm64 => {
                insn.set_op_kind(n, OpKind::Immediate64);
                insn.set_immediate64(random.value());
            }
            br32_1 | br32_4 => {
                insn.set_op_kind(n, OpKind::NearBranch32);
                insn.set_near_branch32(TARGET as u32);
            }
            br64_1 | br64_4 => {
                insn.set_op_kind(n, OpKind::NearBranch64);
                insn.set_near_branch64(TARGET);
            }
            es_rDI if mode == 64 => insn.set_op_kind(n, OpKind::MemoryESRDI),
            es_rDI => insn.set_op_kind(n, OpKind::MemoryESEDI),
            seg_rSI if mode == 64 => insn.set_op_kind(n, OpKind::MemorySegRSI),
            seg_rSI => insn.set_op_kind(n, OpKind::MemorySegESI),
            seg_rBX_al => {
                let base = if mode == 64 {
                    Register::RBX
                } else {
                    Register::EBX
                };
                let index = Register::AL;
                set_memory(&mut insn, n, MemoryOperand::with_base_index(base, index));
            }
            _ => return Option::None,
        }
    }
    if info.can_use_lock_prefix() && insn.op0_kind() == OpKind::Memory && random.one_in(3) {
        insn.set_has_lock_prefix(true);
    }
    if insn.is_string_instruction() && !random.one_in(4) {
        insn.set_has_rep_prefix(info.can_use_rep_prefix() && random.one_in(2));
        insn.set_has_repne_prefix(info.can_use_repne_prefix() && !insn.has_rep_prefix());
    }
    encode(insn, mode)
}

/// A small number or any.
fn small(random: &mut Random) -> u64 {
    if random.one_in(2) {
        random.below(70)
    } else {
        random.value()
    }
}

fn set_register(insn: &mut Instruction, n: u32, register: Register) {
    insn.set_op_kind(n, OpKind::Register);
    insn.set_op_register(n, register);
}

fn set_memory(insn: &mut Instruction, n: u32, operand: MemoryOperand) {
    insn.set_op_kind(n, OpKind::Memory);
    insn.set_memory_base(operand.base);
    insn.set_memory_index(operand.index);
    insn.set_memory_index_scale(operand.scale);
    insn.set_memory_displacement64(operand.displacement as u64);
    insn.set_memory_displ_size(operand.displ_size);
    insn.set_segment_prefix(operand.segment_prefix);
}

/// Encodes an instruction at its place.
pub(super) fn encode(insn: Instruction, bits: u32) -> Option<Form> {
    let mut encoder = Encoder::new(bits);
    encoder.encode(&insn, CODE + u64::from(AT)).ok()?;
    let bytes = encoder.take_buffer();
    Some(Form { insn, bytes })
}
