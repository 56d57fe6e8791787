use super::*;
use crate::riscv::sys::testing::Machine;

const RWX: u8 = cfg::R | cfg::W | cfg::X;

fn napot(first: u64, bytes: u64) -> u64 {
    (first >> 2) | ((bytes >> 3) - 1)
}

fn mode(a: u64) -> u8 {
    cfg::A.with(0, a) as u8
}

/// A hart with these entries: address register, configuration byte.
fn hart(entries: &[(u64, u8)]) -> HartState {
    let mut state = Machine::new("max").state;
    for (n, &(addr, _)) in entries.iter().enumerate() {
        write_addr(&mut state, n, addr);
    }
    for (n, &(_, byte)) in entries.iter().enumerate() {
        write_cfg(&mut state, n, byte);
    }
    state
}

fn at(state: &HartState, level: u64, addr: u64) -> (bool, bool, bool) {
    let rights = rights(state, level, GuestPhysAddr(addr), 1);
    (rights.read, rights.write, rights.execute)
}

const ALL: (bool, bool, bool) = (true, true, true);
const NONE: (bool, bool, bool) = (false, false, false);

#[test]
fn rights_without_matching_entry_depend_on_privilege() {
    let state = hart(&[]);
    assert_eq!(at(&state, privilege::M, 0x1000), ALL);
    assert_eq!(at(&state, privilege::S, 0x1000), NONE);
    assert_eq!(at(&state, privilege::U, 0x1000), NONE);
    let mut state = state;
    state.pmp_entries = 0;
    assert_eq!(at(&state, privilege::U, 0x1000), ALL);
}

#[test]
fn rights_napot_covers_its_power_of_two() {
    for shift in 3..=55 {
        let (first, bytes) = (1u64 << 55 & !((1 << shift) - 1), 1u64 << shift);
        let state = hart(&[(napot(first, bytes), mode(cfg::NAPOT) | RWX)]);
        assert_eq!(at(&state, privilege::U, first), ALL, "{shift}");
        assert_eq!(at(&state, privilege::U, first + bytes - 1), ALL, "{shift}");
        assert_eq!(
            at(&state, privilege::U, first.wrapping_sub(1)),
            NONE,
            "{shift}"
        );
        if let Some(after) = first.checked_add(bytes).filter(|&a| a < 1 << 56) {
            assert_eq!(at(&state, privilege::U, after), NONE, "{shift}");
        }
    }
    let state = hart(&[(ADDRESS_BITS, EVERYTHING)]);
    assert_eq!(at(&state, privilege::U, 0), ALL);
    assert_eq!(at(&state, privilege::U, (1 << 56) - 1), ALL);
}

#[test]
fn rights_na4_covers_four_bytes() {
    let state = hart(&[(0x1008 >> 2, mode(cfg::NA4) | cfg::R)]);
    let readable: Vec<u64> = (0x1000..0x1010)
        .filter(|&a| at(&state, privilege::S, a).0)
        .collect();
    assert_eq!(readable, [0x1008, 0x1009, 0x100a, 0x100b]);
}

#[test]
fn rights_tor_runs_from_the_entry_below() {
    let tor = mode(cfg::TOR);
    let state = hart(&[(0x2000 >> 2, tor | cfg::R), (0x5000 >> 2, tor | cfg::X)]);
    assert_eq!(at(&state, privilege::S, 0), (true, false, false));
    assert_eq!(at(&state, privilege::S, 0x1fff), (true, false, false));
    assert_eq!(at(&state, privilege::S, 0x2000), (false, false, true));
    assert_eq!(at(&state, privilege::S, 0x4fff), (false, false, true));
    assert_eq!(at(&state, privilege::S, 0x5000), NONE);
    let empty = hart(&[
        (0x5000 >> 2, 0),
        (0x5000 >> 2, tor | RWX),
        (0x2000 >> 2, tor | RWX),
    ]);
    assert_eq!(empty.pmp_active, 0);
}

#[test]
fn rights_lowest_matching_entry_decides() {
    let state = hart(&[
        (napot(0x4000, 0x1000), mode(cfg::NAPOT)),
        (napot(0, 0x1_0000), mode(cfg::NAPOT) | RWX),
    ]);
    assert_eq!(at(&state, privilege::S, 0x4000), NONE);
    assert_eq!(at(&state, privilege::S, 0x3fff), ALL);
}

#[test]
fn rights_locked_entry_binds_machine_mode() {
    let open = hart(&[(napot(0x4000, 0x1000), mode(cfg::NAPOT))]);
    assert_eq!(at(&open, privilege::M, 0x4000), ALL);
    let locked = hart(&[(napot(0x4000, 0x1000), mode(cfg::NAPOT) | cfg::L | cfg::R)]);
    assert_eq!(at(&locked, privilege::M, 0x4000), (true, false, false));
    assert_eq!(at(&locked, privilege::M, 0x5000), ALL);
    let shadowed = hart(&[
        (napot(0x4000, 0x1000), mode(cfg::NAPOT)),
        (napot(0, 0x1_0000), mode(cfg::NAPOT) | cfg::L),
    ]);
    assert_eq!(
        at(&shadowed, privilege::M, 0x4000),
        ALL,
        "the unlocked entry comes first"
    );
    assert_eq!(at(&shadowed, privilege::M, 0x3000), NONE);
}

#[test]
fn rights_whole_page_is_false_where_an_entry_ends_within() {
    let state = hart(&[(napot(0x4100, 0x100), mode(cfg::NAPOT) | RWX)]);
    let whole = |addr| rights(&state, privilege::S, GuestPhysAddr(addr), 1).whole_page;
    assert!(!whole(0x4000) && !whole(0x4100) && !whole(0x4fff));
    assert!(whole(0x3fff) && whole(0x5000));
    assert!(
        !rights(&state, privilege::M, GuestPhysAddr(0x4100), 1).whole_page,
        "M-mode may not access both sides of an end at once"
    );
    let state = hart(&[(napot(0x4000, 0x1000), mode(cfg::NAPOT) | RWX)]);
    assert!(rights(&state, privilege::S, GuestPhysAddr(0x4800), 1).whole_page);
}

#[test]
fn allows_table_entry_partial_match_is_denied() {
    let state = hart(&[
        (0x1004 >> 2, mode(cfg::NA4) | RWX),
        (napot(0, 0x1_0000), mode(cfg::NAPOT) | cfg::R),
    ]);
    let allowed = |addr, write| allows_table_entry(&state, GuestPhysAddr(addr), write);
    assert!(!allowed(0x1000, false));
    assert!(allowed(0x1008, false) && !allowed(0x1008, true));
    assert!(!allowed(0x2_0000, false));
}

#[test]
fn write_cfg_reserved_bits_and_w_without_r_read_back_clear() {
    let mut state = hart(&[]);
    write_cfg(&mut state, 0, 0x7f);
    assert_eq!(state.pmpcfg[0], 0x1f);
    write_cfg(&mut state, 0, mode(cfg::NA4) | cfg::W | cfg::X);
    assert_eq!(state.pmpcfg[0], mode(cfg::NA4) | cfg::X);
}

#[test]
fn write_locked_entry_is_ignored() {
    let mut state = hart(&[
        (0x100, 0),
        (0x200, mode(cfg::TOR) | cfg::L | cfg::R),
        (0x300, 0),
    ]);
    write_cfg(&mut state, 1, 0);
    for entry in 0..3 {
        write_addr(&mut state, entry, 0x999);
    }
    assert_eq!(state.pmpcfg[1], mode(cfg::TOR) | cfg::L | cfg::R);
    assert_eq!(
        state.pmpaddr[..3],
        [0x100, 0x200, 0x999],
        "its bottom is locked too"
    );
}
