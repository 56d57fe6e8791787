//! How many host instructions typical blocks take. `BLESS=1` writes the golden file anew.

use std::fmt::Write as _;
use std::path::Path;

use iced_x86::{Decoder, DecoderOptions};
use vm_core::GuestPhysAddr;
use vm_engine::tier::Step;
use vm_frontend::riscv::Riscv;
use vm_frontend::riscv::isa::CpuModel;
use vm_frontend::x86::cpu::CpuConfig;
use vm_frontend::x86::{X86, mode};
use vm_frontend::{CodePage, Exception, Guest, LiftLimits};
use vm_ir::passes::remove_dead_flags;
use vm_ir::{Block, BlockKey, Mode};

use super::*;

/// Blocks by name.
const BLOCKS: &[(&str, &[u32])] = &[
    // Copies words.
    (
        "copy",
        &[
            0x0005b683, // ld a3,0(a1)
            0x00858593, // addi a1,a1,8
            0x00d53023, // sd a3,0(a0)
            0x00850513, // addi a0,a0,8
            0xfec598e3, // bne a1,a2,0
        ],
    ),
    // A step of a checksum by table.
    (
        "table",
        &[
            0x00054703, // lbu a4,0(a0)
            0x00150513, // addi a0,a0,1
            0x00f74733, // xor a4,a4,a5
            0x0ff77713, // andi a4,a4,255
            0x20d74733, // sh2add a4,a4,a3
            0x00076703, // lwu a4,0(a4)
            0x0087d79b, // srliw a5,a5,0x8
            0x00e7c7b3, // xor a5,a5,a4
            0xfec510e3, // bne a0,a2,14
        ],
    ),
    // The beginning of a function, up to a call.
    (
        "call",
        &[
            0xfe010113, // addi sp,sp,-32
            0x00113c23, // sd ra,24(sp)
            0x00813823, // sd s0,16(sp)
            0x00050413, // addi s0,a0,0
            0xfff5051b, // addiw a0,a0,-1
            0x00000097, // auipc ra,0x0
            0x010080e7, // jalr ra,16(ra)
        ],
    ),
    // The end of a function.
    (
        "return",
        &[
            0x01813083, // ld ra,24(sp)
            0x01013403, // ld s0,16(sp)
            0x02010113, // addi sp,sp,32
            0x00008067, // jalr zero,0(ra)
        ],
    ),
    // Rotations and sums on 32 bits.
    (
        "hash",
        &[
            0x6067581b, // roriw a6,a4,0x6
            0x60b7589b, // roriw a7,a4,0xb
            0x01184833, // xor a6,a6,a7
            0x40e3f333, // andn t1,t2,a4
            0x01d77e33, // and t3,a4,t4
            0x01c34333, // xor t1,t1,t3
            0x0068083b, // addw a6,a6,t1
            0x010787bb, // addw a5,a5,a6
            0xfeb510e3, // bne a0,a1,64
        ],
    ),
    // A scalar product.
    (
        "product",
        &[
            0x00053707, // fld fa4,0(a0)
            0x0005b687, // fld fa3,0(a1)
            0x00850513, // addi a0,a0,8
            0x00858593, // addi a1,a1,8
            0x7ad777c3, // fmadd.d fa5,fa4,fa3,fa5
            0xfec516e3, // bne a0,a2,88
        ],
    ),
    // A shared counter.
    (
        "count",
        &[
            0x06e527af, // amoadd.w.aqrl a5,a4,(a0)
            0x00008067, // jalr zero,0(ra)
        ],
    ),
    // Compare and swap by reservation.
    (
        "take",
        &[
            0x140537af, // lr.d.aq a5,(a0)
            0xfeb79ee3, // bne a5,a1,a8
            0x18c5372f, // sc.d a4,a2,(a0)
            0xfe071ae3, // bne a4,zero,a8
        ],
    ),
    // The beginning of a trap handler.
    (
        "trap",
        &[
            0x14021273, // csrrw tp,sscratch,tp
            0xfe021ee3, // bne tp,zero,b8
            0x14002273, // csrrs tp,sscratch,zero
            0x00223823, // sd sp,16(tp)
            0x00823103, // ld sp,8(tp)
        ],
    ),
];

/// The same of x86-64.
const X86_BLOCKS: &[(&str, &[u8])] = &[
    // cmp rax, rbx; jl
    ("compare and branch", &[0x48, 0x39, 0xd8, 0x7c, 0x05]),
    // test eax, eax; je
    ("test and branch", &[0x85, 0xc0, 0x74, 0x05]),
    // sub eax, ebx; jne
    ("subtract and branch", &[0x29, 0xd8, 0x75, 0x05]),
    // dec ecx; jne to itself
    ("count down", &[0xff, 0xc9, 0x75, 0xfc]),
    // add eax, ebx; xor eax, ecx; shl rdx, 3; lea rax, [rbx + rcx*4 + 8]; mov rdx, rax; and edx, 15; jmp
    (
        "register to register",
        &[
            0x01, 0xd8, 0x31, 0xc8, 0x48, 0xc1, 0xe2, 0x03, 0x48, 0x8d, 0x44, 0x8b, 0x08, 0x48,
            0x89, 0xc2, 0x83, 0xe2, 0x0f, 0xeb, 0x10,
        ],
    ),
    // mov al, bl; add al, 1; movzx eax, al; cmp al, bl; seta cl; mov ah, dl; jmp
    (
        "bytes",
        &[
            0x88, 0xd8, 0x04, 0x01, 0x0f, 0xb6, 0xc0, 0x38, 0xd8, 0x0f, 0x97, 0xc1, 0x88, 0xd4,
            0xeb, 0x10,
        ],
    ),
    // cmp eax, ebx; cmovl eax, ecx; sete dl; jmp
    (
        "choose",
        &[0x39, 0xd8, 0x0f, 0x4c, 0xc1, 0x0f, 0x94, 0xc2, 0xeb, 0x10],
    ),
    // add eax, ebx; adc edx, ecx; jmp
    ("add with carry", &[0x01, 0xd8, 0x11, 0xca, 0xeb, 0x10]),
    // push rax; push rbx; pop rcx; pop rdx; jmp
    ("push and pop", &[0x50, 0x53, 0x59, 0x5a, 0xeb, 0x10]),
    // add rax, [rsi]; add [rdi], rax; movzx ecx, byte [rsi + 4]; mov [rdi + 8], cl; jmp
    (
        "load, operate, store",
        &[
            0x48, 0x03, 0x06, 0x48, 0x01, 0x07, 0x0f, 0xb6, 0x4e, 0x04, 0x88, 0x4f, 0x08, 0xeb,
            0x10,
        ],
    ),
    // movups xmm0, [rax + rcx]; paddd xmm0, xmm1; pmuludq xmm2, xmm0; movaps [rdx + rcx], xmm2; jmp
    (
        "vectors",
        &[
            0x0f, 0x10, 0x04, 0x08, 0x66, 0x0f, 0xfe, 0xc1, 0x66, 0x0f, 0xf4, 0xd0, 0x0f, 0x29,
            0x14, 0x0a, 0xeb, 0x10,
        ],
    ),
    // movsd xmm0, [rax]; mulsd xmm0, [rdx]; addsd xmm1, xmm0; cvttsd2si ecx, xmm1; jmp
    (
        "scalar product of doubles",
        &[
            0xf2, 0x0f, 0x10, 0x00, 0xf2, 0x0f, 0x59, 0x02, 0xf2, 0x0f, 0x58, 0xc8, 0xf2, 0x0f,
            0x2c, 0xc9, 0xeb, 0x10,
        ],
    ),
    // comisd xmm0, xmm1; ja
    (
        "comparison of doubles",
        &[0x66, 0x0f, 0x2f, 0xc1, 0x77, 0x10],
    ),
    // vmovdqu ymm0, [rax]; vpaddd ymm1, ymm1, ymm0; vmovdqu [rdx], ymm1; jmp
    (
        "wide vectors",
        &[
            0xc5, 0xfe, 0x6f, 0x00, 0xc5, 0xf5, 0xfe, 0xc8, 0xc5, 0xfe, 0x7f, 0x0a, 0xeb, 0x10,
        ],
    ),
    // cmp dword [rsi+8], 5; jne
    (
        "compare memory and branch",
        &[0x83, 0x7e, 0x08, 0x05, 0x75, 0x05],
    ),
    // test byte [rdi+1], 4; je
    (
        "test memory and branch",
        &[0xf6, 0x47, 0x01, 0x04, 0x74, 0x05],
    ),
    // mov rax, [rax]; mov rax, [rax+8]; jmp
    (
        "load chain",
        &[0x48, 0x8b, 0x00, 0x48, 0x8b, 0x40, 0x08, 0xeb, 0x0e],
    ),
    // mov rax, [rsi+rcx*8+16]; jmp
    ("indexed load", &[0x48, 0x8b, 0x44, 0xce, 0x10, 0xeb, 0x0e]),
    // mov eax, edx; shr rax, 48; mov rdx, [rcx+rax*8]; jmp
    (
        "hashed load",
        &[
            0x89, 0xd0, 0x48, 0xc1, 0xe8, 0x30, 0x48, 0x8b, 0x14, 0xc1, 0xeb, 0x0e,
        ],
    ),
    // mov [rsi+rcx*4], eax; add rcx, 1; cmp rcx, rdx; jne
    (
        "indexed store",
        &[
            0x89, 0x04, 0x8e, 0x48, 0x83, 0xc1, 0x01, 0x48, 0x39, 0xd1, 0x75, 0xf2,
        ],
    ),
    // inc dword [rdi]; jmp
    ("increment memory", &[0xff, 0x07, 0xeb, 0x0e]),
    // or byte [rdi+rax], 0x40; jmp
    ("or to memory", &[0x80, 0x0c, 0x07, 0x40, 0xeb, 0x0e]),
    // mov rax, [rip+0x100]; mov [rip+0x108], rax; jmp
    (
        "memory by RIP",
        &[
            0x48, 0x8b, 0x05, 0x00, 0x01, 0x00, 0x00, 0x48, 0x89, 0x05, 0x08, 0x01, 0x00, 0x00,
            0xeb, 0x0e,
        ],
    ),
    // mov rax, fs:[0x28]; jmp
    (
        "of the thread",
        &[
            0x64, 0x48, 0x8b, 0x04, 0x25, 0x28, 0x00, 0x00, 0x00, 0xeb, 0x0e,
        ],
    ),
    // mov rax, [rsi]; add rsi, 8; mov [rdi], rax; add rdi, 8; cmp rsi, rdx; jne
    (
        "copy words",
        &[
            0x48, 0x8b, 0x06, 0x48, 0x83, 0xc6, 0x08, 0x48, 0x89, 0x07, 0x48, 0x83, 0xc7, 0x08,
            0x48, 0x39, 0xd6, 0x75, 0xef,
        ],
    ),
    // add rax, [rsi]; add rsi, 8; cmp rsi, rdx; jne
    (
        "sum words",
        &[
            0x48, 0x03, 0x06, 0x48, 0x83, 0xc6, 0x08, 0x48, 0x39, 0xd6, 0x75, 0xf4,
        ],
    ),
    // imul rax, rbx; or rax, 1; jmp
    (
        "product",
        &[0x48, 0x0f, 0xaf, 0xc3, 0x48, 0x83, 0xc8, 0x01, 0xeb, 0x0e],
    ),
    // imul rax, rbx; mov [rsi], rax; jmp
    (
        "product and flags",
        &[0x48, 0x0f, 0xaf, 0xc3, 0x48, 0x89, 0x06, 0xeb, 0x0e],
    ),
    // mul rbx; jmp
    ("double product", &[0x48, 0xf7, 0xe3, 0xeb, 0x0e]),
    // xor edx, edx; div rbx; jmp
    ("quotient", &[0x31, 0xd2, 0x48, 0xf7, 0xf3, 0xeb, 0x0e]),
    // cdq; idiv ecx; jmp
    ("signed quotient", &[0x99, 0xf7, 0xf9, 0xeb, 0x0e]),
    // shl eax, 3; shr rdx, 12; sar ecx, 1; jmp
    (
        "shifts",
        &[
            0xc1, 0xe0, 0x03, 0x48, 0xc1, 0xea, 0x0c, 0xd1, 0xf9, 0xeb, 0x0e,
        ],
    ),
    // movzx eax, byte [rdi]; xor eax, edx; add rdi, 1; movzx eax, al; shr edx, 8; xor edx, [rsi+rax*4]; cmp rdi, rcx; jne
    (
        "step of a checksum",
        &[
            0x0f, 0xb6, 0x07, 0x31, 0xd0, 0x48, 0x83, 0xc7, 0x01, 0x0f, 0xb6, 0xc0, 0xc1, 0xea,
            0x08, 0x33, 0x14, 0x86, 0x48, 0x39, 0xcf, 0x75, 0xe9,
        ],
    ),
    // push rbp; mov rbp, rsp; push rbx; sub rsp, 24; mov rbx, rdi; call
    (
        "beginning of a function",
        &[
            0x55, 0x48, 0x89, 0xe5, 0x53, 0x48, 0x83, 0xec, 0x18, 0x48, 0x89, 0xfb, 0xe8, 0x0b,
            0x00, 0x00, 0x00,
        ],
    ),
    // add rsp, 24; pop rbx; pop rbp; ret
    (
        "end of a function",
        &[0x48, 0x83, 0xc4, 0x18, 0x5b, 0x5d, 0xc3],
    ),
    // mov r8, r9; add r10, r8; xor r11d, r11d; mov [r12+8], r13; jmp
    (
        "registers behind the first eight",
        &[
            0x4d, 0x89, 0xc8, 0x4d, 0x01, 0xc2, 0x45, 0x31, 0xdb, 0x4d, 0x89, 0x6c, 0x24, 0x08,
            0xeb, 0x0e,
        ],
    ),
    // call
    ("x86 call", &[0xe8, 0x10, 0x00, 0x00, 0x00]),
    // ret
    ("x86 return", &[0xc3]),
    // fld QWORD PTR [rbp-8]; fmul QWORD PTR [rbp-16]; faddp; fstp QWORD PTR [rbp-24]; ret
    (
        "x87 product and sum",
        &[
            0xdd, 0x45, 0xf8, 0xdc, 0x4d, 0xf0, 0xde, 0xc1, 0xdd, 0x5d, 0xe8, 0xc3,
        ],
    ),
];

/// The same of 32-bit code.
const X86_32_BLOCKS: &[(&str, &[u8])] = &[
    // movzx edx,BYTE PTR [ebx]; mov edi,[ecx+edx*4+0x18c7ec]; lea eax,[edi+edi*4]; ret
    (
        "x86 table in 32-bit code",
        &[
            0x0f, 0xb6, 0x13, 0x8b, 0xbc, 0x91, 0xec, 0xc7, 0x18, 0x00, 0x8d, 0x04, 0xbf, 0xc3,
        ],
    ),
];

struct Bytes(&'static [u8]);

impl CodePage for Bytes {
    fn bytes(&mut self, offset: u16, into: &mut [u8]) {
        for (at, byte) in (usize::from(offset)..).zip(into) {
            *byte = self.0.get(at).copied().unwrap_or(0xf4);
        }
    }

    fn next_page(&mut self, _: &mut [u8]) -> Result<GuestPhysAddr, Exception> {
        unreachable!("no code is that long")
    }
}

struct Code(&'static [u32]);

impl CodePage for Code {
    fn bytes(&mut self, offset: u16, into: &mut [u8]) {
        for (at, byte) in (offset..).zip(into) {
            let word = self.0.get(usize::from(at / 4)).copied().unwrap_or(0);
            *byte = (word >> (8 * (at % 4))) as u8;
        }
    }

    fn next_page(&mut self, _: &mut [u8]) -> Result<GuestPhysAddr, Exception> {
        unreachable!("no code is that long")
    }
}

fn riscv_line(template: &Template, name: &str, words: &'static [u32]) -> String {
    let key = BlockKey {
        phys_pc: GuestPhysAddr(0x8000_0000),
        // Machine mode, floating point on.
        mode: Mode(3 | 2 << 2),
    };
    let limits = LiftLimits {
        max_insns: words.len() as u32,
        stop_before: &[],
    };
    let config = CpuModel::from_name("max").expect("a model").config();
    let block =
        Riscv::lift(&config, key, &mut Code(words), limits, Block::default()).expect("no fault");
    line(template, Riscv::layout(), name, &block)
}

/// 64-bit mode, in the kernel.
const LONG: u32 = 2 | mode::FLAT | mode::FLAT_CODE | mode::PROTECTED | mode::SUPERVISOR;
/// A 32-bit program.
const COMPATIBILITY: u32 =
    1 | mode::STACK32 | mode::FLAT | mode::FLAT_CODE | mode::PROTECTED | mode::USER;

fn x86_line(template: &Template, name: &str, bytes: &'static [u8], mode: u32) -> String {
    let key = BlockKey {
        phys_pc: GuestPhysAddr(0x8000_0000),
        mode: Mode(mode),
    };
    let limits = LiftLimits {
        max_insns: 64,
        stop_before: &[],
    };
    let config: CpuConfig = "max".parse().expect("a model");
    let mut block =
        X86::lift(&config, key, &mut Bytes(bytes), limits, Block::default()).expect("no fault");
    remove_dead_flags(&mut block, X86::layout());
    if std::env::var_os("SHOW_IR").is_some() {
        println!("{name}:\n{}", vm_ir::text::print(&block, X86::layout()));
    }
    line(template, X86::layout(), name, &block)
}

/// Guest instructions, host instructions on the way through and in all, and host bytes.
fn line(template: &Template, layout: &'static StateLayout, name: &str, block: &Block) -> String {
    let temp_offsets: Vec<u16> = (0..block.temps.len() as u16)
        .map(|n| 0x4000 + 16 * n)
        .collect();
    let step = Step {
        first: 0x1000,
        pc_offset: 0,
        left: 1,
    };
    let mut scratch = Scratch::default();
    let translation = Translation {
        block,
        pc: 0,
        layout,
        temp_offsets: &temp_offsets,
        steps: &vec![step; block.insts.len()],
        host_float: true,
        host_is_guest: true,
        terminator: Step {
            first: 0x2000,
            ..step
        },
    };
    let split = block::translate(&mut scratch, &translation, template).expect("host code");
    let code = scratch
        .asm
        .finish(template.shared.addresses()[0])
        .expect("short code");
    let (mut through, mut all) = (0, 0);
    for instruction in Decoder::new(64, code, DecoderOptions::NONE).into_iter() {
        all += 1;
        through += usize::from((instruction.ip() as usize) < split);
    }
    let (guest, bytes, cold) = (block.guest_insns, split, code.len() - split);
    format!(
        "{name}: {guest} guest instructions, {through} of the host's on the way through, {all} in all, {bytes} bytes and {cold} out of the way\n"
    )
}

#[test]
fn typical_blocks_take_as_many_host_instructions_as_the_golden_file_says() {
    let template = Template::new(Riscv::layout(), 1 << 20).expect("this host allows it");
    let mut now = String::new();
    for &(name, words) in BLOCKS {
        let _ = write!(now, "{}", riscv_line(&template, name, words));
    }
    let template = Template::new(X86::layout(), 1 << 20).expect("this host allows it");
    for &(name, bytes) in X86_BLOCKS {
        let _ = write!(now, "{}", x86_line(&template, name, bytes, LONG));
    }
    for &(name, bytes) in X86_32_BLOCKS {
        let _ = write!(now, "{}", x86_line(&template, name, bytes, COMPATIBILITY));
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/template/golden.txt");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&file, &now).expect("the golden file can be written");
    }
    let then = std::fs::read_to_string(&file).expect("the golden file is there");
    assert_eq!(now, then);
}
