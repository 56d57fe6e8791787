//! Misaligned accesses, at the end of memory too, and cache-block operations where no memory is.

use super::machine::*;

/// Causes (RISC-V Priv 1.13, table 3.8).
const LOAD_FAULT: u64 = 5;
const STORE_FAULT: u64 = 7;
const LOAD_PAGE_FAULT: u64 = 13;
const STORE_PAGE_FAULT: u64 = 15;

const LD: u32 = load(0x3003);
const SD: u32 = store(0x3023);

/// The trap of one access in S-mode, on both tiers and in all forms.
fn trap_of(word: u32, addr: u64, satp: u64, tables: &[(u64, u64)]) -> (u64, u64) {
    let traps = FORMS.map(|form| trap_in_form(form, word, addr, satp, tables));
    assert!(
        traps.iter().all(|trap| *trap == traps[0]),
        "{word:x} at {addr:x}: {traps:x?}"
    );
    traps[0]
}

fn trap_in_form(form: Form, word: u32, addr: u64, satp: u64, tables: &[(u64, u64)]) -> (u64, u64) {
    let traps = TIERS.map(|translated| {
        let engine = engine(translated);
        put(&engine, CODE, &form.program(&[word]));
        for (at, entry) in tables {
            write(&engine, *at, &entry.to_le_bytes());
        }
        let mut vcpu = vcpu(&engine, 0);
        let state = vcpu.state_mut();
        (state.x[form.base], state.x[RESULT], state.satp) = (addr, 1, satp);
        let trap = trap_from(&mut vcpu, S, CODE);
        if !is_call(trap.0) {
            assert_eq!(vcpu.state().x[RESULT], 1, "the result stays");
        }
        trap
    });
    assert_eq!(traps[0], traps[1], "{word:x} at {addr:x}");
    traps[0]
}

#[test]
fn value_of_a_fault_is_the_part_that_has_no_memory() {
    for (word, cause) in [(LD, LOAD_FAULT), (SD, STORE_FAULT)] {
        for back in [1, 4, 7] {
            let addr = RAM_END - back;
            assert_eq!(trap_of(word, addr, 0, &[]), (cause, RAM_END));
            let addr = RAM - back;
            assert_eq!(trap_of(word, addr, 0, &[]), (cause, addr));
        }
        assert_eq!(trap_of(word, RAM_END, 0, &[]), (cause, RAM_END));
    }
}

#[test]
fn value_of_a_fault_is_the_part_that_has_no_memory_behind_page_tables() {
    // Three tables of Sv39 at the end of RAM; the leaf of the table says V, R, W, X, A and D.
    const ROOT: u64 = RAM + 0x2_0000;
    const MIDDLE: u64 = ROOT + 0x1000;
    const LAST: u64 = ROOT + 0x2000;
    let leaf = |phys: u64| phys >> 12 << 10 | 0xcf;
    let table = |phys: u64| phys >> 12 << 10 | 1;
    let pages = 0x20_0000_u64;
    let mut tables = vec![
        // The gigabyte of RAM as it is.
        (ROOT + 8 * 2, leaf(RAM)),
        (ROOT, table(MIDDLE)),
        (MIDDLE + 8, table(LAST)),
        (LAST, leaf(RAM + 0x1_0000)),
    ];
    let satp = 8 << 60 | ROOT >> 12;
    for (word, page_fault, fault) in [
        (LD, LOAD_PAGE_FAULT, LOAD_FAULT),
        (SD, STORE_PAGE_FAULT, STORE_FAULT),
    ] {
        let addr = pages + 0x1000 - 4;
        // Nothing is mapped behind the page, and then a place without memory.
        let trap = trap_of(word, addr, satp, &tables);
        assert_eq!(trap, (page_fault, pages + 0x1000));
        tables.push((LAST + 8, leaf(RAM_END)));
        let trap = trap_of(word, addr, satp, &tables);
        assert_eq!(trap, (fault, pages + 0x1000));
        tables.pop();
    }
}

#[test]
fn cache_block_operations_fault_where_no_memory_is() {
    let rs1 = (ADDRESS as u32) << 15;
    for operation in [0x0000_200f, 0x0010_200f, 0x0020_200f, 0x0040_200f] {
        let word = operation | rs1;
        for hole in [RAM_END + 0x13, 0x1000_0013] {
            assert_eq!(trap_of(word, hole, 0, &[]), (STORE_FAULT, hole));
        }
        assert!(is_call(trap_of(word, RAM_END - 1, 0, &[]).0));
    }
}

/// Every size at every place around the end of a page, next to a page that is mapped somewhere else, so that what is
/// read past an end by mistake is seen.
#[test]
fn misaligned_accesses_reach_the_bytes_of_their_pages() {
    const ROOT: u64 = RAM + 0x2_0000;
    const MIDDLE: u64 = ROOT + 0x1000;
    const LAST: u64 = ROOT + 0x2000;
    const VIRTUAL: u64 = 0x20_0000;
    const FIRST: u64 = RAM + 0x1_8000;
    const SECOND: u64 = RAM + 0x1_0000;
    let leaf = |phys: u64| phys >> 12 << 10 | 0xcf;
    let table = |phys: u64| phys >> 12 << 10 | 1;
    for (translated, form) in TIERS
        .into_iter()
        .flat_map(|tier| FORMS.map(|form| (tier, form)))
    {
        let engine = engine(translated);
        for (at, entry) in [
            (ROOT + 8 * 2, leaf(RAM)),
            (ROOT, table(MIDDLE)),
            (MIDDLE + 8, table(LAST)),
            (LAST, leaf(FIRST)),
            (LAST + 8, leaf(SECOND)),
        ] {
            write(&engine, at, &u64::to_le_bytes(entry));
        }
        let mut vcpu = vcpu(&engine, 0);
        let mut bytes: [u8; 32] = std::array::from_fn(|n| 0x11 + 7 * n as u8);
        let put_bytes = |bytes: &[u8; 32]| {
            write(&engine, FIRST + 0x1000 - 16, &bytes[..16]);
            write(&engine, SECOND, &bytes[16..]);
        };
        for (size, loads, stores) in [
            (2, load(0x5003), store(0x1023)),
            (4, load(0x6003), store(0x2023)),
            (8, LD, SD),
        ] {
            // The first of three fills what copies of translations there are, the second finds them.
            let program = form.program(&[loads, loads, stores, loads]);
            put(&engine, CODE, &program);
            for at in 0..=32 - size {
                put_bytes(&bytes);
                let value = 0x0123_4567_89ab_cdef_u64.rotate_left(at as u32 * 8);
                let state = vcpu.state_mut();
                state.satp = 8 << 60 | ROOT >> 12;
                state.x[form.base] = VIRTUAL + 0x1000 - 16 + at as u64;
                state.x[VALUE] = value;
                let (cause, _) = trap_from(&mut vcpu, S, CODE);
                assert_eq!(cause, S_CALL, "{size} bytes at {at}");
                let stored = &value.to_le_bytes()[..size];
                bytes[at..at + size].copy_from_slice(stored);
                let mut expected = [0; 8];
                expected[..size].copy_from_slice(stored);
                assert_eq!(
                    vcpu.state().x[RESULT],
                    u64::from_le_bytes(expected),
                    "{size} bytes at {at}, translated {translated}, {form:?}"
                );
                assert_eq!(read::<16>(&engine, FIRST + 0x1000 - 16), bytes[..16]);
                assert_eq!(read::<16>(&engine, SECOND), bytes[16..]);
            }
        }
        // Another address off the same register, on the page before: no copy of a translation may serve it.
        let neighbours = form.program(&[LD, LD | 0xffc << 20]);
        put(&engine, CODE, &neighbours);
        put_bytes(&bytes);
        let state = vcpu.state_mut();
        state.x[form.base] = VIRTUAL + 0x1000;
        let (cause, _) = trap_from(&mut vcpu, S, CODE);
        assert_eq!(cause, S_CALL);
        let expected = u64::from_le_bytes(bytes[12..20].try_into().expect("eight bytes"));
        assert_eq!(vcpu.state().x[RESULT], expected);
    }
}

#[test]
fn misaligned_atomics_fault() {
    for (funct3, bytes) in [(2, 4), (3, 8)] {
        for addr in [RAM + 0x1_0001, RAM + 0x1_0000 + bytes / 2] {
            for (word, cause) in [
                (atomic(AMOADD, funct3, VALUE as u32), 6),
                (atomic(SC, funct3, VALUE as u32), 6),
                (atomic(LR, funct3, 0), 4),
            ] {
                assert_eq!(trap_of(word, addr, 0, &[]), (cause, addr));
            }
        }
    }
}
