//! Loads and stores in a row by one register, which host code checks together: across the end of a page, up to where
//! the next page is not mapped, and into pages with code.

use super::machine::*;

const ROOT: u64 = RAM + 0x2_0000;
const MIDDLE: u64 = ROOT + 0x1000;
const LAST: u64 = ROOT + 0x2000;
/// The first of two virtual pages, of which the second may not be mapped.
const VIRTUAL: u64 = 0x20_0000;
/// Two physical pages that do not lie beside each other.
const FIRST: u64 = RAM + 0x1_8000;
const SECOND: u64 = RAM + 0x1_0000;

/// `funct3` of loads and stores, from bytes on; the loads that fill with zeros come last.
const LOADS: [u32; 7] = [0, 1, 2, 3, 4, 5, 6];
const STORES: [u32; 4] = [0, 1, 2, 3];

fn leaf(phys: u64) -> u64 {
    phys >> 12 << 10 | 0xcf
}

fn table(phys: u64) -> u64 {
    phys >> 12 << 10 | 1
}

/// A load of register `rd`, or a store of it, at a displacement from the address's register.
fn access(store: bool, funct3: u32, rd: u32, disp: u32) -> u32 {
    let base = (ADDRESS as u32) << 15 | funct3 << 12;
    match store {
        false => 0x03 | base | rd << 7 | disp << 20,
        true => 0x23 | base | rd << 20 | (disp & 31) << 7 | disp >> 5 << 25,
    }
}

/// What a program comes to: the trap, the registers, the instructions retired, and both pages.
type Outcome = ((u64, u64), [u64; 32], u64, Vec<[u8; 8]>);

fn outcome(
    translated: bool,
    program: &[u32],
    addr: u64,
    mapped: bool,
    code_there: bool,
) -> Outcome {
    let engine = engine(translated);
    let mut words = program.to_vec();
    words.push(ECALL);
    put(&engine, CODE, &words);
    for (at, entry) in [
        (ROOT + 8 * 2, leaf(RAM)),
        (ROOT, table(MIDDLE)),
        (MIDDLE + 8, table(LAST)),
        (LAST, leaf(FIRST)),
        (LAST + 8, if mapped { leaf(SECOND) } else { 0 }),
    ] {
        write(&engine, at, &entry.to_le_bytes());
    }
    for (page, with) in [(FIRST, 0x5a_u8), (SECOND, 0xc3)] {
        let bytes: Vec<u8> = (0..=255).map(|n: u8| n.wrapping_mul(7) ^ with).collect();
        (0..16).for_each(|n| write(&engine, page + 256 * n, &bytes));
    }
    let mut vcpu = vcpu(&engine, 0);
    if code_there {
        // A page with code has no write tag.
        put(&engine, FIRST + 0x800, &[ECALL]);
        assert!(is_call(trap_from(&mut vcpu, S, FIRST + 0x800).0));
    }
    let mut seen = None;
    // The second time finds translations that the first has made.
    for _ in 0..2 {
        let state = vcpu.state_mut();
        for (n, x) in (0..).zip(&mut state.x).skip(8) {
            *x = 0x0123_4567_89ab_cdef_u64.rotate_left(5 * n);
        }
        (state.x[ADDRESS], state.satp) = (addr, 8 << 60 | ROOT >> 12);
        (state.x[28], state.x[30]) = (2 << MPP_SHIFT, 0);
        let before = state.common.retired;
        let trap = trap_from(&mut vcpu, S, CODE);
        let state = vcpu.state();
        let retired = state.common.retired - before;
        seen = Some((trap, state.x, retired));
    }
    let (trap, x, retired) = seen.expect("it ran");
    let words = |page: u64| (0..512).map(move |n| page + 8 * n);
    let memory = words(FIRST).chain(words(SECOND));
    let memory = memory.map(|at| read(&engine, at)).collect();
    (trap, x, retired, memory)
}

fn compare(program: &[u32], addr: u64, mapped: bool, code_there: bool) {
    let [interpreted, translated] =
        TIERS.map(|tier| outcome(tier, program, addr, mapped, code_there));
    let what = format!("{program:x?} at {addr:x}, mapped {mapped}, code there {code_there}");
    assert_eq!(interpreted.0, translated.0, "trap of {what}");
    assert_eq!(interpreted.1, translated.1, "registers of {what}");
    assert_eq!(interpreted.2, translated.2, "instructions of {what}");
    assert!(interpreted.3 == translated.3, "memory of {what}");
}

/// Programs of so many accesses, each of its own size and register, high addresses first and low ones first.
fn programs(store: bool, count: u32) -> [Vec<u32>; 2] {
    let kinds: &[u32] = if store { &STORES } else { &LOADS };
    let one = |n: u32, disp: u32| {
        let funct3 = kinds[(n as usize * 3 + 3) % kinds.len()];
        // Saved registers, arguments and temporaries: with a register of the host, and without.
        access(store, funct3, 8 + n * 2 % 20, disp)
    };
    [
        (0..count).map(|n| one(n, 8 * (count - n))).collect(),
        (0..count).map(|n| one(n, 8 * n + n % 3)).collect(),
    ]
}

#[test]
fn group_on_one_page_or_two_does_what_its_accesses_do() {
    for store in [false, true] {
        for count in [2, 3, 7, 8, 9, 13] {
            for program in programs(store, count) {
                for back in [0x800, 4, 8, 12, 20, 44, 60] {
                    for mapped in [true, false] {
                        compare(&program, VIRTUAL + 0x1000 - back, mapped, false);
                    }
                }
            }
        }
    }
}

#[test]
fn group_of_stores_into_a_page_with_code_is_seen() {
    for program in programs(true, 5) {
        for addr in [VIRTUAL + 0x7f0, VIRTUAL + 0xff0, VIRTUAL + 0x100] {
            compare(&program, addr, true, true);
        }
    }
}

#[test]
fn load_of_the_groups_own_address_ends_it() {
    let base = ADDRESS as u32;
    let program = [
        access(false, 3, 10, 0),
        access(false, 3, base, 8),
        access(false, 3, 11, 16),
    ];
    let addr = VIRTUAL + 0x200;
    for translated in TIERS {
        let engine = engine(translated);
        let mut words = program.to_vec();
        words.push(ECALL);
        put(&engine, CODE, &words);
        for (at, value) in [(0, 1), (8, RAM + 0x1_0000), (16, 2)] {
            write(&engine, FIRST + 0x200 + at, &u64::to_le_bytes(value));
        }
        write(&engine, RAM + 0x1_0010, &3_u64.to_le_bytes());
        for (at, entry) in [
            (ROOT + 8 * 2, leaf(RAM)),
            (ROOT, table(MIDDLE)),
            (MIDDLE + 8, table(LAST)),
            (LAST, leaf(FIRST)),
        ] {
            write(&engine, at, &entry.to_le_bytes());
        }
        let mut vcpu = vcpu(&engine, 0);
        let state = vcpu.state_mut();
        (state.x[ADDRESS], state.satp) = (addr, 8 << 60 | ROOT >> 12);
        assert!(is_call(trap_from(&mut vcpu, S, CODE).0));
        let state = vcpu.state();
        assert_eq!(
            [state.x[10], state.x[ADDRESS], state.x[11]],
            [1, RAM + 0x1_0000, 3]
        );
    }
}
