//! What virtual CPUs on threads of their own see of each other's stores (RISC-V Unpriv 20240411, 17 "RVWMO";
//! 14 "A extension").

use std::sync::Arc;
use std::thread;

use vm_core::GuestPhysAddr;
use vm_engine::Engine;
use vm_frontend::riscv::Riscv;

use super::asm::{
    BEQ, BNE, ECALL, FENCE_RW_RW, addi, branch, bytes, jal, ld, load_address, r_type, sd, span,
};
use super::machine;

const BASE: u64 = 0x10000;
const RAM: u64 = 0x10_0000;
const TRAP: u64 = BASE + RAM - 0x1000;
const DATA: u64 = BASE + 0x8000;

/// Runs each program on a virtual CPU and a thread of its own; gives the last registers.
fn together(programs: &[Vec<u32>]) -> (Arc<Engine<Riscv>>, Vec<[u64; 32]>) {
    let engine = machine::engine(BASE, &[], RAM);
    let write = |at, words: &[u32]| {
        let done = engine.memory().write(GuestPhysAddr(at), &bytes(words));
        done.expect("within memory");
    };
    write(TRAP, &[ECALL]);
    let mut vcpus = Vec::new();
    for (n, words) in programs.iter().enumerate() {
        let at = BASE + 0x1000 * n as u64;
        write(at, words);
        vcpus.push(machine::vcpu(&engine, n as u32, at, TRAP));
    }
    let registers = thread::scope(|scope| {
        let threads: Vec<_> = vcpus
            .iter_mut()
            .map(|vcpu| {
                scope.spawn(|| {
                    machine::run_to_call(vcpu);
                    vcpu.state().x
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().expect("the program ends"))
            .collect()
    });
    (engine, registers)
}

fn word(engine: &Engine<Riscv>, at: u64) -> u64 {
    let mut bytes = [0; 8];
    let done = engine.memory().read(GuestPhysAddr(at), &mut bytes);
    done.expect("within memory");
    u64::from_le_bytes(bytes)
}

/// A loop of `rounds` around `body`, with the data's address in t0 and the round, from 1, in s0.
fn rounds(rounds: i64, body: &[u32]) -> Vec<u32> {
    let mut words = load_address(5, DATA).to_vec();
    words.extend(load_address(9, rounds as u64));
    words.push(addi(8, 0, 0));
    let top = span(&words);
    words.push(addi(8, 8, 1));
    words.extend(body);
    words.push(branch(BNE, 8, 9, top - span(&words)));
    words.push(ECALL);
    words
}

#[test]
fn amo_sums_of_two_virtual_cpus_add_up() {
    const ROUNDS: u64 = 200_000;
    // amoadd.d x0, s0, (t0); then the same in 32 bits at offset 64.
    let body = [
        r_type(0x302f, 0, 5, 8),
        addi(6, 5, 64),
        r_type(0x202f, 0, 6, 8),
    ];
    let program = rounds(ROUNDS as i64, &body);
    let (engine, _) = together(&[program.clone(), program]);
    let sum = ROUNDS * (ROUNDS + 1);
    assert_eq!(word(&engine, DATA), sum);
    assert_eq!(word(&engine, DATA + 64), sum & 0xffff_ffff);
}

#[test]
fn reserved_increments_of_two_virtual_cpus_add_up() {
    const ROUNDS: i64 = 100_000;
    // again: lr.d a0, (t0); addi a0, a0, 1; sc.d a1, a0, (t0); bnez a1, again
    let body = [
        r_type(0x1000_302f, 10, 5, 0),
        addi(10, 10, 1),
        r_type(0x1800_302f, 11, 5, 10),
        branch(BNE, 11, 0, -12),
    ];
    let program = rounds(ROUNDS, &body);
    let (engine, _) = together(&[program.clone(), program]);
    assert_eq!(word(&engine, DATA), 2 * ROUNDS as u64);
}

#[test]
fn reservation_is_lost_when_another_virtual_cpu_stores() {
    // 0: lr, tell 1, wait for 1's store, sc: must fail. 1: wait, store another value, tell 0.
    let mut first = load_address(5, DATA).to_vec();
    first.extend([r_type(0x1000_302f, 10, 5, 0), addi(6, 0, 1), sd(6, 5, 64)]);
    first.extend([ld(7, 5, 128), branch(BEQ, 7, 0, -4)]);
    first.extend([addi(10, 0, 5), r_type(0x1800_302f, 11, 5, 10), ECALL]);
    let mut second = load_address(5, DATA).to_vec();
    second.extend([
        ld(7, 5, 64),
        branch(BEQ, 7, 0, -4),
        addi(6, 0, 9),
        sd(6, 5, 0),
    ]);
    second.extend([FENCE_RW_RW, sd(6, 5, 128), ECALL]);
    let (engine, registers) = together(&[first, second]);
    assert_eq!(registers[0][11], 1, "sc.d succeeded");
    assert_eq!(word(&engine, DATA), 9);
}

#[test]
fn message_behind_a_fence_is_never_older_than_its_flag() {
    const ROUNDS: i64 = 200_000;
    // 0: data = n; fence; flag = n. 1: a = flag; fence; b = data; b < a is counted in s4.
    let writer = rounds(ROUNDS, &[sd(8, 5, 0), FENCE_RW_RW, sd(8, 5, 256)]);
    let mut reader = load_address(5, DATA).to_vec();
    reader.extend(load_address(9, ROUNDS as u64));
    reader.push(addi(20, 0, 0));
    let top = span(&reader);
    reader.extend([ld(6, 5, 256), FENCE_RW_RW, ld(7, 5, 0)]);
    reader.extend([branch(7, 7, 6, 8), addi(20, 20, 1)]); // bgeu
    reader.push(branch(BNE, 6, 9, top - span(&reader)));
    reader.push(ECALL);
    let (_, registers) = together(&[writer, reader]);
    assert_eq!(registers[1][20], 0, "stale messages");
}

/// Store buffering, `between` a virtual CPU's store and its load of the other's: in how many rounds both loads missed the
/// other's store. `between` finds the other's address in s3 and leaves what it loaded in t1. The rounds are in step by
/// counters, so that the two run at the same time.
fn both_missed(between: &[u32]) -> usize {
    const ROUNDS: i64 = 20_000;
    // Each round n: own = n; between; other -> kept at kept + 8 n; then wait until the other has finished round n.
    let program = |own: i64, other: i64, kept: u64, here: i64, there: i64| {
        let mut words = load_address(5, DATA).to_vec();
        words.extend(load_address(9, ROUNDS as u64));
        words.extend(load_address(18, kept));
        words.extend([addi(19, 5, other), addi(8, 0, 0)]);
        let top = span(&words);
        words.extend([addi(8, 8, 1), addi(18, 18, 8), sd(8, 5, own)]);
        words.extend(between);
        words.extend([sd(6, 18, 0), FENCE_RW_RW, sd(8, 5, here)]);
        words.push(ld(7, 5, there));
        words.push(branch(6, 7, 8, -4)); // bltu
        words.push(branch(BEQ, 8, 9, 8));
        words.push(jal(0, top - span(&words)));
        words.push(ECALL);
        words
    };
    let kept = [DATA + 0x10000, DATA + 0x40000];
    let a = program(0, 128, kept[0], 256, 384);
    let b = program(128, 0, kept[1], 384, 256);
    let (engine, _) = together(&[a, b]);
    let missed = (1..=ROUNDS as u64).filter(|&n| {
        let [a, b] = kept.map(|kept| word(&engine, kept + 8 * n));
        a < n && b < n
    });
    missed.count()
}

#[test]
fn fenced_stores_and_loads_of_two_virtual_cpus_do_not_both_miss() {
    assert_eq!(both_missed(&[FENCE_RW_RW, ld(6, 19, 0)]), 0);
}

#[test]
fn stores_and_reserved_loads_with_release_do_not_both_miss() {
    // lr.d.aqrl t1, (s3)
    let reserved = r_type(0x1600_302f, 6, 19, 0);
    for _ in 0..3 {
        assert_eq!(both_missed(&[reserved]), 0);
    }
}
