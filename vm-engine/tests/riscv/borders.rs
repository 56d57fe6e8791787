//! Code and accesses at borders: of protected memory within a page (RISC-V Priv 1.13, 3.7), of memory and devices, and
//! code in a flash memory that is programmed.

use std::sync::Arc;

use vm_core::{GuestPhysAddr, VcpuId, VmExit};
use vm_device::Bus;
use vm_device::firmware::flash::{Flash, FlashAccess};
use vm_engine::{Engine, Vcpu};
use vm_frontend::riscv::Riscv;

use super::asm::{
    BNE, ECALL, FENCE_I, RET, addi, branch, bytes, jalr, ld, load_address, sd, span, sw,
};
use super::machine::{self, FLASH, FLASH_BYTES, write};

const BASE: u64 = 0x10000;
/// The RAM ends where the flash begins.
const RAM: u64 = FLASH - BASE;
/// A call to firmware, for exceptions.
const TRAP: u64 = BASE + 0x1000;
/// A page that protection splits.
const SPLIT: u64 = BASE + 0x4000;
/// The first bytes of it that may not be fetched, and how many.
const BARRED: (u64, u64) = (SPLIT + 8, 8);
/// Causes (RISC-V Priv 1.13, table 4.2).
const FETCH_ACCESS: u64 = 1;
const LOAD_ACCESS: u64 = 5;
const STORE_ACCESS: u64 = 7;

/// An engine with flash that holds `image` and code at the start of its RAM.
fn engine(image: &[u32], words: &[u32]) -> Arc<Engine<Riscv>> {
    let bus = Bus::new();
    let base = GuestPhysAddr(FLASH);
    let flash = Flash::virt(base, &bytes(image), FlashAccess::Volatile).expect("it fits");
    let placed = bus.insert("flash", FLASH, FLASH_BYTES, Arc::new(flash));
    placed.expect("the bus is empty");
    let engine = machine::engine_on(bus, BASE, &bytes(words), RAM);
    write(&engine, TRAP, &[ECALL]);
    engine
}

/// A virtual CPU that may not fetch from the barred part of the split page.
fn guarded(engine: &Arc<Engine<Riscv>>, number: u32) -> Vcpu<Riscv> {
    let mut vcpu = machine::vcpu(engine, number, BASE, TRAP);
    let state = vcpu.state_mut();
    // Entry 0, of built-in firmware, allows all; it becomes entry 1.
    (state.pmp_first[1], state.pmp_last[1]) = (state.pmp_first[0], state.pmp_last[0]);
    state.pmpcfg[1] = state.pmpcfg[0];
    state.pmp_active |= 3;
    let (first, bytes) = BARRED;
    (state.pmp_first[0], state.pmp_last[0]) = (first, first + bytes - 1);
    // R and W of a naturally aligned range.
    state.pmpcfg[0] = 0b11 | 3 << 3;
    vcpu
}

/// Runs to the exception; gives cause, address and value.
fn exception(vcpu: &mut Vcpu<Riscv>) -> (u64, u64, u64) {
    assert_eq!(vcpu.run(), VmExit::FirmwareCall);
    let state = vcpu.state();
    (state.scause, state.sepc, state.stval)
}

/// Code that calls a function.
fn calls(function: u64) -> Vec<u32> {
    let mut words = vec![addi(10, 0, 0)];
    words.extend(load_address(5, function));
    words.extend([jalr(1, 5, 0), ECALL]);
    words
}

#[test]
fn straight_code_stops_at_a_protected_part_of_its_page() {
    let engine = engine(&[], &calls(SPLIT));
    let add = addi(10, 10, 1);
    write(&engine, SPLIT, &[add, add, add, add, RET]);
    let mut vcpu = guarded(&engine, 0);
    let barred = BARRED.0;
    assert_eq!(exception(&mut vcpu), (FETCH_ACCESS, barred, barred));
    assert_eq!(vcpu.state().x[10], 2);
}

#[test]
fn loop_in_the_rest_of_a_split_page_runs() {
    let start = SPLIT + 16;
    let engine = engine(&[], &calls(start));
    let mut code = vec![addi(9, 0, 100), addi(10, 10, 1), addi(9, 9, -1)];
    code.extend([branch(BNE, 9, 0, -8), RET]);
    write(&engine, start, &code);
    let mut vcpu = guarded(&engine, 0);
    machine::run_to_call(&mut vcpu);
    assert_eq!(vcpu.state().x[10], 100);
}

#[test]
fn second_half_of_an_instruction_may_not_be_protected() {
    const C_NOP: u32 = 1;
    let engine = engine(&[], &calls(SPLIT));
    write(&engine, SPLIT, &[C_NOP, C_NOP, C_NOP, addi(10, 10, 1), RET]);
    let mut vcpu = guarded(&engine, 0);
    let barred = BARRED.0;
    assert_eq!(exception(&mut vcpu), (FETCH_ACCESS, barred - 2, barred));
    assert_eq!(vcpu.state().x[10], 0);
}

#[test]
fn code_that_another_virtual_cpu_may_run_is_not_run() {
    let engine = engine(&[], &calls(SPLIT));
    let add = addi(10, 10, 1);
    write(&engine, SPLIT, &[add, add, add, add, RET]);
    let mut free = machine::vcpu(&engine, 0, BASE, TRAP);
    machine::run_to_call(&mut free);
    assert_eq!(free.state().x[10], 4);
    let mut vcpu = guarded(&engine, 1);
    assert_eq!(vcpu.id(), VcpuId(1));
    assert_eq!(exception(&mut vcpu).0, FETCH_ACCESS);
    assert_eq!(vcpu.state().x[10], 2);
}

#[test]
fn code_in_flash_runs_as_last_programmed() {
    // The function gives 3 until its word is programmed to give 1, which only clears bits.
    let mut words = load_address(5, FLASH).to_vec();
    words.extend(load_address(6, addi(10, 0, 1).into()));
    words.extend([addi(9, 0, 20), jalr(1, 5, 0), addi(9, 9, -1)]);
    words.extend([branch(BNE, 9, 0, -8), addi(8, 10, 0)]);
    // Program one word, and back to reading (Intel command set).
    words.extend([addi(7, 0, 0x40), sw(7, 5, 0), sw(6, 5, 0)]);
    words.extend([addi(7, 0, 0xff), sw(7, 5, 0), FENCE_I, jalr(1, 5, 0), ECALL]);
    let engine = engine(&[addi(10, 0, 3), RET], &words);
    let mut vcpu = machine::vcpu(&engine, 0, BASE, TRAP);
    machine::run_to_call(&mut vcpu);
    assert_eq!((vcpu.state().x[8], vcpu.state().x[10]), (3, 1));
}

#[test]
fn access_to_memory_and_device_at_once_faults_and_does_nothing() {
    for (access, cause) in [(ld(6, 5, -4), LOAD_ACCESS), (sd(5, 5, -4), STORE_ACCESS)] {
        let mut words = load_address(5, FLASH).to_vec();
        words.push(addi(6, 0, 7));
        let at = BASE + span(&words) as u64;
        words.extend([access, ECALL]);
        let engine = engine(&[RET], &words);
        let mut vcpu = machine::vcpu(&engine, 0, BASE, TRAP);
        assert_eq!(exception(&mut vcpu), (cause, at, FLASH));
        assert_eq!(vcpu.state().x[6], 7);
        let mut last = [0; 4];
        let read = engine.memory().read(GuestPhysAddr(FLASH - 4), &mut last);
        read.expect("within memory");
        assert_eq!(last, [0; 4]);
    }
}
