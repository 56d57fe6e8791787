//! Code that is written over, moved and mapped anew while it is in use (RISC-V Unpriv 20240411, 6 "Zifencei";
//! RISC-V Priv 1.13, 12.2.1 "SFENCE.VMA").

use std::sync::{Arc, Barrier};
use std::thread;

use vm_core::{AccessWidth, GuestPhysAddr};
use vm_device::{Bus, BusDevice};
use vm_engine::{Engine, Vcpu};
use vm_frontend::riscv::Riscv;

use super::asm::{
    BEQ, BNE, ECALL, FENCE_I, FENCE_RW_RW, RET, SFENCE_VMA, addi, branch, bytes, i_type, jal, jalr,
    ld, load_address, lw, r_type, sd, sh, span, sw,
};
use super::machine;

const BASE: u64 = 0x10000;
const RAM: u64 = 0x10_0000;
/// A call to firmware, for exceptions.
const TRAP: u64 = BASE + RAM - 0x1000;
/// A page of its own for code that is changed.
const OTHER: u64 = BASE + 0x4000;
/// A page for data.
const DATA: u64 = BASE + 0x8000;

/// An engine with pieces of code at addresses.
fn engine(pieces: &[(u64, &[u32])]) -> Arc<Engine<Riscv>> {
    let engine = machine::engine(BASE, &[], RAM);
    machine::write(&engine, TRAP, &[ECALL]);
    for &(at, words) in pieces {
        machine::write(&engine, at, words);
    }
    engine
}

/// Runs from the start of RAM to the first call to firmware.
fn run(engine: &Arc<Engine<Riscv>>) -> Vcpu<Riscv> {
    let mut vcpu = machine::vcpu(engine, 0, BASE, TRAP);
    machine::run_to_call(&mut vcpu);
    vcpu
}

/// `words` that load `value`, a 32-bit instruction, into a register.
fn load_word(rd: u32, value: u32) -> [u32; 2] {
    load_address(rd, value.into())
}

/// A function that returns `n` in a0.
fn returning(n: i64) -> [u32; 2] {
    [addi(10, 0, n), RET]
}

#[test]
fn store_and_fence_on_the_running_page_runs_the_new_instruction() {
    // a0 += 1 becomes a0 += 100 on the way round.
    let mut words = vec![addi(10, 0, 0), addi(9, 0, 3)];
    words.extend(load_address(5, BASE + 0x100));
    words.extend(load_word(6, addi(10, 10, 100)));
    let here = span(&words);
    words.push(jal(1, 0x100 - here));
    words.extend([sw(6, 5, 0), FENCE_I, addi(9, 9, -1)]);
    words.push(branch(BNE, 9, 0, here - span(&words)));
    words.push(ECALL);
    let engine = engine(&[(BASE, &words), (BASE + 0x100, &[addi(10, 10, 1), RET])]);
    assert_eq!(run(&engine).state().x[10], 1 + 100 + 100);
    assert!(engine.cache_stats().invalidations > 0);
}

#[test]
fn store_over_the_following_instructions_takes_effect_behind_the_fence() {
    // The instruction behind fence.i is in the block's own straight line.
    let mut words = vec![addi(10, 0, 0), addi(9, 0, 2)];
    words.extend(load_address(5, BASE));
    words.extend(load_word(6, addi(10, 10, 16)));
    let top = span(&words);
    let target = top + 8;
    words.extend([sw(6, 5, target), FENCE_I, addi(10, 10, 1), addi(9, 9, -1)]);
    words.push(branch(BNE, 9, 0, top - span(&words)));
    words.push(ECALL);
    assert_eq!(run(&engine(&[(BASE, &words)])).state().x[10], 32);
}

#[test]
fn store_to_another_page_runs_the_new_function() {
    // Calls the function often enough to be linked and cached, rewrites it, calls it again.
    let mut words = vec![addi(8, 0, 0), addi(9, 0, 50)];
    words.extend(load_address(5, OTHER));
    words.extend(load_word(6, addi(10, 0, 7)));
    let top = span(&words);
    words.extend([jalr(1, 5, 0), addi(9, 9, -1)]);
    words.push(branch(BNE, 9, 0, top - span(&words)));
    words.extend([addi(8, 10, 0), sw(6, 5, 0), FENCE_I, jalr(1, 5, 0), ECALL]);
    let vcpu = run(&engine(&[(BASE, &words), (OTHER, &returning(3))]));
    assert_eq!((vcpu.state().x[8], vcpu.state().x[10]), (3, 7));
}

/// Rewrites and calls a function so many times, so many rounds; the sum of what it gives is in s0.
fn rewriting(times: i64, rounds: i64) -> Vec<u32> {
    let slli = |rd, rs1, by| i_type(0x1013, rd, rs1, by);
    let add = |rd, rs1, rs2| r_type(0x33, rd, rs1, rs2);
    // a0 becomes `addi a0, x0, s1`, for s1 from `times` down to 1.
    let mut words = vec![addi(8, 0, 0), addi(18, 0, rounds)];
    words.extend(load_address(5, OTHER));
    words.extend(load_word(7, addi(10, 0, 0)));
    let round = span(&words);
    words.push(addi(9, 0, times));
    let top = span(&words);
    words.extend([slli(6, 9, 20), add(6, 6, 7), sw(6, 5, 0), FENCE_I]);
    words.extend([jalr(1, 5, 0), add(8, 8, 10), addi(9, 9, -1)]);
    words.push(branch(BNE, 9, 0, top - span(&words)));
    words.push(addi(18, 18, -1));
    words.push(branch(BNE, 18, 0, round - span(&words)));
    words.push(ECALL);
    words
}

/// A device whose writes take until they are let through.
struct Stuck {
    entered: Barrier,
    leave: Barrier,
}

impl BusDevice for Stuck {
    fn read(&self, _: u64, _: AccessWidth) -> u64 {
        0
    }

    fn write(&self, _: u64, _: AccessWidth, _: u64) {
        self.entered.wait();
        self.leave.wait();
    }

    fn reset(&self) {}
}

#[test]
fn code_thrown_away_while_a_device_holds_another_virtual_cpu_up_is_bounded() {
    const BUDGET: usize = 1 << 20;
    const TIMES: i64 = 2000;
    const DEVICE: u64 = 0x1000_0000;
    const SECOND: u64 = BASE + 0x2000;
    let stuck = Arc::new(Stuck {
        entered: Barrier::new(2),
        leave: Barrier::new(2),
    });
    let bus = Bus::new();
    let placed = bus.insert("stuck", DEVICE, 0x1000, stuck.clone());
    placed.expect("the bus is empty");
    let image = bytes(&rewriting(TIMES, 1));
    let engine = machine::engine_within(BUDGET, bus, BASE, &image, RAM);
    machine::write(&engine, OTHER, &returning(0));
    let mut words = load_address(5, DEVICE).to_vec();
    words.extend([sd(0, 5, 0), ECALL]);
    machine::write(&engine, SECOND, &words);
    let (sum, held) = thread::scope(|scope| {
        let second = engine.clone();
        scope.spawn(move || {
            machine::run_to_call(&mut machine::vcpu(&second, 1, SECOND, TRAP));
        });
        stuck.entered.wait();
        let sum = run(&engine).state().x[8] as i64;
        let held = engine.memory_of_retired_code();
        stuck.leave.wait();
        (sum, held)
    });
    assert_eq!(sum, TIMES * (TIMES + 1) / 2);
    assert!(
        (BUDGET / 8..BUDGET / 2).contains(&held),
        "{held} bytes wait to be free"
    );
}

#[test]
fn function_rewritten_many_times_runs_as_last_written_and_takes_no_more_room() {
    const TIMES: i64 = 2000;
    const ROUNDS: i64 = 20;
    let words = rewriting(TIMES, ROUNDS);
    let engine = engine(&[(BASE, &words), (OTHER, &returning(0))]);
    let vcpu = run(&engine);
    assert_eq!(vcpu.state().x[8] as i64, ROUNDS * TIMES * (TIMES + 1) / 2);
    let cache = engine.cache_stats();
    assert!(cache.invalidations as i64 >= ROUNDS * TIMES);
    assert!(cache.blocks < 64 && cache.bytes < 1 << 20, "{cache:?}");
    assert!(engine.memory_of_retired_code() < 1 << 20);
}

#[test]
fn stores_beside_code_leave_it_translated() {
    // Data in the page of the code, 2 KiB away.
    let mut words = vec![addi(9, 0, 200)];
    words.extend(load_address(5, BASE + 0x800));
    let top = span(&words);
    words.extend([sd(9, 5, 0), ld(10, 5, 0), addi(9, 9, -1)]);
    words.push(branch(BNE, 9, 0, top - span(&words)));
    words.push(ECALL);
    let engine = engine(&[(BASE, &words)]);
    let mut vcpu = run(&engine);
    assert_eq!(vcpu.state().x[10], 1);
    assert_eq!(engine.cache_stats().invalidations, 0);
    assert!(vcpu.stats().counters.translated < 8);
}

#[test]
fn half_of_a_straddling_instruction_can_be_written() {
    // lui a0 with its upper half, bits 31-16 of the word, on the second page.
    let at = OTHER + 0xffe;
    let (old, new) = (0x1111_1537_u32, 0x2222_1537_u32);
    let mut words = load_address(5, at).to_vec();
    words.extend(load_word(6, new >> 16));
    words.extend([jalr(1, 5, 0), addi(8, 10, 0), sh(6, 5, 2), FENCE_I]);
    words.extend([jalr(1, 5, 0), addi(9, 10, 0), ECALL]);
    let vcpu = run(&engine(&[(BASE, &words), (at, &[old, RET])]));
    assert_eq!(
        (vcpu.state().x[8], vcpu.state().x[9]),
        (0x1111_1000, 0x2222_1000)
    );
}

#[test]
fn way_to_a_straddling_instruction_is_looked_up_once() {
    // Counts in a1, then goes on to lui a0, which lies on two pages.
    let at = OTHER + 0xffa;
    let mut words = load_address(5, at).to_vec();
    words.push(addi(9, 0, 1000));
    let top = span(&words);
    words.extend([jalr(1, 5, 0), addi(9, 9, -1)]);
    words.push(branch(BNE, 9, 0, top - span(&words)));
    words.push(ECALL);
    let function = [addi(11, 11, 1), 0x1111_1537, RET];
    let mut vcpu = run(&engine(&[(BASE, &words), (at, &function)]));
    assert_eq!(
        (vcpu.state().x[10], vcpu.state().x[11]),
        (0x1111_1000, 1000)
    );
    let lookups = vcpu.stats().counters.lookups;
    assert!(lookups < 50, "{lookups}");
}

#[test]
fn first_half_of_a_straddling_instruction_can_be_written() {
    let at = OTHER + 0xffe;
    let (old, new) = (0x1111_1537_u32, 0x1111_2537_u32);
    let mut words = load_address(5, at).to_vec();
    words.extend(load_word(6, new & 0xffff));
    words.extend([jalr(1, 5, 0), addi(8, 10, 0), sh(6, 5, 0), FENCE_I]);
    words.extend([jalr(1, 5, 0), addi(9, 10, 0), ECALL]);
    let vcpu = run(&engine(&[(BASE, &words), (at, &[old, RET])]));
    assert_eq!(
        (vcpu.state().x[8], vcpu.state().x[9]),
        (0x1111_1000, 0x1111_2000)
    );
}

#[test]
fn jump_into_the_middle_of_an_instruction_decodes_from_there() {
    // The upper half of `lui a1, 0x45150` is `c.li a0, 5`; behind it comes `ret`.
    let lui = 0x4515_05b7;
    let mut words = load_address(5, OTHER).to_vec();
    words.extend([
        addi(10, 0, 0),
        jalr(1, 5, 0),
        addi(8, 10, 0),
        jalr(1, 5, 2),
        ECALL,
    ]);
    let vcpu = run(&engine(&[(BASE, &words), (OTHER, &[lui, RET])]));
    let x = &vcpu.state().x;
    assert_eq!((x[8], x[10], x[11]), (0, 5, 0x4515_0000));
}

#[test]
fn writes_from_outside_the_virtual_cpu_are_seen() {
    // As by DMA or a debugger: between two runs, without fence.i.
    let mut words = load_address(5, OTHER).to_vec();
    words.extend([jalr(1, 5, 0), ECALL, jalr(1, 5, 0), ECALL]);
    let engine = engine(&[(BASE, &words), (OTHER, &returning(3))]);
    let mut vcpu = run(&engine);
    assert_eq!(vcpu.state().x[10], 3);
    let done = engine
        .memory()
        .write(GuestPhysAddr(OTHER), &bytes(&returning(4)));
    done.expect("within memory");
    vcpu.serve_remote();
    machine::run_to_call(&mut vcpu);
    assert_eq!(vcpu.state().x[10], 4);
}

/// Virtual address at which one of two pages is mapped.
const WINDOW: u64 = 0x20_0000;
const TABLES: u64 = BASE + 0x20000;

/// Sv39 tables: RAM where it is, and [`WINDOW`] at `page`. Gives satp and the address of the window's entry.
fn map(engine: &Engine<Riscv>, page: u64) -> (u64, u64) {
    const TABLE: u64 = 0x01;
    const LEAF: u64 = 0xcf; // valid, read, write, execute, accessed, dirty
    let entry = |table: u64, index: u64, target: u64, bits: u64| {
        let at = GuestPhysAddr(table + 8 * index);
        let done = engine
            .memory()
            .write(at, &(target >> 12 << 10 | bits).to_le_bytes());
        done.expect("within memory");
        at.raw()
    };
    let (middle, low, window) = (TABLES + 0x1000, TABLES + 0x2000, TABLES + 0x3000);
    entry(TABLES, 0, middle, TABLE);
    entry(middle, 0, low, TABLE);
    for page in (BASE..BASE + RAM).step_by(0x1000) {
        entry(low, page >> 12 & 511, page, LEAF);
    }
    entry(middle, WINDOW >> 21, window, TABLE);
    let at = entry(window, 0, page, LEAF);
    (8 << 60 | TABLES >> 12, at)
}

/// Runs a caller of [`WINDOW`] that maps another page there in between, as `change` says.
fn remapped(change: &[u32]) -> [u64; 2] {
    let mut words = load_address(5, WINDOW).to_vec();
    words.extend([jalr(1, 5, 0), addi(8, 10, 0)]);
    words.extend(change);
    words.extend([jalr(1, 5, 0), addi(9, 10, 0), ECALL]);
    let (first, second) = (OTHER, OTHER + 0x1000);
    let engine = engine(&[
        (BASE, &words),
        (first, &returning(1)),
        (second, &returning(2)),
    ]);
    let (satp, at) = map(&engine, first);
    let mut vcpu = machine::vcpu(&engine, 0, BASE, TRAP);
    let state = vcpu.state_mut();
    state.satp = satp;
    state.x[20] = at;
    state.x[21] = second >> 12 << 10 | 0xcf;
    state.x[22] = 0x1000;
    machine::run_to_call(&mut vcpu);
    [vcpu.state().x[8], vcpu.state().x[9]]
}

#[test]
fn remapped_page_runs_the_code_of_the_new_page() {
    assert_eq!(remapped(&[sd(21, 20, 0), SFENCE_VMA]), [1, 2]);
}

#[test]
fn remapped_page_runs_the_code_of_the_new_page_after_a_fence_of_that_page() {
    // sfence.vma t0, x0
    assert_eq!(remapped(&[sd(21, 20, 0), SFENCE_VMA | 5 << 15]), [1, 2]);
}

#[test]
fn page_remapped_more_often_than_contexts_have_numbers_runs_what_is_mapped() {
    const TIMES: u64 = 70_000;
    let xor = |rd, rs1, rs2| r_type(0x4033, rd, rs1, rs2);
    let add = |rd, rs1, rs2| r_type(0x33, rd, rs1, rs2);
    let mut words = load_address(5, WINDOW).to_vec();
    words.extend(load_word(9, TIMES as u32));
    let top = span(&words);
    words.extend([xor(22, 22, 21), sd(22, 20, 0), SFENCE_VMA]);
    words.extend([jalr(1, 5, 0), add(8, 8, 10), addi(9, 9, -1)]);
    words.push(branch(BNE, 9, 0, top - span(&words)));
    words.push(ECALL);
    let pages = [OTHER, OTHER + 0x1000];
    let engine = engine(&[
        (BASE, &words),
        (pages[0], &returning(1)),
        (pages[1], &returning(2)),
    ]);
    let (satp, at) = map(&engine, pages[0]);
    let mut vcpu = machine::vcpu(&engine, 0, BASE, TRAP);
    let entries = pages.map(|page| page >> 12 << 10 | 0xcf);
    let state = vcpu.state_mut();
    // In an address space with a number, which has a context for its global pages, too.
    state.satp = satp | 1 << 44;
    state.x[20] = at;
    state.x[21] = entries[0] ^ entries[1];
    state.x[22] = entries[0];
    machine::run_to_call(&mut vcpu);
    assert_eq!(vcpu.state().x[8], TIMES / 2 * (1 + 2));
}

#[test]
fn unchanged_mapping_keeps_running_the_same_code() {
    assert_eq!(remapped(&[SFENCE_VMA]), [1, 1]);
}

#[test]
fn straddling_instruction_follows_its_second_page() {
    // The second half of a lui is on the window's second page, which is mapped anew.
    let at = WINDOW + 0xffe;
    let mut words = load_address(5, at).to_vec();
    words.extend([jalr(1, 5, 0), addi(8, 10, 0), sd(21, 20, 8), SFENCE_VMA]);
    words.extend([jalr(1, 5, 0), addi(9, 10, 0), ECALL]);
    let pages = [OTHER, OTHER + 0x1000, OTHER + 0x2000];
    let engine = engine(&[
        (BASE, &words),
        (pages[0] + 0xffe, &[0x1537]),
        (pages[1], &[0x1111]),
        (pages[1] + 2, &[RET]),
        (pages[2], &[0x2222]),
        (pages[2] + 2, &[RET]),
    ]);
    let write = |at: u64, value: &[u8]| {
        let done = engine.memory().write(GuestPhysAddr(at), value);
        done.expect("within memory");
    };
    // The halves of `lui a0, 0x11111` and `lui a0, 0x22221`, byte for byte.
    write(pages[0] + 0xffe, &0x1537_u16.to_le_bytes());
    write(pages[1], &0x1111_u16.to_le_bytes());
    write(pages[2], &0x2222_u16.to_le_bytes());
    let (satp, entry) = map(&engine, pages[0]);
    write(entry + 8, &(pages[1] >> 12 << 10 | 0xcf).to_le_bytes());
    let mut vcpu = machine::vcpu(&engine, 0, BASE, TRAP);
    let state = vcpu.state_mut();
    state.satp = satp;
    state.x[20] = entry;
    state.x[21] = pages[2] >> 12 << 10 | 0xcf;
    machine::run_to_call(&mut vcpu);
    let x = &vcpu.state().x;
    assert_eq!((x[8], x[9]), (0x1111_1000, 0x2222_1000));
}

/// One virtual CPU rewrites a function that the other one calls, and tells it by a counter in memory; each round the
/// other one does fence.i and must run the new function.
#[test]
fn code_written_by_another_virtual_cpu_runs_behind_its_flag_and_fence() {
    const ROUNDS: i64 = 2000;
    let (turn, done) = (0, 64);
    let writer_at = BASE + 0x1000;
    // t0 the function, t1 the data, s0 the round, s1 the instruction `addi a0, x0, round`.
    let mut writer = load_address(5, OTHER).to_vec();
    writer.extend(load_address(6, DATA));
    writer.extend([addi(8, 0, 0), addi(9, 0, ROUNDS)]);
    writer.extend(load_word(18, addi(10, 0, 0)));
    writer.extend(load_address(19, 1 << 20));
    let top = span(&writer);
    writer.extend([addi(8, 8, 1), 0x0139_0933]); // s0 += 1; add s2, s2, s3: the immediate goes up by one
    writer.extend([sw(18, 5, 0), FENCE_RW_RW, sd(8, 6, turn)]);
    writer.push(ld(7, 6, done));
    writer.push(branch(BNE, 7, 8, -4));
    writer.push(branch(BNE, 8, 9, top - span(&writer)));
    writer.push(ECALL);
    // a0 must be the round; s4 counts the rounds in which it was not.
    let mut reader = load_address(5, OTHER).to_vec();
    reader.extend(load_address(6, DATA));
    reader.extend([addi(8, 0, 0), addi(9, 0, ROUNDS), addi(20, 0, 0)]);
    let top = span(&reader);
    reader.extend([addi(8, 8, 1), ld(7, 6, turn)]);
    reader.push(branch(BNE, 7, 8, -4));
    reader.extend([FENCE_RW_RW, FENCE_I, jalr(1, 5, 0)]);
    reader.extend([branch(BEQ, 10, 8, 8), addi(20, 20, 1)]);
    reader.push(sd(8, 6, done));
    reader.push(branch(BNE, 8, 9, top - span(&reader)));
    reader.push(ECALL);
    let engine = engine(&[
        (BASE, &reader),
        (writer_at, &writer),
        (OTHER, &returning(0)),
    ]);
    let mut reading = machine::vcpu(&engine, 0, BASE, TRAP);
    let mut writing = machine::vcpu(&engine, 1, writer_at, TRAP);
    thread::scope(|scope| {
        scope.spawn(|| machine::run_to_call(&mut writing));
        machine::run_to_call(&mut reading);
    });
    assert_eq!(reading.state().x[8], ROUNDS as u64);
    assert_eq!(reading.state().x[20], 0, "rounds that ran stale code");
}

/// Both virtual CPUs rewrite and call functions of one page all the time, each its own.
#[test]
fn virtual_cpus_that_rewrite_one_page_run_their_own_functions() {
    const ROUNDS: i64 = 1500;
    let program = |function: u64| {
        let mut words = load_address(5, function).to_vec();
        words.extend([addi(8, 0, 0), addi(9, 0, ROUNDS), addi(20, 0, 0)]);
        words.extend(load_word(18, addi(10, 0, 0)));
        words.extend(load_address(19, 1 << 20));
        let top = span(&words);
        words.extend([
            addi(8, 8, 1),
            0x0139_0933,
            sw(18, 5, 0),
            FENCE_I,
            jalr(1, 5, 0),
        ]);
        words.extend([branch(BEQ, 10, 8, 8), addi(20, 20, 1)]);
        words.push(branch(BNE, 8, 9, top - span(&words)));
        words.push(ECALL);
        words
    };
    let (first, second) = (program(OTHER), program(OTHER + 0x40));
    for _ in 0..10 {
        let engine = engine(&[
            (BASE, &first),
            (BASE + 0x1000, &second),
            (OTHER, &returning(0)),
            (OTHER + 0x40, &returning(0)),
        ]);
        let mut a = machine::vcpu(&engine, 0, BASE, TRAP);
        let mut b = machine::vcpu(&engine, 1, BASE + 0x1000, TRAP);
        thread::scope(|scope| {
            scope.spawn(|| machine::run_to_call(&mut b));
            machine::run_to_call(&mut a);
        });
        let stale = (a.state().x[20], b.state().x[20]);
        assert_eq!(stale, (0, 0), "rounds that ran stale code");
    }
}

/// Loads through the TLB see what another mapping of the page holds.
#[test]
fn remapped_page_gives_the_data_of_the_new_page() {
    let mut words = load_address(5, WINDOW).to_vec();
    words.extend([lw(8, 5, 0), sd(21, 20, 0), SFENCE_VMA, lw(9, 5, 0), ECALL]);
    let engine = engine(&[
        (BASE, &words),
        (OTHER, &[0x1234_5677]),
        (OTHER + 0x1000, &[0x0bad_cafb]),
    ]);
    let (satp, at) = map(&engine, OTHER);
    let mut vcpu = machine::vcpu(&engine, 0, BASE, TRAP);
    let state = vcpu.state_mut();
    (state.satp, state.x[20]) = (satp, at);
    state.x[21] = (OTHER + 0x1000) >> 12 << 10 | 0xcf;
    machine::run_to_call(&mut vcpu);
    assert_eq!(
        (vcpu.state().x[8], vcpu.state().x[9]),
        (0x1234_5677, 0x0bad_cafb)
    );
}
