//! Every encoding against an independent decoder.

use iced_x86::{Decoder, DecoderOptions, Formatter, IntelFormatter};

use super::*;

/// The instructions as the decoder reads them back.
fn read_back(code: impl FnOnce(&mut Assembler)) -> Vec<String> {
    let mut asm = Assembler::new(1 << 20);
    code(&mut asm);
    let bytes = asm.finish(0x1000).expect("it fits").to_vec();
    let mut decoder = Decoder::with_ip(64, &bytes, 0x1000, DecoderOptions::NONE);
    let mut formatter = IntelFormatter::new();
    let options = formatter.options_mut();
    options.set_hex_prefix("0x");
    options.set_hex_suffix("");
    options.set_uppercase_hex(false);
    options.set_space_after_operand_separator(true);
    options.set_small_hex_numbers_in_decimal(false);
    options.set_branch_leading_zeros(false);
    options.set_memory_size_options(iced_x86::MemorySizeOptions::Never);
    let mut lines = Vec::new();
    while decoder.can_decode() {
        let instruction = decoder.decode();
        assert!(!instruction.is_invalid(), "{:02x?}", bytes);
        let mut line = String::new();
        formatter.format(&instruction, &mut line);
        lines.push(line);
    }
    lines
}

fn name(reg: Reg, width: Width) -> String {
    let number = reg as usize;
    const LOW: [&str; 8] = ["ax", "cx", "dx", "bx", "sp", "bp", "si", "di"];
    match width {
        Width::Q if number < 8 => format!("r{}", LOW[number]),
        Width::D if number < 8 => format!("e{}", LOW[number]),
        Width::W if number < 8 => LOW[number].to_owned(),
        Width::B if number < 4 => format!("{}l", &LOW[number][..1]),
        Width::B if number < 8 => format!("{}l", LOW[number]),
        Width::Q => format!("r{number}"),
        Width::D => format!("r{number}d"),
        Width::W => format!("r{number}w"),
        Width::B => format!("r{number}b"),
    }
}

fn memory(mem: Mem) -> String {
    let mut text = format!("[{}", name(mem.base, Width::Q));
    if let Some((index, scale)) = mem.index {
        text += &format!("+{}", name(index, Width::Q));
        if scale != 0 {
            text += &format!("*{}", 1 << scale);
        }
    }
    match mem.disp {
        0 => {}
        disp if disp < 0 => text += &format!("-{:#x}", disp.unsigned_abs()),
        disp => text += &format!("+{disp:#x}"),
    }
    text + "]"
}

const WIDTHS: [Width; 4] = [Width::B, Width::W, Width::D, Width::Q];
const WIDE: [Width; 2] = [Width::D, Width::Q];
const ALUS: [(Alu, &str); 8] = [
    (Alu::Add, "add"),
    (Alu::Or, "or"),
    (Alu::Adc, "adc"),
    (Alu::Sbb, "sbb"),
    (Alu::And, "and"),
    (Alu::Sub, "sub"),
    (Alu::Xor, "xor"),
    (Alu::Cmp, "cmp"),
];
const CONDITIONS: [&str; 16] = [
    "o", "no", "b", "ae", "e", "ne", "be", "a", "s", "ns", "p", "np", "l", "ge", "le", "g",
];

/// Operands of every shape: each base, each index, each size of displacement.
fn memories() -> Vec<Mem> {
    let mut all = Vec::new();
    for base in Reg::ALL {
        for disp in [0, 1, -128, 127, 128, -129, i32::MAX, i32::MIN + 1] {
            all.push(Mem::new(base, disp));
        }
        for index in Reg::ALL {
            if index != Reg::Rsp {
                for (scale, disp) in [(0, 0), (1, -8), (2, 0x1000), (3, 0)] {
                    all.push(Mem::indexed(base, index, scale, disp));
                }
            }
        }
    }
    all
}

type Cases = Vec<(Box<dyn Fn(&mut Assembler)>, String)>;

/// Compares what is assembled with what is expected, pair by pair.
fn check(cases: Cases) {
    let lines = read_back(|asm| cases.iter().for_each(|(code, _)| code(asm)));
    assert_eq!(lines.len(), cases.len());
    for (line, (_, expected)) in lines.iter().zip(&cases) {
        assert_eq!(line, expected);
    }
}

fn case(cases: &mut Cases, expected: String, code: impl Fn(&mut Assembler) + 'static) {
    cases.push((Box::new(code), expected));
}

#[test]
fn moves_of_every_register_width_and_address_decode_as_written() {
    let mut cases = Cases::new();
    for width in WIDTHS {
        for a in Reg::ALL {
            for b in Reg::ALL {
                let expected = format!("mov {}, {}", name(a, width), name(b, width));
                case(&mut cases, expected, move |asm| asm.mov(width, a, b));
            }
        }
        for (n, mem) in memories().into_iter().enumerate() {
            let reg = Reg::ALL[n % 16];
            let (text, at) = (name(reg, width), memory(mem));
            case(&mut cases, format!("mov {text}, {at}"), move |asm| {
                asm.mov(width, reg, mem)
            });
            case(&mut cases, format!("mov {at}, {text}"), move |asm| {
                asm.store(width, mem, reg)
            });
            if matches!(width, Width::D | Width::Q) {
                case(&mut cases, format!("lea {text}, {at}"), move |asm| {
                    asm.lea(width, reg, mem)
                });
            }
        }
    }
    check(cases);
}

#[test]
fn arithmetic_of_every_register_width_and_constant_decodes_as_written() {
    let mut cases = Cases::new();
    for (op, text) in ALUS {
        for width in WIDTHS {
            for n in 0..16 {
                let (a, b) = (Reg::ALL[n], Reg::ALL[(n * 7 + 3) % 16]);
                let (x, y) = (name(a, width), name(b, width));
                case(&mut cases, format!("{text} {x}, {y}"), move |asm| {
                    asm.alu(op, width, a, b)
                });
                let mem = Mem::indexed(a, Reg::R13, 3, -8);
                let at = memory(mem);
                case(&mut cases, format!("{text} {y}, {at}"), move |asm| {
                    asm.alu(op, width, b, mem)
                });
                case(&mut cases, format!("{text} {at}, {y}"), move |asm| {
                    asm.alu_to_mem(op, width, mem, b)
                });
                for (imm, shown) in [(5, "0x5"), (0x70, "0x70")] {
                    case(&mut cases, format!("{text} {x}, {shown}"), move |asm| {
                        asm.alu_imm(op, width, a, imm)
                    });
                }
                if width != Width::B {
                    case(&mut cases, format!("{text} {x}, 0x1234"), move |asm| {
                        asm.alu_imm(op, width, a, 0x1234)
                    });
                }
            }
        }
    }
    check(cases);
}

#[test]
fn constants_decode_as_their_value() {
    let values = [
        0,
        1,
        0x7fff_ffff,
        0xffff_ffff,
        u64::MAX,
        0xffff_ffff_8000_0000,
        0x1_0000_0000,
        0x0123_4567_89ab_cdef,
    ];
    let mut cases = Cases::new();
    for reg in Reg::ALL {
        for value in values {
            let narrow = u32::try_from(value).is_ok();
            let width = if narrow { Width::D } else { Width::Q };
            let expected = format!("mov {}, {value:#x}", name(reg, width));
            case(&mut cases, expected, move |asm| asm.mov_imm(reg, value));
        }
    }
    let expected = "mov rax, [0x123456789abcdef0]".to_owned();
    case(&mut cases, expected, |asm| {
        asm.mov_rax_from(0x1234_5678_9abc_def0)
    });
    check(cases);
}

#[test]
fn extensions_decode_as_written() {
    let mut cases = Cases::new();
    for a in Reg::ALL {
        for b in Reg::ALL {
            for (from, n) in [(Width::B, Width::B), (Width::W, Width::W)] {
                let x = name(a, Width::D);
                let y = name(b, n);
                case(&mut cases, format!("movzx {x}, {y}"), move |asm| {
                    asm.movzx(from, a, b)
                });
                for to in WIDE {
                    let x = name(a, to);
                    case(&mut cases, format!("movsx {x}, {y}"), move |asm| {
                        asm.movsx(to, from, a, b)
                    });
                }
            }
            let expected = format!("movsxd {}, {}", name(a, Width::Q), name(b, Width::D));
            case(&mut cases, expected, move |asm| {
                asm.movsx(Width::Q, Width::D, a, b)
            });
        }
    }
    check(cases);
}

#[test]
fn shifts_products_and_counts_decode_as_written() {
    let mut cases = Cases::new();
    let shifts = [
        (Shift::Rol, "rol"),
        (Shift::Ror, "ror"),
        (Shift::Shl, "shl"),
        (Shift::Shr, "shr"),
        (Shift::Sar, "sar"),
    ];
    for n in 0..16 {
        let (a, b, c) = (Reg::ALL[n], Reg::ALL[(n * 5 + 1) % 16], Reg::ALL[15 - n]);
        let mem = Mem::new(b, 0x40);
        let at = memory(mem);
        for width in WIDTHS {
            let x = name(a, width);
            for (op, text) in shifts {
                case(&mut cases, format!("{text} {x}, 0x5"), move |asm| {
                    asm.shift_imm(op, width, a, 5)
                });
                case(&mut cases, format!("{text} {x}, 0x1"), move |asm| {
                    asm.shift_imm(op, width, a, 1)
                });
                case(&mut cases, format!("{text} {x}, cl"), move |asm| {
                    asm.shift_cl(op, width, a)
                });
            }
            case(&mut cases, format!("mul {x}"), move |asm| asm.mul(width, a));
            case(&mut cases, format!("imul {x}"), move |asm| {
                asm.imul_wide(width, a)
            });
            case(&mut cases, format!("div {x}"), move |asm| asm.div(width, a));
            case(&mut cases, format!("idiv {x}"), move |asm| {
                asm.idiv(width, a)
            });
            case(&mut cases, format!("not {x}"), move |asm| asm.not(width, a));
            case(&mut cases, format!("neg {x}"), move |asm| asm.neg(width, a));
            case(&mut cases, format!("inc {x}"), move |asm| asm.inc(width, a));
            case(&mut cases, format!("dec {x}"), move |asm| asm.dec(width, a));
            let y = name(b, width);
            case(&mut cases, format!("test {y}, {x}"), move |asm| {
                asm.test(width, b, a)
            });
            case(&mut cases, format!("xchg {at}, {x}"), move |asm| {
                asm.xchg(width, mem, a)
            });
        }
        for width in WIDE {
            let (x, y, z) = (name(a, width), name(b, width), name(c, width));
            for (op, text) in [
                (Shift::Shl, "shlx"),
                (Shift::Shr, "shrx"),
                (Shift::Sar, "sarx"),
            ] {
                case(&mut cases, format!("{text} {x}, {y}, {z}"), move |asm| {
                    asm.shiftx(op, width, a, b, c)
                });
                case(&mut cases, format!("{text} {x}, {at}, {z}"), move |asm| {
                    asm.shiftx(op, width, a, mem, c)
                });
            }
            case(&mut cases, format!("andn {x}, {y}, {z}"), move |asm| {
                asm.andn(width, a, b, c)
            });
            for (op, text) in [(Scatter::Pdep, "pdep"), (Scatter::Pext, "pext")] {
                case(&mut cases, format!("{text} {x}, {y}, {z}"), move |asm| {
                    asm.scatter(op, width, a, b, c)
                });
            }
            case(&mut cases, format!("imul {x}, {y}"), move |asm| {
                asm.imul(width, a, b)
            });
            for (op, text) in [
                (Bits::Popcnt, "popcnt"),
                (Bits::Tzcnt, "tzcnt"),
                (Bits::Lzcnt, "lzcnt"),
            ] {
                case(&mut cases, format!("{text} {x}, {y}"), move |asm| {
                    asm.count_bits(op, width, a, b)
                });
            }
            case(&mut cases, format!("bsf {x}, {y}"), move |asm| {
                asm.bsf(width, a, b)
            });
            case(&mut cases, format!("bsr {x}, {y}"), move |asm| {
                asm.bsr(width, a, b)
            });
            for (op, text) in [
                (BitTest::Test, "bt"),
                (BitTest::Set, "bts"),
                (BitTest::Reset, "btr"),
                (BitTest::Complement, "btc"),
            ] {
                case(&mut cases, format!("{text} {x}, {y}"), move |asm| {
                    asm.bit_test(op, width, a, b)
                });
                case(&mut cases, format!("{text} {x}, 0x1d"), move |asm| {
                    asm.bit_test_imm(op, width, a, 0x1d)
                });
            }
            case(&mut cases, format!("bswap {x}"), move |asm| {
                asm.bswap(width, a)
            });
            for (number, text) in CONDITIONS.iter().enumerate() {
                let cc = Cc::ALL[number];
                assert_eq!(cc.inverse() as usize, number ^ 1);
                case(&mut cases, format!("cmov{text} {x}, {y}"), move |asm| {
                    asm.cmov(cc, width, a, b)
                });
                if width == Width::D {
                    let low = name(a, Width::B);
                    case(&mut cases, format!("set{text} {low}"), move |asm| {
                        asm.setcc(cc, a)
                    });
                }
            }
        }
    }
    for width in [Width::D, Width::Q] {
        for n in 0..16 {
            let (a, b) = (Reg::ALL[n], Reg::ALL[15 - n]);
            let (x, y) = (name(a, width), name(b, width));
            case(&mut cases, format!("shrd {x}, {y}, 0x5"), move |asm| {
                asm.shrd_imm(width, a, b, 5)
            });
            case(&mut cases, format!("shrd {x}, {y}, cl"), move |asm| {
                asm.shrd_cl(width, a, b)
            });
        }
    }
    let mem = Mem::new(Reg::Rbp, 0x40);
    let at = memory(mem);
    case(&mut cases, format!("sets {at}"), move |asm| {
        asm.setcc(Cc::S, mem)
    });
    case(&mut cases, format!("test {at}, 0x41"), move |asm| {
        asm.test_imm(Width::B, mem, 0x41)
    });
    case(&mut cases, format!("bt {at}, 0x8"), move |asm| {
        asm.bit_test_imm(BitTest::Test, Width::D, mem, 8)
    });
    case(&mut cases, "lahf".into(), Assembler::lahf);
    case(&mut cases, "sahf".into(), Assembler::sahf);
    case(&mut cases, "cmc".into(), Assembler::cmc);
    case(&mut cases, "cqo".into(), |asm| asm.sign_to_rdx(Width::Q));
    case(&mut cases, "cdq".into(), |asm| asm.sign_to_rdx(Width::D));
    check(cases);
}

#[test]
fn locked_stack_and_indirect_forms_decode_as_written() {
    let mut cases = Cases::new();
    for a in Reg::ALL {
        let mem = Mem::new(a, -0x20);
        let (x, at) = (name(a, Width::Q), memory(mem));
        case(&mut cases, format!("push {x}"), move |asm| asm.push(a));
        case(&mut cases, format!("pop {x}"), move |asm| asm.pop(a));
        case(&mut cases, format!("push {at}"), move |asm| {
            asm.push_mem(mem)
        });
        case(&mut cases, format!("pop {at}"), move |asm| asm.pop_mem(mem));
        case(&mut cases, format!("jmp {x}"), move |asm| asm.jmp_rm(a));
        case(&mut cases, format!("jmp {at}"), move |asm| asm.jmp_rm(mem));
        case(&mut cases, format!("call {x}"), move |asm| asm.call_rm(a));
        case(&mut cases, format!("call {at}"), move |asm| {
            asm.call_rm(mem)
        });
        for width in WIDTHS {
            let x = name(a, width);
            case(&mut cases, format!("lock xadd {at}, {x}"), move |asm| {
                asm.lock_xadd(width, mem, a)
            });
            for (op, text) in ALUS.into_iter().filter(|&(op, _)| op != Alu::Cmp) {
                case(&mut cases, format!("lock {text} {at}, {x}"), move |asm| {
                    asm.lock_alu(op, width, mem, a)
                });
            }
            case(&mut cases, format!("lock cmpxchg {at}, {x}"), move |asm| {
                asm.lock_cmpxchg(width, mem, a)
            });
            case(&mut cases, format!("mov {at}, 0x12"), move |asm| {
                asm.store_imm(width, mem, 0x12)
            });
        }
    }
    case(&mut cases, "test dh, 0x10".into(), |asm| asm.test_dh(0x10));
    case(&mut cases, "ret".into(), Assembler::ret);
    case(&mut cases, "ret 0x8".into(), |asm| asm.ret_dropping(8));
    case(&mut cases, "mfence".into(), Assembler::mfence);
    check(cases);
}

/// An operation on whole vector registers.
type Between = fn(&mut Assembler, Xmm, Xmm);

#[test]
fn floating_point_decodes_as_written() {
    let mut cases = Cases::new();
    let scalars = ["sqrt", "add", "mul", "sub", "min", "div", "max"];
    for n in 0..16_u8 {
        let (a, b) = (Xmm(n), Xmm((n * 3 + 1) % 16));
        let gpr = Reg::ALL[usize::from(15 - n)];
        let mem = Mem::indexed(gpr, Reg::R9, 3, 0x10);
        let (x, y, at) = (format!("xmm{n}"), format!("xmm{}", b.0), memory(mem));
        case(&mut cases, format!("movhlps {x}, {y}"), move |asm| {
            asm.movhlps(a, b)
        });
        // The formatter names the forms by their halves.
        for (halves, text) in [(0, "pclmullqlqdq"), (0x11, "pclmulhqhqdq")] {
            case(&mut cases, format!("{text} {x}, {y}"), move |asm| {
                asm.pclmulqdq(a, b, halves)
            });
        }
        for double in [false, true] {
            let s = if double { "sd" } else { "ss" };
            for (op, text) in Scalar::ALL.into_iter().zip(scalars) {
                case(&mut cases, format!("{text}{s} {x}, {y}"), move |asm| {
                    asm.scalar(op, double, a, b)
                });
                case(&mut cases, format!("{text}{s} {x}, {at}"), move |asm| {
                    asm.scalar(op, double, a, mem)
                });
            }
            case(&mut cases, format!("ucomi{s} {x}, {y}"), move |asm| {
                asm.ucomis(double, a, b)
            });
            case(&mut cases, format!("comi{s} {x}, {y}"), move |asm| {
                asm.comis(double, a, b)
            });
            case(&mut cases, format!("mov{s} {x}, {at}"), move |asm| {
                asm.load_scalar(double, a, mem)
            });
            case(&mut cases, format!("mov{s} {at}, {x}"), move |asm| {
                asm.store_scalar(double, mem, a)
            });
            for width in WIDE {
                let g = name(gpr, width);
                case(&mut cases, format!("cvtsi2{s} {x}, {g}"), move |asm| {
                    asm.cvt_from_int(width, double, a, gpr)
                });
                case(&mut cases, format!("cvt{s}2si {g}, {x}"), move |asm| {
                    asm.cvt_to_int(width, double, gpr, a)
                });
                case(&mut cases, format!("cvtt{s}2si {g}, {x}"), move |asm| {
                    asm.cvt_to_int_truncated(width, double, gpr, a)
                });
            }
            let to = if double { "cvtsd2ss" } else { "cvtss2sd" };
            case(&mut cases, format!("{to} {x}, {y}"), move |asm| {
                asm.cvt_precision(double, a, b)
            });
        }
        for (width, text) in [(Width::D, "movd"), (Width::Q, "movq")] {
            let g = name(gpr, width);
            case(&mut cases, format!("{text} {x}, {g}"), move |asm| {
                asm.mov_to_xmm(width, a, gpr)
            });
            case(&mut cases, format!("{text} {g}, {x}"), move |asm| {
                asm.mov_from_xmm(width, gpr, a)
            });
        }
        let whole: [(&str, Between); 7] = [
            ("movaps", Assembler::movaps),
            ("andps", Assembler::andps),
            ("andnps", Assembler::andnps),
            ("orps", Assembler::orps),
            ("xorps", Assembler::xorps),
            ("unpcklps", Assembler::unpcklps),
            ("pcmpeqd", Assembler::pcmpeqd),
        ];
        for (text, op) in whole {
            case(&mut cases, format!("{text} {x}, {y}"), move |asm| {
                op(asm, a, b)
            });
        }
        for (width, text) in [(Width::D, "pslld"), (Width::Q, "psllq")] {
            case(&mut cases, format!("{text} {x}, 0x1f"), move |asm| {
                asm.shift_lanes_left(width, a, 31)
            });
        }
        for (op, text) in [
            (Fused::MulAdd, "vfmadd231"),
            (Fused::MulSub, "vfmsub231"),
            (Fused::NegMulAdd, "vfnmadd231"),
            (Fused::NegMulSub, "vfnmsub231"),
        ] {
            for (double, s) in [(false, "ss"), (true, "sd")] {
                let third = Xmm((n * 7 + 5) % 16);
                let z = format!("xmm{}", third.0);
                case(&mut cases, format!("{text}{s} {x}, {y}, {z}"), move |asm| {
                    asm.fused(op, double, a, b, third)
                });
                case(
                    &mut cases,
                    format!("{text}{s} {x}, {y}, {at}"),
                    move |asm| asm.fused(op, double, a, b, mem),
                );
            }
        }
        case(&mut cases, format!("ldmxcsr {at}"), move |asm| {
            asm.ldmxcsr(mem)
        });
        case(&mut cases, format!("stmxcsr {at}"), move |asm| {
            asm.stmxcsr(mem)
        });
    }
    check(cases);
}

#[test]
fn branches_reach_labels_and_addresses() {
    let lines = read_back(|asm| {
        let (back, ahead) = (asm.here(), asm.label());
        asm.jcc(Cc::Ne, ahead);
        asm.jmp(back);
        asm.call(back);
        asm.bind(ahead);
        asm.jmp_to(0x2000);
        asm.call_to(0x800);
        assert_eq!(asm.offset_of(ahead), 16);
    });
    assert_eq!(
        lines,
        [
            "jne 0x1010",
            "jmp 0x1000",
            "call 0x1000",
            "jmp 0x2000",
            "call 0x800"
        ]
    );
}

#[test]
fn code_beyond_the_capacity_is_refused() {
    let mut asm = Assembler::new(64);
    for _ in 0..64 {
        asm.mfence();
    }
    assert!(asm.finish(0).is_none());
    asm.clear();
    asm.ret();
    assert_eq!(asm.finish(0), Some(&[0xc3][..]));
}

#[test]
fn jumps_that_are_replaced_have_aligned_displacements_wherever_they_come() {
    for before in 0..8 {
        let mut asm = Assembler::default();
        for _ in 0..before {
            asm.ret();
        }
        let end = asm.label();
        let places = [asm.jmp_for_now(end), asm.jcc_for_now(Cc::Ne, end)];
        asm.bind(end);
        let code = asm.finish(0).expect("short code").to_vec();
        for place in places {
            assert_eq!(place % 4, 0);
            let place = place as usize;
            let displacement = i32::from_le_bytes(code[place..place + 4].try_into().unwrap());
            assert_eq!(place as i32 + 4 + displacement, code.len() as i32);
        }
    }
}

#[test]
fn code_in_two_parts_jumps_between_them() {
    let mut asm = Assembler::default();
    let (away, back) = (asm.label(), asm.label());
    asm.jmp(away);
    asm.jcc_short(Cc::E, back);
    asm.bind(back);
    asm.ret();
    let split = asm.len();
    asm.bind(away);
    asm.jmp(back);
    let (hot, cold) = asm
        .finish_in_two(split, [0x1000, 0x9000])
        .expect("short code");
    assert_eq!((hot.len(), cold.len()), (8, 5));
    let target = |at: u64, code: &[u8]| {
        let displacement = i32::from_le_bytes(code[1..5].try_into().unwrap());
        at.wrapping_add_signed(i64::from(displacement) + 5)
    };
    assert_eq!(target(0x1000, hot), 0x9000);
    assert_eq!(target(0x9000, cold), 0x1007);
    assert_eq!(hot[5..], [0x74, 0, 0xc3]);
}

#[test]
fn vector_instructions_decode_as_written() {
    let mut cases = Cases::new();
    let [add, sub_wide, shuffle] = [
        Vex::new(1, 1, 0xfe),
        Vex::new(1, 2, 0xb9).wide(),
        Vex::new(1, 3, 0x0f),
    ];
    for n in 0..16_u8 {
        let (a, b, c) = (Xmm(n), Xmm((n * 3 + 1) % 16), Xmm((n * 7 + 5) % 16));
        let mem = Mem::indexed(Reg::ALL[usize::from(15 - n)], Reg::R9, 3, 0x10);
        let at = memory(mem);
        let [x, y, z] = [a, b, c].map(|reg| format!("xmm{}", reg.0));
        let [wide_x, wide_y, wide_z] = [a, b, c].map(|reg| format!("ymm{}", reg.0));
        case(&mut cases, format!("vpaddd {x}, {y}, {z}"), move |asm| {
            asm.vex(add, a.0, b.0, c)
        });
        case(
            &mut cases,
            format!("vpaddd {wide_x}, {wide_y}, {wide_z}"),
            move |asm| asm.vex(add.long(), a.0, b.0, c),
        );
        case(
            &mut cases,
            format!("vfmadd231sd {x}, {y}, {at}"),
            move |asm| asm.vex(sub_wide, a.0, b.0, mem),
        );
        case(
            &mut cases,
            format!("vpalignr {x}, {y}, {at}, 0x7"),
            move |asm| asm.vex_imm(shuffle, a.0, b.0, mem, 7),
        );
        case(&mut cases, format!("vmovups {x}, {at}"), move |asm| {
            asm.vmov(a, mem)
        });
        case(&mut cases, format!("vmovups {at}, {x}"), move |asm| {
            asm.vstore(mem, a)
        });
        if a != b {
            case(&mut cases, format!("vmovaps {x}, {y}"), move |asm| {
                asm.vmov(a, b)
            });
        }
        case(&mut cases, format!("vxorps {x}, {x}, {x}"), move |asm| {
            asm.vzero(a)
        });
        case(&mut cases, format!("vpcmpeqd {x}, {x}, {x}"), move |asm| {
            asm.vones(a)
        });
    }
    case(&mut cases, "vzeroupper".into(), Assembler::vzeroupper);
    check(cases);
}
