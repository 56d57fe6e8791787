//! Each rule of the walk, one page table at a time.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use super::*;

const ROOT: u64 = 0x1000;
const VA: u64 = 0x0012_3456_7abc;
const FULL: u64 = pte::P | pte::W | pte::U;
const ALL_DONE: u64 = FULL | pte::A | pte::D;

/// Words of memory; what is not there is not RAM.
#[derive(Default)]
struct Words {
    words: RefCell<BTreeMap<u64, u64>>,
    /// How many updates another agent gets in between, and what it stores.
    races: Cell<u32>,
    raced_to: Cell<u64>,
    read_only: Cell<bool>,
}

impl PhysMemory for Words {
    fn read_u64(&self, addr: GuestPhysAddr) -> Option<u64> {
        self.words.borrow().get(&addr.raw()).copied()
    }

    fn compare_exchange_u64(&self, addr: GuestPhysAddr, old: u64, new: u64) -> bool {
        let mut words = self.words.borrow_mut();
        let word = words
            .get_mut(&addr.raw())
            .expect("the walker swaps words that it read");
        if self.races.get() > 0 {
            self.races.set(self.races.get() - 1);
            *word = self.raced_to.get();
        }
        if *word != old || self.read_only.get() {
            return false;
        }
        *word = new;
        true
    }
}

impl Words {
    fn at(&self, addr: u64) -> u64 {
        self.words.borrow()[&addr]
    }
}

/// Tables for [`VA`] with `leaf` at `level` and `rights` in the entries above; table n stands at ROOT + n pages.
fn tables(levels: u32, level: u32, leaf: u64, rights: u64) -> Words {
    let memory = Words::default();
    let mut table = ROOT;
    for at in (level..levels).rev() {
        let next = table + 0x1000;
        let bits = if at == level { leaf } else { next | rights };
        memory
            .words
            .borrow_mut()
            .insert(entry_addr(table, at), bits);
        table = next;
    }
    memory
}

fn entry_addr(table: u64, level: u32) -> u64 {
    table + 8 * (VA >> (12 + 9 * level) & 0x1ff)
}

/// Where the leaf of [`tables`] is.
fn leaf_addr(levels: u32, level: u32) -> u64 {
    entry_addr(ROOT + 0x1000 * u64::from(levels - 1 - level), level)
}

fn walk() -> X86Walk {
    X86Walk {
        tables: Tables::Four(GuestPhysAddr(ROOT)),
        phys_bits: 40,
        user: false,
        write_protect: true,
        no_execute: true,
        smep: false,
        smap: false,
        global_pages: true,
        gib_pages: true,
    }
}

fn run(walk: &X86Walk, memory: &Words, access: Access) -> Result<Leaf, u32> {
    translate(walk, memory, GuestVirtAddr(VA), access).map_err(|fault| fault.0)
}

#[test]
fn sizes_map_their_pages_at_every_depth() {
    for (levels, tables_of) in [
        (4, Tables::Four(GuestPhysAddr(ROOT))),
        (5, Tables::Five(GuestPhysAddr(ROOT))),
    ] {
        for (level, frame) in [(0, 0x77_7000), (1, 0x7760_0000), (2, 0x3_4000_0000)] {
            let large = if level > 0 { pte::PS } else { 0 };
            let memory = tables(levels, level, frame | FULL | large | pte::G, FULL);
            let walk = X86Walk {
                tables: tables_of,
                ..walk()
            };
            let leaf = run(&walk, &memory, Access::Read).expect("mapped");
            let span = 1 << (12 + 9 * level);
            assert_eq!(leaf.span_bytes, span);
            assert_eq!(leaf.page.raw(), frame | VA & (span - 1) & !0xfff);
            assert!(leaf.global && leaf.write && !leaf.dirty);
        }
    }
}

#[test]
fn rights_of_all_levels_count() {
    use Access::{Execute, Read, Write};
    let p = error::PRESENT;
    let (w, u, i) = (error::WRITE, error::USER, error::FETCH);
    let supervisor = pte::P | pte::W;
    let read_only = pte::P | pte::U;
    // leaf, above, user, access, fault
    for (leaf, above, user, access, fault) in [
        (FULL, FULL, true, Write, None),
        (supervisor, FULL, true, Read, Some(p | u)),
        (FULL, supervisor, true, Write, Some(p | u | w)),
        (read_only, FULL, true, Write, Some(p | u | w)),
        (FULL, read_only, false, Write, Some(p | w)),
        (FULL, FULL | pte::XD, false, Execute, Some(p | i)),
        (FULL | pte::XD, FULL, true, Execute, Some(p | u | i)),
        (supervisor, FULL, true, Execute, Some(p | u | i)),
        (0, FULL, true, Write, Some(u | w)),
        (FULL, 0, false, Execute, Some(i)),
    ] {
        let memory = tables(4, 0, leaf, above);
        let walk = X86Walk { user, ..walk() };
        let got = run(&walk, &memory, access).err();
        assert_eq!(got, fault, "{leaf:x} {above:x} {user} {access:?}");
    }
}

#[test]
fn supervisor_writes_to_read_only_pages_without_write_protect() {
    let memory = tables(4, 0, pte::P | pte::U, FULL);
    let walk = X86Walk {
        write_protect: false,
        ..walk()
    };
    let leaf = run(&walk, &memory, Access::Write).expect("allowed");
    assert!(leaf.write && leaf.dirty);
    let user = X86Walk { user: true, ..walk };
    assert!(run(&user, &memory, Access::Write).is_err());
}

#[test]
fn smep_and_smap_keep_the_supervisor_out_of_user_pages() {
    let memory = tables(4, 0, FULL, FULL);
    let strict = X86Walk {
        smep: true,
        smap: true,
        ..walk()
    };
    let p = error::PRESENT;
    assert_eq!(
        run(&strict, &memory, Access::Execute),
        Err(p | error::FETCH)
    );
    assert_eq!(run(&strict, &memory, Access::Read), Err(p));
    assert_eq!(run(&strict, &memory, Access::Write), Err(p | error::WRITE));
    let own = tables(4, 0, pte::P | pte::W, FULL);
    assert!(run(&strict, &own, Access::Execute).is_ok());
    assert!(run(&strict, &own, Access::Write).is_ok());
    let user = X86Walk {
        user: true,
        ..strict
    };
    assert!(run(&user, &memory, Access::Execute).is_ok());
}

#[test]
fn fetch_bit_needs_no_execute_or_smep() {
    let memory = tables(4, 0, 0, FULL);
    let plain = X86Walk {
        no_execute: false,
        ..walk()
    };
    assert_eq!(run(&plain, &memory, Access::Execute), Err(0));
    let smep = X86Walk {
        smep: true,
        ..plain
    };
    assert_eq!(run(&smep, &memory, Access::Execute), Err(error::FETCH));
}

#[test]
fn reserved_bits_fault_at_every_level() {
    let reserved = error::PRESENT | error::RESERVED;
    // level, leaf
    for (level, leaf) in [
        (0, FULL | 1 << 40),
        (0, FULL | 1 << 51),
        (1, FULL | pte::PS | 1 << 13),
        (1, FULL | pte::PS | 1 << 20),
        (2, FULL | pte::PS | 1 << 29),
        (3, FULL | pte::PS),
    ] {
        let memory = tables(4, level, leaf, FULL);
        assert_eq!(
            run(&walk(), &memory, Access::Read),
            Err(reserved),
            "{leaf:x}"
        );
    }
    let available = tables(4, 0, FULL | 0x7ff << 52 | 0xe00, FULL);
    assert!(run(&walk(), &available, Access::Read).is_ok());
    let without = X86Walk {
        no_execute: false,
        ..walk()
    };
    let memory = tables(4, 0, FULL | pte::XD, FULL);
    assert_eq!(run(&without, &memory, Access::Read), Err(reserved));
    let small = X86Walk {
        gib_pages: false,
        ..walk()
    };
    let memory = tables(4, 2, FULL | pte::PS, FULL);
    assert_eq!(run(&small, &memory, Access::Read), Err(reserved));
}

#[test]
fn accessed_and_dirty_are_set_and_only_where_the_access_is_done() {
    let memory = tables(4, 0, FULL, FULL);
    run(&walk(), &memory, Access::Read).expect("mapped");
    assert_eq!(memory.at(leaf_addr(4, 0)), FULL | pte::A);
    for level in 1..4 {
        let bits = memory.at(leaf_addr(4, level));
        assert_eq!(bits & (pte::A | pte::D), pte::A, "level {level}");
    }
    run(&walk(), &memory, Access::Write).expect("mapped");
    assert_eq!(memory.at(leaf_addr(4, 0)), ALL_DONE);

    let memory = tables(4, 0, pte::P, FULL);
    run(&walk(), &memory, Access::Write).expect_err("read-only");
    assert_eq!(memory.at(leaf_addr(4, 0)), pte::P);
}

#[test]
fn races_start_the_walk_anew_and_read_only_tables_are_taken_as_they_are() {
    let memory = tables(4, 0, FULL, FULL | pte::A);
    memory.races.set(1);
    memory.raced_to.set(0x5_5000 | FULL);
    let leaf = run(&walk(), &memory, Access::Read).expect("mapped");
    assert_eq!(leaf.page.raw(), 0x5_5000);

    let memory = tables(4, 0, FULL, FULL);
    memory.races.set(1);
    memory.raced_to.set(0);
    assert_eq!(run(&walk(), &memory, Access::Read), Err(0));

    let memory = tables(4, 0, FULL, FULL);
    memory.read_only.set(true);
    assert!(run(&walk(), &memory, Access::Write).is_ok());
}

#[test]
fn tables_outside_of_ram_read_as_ones() {
    let memory = tables(4, 1, 0x9000_0000 | FULL, FULL);
    let reserved = error::PRESENT | error::RESERVED;
    assert_eq!(run(&walk(), &memory, Access::Read), Err(reserved));
}

#[test]
fn pae_uses_registers_and_reserves_the_upper_bits() {
    let memory = tables(2, 0, FULL, FULL);
    let mut entries = [0; 4];
    entries[(VA >> 30 & 3) as usize] = ROOT | pte::P;
    let pae = X86Walk {
        tables: Tables::Pae(entries),
        ..walk()
    };
    let addr = GuestVirtAddr(VA & 0xffff_ffff);
    let leaf = translate(&pae, &memory, addr, Access::Write).expect("mapped");
    assert_eq!(leaf.span_bytes, 0x1000);
    let none = X86Walk {
        tables: Tables::Pae([0; 4]),
        ..walk()
    };
    assert_eq!(
        translate(&none, &memory, addr, Access::Read),
        Err(PageFault(0))
    );
    let memory = tables(2, 0, FULL | 1 << 52, FULL);
    let fault = PageFault(error::PRESENT | error::RESERVED);
    assert_eq!(translate(&pae, &memory, addr, Access::Read), Err(fault));
}

/// Two-level tables with `directory` and `page` as entries for `addr`; the page table stands at 0x3000.
fn two_levels(addr: u64, directory: u32, page: u32) -> Words {
    let memory = Words::default();
    let put = |at: u64, entry: u32| {
        let mut words = memory.words.borrow_mut();
        let word = words.entry(at & !7).or_default();
        *word |= u64::from(entry) << (8 * (at & 4));
    };
    put(ROOT + 4 * (addr >> 22), directory);
    put(0x3000 + 4 * (addr >> 12 & 0x3ff), page);
    memory
}

#[test]
fn two_levels_map_small_and_large_pages() {
    let two = |pse| X86Walk {
        tables: Tables::Bits32 {
            root: GuestPhysAddr(ROOT),
            pse,
        },
        ..walk()
    };
    for addr in [0xc012_3456_u64, 0xc012_2456] {
        let memory = two_levels(addr, 0x3000 | FULL as u32, 0x00ab_c000 | FULL as u32);
        let leaf = translate(&two(true), &memory, GuestVirtAddr(addr), Access::Write);
        assert_eq!(leaf.expect("mapped").page.raw(), 0xab_c000);
        let shift = 8 * (addr >> 12 << 2 & 4);
        let entry = memory.at((0x3000 + 4 * (addr >> 12 & 0x3ff)) & !7) >> shift;
        assert_eq!(entry, 0xab_c000 | ALL_DONE);
    }
    let addr = GuestVirtAddr(0x8034_5678);
    let large = 0x0080_0000 | 0x12 << 13 | (FULL | pte::PS) as u32;
    let memory = two_levels(addr.raw(), large, 0);
    let leaf = translate(&two(true), &memory, addr, Access::Read).expect("mapped");
    assert_eq!(leaf.page.raw(), 0x12_00b4_5000);
    assert_eq!(leaf.span_bytes, 4 << 20);
    let memory = two_levels(addr.raw(), large | 1 << 21, 0);
    let fault = PageFault(error::PRESENT | error::RESERVED);
    assert_eq!(
        translate(&two(true), &memory, addr, Access::Read),
        Err(fault)
    );
    // Without CR4.PSE the size bit means nothing.
    let entry = 0x3000 | (FULL | pte::PS) as u32;
    let memory = two_levels(addr.raw(), entry, 0x6000 | FULL as u32);
    let leaf = translate(&two(false), &memory, addr, Access::Read).expect("mapped");
    assert_eq!(leaf.page.raw(), 0x6000);
}
