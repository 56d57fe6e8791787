//! What virtual CPUs on threads of their own see of each other's translated stores and atomics (RISC-V Unpriv 20240411,
//! chapters "RVWMO" and "A").
//!
//! `SMP_RUNS` sets the rounds of every test, as in `SMP_RUNS=10000000`.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use vm_core::{Clock, GuestPhysAddr, GuestVirtAddr, TimeBase, VcpuId, VmExit};
use vm_device::Bus;
use vm_engine::{Engine, EngineParts, Vcpu};
use vm_engine_jit::Template;
use vm_frontend::riscv::Riscv;
use vm_frontend::riscv::isa::CpuModel;
use vm_frontend::{Guest as _, InstanceSpec};
use vm_mem::GuestMemory;
use vm_osal::{HostClock, TimerThread};

const BASE: u64 = 0x10000;
const RAM: u64 = 0x10_0000;
const TRAP: u64 = BASE + RAM - 0x1000;
const DATA: u64 = BASE + 0x8000;
/// Rounds of store buffering that are kept and looked at together.
const BATCH: u64 = 20_000;

const ECALL: u32 = 0x73;
const FENCE_RW_RW: u32 = 0x0330_000f;
const BEQ: u32 = 0;
const BNE: u32 = 1;
const BLTU: u32 = 6;
const BGEU: u32 = 7;

fn i_type(base: u32, rd: u32, rs1: u32, imm: i64) -> u32 {
    base | rd << 7 | rs1 << 15 | (imm as u32 & 0xfff) << 20
}

fn addi(rd: u32, rs1: u32, imm: i64) -> u32 {
    i_type(0x13, rd, rs1, imm)
}

fn ld(rd: u32, rs1: u32, imm: i64) -> u32 {
    i_type(0x3003, rd, rs1, imm)
}

fn sd(rs2: u32, rs1: u32, imm: i64) -> u32 {
    let imm = imm as u32;
    0x3023 | rs1 << 15 | rs2 << 20 | (imm & 31) << 7 | (imm >> 5 & 127) << 25
}

fn branch(funct3: u32, rs1: u32, rs2: u32, bytes: i64) -> u32 {
    let imm = bytes as u32;
    let low = (imm >> 11 & 1) << 7 | (imm >> 1 & 15) << 8;
    let high = (imm >> 5 & 63) << 25 | (imm >> 12 & 1) << 31;
    0x63 | funct3 << 12 | rs1 << 15 | rs2 << 20 | low | high
}

/// `lui` and `addi` that put a number below 2^31 into a register.
fn constant(rd: u32, value: u64) -> [u32; 2] {
    let upper = (value as u32).wrapping_add(0x800) & 0xffff_f000;
    [0x37 | rd << 7 | upper, addi(rd, rd, value as i64)]
}

/// An atomic operation on 64 bits: funct5 with the bits aq and rl.
fn atomic(funct5: u32, aq_rl: u32, rd: u32, at: u32, value: u32) -> u32 {
    0x302f | rd << 7 | at << 15 | value << 20 | aq_rl << 25 | funct5 << 27
}

/// The same on 32 bits.
fn atomic_32(funct5: u32, rd: u32, at: u32, value: u32) -> u32 {
    atomic(funct5, 0, rd, at, value) ^ 0x1000
}

const ADD: u32 = 0;
const SWAP: u32 = 1;
const LR: u32 = 2;
const SC: u32 = 3;
const XOR: u32 = 4;
const MAXU: u32 = 0x1c;
const AQ_RL: u32 = 3;

fn bytes(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

fn span(words: &[u32]) -> i64 {
    4 * words.len() as i64
}

/// Rounds of a test.
fn runs(default: u64) -> u64 {
    std::env::var("SMP_RUNS").map_or(default, |n| n.parse().expect("a number"))
}

fn engine(code_bytes: usize) -> Arc<Engine<Riscv>> {
    let memory = GuestMemory::new(&[(GuestPhysAddr(BASE), RAM)]).expect("host memory");
    let clock: Arc<dyn Clock> = Arc::new(HostClock::new());
    let engine = Engine::new(EngineParts {
        config: CpuModel::from_name("max").expect("a model").config(),
        memory: memory.into(),
        bus: Arc::new(Bus::new()),
        ports: Arc::new(Bus::new()),
        rom: Vec::new(),
        time: Arc::new(TimeBase::new(clock.clone(), 10_000_000)),
        alarms: Arc::new(TimerThread::new(clock).unwrap()),
        code_budget_bytes: code_bytes,
    });
    let template = Template::new(Riscv::layout(), code_bytes).expect("this host allows it");
    engine.set_translator(Arc::new(template));
    engine
}

fn run(vcpu: &mut Vcpu<Riscv>) -> [u64; 32] {
    assert_eq!(vcpu.run(), VmExit::FirmwareCall);
    let state = vcpu.state();
    assert_eq!(
        state.scause, 0,
        "exception at {:#x}, value {:#x}",
        state.sepc, state.stval
    );
    state.x
}

/// Runs each program on a virtual CPU and a thread of its own; gives the last registers.
fn together(programs: [Vec<u32>; 2]) -> (Arc<Engine<Riscv>>, [[u64; 32]; 2]) {
    let engine = engine(32 << 20);
    let registers = together_on(&engine, programs, || ());
    (engine, registers)
}

/// The same on an engine that is there; `meanwhile` runs again and again until all have ended.
fn together_on<const N: usize>(
    engine: &Arc<Engine<Riscv>>,
    programs: [Vec<u32>; N],
    mut meanwhile: impl FnMut(),
) -> [[u64; 32]; N] {
    // Pairs that wait for each other need both their processors at a time.
    static ALONE: Mutex<()> = Mutex::new(());
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let write = |at, words: &[u32]| {
        let done = engine.memory().write(GuestPhysAddr(at), &bytes(words));
        done.expect("within memory");
    };
    write(TRAP, &[ECALL]);
    let mut number = 0;
    let mut vcpus = programs.map(|words| {
        let at = BASE + 0x1000 * u64::from(number);
        write(at, &words);
        let spec = InstanceSpec {
            vcpu: VcpuId(number),
            entry: GuestVirtAddr(at),
            builtin_firmware: true,
        };
        number += 1;
        let mut vcpu = Vcpu::new(engine, spec);
        vcpu.state_mut().stvec = TRAP;
        vcpu
    });
    thread::scope(|scope| {
        let threads = vcpus.each_mut().map(|vcpu| scope.spawn(|| run(vcpu)));
        while threads.iter().any(|thread| !thread.is_finished()) {
            meanwhile();
            thread::sleep(Duration::from_millis(1));
        }
        threads.map(|thread| thread.join().expect("the program ends"))
    })
}

fn word(engine: &Engine<Riscv>, at: u64) -> u64 {
    let mut bytes = [0; 8];
    let done = engine.memory().read(GuestPhysAddr(at), &mut bytes);
    done.expect("within memory");
    u64::from_le_bytes(bytes)
}

/// A loop of `rounds` around `body`, with the data's address in t0 and the round, from 1, in s0. `before` runs once.
fn rounds(rounds: u64, before: &[u32], body: &[u32]) -> Vec<u32> {
    let mut words = constant(5, DATA).to_vec();
    words.extend(constant(9, rounds));
    words.push(addi(8, 0, 0));
    words.extend(before);
    let top = span(&words);
    words.push(addi(8, 8, 1));
    words.extend(body);
    words.push(branch(BNE, 8, 9, top - span(&words)));
    words.push(ECALL);
    words
}

#[test]
fn amo_sums_of_two_virtual_cpus_add_up() {
    let count = runs(1_000_000);
    // With a result and without, in 64 and in 32 bits.
    let body = [
        atomic(ADD, 0, 0, 5, 8),
        addi(6, 5, 64),
        atomic_32(ADD, 0, 6, 8),
        addi(6, 5, 128),
        atomic(ADD, 0, 7, 6, 8),
        addi(6, 5, 192),
        atomic_32(ADD, 7, 6, 8),
    ];
    let program = rounds(count, &[], &body);
    let (engine, _) = together([program.clone(), program]);
    let sum = count.wrapping_mul(count + 1);
    assert_eq!(word(&engine, DATA), sum);
    assert_eq!(word(&engine, DATA + 64), sum & 0xffff_ffff);
    assert_eq!(word(&engine, DATA + 128), sum);
    assert_eq!(word(&engine, DATA + 192), sum & 0xffff_ffff);
}

#[test]
fn amo_results_of_two_virtual_cpus_are_a_total_order() {
    let count = runs(500_000);
    // Each toggles a bit of its own, and counts in s4 when it finds it in the wrong state; both raise a maximum, and
    // count in s5 when what they find is below what they have raised it to.
    let program = |bit: u32| {
        let before = [
            addi(19, 0, 1 << bit),
            addi(20, 0, 0),
            addi(21, 0, 0),
            addi(22, 0, 0),
            addi(23, 5, 64),
            addi(24, 0, 0),
        ];
        let body = [
            atomic(XOR, 0, 6, 5, 19),
            // and t1, t1, s3; beq t1, s6, good; addi s4, s4, 1
            0x33 | 6 << 7 | 7 << 12 | 6 << 15 | 19 << 20,
            branch(BEQ, 6, 22, 8),
            addi(20, 20, 1),
            // xor s6, s6, s3
            0x33 | 22 << 7 | 4 << 12 | 22 << 15 | 19 << 20,
            atomic(MAXU, 0, 7, 23, 8),
            branch(BGEU, 7, 24, 8),
            addi(21, 21, 1),
            addi(24, 8, 0),
        ];
        rounds(count, &before, &body)
    };
    let (engine, registers) = together([program(0), program(1)]);
    for x in registers {
        assert_eq!((x[20], x[21]), (0, 0), "wrong bits, wrong maxima");
    }
    let odd = count & 1;
    assert_eq!(word(&engine, DATA), odd | odd << 1);
    assert_eq!(word(&engine, DATA + 64), count);
}

#[test]
fn reserved_increments_of_two_virtual_cpus_add_up() {
    let count = runs(500_000);
    // again: lr.d a0, (t0); addi a0, a0, 1; sc.d a1, a0, (t0); bnez a1, again
    let body = [
        atomic(LR, 0, 10, 5, 0),
        addi(10, 10, 1),
        atomic(SC, 0, 11, 5, 10),
        branch(BNE, 11, 0, -12),
    ];
    let program = rounds(count, &[], &body);
    let (engine, _) = together([program.clone(), program]);
    assert_eq!(word(&engine, DATA), 2 * count);
}

#[test]
fn counter_behind_a_swapped_lock_is_exact() {
    let count = runs(200_000);
    // again: amoswap.d.aq t1, s3, (t0); bnez t1, again; the counter plus one; amoswap.d.rl x0, x0, (t0)
    let body = [
        atomic(SWAP, 2, 6, 5, 19),
        branch(BNE, 6, 0, -4),
        ld(7, 5, 64),
        addi(7, 7, 1),
        sd(7, 5, 64),
        atomic(SWAP, 1, 0, 5, 0),
    ];
    let program = rounds(count, &[addi(19, 0, 1)], &body);
    let (engine, _) = together([program.clone(), program]);
    assert_eq!(word(&engine, DATA + 64), 2 * count);
}

#[test]
fn reservation_is_lost_when_another_virtual_cpu_stores() {
    // 0: lr, tell 1, wait for 1's store, sc: must fail. 1: wait, store another value, tell 0. Round by round.
    let count = runs(50_000);
    let first = [
        atomic(LR, 0, 10, 5, 0),
        sd(8, 5, 64),
        ld(7, 5, 128),
        branch(BNE, 7, 8, -4),
        atomic(SC, 0, 11, 5, 0),
        // Successes in s4.
        branch(BNE, 11, 0, 8),
        addi(20, 20, 1),
    ];
    let second = [
        ld(7, 5, 64),
        branch(BNE, 7, 8, -4),
        sd(8, 5, 0),
        FENCE_RW_RW,
        sd(8, 5, 128),
    ];
    let first = rounds(count, &[addi(20, 0, 0)], &first);
    let (engine, registers) = together([first, rounds(count, &[], &second)]);
    assert_eq!(registers[0][20], 0, "conditional stores that succeeded");
    assert_eq!(word(&engine, DATA), count);
}

#[test]
fn message_behind_a_fence_is_never_older_than_its_flag() {
    let count = runs(1_000_000);
    // 0: data = n; fence; flag = n. 1: a = flag; fence; b = data; b < a is counted in s4.
    let writer = rounds(count, &[], &[sd(8, 5, 0), FENCE_RW_RW, sd(8, 5, 256)]);
    let mut reader = constant(5, DATA).to_vec();
    reader.extend(constant(9, count));
    reader.push(addi(20, 0, 0));
    let top = span(&reader);
    reader.extend([ld(6, 5, 256), FENCE_RW_RW, ld(7, 5, 0)]);
    reader.extend([branch(BGEU, 7, 6, 8), addi(20, 20, 1)]);
    reader.push(branch(BNE, 6, 9, top - span(&reader)));
    reader.push(ECALL);
    let (_, registers) = together([writer, reader]);
    assert_eq!(registers[1][20], 0, "stale messages");
}

/// Store buffering, `between` a virtual CPU's store and its load of the other's: in how many of [`BATCH`] rounds both
/// loads missed the other's store. `between` finds the other's address in s3 and leaves what it loaded in t1. The
/// rounds are in step by counters, so that the two run at the same time.
fn both_missed(between: &[u32]) -> u64 {
    let program = |own: i64, other: i64, kept: u64, here: i64, there: i64| {
        let mut before = constant(18, kept).to_vec();
        before.push(addi(19, 5, other));
        let mut body = vec![addi(18, 18, 8), sd(8, 5, own)];
        body.extend(between);
        body.extend([sd(6, 18, 0), FENCE_RW_RW, sd(8, 5, here), ld(7, 5, there)]);
        body.push(branch(BLTU, 7, 8, -4));
        rounds(BATCH, &before, &body)
    };
    let kept = [DATA + 0x10000, DATA + 0x40000];
    let a = program(0, 128, kept[0], 256, 384);
    let b = program(128, 0, kept[1], 384, 256);
    let (engine, _) = together([a, b]);
    let missed = (1..=BATCH).filter(|&n| {
        let [a, b] = kept.map(|kept| word(&engine, kept + 8 * n));
        a < n && b < n
    });
    missed.count() as u64
}

fn assert_never_both_missed(between: &[u32]) {
    for _ in 0..runs(60_000).div_ceil(BATCH) {
        assert_eq!(both_missed(between), 0, "rounds in which both loads missed");
    }
}

#[test]
fn fenced_stores_and_loads_do_not_both_miss() {
    assert_never_both_missed(&[FENCE_RW_RW, ld(6, 19, 0)]);
}

#[test]
fn stores_and_loads_around_an_atomic_do_not_both_miss() {
    // amoswap.d.aqrl t2, x0, (a word that nobody else uses)
    let apart = addi(10, 5, 512);
    assert_never_both_missed(&[apart, atomic(SWAP, AQ_RL, 7, 10, 0), ld(6, 19, 0)]);
}

#[test]
fn stores_and_reserved_loads_with_release_do_not_both_miss() {
    assert_never_both_missed(&[atomic(LR, AQ_RL, 6, 19, 0)]);
}

/// Without the fence both may miss, and on hosts with store buffers they do: translated code keeps that, and the tests
/// above can fail.
#[test]
fn unfenced_stores_and_loads_both_miss_at_times() {
    if thread::available_parallelism().map_or(1, usize::from) < 2 {
        eprintln!("skipped: one host processor runs one virtual CPU at a time");
        return;
    }
    let end = Instant::now() + Duration::from_secs(60);
    for between in [ld(6, 19, 0), atomic(LR, 0, 6, 19, 0)] {
        while both_missed(&[between]) == 0 {
            assert!(Instant::now() < end, "both loads have never missed");
        }
    }
}

/// A page of functions that are written anew all the time.
const CHANGING: u64 = BASE + 0x3_0000;
/// Functions that stay as they are, 512 a page.
const FUNCTIONS: u64 = BASE + 0x4_0000;
const FUNCTION_PAGES: u64 = 48;
const FENCE_I: u32 = 0x100f;

/// `addi a0, a0, number`, and back to the caller.
fn adding(number: i64) -> [u32; 2] {
    [addi(10, 10, number), i_type(0x67, 0, 1, 0)]
}

#[test]
fn virtual_cpus_that_rewrite_functions_count_right_while_old_code_makes_room() {
    const CPUS: u64 = 4;
    const BUDGET: usize = 2 << 20;
    let count = runs(2);
    let engine = engine(BUDGET);
    let write = |at, words: &[u32]| {
        let done = engine.memory().write(GuestPhysAddr(at), &bytes(words));
        done.expect("within memory");
    };
    let value = |n: u64| 1 + n % 7;
    for n in 0..FUNCTION_PAGES * 512 {
        write(FUNCTIONS + 8 * n, &adding(value(n) as i64));
    }
    for cpu in 0..CPUS {
        write(CHANGING + 8 * cpu, &adding(0));
    }
    let once: u64 = (0..FUNCTION_PAGES * 512).map(value).sum();
    let sw = |rs2: u32, rs1: u32, imm: u32| {
        0x2023 | rs1 << 15 | rs2 << 20 | (imm & 31) << 7 | (imm >> 5 & 127) << 25
    };
    let add = |rd: u32, rs1: u32, rs2: u32| 0x33 | rd << 7 | rs1 << 15 | rs2 << 20;
    let call = |rs1: u32| i_type(0x67, 1, rs1, 0);
    let program = |cpu: u64| {
        let mut words = constant(8, count).to_vec();
        words.extend(constant(13, u64::from(adding(0)[0])));
        words.extend(constant(15, 0x1000));
        words.extend(constant(9, FUNCTIONS + FUNCTION_PAGES * 0x1000));
        let round = span(&words);
        words.extend(constant(5, FUNCTIONS));
        // The own function of the changing page adds the round now.
        let page = span(&words);
        words.extend([i_type(0x1013, 12, 8, 20), add(12, 12, 13)]);
        words.extend(constant(6, CHANGING + 8 * cpu));
        words.extend([sw(12, 6, 0), FENCE_I, call(6)]);
        // Those of a page that stays.
        words.extend([addi(6, 5, 0), add(7, 5, 15)]);
        let function = span(&words);
        words.extend([call(6), addi(6, 6, 8)]);
        words.push(branch(BNE, 6, 7, function - span(&words)));
        words.push(add(5, 5, 15));
        words.push(branch(BNE, 5, 9, page - span(&words)));
        words.push(addi(8, 8, -1));
        words.push(branch(BNE, 8, 0, round - span(&words)));
        words.push(ECALL);
        words
    };
    let mut retired = 0;
    let registers = together_on(&engine, [0, 1, 2, 3].map(program), || {
        retired = retired.max(engine.memory_of_retired_code());
    });
    let sum = count * once + FUNCTION_PAGES * count * (count + 1) / 2;
    for registers in registers {
        assert_eq!(registers[10], sum);
    }
    let cache = engine.cache_stats();
    assert!(cache.evictions > 0, "{cache:?}");
    assert!(cache.bytes <= BUDGET, "{cache:?}");
    assert!(
        retired <= 4 * BUDGET,
        "{retired} bytes of retired code at a time"
    );
}
