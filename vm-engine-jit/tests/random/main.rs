//! Random RISC-V programs: translated code against the interpreter, which must agree on every register, on memory, on
//! exceptions and on the instructions counted.

mod cas;
mod float;
mod lockstep;

use std::sync::Arc;

use vm_core::{Clock, GuestPhysAddr, GuestVirtAddr, TimeBase, VcpuId, VmExit};
use vm_device::Bus;
use vm_engine::{Engine, EngineParts, Vcpu};
use vm_engine_jit::Template;
use vm_frontend::riscv::Riscv;
use vm_frontend::riscv::isa::CpuModel;
use vm_frontend::riscv::state::HartState;
use vm_frontend::{Guest, InstanceSpec};
use vm_mem::GuestMemory;
use vm_osal::{HostClock, TimerThread};
use vm_testing::Random;

const RAM: u64 = 0x8000_0000;
const RAM_BYTES: u64 = 1 << 20;
const DATA: u64 = RAM + 0x4_0000;
const TRAP: u64 = RAM + 0x8_0000;
/// Bytes of random data around [`DATA`].
const DATA_BYTES: usize = 8192;
const ECALL: u32 = 0x73;

/// What instructions are made from.
trait Registers {
    /// Any register but those that hold addresses (x4: data, x3: return of calls).
    fn reg(&mut self) -> u32;
}

impl Registers for Random {
    fn reg(&mut self) -> u32 {
        [0, 1, 2][..]
            .get(self.below(12) as usize)
            .copied()
            .unwrap_or(5 + self.below(27))
    }
}

fn r_type(opcode: u32, funct3: u32, funct7: u32, rd: u32, rs1: u32, rs2: u32) -> u32 {
    funct7 << 25 | rs2 << 20 | rs1 << 15 | funct3 << 12 | rd << 7 | opcode
}

fn i_type(opcode: u32, funct3: u32, rd: u32, rs1: u32, imm: i32) -> u32 {
    (imm as u32) << 20 | rs1 << 15 | funct3 << 12 | rd << 7 | opcode
}

fn s_type(opcode: u32, funct3: u32, rs1: u32, rs2: u32, imm: i32) -> u32 {
    let imm = imm as u32;
    (imm >> 5 & 127) << 25 | rs2 << 20 | rs1 << 15 | funct3 << 12 | (imm & 31) << 7 | opcode
}

fn branch(funct3: u32, rs1: u32, rs2: u32, offset: i32) -> u32 {
    let o = offset as u32;
    (o >> 12 & 1) << 31
        | (o >> 5 & 63) << 25
        | rs2 << 20
        | rs1 << 15
        | funct3 << 12
        | (o >> 1 & 15) << 8
        | (o >> 11 & 1) << 7
        | 0x63
}

fn jal(rd: u32, offset: i32) -> u32 {
    let o = offset as u32;
    (o >> 20 & 1) << 31
        | (o >> 1 & 0x3ff) << 21
        | (o >> 11 & 1) << 20
        | (o >> 12 & 0xff) << 12
        | rd << 7
        | 0x6f
}

/// (funct7, funct3) of two-register operations of I, M, Zba, Zbb, Zbc, Zbs and Zicond.
const OP: [(u32, u32); 43] = [
    (0, 0),
    (0x20, 0),
    (0, 1),
    (0, 2),
    (0, 3),
    (0, 4),
    (0, 5),
    (0x20, 5),
    (0, 6),
    (0, 7),
    (1, 0),
    (1, 1),
    (1, 2),
    (1, 3),
    (1, 4),
    (1, 5),
    (1, 6),
    (1, 7),
    (0x10, 2),
    (0x10, 4),
    (0x10, 6),
    (0x20, 7),
    (0x20, 6),
    (0x20, 4),
    (5, 1),
    (5, 2),
    (5, 3),
    (7, 5),
    (7, 7),
    (5, 4),
    (5, 5),
    (5, 6),
    (5, 7),
    (0x30, 1),
    (0x30, 5),
    (0x14, 1),
    (0x24, 1),
    (0x34, 1),
    (0x24, 5),
    (0, 0),
    (0x20, 0),
    (0, 7),
    (0, 4),
];
/// The same of 32-bit operations.
const OP_32: [(u32, u32); 16] = [
    (0, 0),
    (0x20, 0),
    (0, 1),
    (0, 5),
    (0x20, 5),
    (1, 0),
    (1, 4),
    (1, 5),
    (1, 6),
    (1, 7),
    (4, 0),
    (0x10, 2),
    (0x10, 4),
    (0x10, 6),
    (0x30, 1),
    (0x30, 5),
];
/// Unary operations and shifts by constants: bits 31 to 20, funct3, opcode.
const UNARY: [(u32, u32, u32); 22] = [
    (0x600, 1, 0x13),
    (0x601, 1, 0x13),
    (0x602, 1, 0x13),
    (0x604, 1, 0x13),
    (0x605, 1, 0x13),
    (0x287, 5, 0x13),
    (0x6b8, 5, 0x13),
    (0x600, 1, 0x1b),
    (0x601, 1, 0x1b),
    (0x602, 1, 0x1b),
    (0x020, 1, 0x13),
    (0x42c, 5, 0x13),
    (0x40d, 5, 0x1b),
    (0x611, 5, 0x13),
    (0x60b, 5, 0x1b),
    (0x085, 1, 0x1b),
    (0x0a7, 1, 0x1b),
    (0x080, 4, 0x3b),
    (0x29f, 1, 0x13),
    (0x4bf, 1, 0x13),
    (0x6a0, 1, 0x13),
    (0x4a1, 5, 0x13),
];

/// One instruction that stands `left` instructions before the end.
fn instruction(random: &mut Random, left: i32) -> u32 {
    let (rd, a, b) = (random.reg(), random.reg(), random.reg());
    let imm = random.below(4096) - 2048;
    match random.below(20) {
        0..=5 => {
            let (funct7, funct3) = OP[random.below(OP.len() as u32) as usize];
            r_type(0x33, funct3, funct7, rd, a, b)
        }
        6..=8 => {
            let (funct7, funct3) = OP_32[random.below(OP_32.len() as u32) as usize];
            r_type(0x3b, funct3, funct7, rd, a, b)
        }
        9..=10 => i_type(
            0x13,
            [0, 2, 3, 4, 6, 7][random.below(6) as usize],
            rd,
            a,
            imm,
        ),
        11 => i_type(0x1b, 0, rd, a, imm),
        12 => {
            let (high, funct3, opcode) = UNARY[random.below(UNARY.len() as u32) as usize];
            high << 20 | a << 15 | funct3 << 12 | rd << 7 | opcode
        }
        13 => i_type(0x13, 1, rd, a, random.below(64)),
        14 => (random.next() as u32) << 12 | rd << 7 | if imm & 1 == 0 { 0x17 } else { 0x37 },
        // Loads, some of them misaligned, rarely across a page or from nowhere.
        15 => i_type(0x03, random.below(7), rd, base(random, a), imm),
        16 => s_type(0x23, random.below(4), base(random, a), b, imm),
        // Floating-point registers, and arithmetic on whatever bits they hold.
        17 => match random.below(4) {
            0 => i_type(0x07, 2 + random.below(2), rd, 4, imm),
            1 => s_type(0x27, 2 + random.below(2), 4, b, imm),
            2 => r_type(
                0x53,
                7,
                [0, 1, 4, 5, 8, 9][random.below(6) as usize],
                rd,
                a,
                b,
            ),
            _ => r_type(0x53, 0, if imm & 1 == 0 { 0x71 } else { 0x79 }, rd, a, 0),
        },
        18 => {
            let at = base(random, a);
            atomic(random, rd, at, b)
        }
        _ => {
            let far = 4 * (1 + random.below(left.clamp(1, 24) as u32) as i32);
            if imm & 7 == 0 {
                jal(rd, far)
            } else {
                branch([0, 1, 4, 5, 6, 7][random.below(6) as usize], a, b, far)
            }
        }
    }
}

/// An atomic operation: often on a reservation, or nobody would see one kept, and often with a result that nobody wants.
fn atomic(random: &mut Random, rd: u32, at: u32, value: u32) -> u32 {
    const LR: u32 = 2;
    const SC: u32 = 3;
    let rest = [0, 1, 4, 5, 8, 0xc, 0x10, 0x14, 0x18, 0x1c];
    let funct5 = match random.below(16) {
        0..=3 => LR,
        4..=7 => SC,
        _ => rest[random.below(10) as usize],
    };
    let rd = if random.below(4) == 0 { 0 } else { rd };
    let value = if funct5 == LR { 0 } else { value };
    let funct7 = funct5 << 2 | random.below(4);
    // Reservations are of words and double words.
    let size = match funct5 {
        LR | SC => 2 + random.below(2),
        _ => random.below(4),
    };
    r_type(0x2f, size, funct7, rd, at, value)
}

/// Mostly the data pointer.
fn base(random: &mut Random, other: u32) -> u32 {
    if random.below(200) == 0 { other } else { 4 }
}

/// What random programs are made of.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// Everything, few floating-point instructions among it.
    Mixed,
    /// Mostly floating point.
    Float,
    /// Mostly atomics.
    Atomic,
}

/// A program that runs its random body a few times, so that blocks are linked, and ends in a call of firmware.
fn program(random: &mut Random, insns: i32, kind: Kind) -> Vec<u32> {
    let mut words: Vec<u32> = (0..insns)
        .map(|n| match kind {
            Kind::Float if n == 0 => float::set_rounding(random),
            Kind::Float if random.below(8) != 0 => float::instruction(random),
            Kind::Atomic if random.below(4) != 0 => {
                let (rd, value, other) = (random.reg(), random.reg(), random.reg());
                // Addresses that are none end the program.
                let at = if random.below(4) == 0 {
                    base(random, other)
                } else {
                    4
                };
                atomic(random, rd, at, value)
            }
            _ => instruction(random, insns - n),
        })
        .collect();
    // x3 counts down; it is in no other instruction.
    words.push(i_type(0x13, 0, 3, 3, -1));
    let back = -4 * insns;
    if back - 8 >= -4096 {
        words.push(branch(1, 3, 0, back - 4));
    } else {
        words.push(branch(0, 3, 0, 8));
        words.push(jal(0, back - 8));
    }
    words.push(ECALL);
    words
}

fn engine(image: &[u8], start: u64, data: &[u8]) -> Arc<Engine<Riscv>> {
    let memory = GuestMemory::new(&[(GuestPhysAddr(RAM), RAM_BYTES)]).expect("host memory");
    memory.write(GuestPhysAddr(start), image).unwrap();
    memory.write(GuestPhysAddr(DATA - 4096), data).unwrap();
    let clock: Arc<dyn Clock> = Arc::new(HostClock::new());
    Engine::new(EngineParts {
        config: CpuModel::from_name("max").expect("a model").config(),
        memory: memory.into(),
        bus: Arc::new(Bus::new()),
        ports: Arc::new(Bus::new()),
        rom: Vec::new(),
        time: Arc::new(TimeBase::new(clock.clone(), 10_000_000)),
        alarms: Arc::new(TimerThread::new(clock).unwrap()),
        code_budget_bytes: 32 << 20,
    })
}

struct End {
    state: HartState,
    retired: u64,
    data: Vec<u8>,
}

fn bits(random: &mut Random, kind: Kind) -> u64 {
    match kind {
        Kind::Mixed | Kind::Atomic => random.value(),
        Kind::Float => float::value(random),
    }
}

/// A machine with a program and random data, about to run it.
fn prepare(words: &[u32], start: u64, seed: u64, kind: Kind) -> (Arc<Engine<Riscv>>, Vcpu<Riscv>) {
    let mut random = Random(seed | 1);
    let mut data = vec![0; DATA_BYTES];
    data.chunks_mut(8)
        .for_each(|chunk| chunk.copy_from_slice(&bits(&mut random, kind).to_le_bytes()));
    let image: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
    let engine = engine(&image, start, &data);
    let trap = ECALL.to_le_bytes();
    engine.memory().write(GuestPhysAddr(TRAP), &trap).unwrap();
    let spec = InstanceSpec {
        vcpu: VcpuId(0),
        entry: GuestVirtAddr(start),
        builtin_firmware: true,
    };
    let mut vcpu = Vcpu::new(&engine, spec);
    let state = vcpu.state_mut();
    for n in 1..32 {
        state.x[n] = random.value();
        state.f[n] = bits(&mut random, kind);
    }
    (state.x[3], state.x[4]) = (5, DATA);
    if kind == Kind::Atomic {
        // Some words are the last of their page, some misaligned for those of 64 bits.
        state.x[4] += [0, 0, 0, 0, 0, 4, 0xff8, 0xffc][random.below(8) as usize];
    }
    state.stvec = TRAP;
    // Floating point on (RISC-V Priv 1.13, 3.1.6.6).
    state.mstatus |= 1 << 13;
    (engine, vcpu)
}

fn run(words: &[u32], start: u64, seed: u64, kind: Kind, translated: bool) -> End {
    let (engine, mut vcpu) = prepare(words, start, seed, kind);
    if translated {
        let template = Template::new(Riscv::layout(), 1 << 20).expect("this host allows it");
        engine.set_translator(Arc::new(template));
    }
    assert_eq!(vcpu.run(), VmExit::FirmwareCall);
    let retired = vcpu.stats().retired;
    let mut data = vec![0; DATA_BYTES];
    engine
        .memory()
        .read(GuestPhysAddr(DATA - 4096), &mut data)
        .unwrap();
    End {
        state: *vcpu.state(),
        retired,
        data,
    }
}

/// Compares both ways to run a program; true when it came to its end.
fn compare(seed: u64, insns: i32, kind: Kind) -> bool {
    let mut random = Random(seed | 1);
    let words = program(&mut random, insns, kind);
    // Some programs lie across the end of a page.
    let start = RAM + 0x1000 + 4 * random.below(1024);
    let interpreted = run(&words, start, seed, kind, false);
    let translated = run(&words, start, seed, kind, true);
    assert!(
        interpreted.state == translated.state,
        "seed {seed:#x}: {:#x?} interpreted, {:#x?} translated",
        interpreted.state,
        translated.state
    );
    assert_eq!(interpreted.retired, translated.retired, "seed {seed:#x}");
    assert!(
        interpreted.data == translated.data,
        "memory, seed {seed:#x}"
    );
    interpreted.state.x[3] == 0
}

#[test]
fn random_programs_end_alike_translated_and_interpreted() {
    let count = std::env::var("RANDOM_PROGRAMS").map_or(300, |n| n.parse().unwrap());
    let mut seeds = Random(0x9e37_79b9_7f4a_7c15);
    let mut finished = 0;
    for _ in 0..count {
        finished += u32::from(compare(seeds.next(), 8, Kind::Mixed));
        finished += u32::from(compare(seeds.next(), 120, Kind::Mixed));
    }
    // The others end early, in exceptions.
    assert!(finished > count, "{finished} of {}", 2 * count);
}

#[test]
fn long_programs_end_alike_translated_and_interpreted() {
    let mut seeds = Random(0xdead_beef_cafe_f00d);
    for _ in 0..20 {
        compare(seeds.next(), 2500, Kind::Mixed);
    }
}

#[test]
fn floating_point_programs_end_alike_translated_and_interpreted() {
    let count = std::env::var("RANDOM_PROGRAMS").map_or(1500, |n| n.parse().unwrap());
    let seed = std::env::var("RANDOM_SEED").map_or(0, |n| n.parse().unwrap());
    let mut seeds = Random(0x0f1e_2d3c_4b5a_6978 ^ seed);
    let mut finished = 0;
    for _ in 0..count {
        finished += u32::from(compare(seeds.next(), 8, Kind::Float));
        finished += u32::from(compare(seeds.next(), 60, Kind::Float));
    }
    assert!(finished > count, "{finished} of {}", 2 * count);
}

#[test]
fn atomic_programs_end_alike_translated_and_interpreted() {
    let count = std::env::var("RANDOM_PROGRAMS").map_or(300, |n| n.parse().unwrap());
    let mut seeds = Random(0x5ca1_ab1e_0ddb_a11d);
    let mut finished = 0;
    for _ in 0..count {
        finished += u32::from(compare(seeds.next(), 8, Kind::Atomic));
        finished += u32::from(compare(seeds.next(), 60, Kind::Atomic));
    }
    assert!(finished > count, "{finished} of {}", 2 * count);
}
