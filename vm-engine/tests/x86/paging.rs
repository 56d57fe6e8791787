//! Translation as programs see it.

use iced_x86::code_asm::*;

use super::exceptions::enter_user;
use super::machine::*;

/// The entry of a page of the first 2 MiB.
fn entry(page: u64) -> u64 {
    PT + 8 * (page >> 12)
}

const P: u64 = 1;
const W: u64 = 2;
const U: u64 = 4;
const A: u64 = 0x20;
const D: u64 = 0x40;
const G: u64 = 0x100;
const XD: u64 = 1 << 63;

#[test]
fn user_mode_obeys_rights_and_error_codes_tell() {
    for (bits, write, error) in [
        (0, false, 4),
        (0, true, 6),
        (P | W, false, 5),
        (P | W, true, 7),
        (P | U, true, 7),
        (P | U | W | 1 << 45, false, 0xd),
    ] {
        let mut machine = Machine::long(enter_user);
        machine.put(entry(DATA), DATA | bits);
        machine.assemble(64, CODE + 0x100, |a| {
            if write {
                a.mov(dword_ptr(DATA), eax)
            } else {
                a.mov(eax, dword_ptr(DATA))
            }
        });
        let delivered = machine.run_to_stub();
        assert_eq!(delivered.what(), (14, Some(error)), "{bits:x} {write}");
        assert_eq!(machine.state().cr2, DATA);
    }
}

#[test]
fn supervisor_obeys_write_protection_when_it_is_on() {
    for (value, wanted) in [(0x8001_0033_u64, Some(3)), (0x8000_0033, None)] {
        let mut machine = Machine::long(move |a| {
            a.mov(rax, value)?;
            a.mov(cr0, rax)?;
            a.mov(dword_ptr(DATA), eax)?;
            a.ud2()
        });
        machine.put(entry(DATA), DATA | P);
        let delivered = machine.run_to_stub();
        let (vector, error) = delivered.what();
        assert_eq!((vector == 14).then_some(error).flatten(), wanted);
    }
}

#[test]
fn smep_smap_and_no_execute_stop_the_supervisor() {
    // CR4 bits to set, the page's bits, fetch, wanted
    for (cr4_bits, bits, fetch, wanted) in [
        (1_u32 << 20, P | W | U, true, Some(0x11)),
        (1 << 20, P | W | U, false, None),
        (1 << 21, P | W | U, false, Some(1)),
        (1 << 21, P | W, false, None),
        (0, P | W | XD, true, Some(0x11)),
        (0, P | W | U, true, None),
    ] {
        let mut machine = Machine::long(move |a| {
            a.mov(rax, cr4)?;
            a.or(eax, cr4_bits as i32)?;
            a.mov(cr4, rax)?;
            if fetch {
                a.jmp(DATA)
            } else {
                a.mov(eax, dword_ptr(DATA))?;
                a.ud2()
            }
        });
        for page in [CODE, STACK - 0x1000, STACK] {
            machine.put(entry(page), page | P | W);
        }
        for page in 0..0x10 {
            machine.put(entry(page << 12), page << 12 | P | W);
        }
        machine.put(entry(DATA), DATA | bits);
        machine.write(DATA, &[0x0f, 0x0b]);
        let (vector, error) = machine.run_to_stub().what();
        let got = (vector == 14).then_some(error).flatten();
        assert_eq!(got, wanted, "{cr4_bits:x} {bits:x} {fetch}");
    }
}

#[test]
fn stac_opens_user_pages_and_clac_closes_them() {
    let mut machine = Machine::long(|a| {
        a.mov(rax, cr4)?;
        a.or(eax, 1 << 21)?;
        a.mov(cr4, rax)?;
        a.stac()?;
        a.mov(ebx, dword_ptr(DATA))?;
        a.clac()?;
        a.mov(ecx, dword_ptr(DATA))
    });
    for page in 0..0x40 {
        machine.put(entry(page << 12), page << 12 | P | W);
    }
    machine.put(entry(DATA), DATA | P | W | U);
    machine.put(DATA, 0x1234);
    let delivered = machine.run_to_stub();
    assert_eq!(delivered.what(), (14, Some(1)));
    assert_eq!(machine.state().gpr[3], 0x1234);
}

#[test]
fn accessed_and_dirty_follow_the_accesses() {
    let mut machine = Machine::long(|a| {
        a.mov(eax, dword_ptr(DATA))?;
        a.mov(dword_ptr(DATA + 0x1000), eax)?;
        a.mov(eax, dword_ptr(DATA + 0x2000))?;
        a.mov(dword_ptr(DATA + 0x2000), eax)?;
        a.ud2()
    });
    machine.run_to_stub();
    let bits = |page| machine.get(entry(page)) & (A | D);
    assert_eq!(bits(DATA), A);
    assert_eq!(bits(DATA + 0x1000), A | D);
    assert_eq!(bits(DATA + 0x2000), A | D);
    assert_eq!(bits(DATA + 0x3000), 0);
}

#[test]
fn changed_entries_count_after_they_are_invalidated() {
    // Remaps DATA to DATA + 0x1000, and reads before and after the invalidation.
    for (name, global, invalidate, wanted) in [
        ("invlpg", true, 0, 2_u64),
        ("cr3", false, 1, 2),
        ("cr4.pge", true, 2, 2),
    ] {
        let mut machine = Machine::long(move |a| {
            a.mov(rbx, qword_ptr(DATA))?;
            a.mov(rax, (DATA + 0x1000) | 7)?;
            a.mov(qword_ptr(PT + 8 * (DATA >> 12)), rax)?;
            match invalidate {
                0 => a.invlpg(ptr(DATA))?,
                1 => {
                    a.mov(rax, cr3)?;
                    a.mov(cr3, rax)?;
                }
                _ => {
                    a.mov(rax, cr4)?;
                    a.xor(eax, 0x80)?;
                    a.mov(cr4, rax)?;
                }
            }
            a.mov(rcx, qword_ptr(DATA))?;
            a.ud2()
        });
        if global {
            machine.put(entry(DATA), DATA | P | W | U | G);
        }
        machine.put(DATA, 1);
        machine.put(DATA + 0x1000, 2);
        machine.run_to_stub();
        assert_eq!(
            (machine.state().gpr[3], machine.state().gpr[1]),
            (1, wanted),
            "{name}"
        );
    }
}

#[test]
fn global_pages_outlive_cr3_and_process_identifiers_keep_theirs() {
    let mut machine = Machine::long(|a| {
        a.mov(rax, cr4)?;
        a.or(eax, 1 << 17)?;
        a.mov(cr4, rax)?;
        a.mov(rax, qword_ptr(DATA))?;
        // Another space, and back without a flush.
        a.mov(rax, cr3)?;
        a.or(eax, 5)?;
        a.mov(cr3, rax)?;
        a.mov(rax, (DATA + 0x1000) | 7)?;
        a.mov(qword_ptr(PT + 8 * (DATA >> 12)), rax)?;
        a.mov(rbx, qword_ptr(DATA))?;
        a.mov(rax, PML4 | 1 << 63)?;
        a.mov(cr3, rax)?;
        a.mov(rcx, qword_ptr(DATA))?;
        a.mov(rax, PML4)?;
        a.mov(cr3, rax)?;
        a.mov(rdx, qword_ptr(DATA))?;
        a.ud2()
    });
    machine.put(DATA, 1);
    machine.put(DATA + 0x1000, 2);
    assert_eq!(machine.run_to_stub().vector, 6);
    let gpr = machine.state().gpr;
    // What is read without a flush may be either by the architecture; here the TLB keeps it.
    assert_eq!((gpr[3], gpr[2]), (2, 2));
}
