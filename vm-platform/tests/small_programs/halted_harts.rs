//! Harts that stand still for SBI or for a debugger.

use std::time::Instant;

use vm_core::{Resume, StopCause, VcpuId};

use super::guest::{PATIENCE, PATIENCE_MS, Running};

/// Hart 0 starts hart 1, then answers what is typed: `w` wakes hart 1 by an interrupt and shows how often that was;
/// anything else shows hart 1's HSM state and how often it has gone on. Hart 1 suspends itself, keeping its registers
/// the first time, entering `third` the second time, and stops.
const SUSPEND: [u32; 65] = [
    // start:
    0x0005_0413, // addi s0,a0,0
    0x0000_0497, // auipc s1,0x0
    0x0fc4_8493, // addi s1,s1,252
    0x0048_58b7, // lui a7,0x485
    0x34d8_889b, // addiw a7,a7,845
    0x0000_0813, // addi a6,zero,0
    0x0010_0513, // addi a0,zero,1
    0x0000_0597, // auipc a1,0x0
    0x0885_8593, // addi a1,a1,136
    0x0000_0613, // addi a2,zero,0
    0x0000_0073, // ecall
    // prompt:
    0x0020_0893, // addi a7,zero,2
    0x0000_0073, // ecall
    0xfe05_4ce3, // blt a0,zero,prompt
    0x0770_0293, // addi t0,zero,119
    0x0255_0a63, // beq a0,t0,wake
    0x0048_58b7, // lui a7,0x485
    0x34d8_889b, // addiw a7,a7,845
    0x0020_0813, // addi a6,zero,2
    0x0010_0513, // addi a0,zero,1
    0x0000_0073, // ecall
    0x0305_8513, // addi a0,a1,48
    0x0010_0893, // addi a7,zero,1
    0x0000_0073, // ecall
    0x0004_a503, // lw a0,0(s1)
    0x0305_0513, // addi a0,a0,48
    0x0000_0073, // ecall
    0xfc1f_f06f, // jal zero,prompt
    // wake:
    0x0004_a903, // lw s2,0(s1)
    0x0073_58b7, // lui a7,0x735
    0x0498_889b, // addiw a7,a7,73
    0x0000_0813, // addi a6,zero,0
    0x0020_0513, // addi a0,zero,2
    0x0000_0593, // addi a1,zero,0
    0x0000_0073, // ecall
    // again:
    0x0004_a283, // lw t0,0(s1)
    0xff22_8ee3, // beq t0,s2,again
    0x0302_8513, // addi a0,t0,48
    0x0010_0893, // addi a7,zero,1
    0x0000_0073, // ecall
    0xf8df_f06f, // jal zero,prompt
    // second:
    0x0000_0497, // auipc s1,0x0
    0x05c4_8493, // addi s1,s1,92
    0x1041_5073, // csrrwi zero,sie,2
    0x0048_58b7, // lui a7,0x485
    0x34d8_889b, // addiw a7,a7,845
    0x0030_0813, // addi a6,zero,3
    0x0000_0513, // addi a0,zero,0
    0x0000_0073, // ecall
    0x0010_0293, // addi t0,zero,1
    0x0054_a023, // sw t0,0(s1)
    0x1440_5073, // csrrwi zero,sip,0
    0x8000_0537, // lui a0,0x80000
    0x0000_0597, // auipc a1,0x0
    0x0105_8593, // addi a1,a1,16
    0x0020_0613, // addi a2,zero,2
    0x0000_0073, // ecall
    // third:
    0x0000_0497, // auipc s1,0x0
    0x01c4_8493, // addi s1,s1,28
    0x00b4_a023, // sw a1,0(s1)
    0x0048_58b7, // lui a7,0x485
    0x34d8_889b, // addiw a7,a7,845
    0x0010_0813, // addi a6,zero,1
    0x0000_0073, // ecall
    // flag:
    0x0000_0000, // .word 0x00000000
];

/// Hart 0 starts hart 1, then has it fence 64 pages (SBI RFENCE) for ever and counts; hart 1 counts in the next word.
const FENCES: [u32; 29] = [
    // start:
    0x0000_0497, // auipc s1,0x0
    0x0744_8493, // addi s1,s1,116
    0x0048_58b7, // lui a7,0x485
    0x34d8_889b, // addiw a7,a7,845
    0x0000_0813, // addi a6,zero,0
    0x0010_0513, // addi a0,zero,1
    0x0000_0597, // auipc a1,0x0
    0x0445_8593, // addi a1,a1,68
    0x0000_0613, // addi a2,zero,0
    0x0000_0073, // ecall
    0x5246_5937, // lui s2,0x52465
    0xe439_091b, // addiw s2,s2,-445
    // round:
    0x0009_0893, // addi a7,s2,0
    0x0010_0813, // addi a6,zero,1
    0x0020_0513, // addi a0,zero,2
    0x0000_0593, // addi a1,zero,0
    0x0000_0613, // addi a2,zero,0
    0x0004_06b7, // lui a3,0x40
    0x0000_0073, // ecall
    0x0004_a283, // lw t0,0(s1)
    0x0012_8293, // addi t0,t0,1
    0x0054_a023, // sw t0,0(s1)
    0xfd9f_f06f, // jal zero,round
    // spin:
    0x0000_0497, // auipc s1,0x0
    0x0184_8493, // addi s1,s1,24
    // loop:
    0x0044_a283, // lw t0,4(s1)
    0x0012_8293, // addi t0,t0,1
    0x0054_a223, // sw t0,4(s1)
    0xff5f_f06f, // jal zero,loop
                 // count:
];

#[test]
fn suspension_outlasts_a_debugger_and_ends_with_an_interrupt() {
    let guest = Running::start(&SUSPEND, "debian");
    for (kind, gone_on) in ["0", "1"].into_iter().enumerate() {
        assert_eq!(guest.suspended(), gone_on, "suspension {kind}");
        for _ in 0..20 {
            guest.pause();
            assert!(guest.debugger.is_idle(VcpuId(1)));
            guest.debugger.resume(&[Resume::Continue; 2]);
            assert_eq!(guest.answer(b'?', 2), format!("4{gone_on}"));
        }
        guest.pause();
        let pc = guest.debugger.read_register(VcpuId(1), "pc");
        guest.debugger.resume(&[Resume::Stay, Resume::Step]);
        let stepped = Some(StopCause::Stepped(VcpuId(1)));
        assert_eq!(guest.debugger.wait(PATIENCE_MS), stepped);
        assert_eq!(guest.debugger.read_register(VcpuId(1), "pc"), pc);
        guest.debugger.resume(&[Resume::Continue; 2]);
        assert_eq!(guest.answer(b'?', 2), format!("4{gone_on}"));

        assert_eq!(guest.answer(b'w', 1), ["1", "2"][kind]);
    }
    // It stops by itself now.
    let started = Instant::now();
    while guest.answer(b'?', 2) != "12" {
        assert!(started.elapsed() < PATIENCE, "hart 1 does not stop");
    }
}

#[test]
fn fences_of_a_hart_that_a_debugger_halts_do_not_pile_up() {
    let guest = Running::start(&FENCES, "debian");
    let counts = |guest: &Running| {
        guest.pause();
        match guest.debugger.read_register(VcpuId(0), "x9").unwrap() {
            // It has not begun.
            0 => (0, 0),
            base => (guest.word(base), guest.word(base + 4)),
        }
    };
    let started = Instant::now();
    // Until both are at work.
    let (mut fences, mut rounds) = (0, 0);
    while fences == 0 || rounds == 0 {
        assert!(started.elapsed() < PATIENCE, "{fences} {rounds}");
        (fences, rounds) = counts(&guest);
        guest.debugger.resume(&[Resume::Continue; 2]);
    }
    let (before, halted_at) = counts(&guest);
    let mut fences = before;
    while fences - before < 500 {
        assert!(started.elapsed() < PATIENCE, "{fences} {before}");
        guest.debugger.resume(&[Resume::Continue, Resume::Stay]);
        let rounds;
        (fences, rounds) = counts(&guest);
        assert_eq!(rounds, halted_at, "hart 1 is halted");
    }
    let waiting = (guest.peers)()[1].matches("Flush").count();
    assert!(waiting <= 64, "{waiting} requests wait for hart 1");
    // And it goes on as if nothing had been.
    let mut rounds = halted_at;
    while rounds == halted_at {
        assert!(started.elapsed() < PATIENCE, "hart 1 does not go on");
        guest.debugger.resume(&[Resume::Continue; 2]);
        rounds = counts(&guest).1;
    }
}
