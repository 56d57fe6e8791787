//! Random entries of physical memory protection and random accesses against what the manual says (RISC-V Priv 1.13,
//! 3.7.1), byte by byte.

use vm_engine::Vcpu;
use vm_frontend::riscv::Riscv;
use vm_testing::Random;

use super::machine::*;

/// Two pages around whose border entries and accesses lie.
const DATA: u64 = RAM + 0x10000;
const BORDER: u64 = DATA + 0x1000;
const DATA_BYTES: usize = 0x2000;
/// Code of M-mode that sets the entries up and goes to the program.
const SETUP: u64 = RAM + 0x4000;
/// The entry behind the random ones, which allows everything.
const RANDOM_ENTRIES: usize = 4;

/// Bits of a configuration byte (RISC-V Priv 1.13, figure 3.32).
const R: u8 = 1;
const W: u8 = 2;
const X: u8 = 4;
const L: u8 = 0x80;
const OFF: u8 = 0;
const TOR: u8 = 1 << 3;
const NA4: u8 = 2 << 3;
const NAPOT: u8 = 3 << 3;

/// Causes (RISC-V Priv 1.13, table 3.8).
const LOAD_FAULT: u64 = 5;
const STORE_FAULT: u64 = 7;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum What {
    Load,
    Store,
    Add,
    /// Without a reservation, so that nothing is stored.
    Conditional,
    Zero,
    Manage,
}

/// An instruction, its bytes, what it does.
const ACCESSES: [(u32, u64, What); 22] = [
    (load(0x4003), 1, What::Load),
    (load(0x5003), 2, What::Load),
    (load(0x6003), 4, What::Load),
    (load(0x3003), 8, What::Load),
    (load(0x3003), 8, What::Load),
    (load(0x3007), 8, What::Load),
    (store(0x0023), 1, What::Store),
    (store(0x1023), 2, What::Store),
    (store(0x2023), 4, What::Store),
    (store(0x3023), 8, What::Store),
    (store(0x3023), 8, What::Store),
    (store(0x3027), 8, What::Store),
    (atomic(LR, 3, 0), 8, What::Load),
    (atomic(SC, 3, VALUE as u32), 8, What::Conditional),
    (atomic(SC, 2, VALUE as u32), 4, What::Conditional),
    (atomic(AMOADD, 3, VALUE as u32), 8, What::Add),
    (atomic(AMOADD, 3, VALUE as u32), 8, What::Add),
    (0x0040_200f | (ADDRESS as u32) << 15, 64, What::Zero),
    (0x0040_200f | (ADDRESS as u32) << 15, 64, What::Zero),
    (0x0000_200f | (ADDRESS as u32) << 15, 64, What::Manage),
    (0x0010_200f | (ADDRESS as u32) << 15, 64, What::Manage),
    (0x0020_200f | (ADDRESS as u32) << 15, 64, What::Manage),
];

/// One entry: `pmpaddr` and its byte of `pmpcfg`.
type Entry = (u64, u8);

fn entry(random: &mut Random, number: usize) -> Entry {
    let near = BORDER - 64 + 4 * random.below(32);
    let rights = random.pick(&[0, 0, R, R | W, R | W | X, X, R | X]) | random.pick(&[0, 0, 0, L]);
    match random.below(4) {
        0 if number > 0 => (near >> 2, TOR | rights),
        1 => {
            let bytes = 8 << random.below(10);
            ((near & !(bytes - 1) | (bytes / 2 - 1)) >> 2, NAPOT | rights)
        }
        2 if random.below(3) == 0 => (near >> 2, OFF | rights),
        _ => (near >> 2, NA4 | rights),
    }
}

/// Whether an entry matches a byte; `below` is the address register of the one before.
fn matches((addr, byte): Entry, below: u64, at: u64) -> bool {
    match byte & NAPOT {
        OFF => false,
        TOR => below << 2 <= at && at < addr << 2,
        NA4 => at & !3 == addr << 2,
        _ => {
            // Low ones tell the size: none of them 8 bytes, one 16, ...
            let size_log2 = 3 + addr.trailing_ones();
            at >> size_log2 == addr << 2 >> size_log2
        }
    }
}

/// Whether an access to these bytes is allowed, needing these rights.
fn allows(entries: &[Entry], privilege: u64, bytes: std::ops::Range<u64>, rights: u8) -> bool {
    for (n, &entry) in entries.iter().enumerate() {
        let below = if n == 0 { 0 } else { entries[n - 1].0 };
        let mut matched = bytes.clone().map(|at| matches(entry, below, at));
        if !matched.clone().any(|matched| matched) {
            continue;
        }
        let unbound = privilege == M && entry.1 & L == 0;
        return matched.all(|matched| matched) && (unbound || entry.1 & rights == rights);
    }
    privilege == M
}

/// Has M-mode set the entries up, and run a program.
fn set_up(vcpu: &mut Vcpu<Riscv>, entries: &[Entry], privilege: u64) {
    let state = vcpu.state_mut();
    for (n, &(addr, _)) in entries.iter().enumerate() {
        state.x[10 + n] = addr;
    }
    let bytes = std::array::from_fn(|n| entries.get(n).map_or(0, |&(_, byte)| byte));
    state.x[15] = u64::from_le_bytes(bytes);
    state.x[16] = CODE;
    state.x[17] = FS_ON | privilege << MPP_SHIFT;
}

fn setup_code() -> Vec<u32> {
    let mut words = Vec::from_iter((0..5).map(|n| csr(1, 0x3b0 + n, 10 + n)));
    words.extend([
        csr(1, 0x3a0, 15),
        csr(1, 0x341, 16),
        csr(1, 0x300, 17),
        MRET,
    ]);
    words
}

/// One set of entries and two accesses of one kind; the second may find what the first left in the TLB.
fn round(vcpu: &mut Vcpu<Riscv>, random: &mut Random) -> u64 {
    let engine = vcpu.engine().clone();
    let mut entries = Vec::from_iter((0..RANDOM_ENTRIES).map(|n| entry(random, n)));
    entries.push((u64::MAX >> 10, NAPOT | R | W | X));
    let privilege = random.pick(&[U, U, S, M, M]);
    let (word, bytes, what) = random.pick(&ACCESSES);
    put(&engine, CODE, &[word, ECALL]);
    reset(vcpu);
    set_up(vcpu, &entries, privilege);
    let mut start = (M, SETUP);
    let mut faults = 0;
    for _ in 0..2 {
        let mut addr = BORDER - 72 + random.below(144);
        if matches!(what, What::Conditional | What::Add) || word == atomic(LR, 3, 0) {
            addr &= !(bytes - 1);
        }
        let before: [u8; DATA_BYTES] = std::array::from_fn(|_| random.next() as u8);
        write(&engine, DATA, &before);
        let value = random.next();
        let state = vcpu.state_mut();
        (state.x[ADDRESS], state.x[VALUE], state.x[RESULT]) = (addr, value, 1);
        (state.f[VALUE], state.f[RESULT]) = (value, 1);
        let (cause, told) = trap_from(vcpu, start.0, start.1);
        start = (privilege, CODE);

        // Parts of a misaligned access on two pages are accesses of their own.
        let block = matches!(what, What::Zero | What::Manage);
        let first = if block { addr & !63 } else { addr };
        let end = first + bytes;
        let parts = [first..end.min(BORDER.max(first)), BORDER.max(first)..end];
        let parts = if first < BORDER {
            &parts[..]
        } else {
            &parts[1..]
        };
        let (rights, fault) = match what {
            What::Load => (R, LOAD_FAULT),
            What::Manage => (R, STORE_FAULT),
            _ => (W, STORE_FAULT),
        };
        let refused = parts
            .iter()
            .filter(|part| !part.is_empty())
            .find(|part| !allows(&entries, privilege, (*part).clone(), rights));
        let text = || {
            format!(
                "{what:?} {word:x} at {addr:x}, privilege {privilege}, {entries:x?}, translated {}",
                engine.translates()
            )
        };
        let mut after = before;
        let place = (first - DATA) as usize..(end - DATA) as usize;
        let mut held = [0; 8];
        let loads = matches!(what, What::Load | What::Add);
        if loads {
            held[..bytes as usize].copy_from_slice(&before[place.clone()]);
        }
        let held = u64::from_le_bytes(held);
        let mut result = 1;
        if let Some(part) = refused {
            faults += 1;
            let at = if block { addr } else { part.start };
            assert_eq!((cause, told), (fault, at), "{}", text());
        } else {
            assert!(is_call(cause), "cause {cause} of {}", text());
            result = if loads { held } else { result };
            match what {
                What::Store => after[place].copy_from_slice(&value.to_le_bytes()[..bytes as usize]),
                What::Add => after[place].copy_from_slice(&held.wrapping_add(value).to_le_bytes()),
                What::Zero => after[place].fill(0),
                What::Load | What::Conditional | What::Manage => {}
            }
        }
        let state = vcpu.state();
        let float = word == load(0x3007);
        let found = if float {
            state.f[RESULT]
        } else {
            state.x[RESULT]
        };
        assert_eq!(found, result, "result of {}", text());
        let now: [u8; DATA_BYTES] = read(&engine, DATA);
        assert!(now == after, "memory after {}", text());
    }
    faults
}

#[test]
fn accesses_are_allowed_as_the_manual_says() {
    const ROUNDS: u64 = 3000;
    for translated in TIERS {
        let engine = engine(translated);
        put(&engine, SETUP, &setup_code());
        let mut vcpu = vcpu(&engine, 0);
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        let mut faults = 0;
        for _ in 0..ROUNDS {
            faults += round(&mut vcpu, &mut random);
        }
        let share = faults * 100 / (2 * ROUNDS);
        assert!((10..90).contains(&share), "{share} % of the accesses fault");
    }
}

/// The smallest cases: an entry without rights over four bytes, and one that allows everything behind it.
#[test]
fn entry_of_four_bytes_bars_every_access_that_touches_it() {
    let p = BORDER - 0x100;
    let everything = (u64::MAX >> 10, NAPOT | R | W | X);
    let (ld, sd) = (load(0x3003), store(0x3023));
    let cases = [
        // In the middle of a misaligned access.
        (ld, p + 10, U, NA4, Some((LOAD_FAULT, p + 10))),
        (sd, p + 10, U, NA4, Some((STORE_FAULT, p + 10))),
        (sd, p + 10, M, NA4 | L, Some((STORE_FAULT, p + 10))),
        // Half of an aligned one, whatever the rights are.
        (ld, p + 8, U, NA4, Some((LOAD_FAULT, p + 8))),
        (ld, p + 8, U, NA4 | R | W | X, Some((LOAD_FAULT, p + 8))),
        (sd, p + 8, U, NA4 | R | W | X, Some((STORE_FAULT, p + 8))),
        (ld, p + 8, M, NA4, Some((LOAD_FAULT, p + 8))),
        (ld, p + 16, M, NA4, None),
        (ld, p + 16, U, NA4, None),
    ];
    for translated in TIERS {
        let engine = engine(translated);
        put(&engine, SETUP, &setup_code());
        let mut vcpu = vcpu(&engine, 0);
        for (word, addr, privilege, byte, expected) in cases {
            put(&engine, CODE, &[word, ECALL]);
            reset(&mut vcpu);
            let entries = [((p + 12) >> 2, byte), everything];
            set_up(&mut vcpu, &entries, privilege);
            vcpu.state_mut().x[ADDRESS] = addr;
            let trap = trap_from(&mut vcpu, M, SETUP);
            match expected {
                Some(expected) => assert_eq!(trap, expected, "{word:x} with {byte:x}"),
                None => assert!(is_call(trap.0), "{word:x} with {byte:x}: {trap:x?}"),
            }
        }
    }
}
