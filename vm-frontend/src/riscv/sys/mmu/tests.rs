use std::cell::RefCell;
use std::collections::BTreeMap;

use super::*;
use crate::riscv::sys::pmp::cfg;
use crate::riscv::sys::testing::{Machine, exception};

const V: u64 = 1;
const R: u64 = 2;
const W: u64 = 4;
const X: u64 = 8;
const U: u64 = 16;
const A: u64 = 64;
const D: u64 = 128;

const ROOT: u64 = 0x8000_0000;
const VA: u64 = 0x4000_0000;
const PAGE: u64 = 0x9000_0000;

#[derive(Default)]
struct Words(RefCell<BTreeMap<u64, u64>>);

impl PhysMemory for Words {
    fn read_u64(&self, addr: GuestPhysAddr) -> Option<u64> {
        self.0.borrow().get(&addr.raw()).copied()
    }
    fn compare_exchange_u64(&self, addr: GuestPhysAddr, old: u64, new: u64) -> bool {
        let mut words = self.0.borrow_mut();
        let word = words.get_mut(&addr.raw()).expect("a word that was read");
        let same = *word == old;
        if same {
            *word = new;
        }
        same
    }
}

/// A gigapage at VA with these flags, and a hart with every model feature that uses it.
fn mapped(level: u64, flags: u64) -> (HartState, Words) {
    let memory = Words::default();
    let at = ROOT + 8 * (VA >> 30);
    memory.0.borrow_mut().insert(at, 0x8000_0000 >> 2 | flags);
    let mut state = Machine::new("max").state;
    state.privilege = level;
    state.satp = 8 << 60 | 7 << 44 | ROOT >> 12;
    pmp::write_addr(&mut state, 0, pmp::ADDRESS_BITS);
    pmp::write_cfg(&mut state, 0, pmp::EVERYTHING);
    (state, memory)
}

fn go(state: &HartState, memory: &Words, access: Access) -> Result<Mapping, Exception> {
    translate(
        state,
        memory,
        GuestVirtAddr(VA + (PAGE - 0x8000_0000) + 8),
        1,
        access,
    )
}

const ACCESSES: [Access; 3] = [Access::Read, Access::Write, Access::Execute];

#[test]
fn translate_machine_mode_is_identity() {
    let (state, memory) = mapped(privilege::M, 0);
    for access in ACCESSES {
        let m =
            translate(&state, &memory, GuestVirtAddr(0x1234_5678), 1, access).expect("identity");
        assert_eq!(m.page.raw(), 0x1234_5000);
        assert!(m.read && m.write && m.execute && m.cacheable && !m.global);
        assert_eq!(m.page_bytes, 4096);
    }
}

#[test]
fn translate_bare_beyond_physical_space_is_access_fault() {
    let (mut state, memory) = mapped(privilege::S, 0);
    state.satp = 0;
    let last = (1u64 << 56) - 1;
    for (access, code) in ACCESSES.into_iter().zip([5, 7, 1]) {
        assert!(translate(&state, &memory, GuestVirtAddr(last), 1, access).is_ok());
        assert_eq!(
            translate(&state, &memory, GuestVirtAddr(last + 1), 1, access),
            Err(exception(code, last + 1))
        );
    }
}

#[test]
fn translate_paged_gives_page_and_size() {
    let (state, memory) = mapped(privilege::S, V | R | W | X | A | D);
    for access in ACCESSES {
        let m = go(&state, &memory, access).expect("mapped");
        assert_eq!((m.page.raw(), m.page_bytes), (PAGE, 1 << 30));
        assert!(m.read && m.write && m.execute && m.cacheable);
    }
}

#[test]
fn translate_faults_have_the_code_of_the_access() {
    let (mut state, memory) = mapped(privilege::S, 0);
    let va = VA + (PAGE - 0x8000_0000) + 8;
    for (access, page, denied) in [
        (Access::Read, 13, 5),
        (Access::Write, 15, 7),
        (Access::Execute, 12, 1),
    ] {
        assert_eq!(go(&state, &memory, access), Err(exception(page, va)));
        state.satp += 1;
        assert_eq!(
            go(&state, &memory, access),
            Err(exception(denied, va)),
            "table not in RAM"
        );
        state.satp -= 1;
    }
}

#[test]
fn misaligned_has_the_code_of_the_access() {
    let at = GuestVirtAddr(3);
    assert_eq!(misaligned(at, Access::Execute), exception(0, 3));
    assert_eq!(misaligned(at, Access::Read), exception(4, 3));
    assert_eq!(misaligned(at, Access::Write), exception(6, 3));
}

#[test]
fn translate_clean_page_reads_without_write_tag() {
    let (mut state, memory) = mapped(privilege::S, V | R | W | A);
    let m = go(&state, &memory, Access::Read).expect("readable");
    assert!(m.read && !m.write && !m.execute);
    state.menvcfg = 0;
    assert!(go(&state, &memory, Access::Write).is_err(), "Svade");
    state.menvcfg = envcfg::ADUE.mask();
    assert!(go(&state, &memory, Access::Write).expect("Svadu").write);
    assert!(go(&state, &memory, Access::Read).expect("dirty now").write);
}

#[test]
fn translate_user_page_from_supervisor_needs_sum() {
    let (mut state, memory) = mapped(privilege::S, V | R | W | X | U | A | D);
    assert!(go(&state, &memory, Access::Read).is_err());
    state.mstatus = mstatus::SUM.with(state.mstatus, 1);
    assert!(go(&state, &memory, Access::Read).is_ok());
    assert!(go(&state, &memory, Access::Execute).is_err());
    state.privilege = privilege::U;
    assert!(go(&state, &memory, Access::Execute).is_ok());
}

#[test]
fn translate_executable_page_reads_with_mxr() {
    let (mut state, memory) = mapped(privilege::S, V | X | A);
    assert!(go(&state, &memory, Access::Read).is_err());
    state.mstatus = mstatus::MXR.with(state.mstatus, 1);
    let m = go(&state, &memory, Access::Read).expect("readable");
    assert!(m.read && m.execute && !m.write);
}

#[test]
fn translate_mprv_affects_data_only() {
    let (mut state, memory) = mapped(privilege::M, V | R | W | X | U | A | D);
    state.mstatus = mstatus::MPRV.with(state.mstatus, 1);
    for (mpp, translated, allowed) in [
        (privilege::U, true, true),
        (privilege::S, true, false),
        (privilege::M, false, true),
    ] {
        state.mstatus = mstatus::MPP.with(state.mstatus, mpp);
        let data = go(&state, &memory, Access::Read);
        assert_eq!(data.is_ok(), allowed, "{mpp}");
        if let Ok(data) = data {
            assert_eq!(data.page.raw() == PAGE, translated, "{mpp}");
        }
        let fetch = go(&state, &memory, Access::Execute).expect("M-mode fetches are physical");
        assert_eq!(fetch.page.raw(), VA + 0x1000_0000);
    }
}

#[test]
fn address_space_names_mode_and_asid() {
    let rows = [
        // privilege, MPRV and MPP, SUM, paged: data mode, number
        (privilege::U, None, true, true, 0, 8),
        (privilege::S, None, false, true, 1, 8),
        (privilege::S, None, true, true, 2, 8),
        (privilege::M, None, true, true, 3, 0),
        (privilege::M, Some(privilege::S), true, true, 2, 8),
        (privilege::M, Some(privilege::U), false, true, 0, 8),
        (privilege::M, Some(privilege::M), false, true, 3, 0),
        (privilege::U, None, false, false, 0, 0),
        (privilege::S, None, true, false, 1, 0),
    ];
    for (level, mprv, sum, paged, data_mode, asid) in rows {
        let (mut state, _) = mapped(level, 0);
        if let Some(mpp) = mprv {
            state.mstatus = mstatus::MPP.with(mstatus::MPRV.with(state.mstatus, 1), mpp);
        }
        state.mstatus = mstatus::SUM.with(state.mstatus, u64::from(sum));
        if !paged {
            state.satp = 0;
        }
        let expected = AddressSpace { data_mode, asid };
        assert_eq!(
            address_space(&state),
            expected,
            "{level} {mprv:?} {sum} {paged}"
        );
        assert!(usize::from(data_mode) < DATA_MODES);
    }
}

fn protect(state: &mut HartState, first: u64, bytes: u64, rights: u8) {
    let whole = state.pmpcfg[0];
    let addr = state.pmpaddr[0];
    pmp::write_addr(state, 1, addr);
    pmp::write_cfg(state, 1, whole);
    pmp::write_addr(state, 0, (first >> 2) | ((bytes >> 3) - 1));
    pmp::write_cfg(state, 0, rights | cfg::A.with(0, cfg::NAPOT) as u8);
}

#[test]
fn translate_protected_page_is_access_fault() {
    let (mut state, memory) = mapped(privilege::S, V | R | W | X | A | D);
    protect(&mut state, PAGE, 4096, cfg::R);
    let m = go(&state, &memory, Access::Read).expect("readable");
    assert!(m.read && !m.write && !m.execute && m.cacheable);
    let va = VA + 0x1000_0008;
    assert_eq!(go(&state, &memory, Access::Write), Err(exception(7, va)));
    assert_eq!(go(&state, &memory, Access::Execute), Err(exception(1, va)));
}

#[test]
fn translate_protection_within_a_page_is_not_cacheable() {
    let (mut state, memory) = mapped(privilege::S, V | R | W | X | A | D);
    protect(&mut state, PAGE, 8, 0);
    let m = go(&state, &memory, Access::Read).expect("outside of the eight bytes");
    assert!(!m.cacheable);
    let inside = GuestVirtAddr(VA + 0x1000_0007);
    assert_eq!(
        translate(&state, &memory, inside, 1, Access::Read),
        Err(exception(5, inside.raw()))
    );
}

#[test]
fn translate_protected_table_is_access_fault() {
    let (mut state, memory) = mapped(privilege::S, V | R | W | X | A);
    protect(&mut state, ROOT, 4096, cfg::R);
    assert!(go(&state, &memory, Access::Read).is_ok());
    let va = VA + 0x1000_0008;
    assert_eq!(
        go(&state, &memory, Access::Write),
        Err(exception(7, va)),
        "setting D"
    );
    pmp::write_cfg(&mut state, 0, cfg::A.with(0, cfg::NAPOT) as u8);
    assert_eq!(go(&state, &memory, Access::Read), Err(exception(5, va)));
}

#[test]
fn inspect_sees_every_page_and_sets_nothing() {
    let (mut state, memory) = mapped(privilege::S, V | X | U);
    let seen = inspect(&state, &memory, GuestVirtAddr(VA + 0x123));
    assert_eq!(seen, Some(GuestPhysAddr(0x8000_0123)));
    assert!(memory.0.borrow().values().all(|&entry| entry & A == 0));
    assert_eq!(inspect(&state, &memory, GuestVirtAddr(0)), None);
    state.privilege = privilege::M;
    assert_eq!(
        inspect(&state, &memory, GuestVirtAddr(5)),
        Some(GuestPhysAddr(5))
    );
}
