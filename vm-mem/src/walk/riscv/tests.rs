//! Each rule of the walk, one page table at a time.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use super::*;

const ROOT: u64 = 0x1000;
const VA: u64 = 0x12_3456_7abc;
/// A leaf that lets S-mode do everything.
const FULL: u64 = pte::V | pte::R | pte::W | pte::X | pte::A | pte::D;

/// Words of memory; what is not there is not RAM.
#[derive(Default)]
struct Words {
    words: RefCell<BTreeMap<u64, u64>>,
    /// How many compare-and-swaps another agent gets in between, and what it stores.
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

fn entry(page: u64, flags: u64) -> u64 {
    page >> PAGE_SHIFT << pte::PPN_SHIFT | flags
}

/// Tables for one address with `leaf` at `level`; table n stands at ROOT + n pages, counted from the root.
fn tables(levels: Levels, va: u64, level: u32, leaf: u64) -> Words {
    let memory = Words::default();
    let mut table = ROOT;
    for at in (level..levels as u32).rev() {
        let index = va >> level_shift(at) & INDEX_MASK;
        let next = table + 0x1000;
        let bits = if at == level {
            leaf
        } else {
            entry(next, pte::V)
        };
        memory.words.borrow_mut().insert(table + 8 * index, bits);
        table = next;
    }
    memory
}

fn leaf_addr(levels: Levels, va: u64, level: u32) -> u64 {
    let table = ROOT + 0x1000 * u64::from(levels as u32 - 1 - level);
    table + 8 * (va >> level_shift(level) & INDEX_MASK)
}

fn supervisor(levels: Levels) -> SvWalk<'static> {
    SvWalk {
        root: GuestPhysAddr(ROOT),
        levels,
        user: false,
        sum: false,
        mxr: false,
        update_ad: false,
        pbmt: false,
        napot: false,
        allowed: &|_, _| true,
    }
}

fn go(walk: SvWalk<'_>, memory: &Words, access: Access) -> Result<Leaf, WalkFault> {
    translate(&walk, memory, GuestVirtAddr(VA), access)
}

fn sv39_leaf(walk: SvWalk<'_>, leaf: u64, access: Access) -> Result<Leaf, WalkFault> {
    go(walk, &tables(Levels::Three, VA, 0, leaf), access)
}

const ALL_LEVELS: [Levels; 3] = [Levels::Three, Levels::Four, Levels::Five];
const ALL_ACCESSES: [Access; 3] = [Access::Read, Access::Write, Access::Execute];

#[test]
fn translate_every_level_gives_its_page_and_span() {
    for levels in ALL_LEVELS {
        for level in 0..levels as u32 {
            let span = 1u64 << level_shift(level);
            let base = span * 3 % (1 << 56);
            let memory = tables(levels, VA, level, entry(base, FULL));
            for access in ALL_ACCESSES {
                let leaf = go(supervisor(levels), &memory, access).expect("a full leaf");
                assert_eq!(
                    leaf.page.raw(),
                    base + (VA & (span - 1) & !0xfff),
                    "{levels:?} {level}"
                );
                assert_eq!(leaf.span_bytes, span);
                assert!(leaf.read && leaf.write && leaf.execute && leaf.dirty && !leaf.global);
            }
        }
    }
}

#[test]
fn translate_misaligned_superpage_is_page_fault() {
    for levels in ALL_LEVELS {
        for level in 1..levels as u32 {
            for bit in [12, level_shift(level) - 1] {
                let memory = tables(levels, VA, level, entry(1 << bit, FULL));
                assert_eq!(
                    go(supervisor(levels), &memory, Access::Read),
                    Err(WalkFault::Page),
                    "{levels:?} level {level} bit {bit}"
                );
            }
        }
    }
}

#[test]
fn translate_non_canonical_address_is_page_fault() {
    for (levels, bits) in [(Levels::Three, 39), (Levels::Four, 48), (Levels::Five, 57)] {
        let high = u64::MAX << (bits - 1);
        for va in [high, u64::MAX, (1 << (bits - 1)) - 1, 0] {
            let memory = tables(levels, va, 0, entry(0x9000, FULL));
            let at = GuestVirtAddr(va);
            assert!(translate(&supervisor(levels), &memory, at, Access::Read).is_ok());
            for wrong in [va ^ 1 << 63, va ^ 1 << bits, va ^ 1 << (bits - 1)] {
                let at = GuestVirtAddr(wrong);
                assert_eq!(
                    translate(&supervisor(levels), &memory, at, Access::Read),
                    Err(WalkFault::Page),
                    "{wrong:#x}"
                );
            }
        }
    }
}

#[test]
fn translate_reserved_entry_is_page_fault() {
    let walk = SvWalk {
        pbmt: true,
        napot: true,
        update_ad: true,
        ..supervisor(Levels::Three)
    };
    let reserved = [
        ("invalid", FULL & !pte::V),
        ("write without read", FULL & !(pte::R | pte::X)),
        ("write and execute without read", FULL & !pte::R),
        ("no leaf at level 0", pte::V),
        ("bit 54", FULL | 1 << 54),
        ("bit 60", FULL | 1 << 60),
        ("memory type 3", FULL | pte::PBMT),
    ];
    for (what, leaf) in reserved {
        assert_eq!(
            sv39_leaf(walk, leaf, Access::Read),
            Err(WalkFault::Page),
            "{what}"
        );
    }
    assert!(sv39_leaf(walk, FULL, Access::Read).is_ok());
}

#[test]
fn translate_pointer_with_leaf_bits_is_page_fault() {
    let walk = SvWalk {
        pbmt: true,
        napot: true,
        ..supervisor(Levels::Three)
    };
    let at = leaf_addr(Levels::Three, VA, 1);
    for bit in [pte::U, pte::A, pte::D, 1 << 61, 1 << 62, pte::N, 1 << 54] {
        let memory = tables(Levels::Three, VA, 0, FULL);
        *memory.words.borrow_mut().get_mut(&at).expect("table") |= bit;
        assert_eq!(
            go(walk, &memory, Access::Read),
            Err(WalkFault::Page),
            "{bit:#x}"
        );
    }
}

#[test]
fn translate_global_pointer_makes_leaf_global() {
    let memory = tables(Levels::Three, VA, 0, FULL);
    let at = leaf_addr(Levels::Three, VA, 1);
    *memory.words.borrow_mut().get_mut(&at).expect("table") |= pte::G;
    let global = |memory| go(supervisor(Levels::Three), memory, Access::Read).map(|l| l.global);
    assert_eq!(global(&memory), Ok(true));
    assert_eq!(
        global(&tables(Levels::Three, VA, 0, FULL | pte::G)),
        Ok(true)
    );
}

#[test]
fn translate_permissions_follow_r_w_x() {
    let legal = [
        pte::R,
        pte::R | pte::W,
        pte::X,
        pte::R | pte::X,
        pte::R | pte::W | pte::X,
    ];
    for rights in legal {
        for mxr in [false, true] {
            let walk = SvWalk {
                mxr,
                ..supervisor(Levels::Three)
            };
            let leaf = pte::V | pte::A | pte::D | rights;
            let read = rights & pte::R != 0 || mxr && rights & pte::X != 0;
            for (access, allowed) in [
                (Access::Read, read),
                (Access::Write, rights & pte::W != 0),
                (Access::Execute, rights & pte::X != 0),
            ] {
                let result = sv39_leaf(walk, leaf, access);
                assert_eq!(result.is_ok(), allowed, "{rights:#x} mxr {mxr} {access:?}");
                assert!(allowed || result == Err(WalkFault::Page));
            }
        }
    }
}

#[test]
fn translate_user_bit_follows_mode_and_sum() {
    // Mode, SUM, U bit of the page: data allowed, fetch allowed.
    let rows = [
        (true, false, true, true, true),
        (true, false, false, false, false),
        (true, true, false, false, false),
        (false, false, true, false, false),
        (false, true, true, true, false),
        (false, false, false, true, true),
        (false, true, false, true, true),
    ];
    for (user, sum, u, data, fetch) in rows {
        let walk = SvWalk {
            user,
            sum,
            ..supervisor(Levels::Three)
        };
        let leaf = FULL | if u { pte::U } else { 0 };
        let ok = |access| sv39_leaf(walk, leaf, access).is_ok();
        assert_eq!(ok(Access::Read), data, "read {user} {sum} {u}");
        assert_eq!(ok(Access::Write), data, "write {user} {sum} {u}");
        assert_eq!(ok(Access::Execute), fetch, "fetch {user} {sum} {u}");
    }
}

#[test]
fn translate_svade_clear_bits_are_page_faults() {
    let walk = supervisor(Levels::Three);
    for access in ALL_ACCESSES {
        assert_eq!(
            sv39_leaf(walk, FULL & !pte::A, access),
            Err(WalkFault::Page)
        );
    }
    let clean = FULL & !pte::D;
    assert_eq!(sv39_leaf(walk, clean, Access::Write), Err(WalkFault::Page));
    let leaf = sv39_leaf(walk, clean, Access::Read).expect("readable");
    assert!(leaf.write && !leaf.dirty);
}

#[test]
fn translate_svadu_sets_a_and_d_by_need() {
    let walk = SvWalk {
        update_ad: true,
        ..supervisor(Levels::Four)
    };
    let fresh = FULL & !(pte::A | pte::D);
    let at = leaf_addr(Levels::Four, VA, 0);
    for (access, bits) in [
        (Access::Read, pte::A),
        (Access::Execute, pte::A),
        (Access::Write, pte::A | pte::D),
    ] {
        let memory = tables(Levels::Four, VA, 0, fresh);
        let leaf = go(walk, &memory, access).expect("full rights");
        assert_eq!(memory.words.borrow()[&at], fresh | bits, "{access:?}");
        assert_eq!(leaf.dirty, access == Access::Write);
    }
}

#[test]
fn translate_svadu_fault_leaves_entry_alone() {
    let walk = SvWalk {
        update_ad: true,
        ..supervisor(Levels::Three)
    };
    let read_only = pte::V | pte::R;
    let memory = tables(Levels::Three, VA, 0, read_only);
    assert_eq!(go(walk, &memory, Access::Write), Err(WalkFault::Page));
    assert_eq!(
        memory.words.borrow()[&leaf_addr(Levels::Three, VA, 0)],
        read_only
    );
}

#[test]
fn translate_svadu_lost_race_walks_again() {
    let walk = SvWalk {
        update_ad: true,
        ..supervisor(Levels::Three)
    };
    let memory = tables(Levels::Three, VA, 0, FULL & !pte::A);
    memory.races.set(1);
    memory.raced_to.set(entry(0x5000, pte::V | pte::R | pte::W));
    let leaf = go(walk, &memory, Access::Write).expect("still mapped");
    assert_eq!((leaf.page.raw(), leaf.execute), (0x5000, false));
    let bits = memory.words.borrow()[&leaf_addr(Levels::Three, VA, 0)];
    assert_eq!(
        bits,
        entry(0x5000, pte::V | pte::R | pte::W | pte::A | pte::D)
    );

    let memory = tables(Levels::Three, VA, 0, FULL & !pte::A);
    memory.races.set(1);
    memory.raced_to.set(0);
    assert_eq!(go(walk, &memory, Access::Write), Err(WalkFault::Page));
}

#[test]
fn translate_svadu_entry_in_rom_is_access_fault() {
    let walk = SvWalk {
        update_ad: true,
        ..supervisor(Levels::Three)
    };
    let memory = tables(Levels::Three, VA, 0, FULL & !pte::A);
    memory.read_only.set(true);
    assert_eq!(go(walk, &memory, Access::Read), Err(WalkFault::Access));
}

#[test]
fn translate_table_outside_ram_is_access_fault() {
    for levels in ALL_LEVELS {
        for level in 0..levels as u32 {
            let memory = tables(levels, VA, 0, FULL);
            memory
                .words
                .borrow_mut()
                .remove(&leaf_addr(levels, VA, level));
            let result = go(supervisor(levels), &memory, Access::Read);
            assert_eq!(result, Err(WalkFault::Access), "{levels:?} {level}");
        }
    }
}

#[test]
fn translate_protected_table_is_access_fault() {
    let at = leaf_addr(Levels::Three, VA, 1);
    let no_read = |addr: GuestPhysAddr, write: bool| write || addr.raw() != at;
    let walk = SvWalk {
        allowed: &no_read,
        ..supervisor(Levels::Three)
    };
    assert_eq!(sv39_leaf(walk, FULL, Access::Read), Err(WalkFault::Access));

    let no_write = |_: GuestPhysAddr, write: bool| !write;
    let walk = SvWalk {
        allowed: &no_write,
        update_ad: true,
        ..supervisor(Levels::Three)
    };
    assert!(sv39_leaf(walk, FULL, Access::Write).is_ok());
    assert_eq!(
        sv39_leaf(walk, FULL & !pte::D, Access::Write),
        Err(WalkFault::Access)
    );
}

#[test]
fn translate_svnapot_maps_64_kib() {
    let walk = SvWalk {
        napot: true,
        ..supervisor(Levels::Three)
    };
    let leaf = FULL | pte::N | entry(0x4_8000, 0);
    let leaf = sv39_leaf(walk, leaf, Access::Read).expect("a 64 KiB leaf");
    assert_eq!(leaf.page.raw(), 0x4_0000 + (VA & 0xf000));
    assert_eq!(leaf.span_bytes, 0x1_0000);
}

#[test]
fn translate_svnapot_other_sizes_and_levels_are_page_faults() {
    let walk = SvWalk {
        napot: true,
        ..supervisor(Levels::Three)
    };
    for code in (0..16).filter(|&code| code != 8) {
        let leaf = FULL | pte::N | entry(0x4_0000 + code * 0x1000, 0);
        assert_eq!(
            sv39_leaf(walk, leaf, Access::Read),
            Err(WalkFault::Page),
            "{code}"
        );
    }
    let leaf = FULL | pte::N | entry(0x4_8000, 0);
    assert_eq!(
        sv39_leaf(supervisor(Levels::Three), leaf, Access::Read),
        Err(WalkFault::Page),
        "without Svnapot"
    );
    let memory = tables(Levels::Three, VA, 1, leaf);
    assert_eq!(
        go(walk, &memory, Access::Read),
        Err(WalkFault::Page),
        "at level 1"
    );
}

#[test]
fn translate_svpbmt_is_reserved_until_enabled() {
    for kind in [1, 2] {
        let leaf = FULL | kind << 61;
        let walk = supervisor(Levels::Three);
        assert_eq!(sv39_leaf(walk, leaf, Access::Read), Err(WalkFault::Page));
        let walk = SvWalk { pbmt: true, ..walk };
        assert!(sv39_leaf(walk, leaf, Access::Read).is_ok());
    }
}
