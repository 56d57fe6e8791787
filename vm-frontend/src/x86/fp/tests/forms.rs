//! Random instructions of a code.

use iced_x86::{
    Code, Encoder, Instruction, MemoryOperand, OpCodeOperandKind as Kind, OpKind, Register,
};

use super::host::{AT, CODE};
use super::random::Random;

/// An instruction.
pub(super) struct Form {
    pub(super) insn: Instruction,
    pub(super) bytes: Vec<u8>,
}

fn nth(first: Register, n: u64) -> Register {
    Register::values()
        .nth((first as u64 + n) as usize)
        .expect("a register")
}

/// What an operand becomes.
enum Made {
    Register(Register),
    Memory,
    Indexed(Register),
    Immediate,
    DestinationString,
}

fn operand(kind: Kind, random: &mut Random) -> Option<Made> {
    use Kind::*;
    let n = random.below(16);
    let small = random.below(8);
    let memory = random.one_in(2);
    let general = [0, 1, 2, 6, 7, 8, 9, 12, 15];
    let g = random.pick(&general);
    Some(match kind {
        xmm_reg | xmm_vvvv | xmm_rm | xmm_is4 | xmm_is5 => Made::Register(nth(Register::XMM0, n)),
        ymm_reg | ymm_vvvv | ymm_rm | ymm_is4 | ymm_is5 => Made::Register(nth(Register::YMM0, n)),
        mm_reg | mm_rm => Made::Register(nth(Register::MM0, small)),
        xmm_or_mem | ymm_or_mem | mm_or_mem | r32_or_mem | r64_or_mem | r16_or_mem | r8_or_mem
            if memory =>
        {
            Made::Memory
        }
        xmm_or_mem => Made::Register(nth(Register::XMM0, n)),
        ymm_or_mem => Made::Register(nth(Register::YMM0, n)),
        mm_or_mem => Made::Register(nth(Register::MM0, small)),
        r32_reg | r32_rm | r32_or_mem => Made::Register(nth(Register::EAX, g)),
        r64_reg | r64_rm | r64_or_mem => Made::Register(nth(Register::RAX, g)),
        r16_or_mem | r16_reg | r16_rm => Made::Register(nth(Register::AX, g)),
        ax => Made::Register(Register::AX),
        mem | mem_offs => Made::Memory,
        mem_vsib32x | mem_vsib64x => Made::Indexed(nth(Register::XMM0, n)),
        mem_vsib32y | mem_vsib64y => Made::Indexed(nth(Register::YMM0, n)),
        imm8 | imm8_const_1 => Made::Immediate,
        st0 => Made::Register(Register::ST0),
        sti_opcode => Made::Register(nth(Register::ST0, small)),
        seg_rDI => Made::DestinationString,
        _ => return Option::None,
    })
}

/// A random instruction of a code, if it has operands that this knows.
pub(super) fn form(code: Code, random: &mut Random) -> Option<Form> {
    let info = code.op_code();
    let mut insn = Instruction::default();
    insn.set_code(code);
    for n in 0..info.op_count() {
        match operand(info.op_kind(n), random)? {
            Made::Register(register) => {
                insn.set_op_kind(n, OpKind::Register);
                insn.set_op_register(n, register);
            }
            Made::Immediate => {
                insn.set_op_kind(n, OpKind::Immediate8);
                insn.set_immediate8(random.next() as u8);
            }
            Made::DestinationString => insn.set_op_kind(n, OpKind::MemorySegRDI),
            made => {
                let (index, scale) = match made {
                    Made::Indexed(index) => (index, random.pick(&[1, 2, 4, 8])),
                    _ => (Register::None, 1),
                };
                let displacement = random.below(64) as i64 - 32;
                let memory = MemoryOperand::with_base_index_scale_displ_size(
                    Register::RBX,
                    index,
                    scale,
                    displacement,
                    1,
                );
                insn.set_op_kind(n, OpKind::Memory);
                insn.set_memory_base(memory.base);
                insn.set_memory_index(memory.index);
                insn.set_memory_index_scale(memory.scale);
                insn.set_memory_displacement64(displacement as u64);
                insn.set_memory_displ_size(memory.displ_size);
            }
        }
    }
    let mut encoder = Encoder::new(64);
    encoder.encode(&insn, CODE + u64::from(AT)).ok()?;
    let bytes = encoder.take_buffer();
    Some(Form { insn, bytes })
}
