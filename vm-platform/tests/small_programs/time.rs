//! Every view of the time is of one counter.

use super::guest::Running;

/// Shows bits 32 and up of `time`, and of `sip` the timer's bit, while it sets `mtime`; then waits for a timer that is
/// a tick away, and resets the machine.
const PROGRAM: [u32; 46] = [
    // start:
    0x0200_c437, // lui s0,0x200c
    0xff84_041b, // addiw s0,s0,-8
    0x0010_0493, // addi s1,zero,1
    0x0204_9493, // slli s1,s1,0x20
    0xc010_2573, // csrrs a0,time,zero
    0x0205_5513, // srli a0,a0,0x20
    0x0800_00ef, // jal show
    0x0094_3023, // sd s1,0(s0)
    0xc010_2573, // csrrs a0,time,zero
    0x0205_5513, // srli a0,a0,0x20
    0x0700_00ef, // jal show
    0x0014_9513, // slli a0,s1,0x1
    0x0780_00ef, // jal timer
    0x0580_00ef, // jal pending
    0x0014_9293, // slli t0,s1,0x1
    0x0054_3023, // sd t0,0(s0)
    0x04c0_00ef, // jal pending
    0x0094_3023, // sd s1,0(s0)
    0x0440_00ef, // jal pending
    0x0004_3503, // ld a0,0(s0)
    0x0015_0513, // addi a0,a0,1
    0x0540_00ef, // jal timer
    // wait:
    0x1440_22f3, // csrrs t0,sip,zero
    0x0202_f293, // andi t0,t0,32
    0xfe02_8ce3, // beq wait
    0x0004_3023, // sd zero,0(s0)
    0xc010_2573, // csrrs a0,time,zero
    0x0205_5513, // srli a0,a0,0x20
    0x0280_00ef, // jal show
    0x5352_58b7, // lui a7,0x53525
    0x3548_889b, // addiw a7,a7,852
    0x0000_0813, // addi a6,zero,0
    0x0010_0513, // addi a0,zero,1
    0x0000_0593, // addi a1,zero,0
    0x0000_0073, // ecall
    // pending:
    0x1440_2573, // csrrs a0,sip,zero
    0x0055_5513, // srli a0,a0,0x5
    0x0015_7513, // andi a0,a0,1
    // show:
    0x0305_0513, // addi a0,a0,48
    0x0010_0893, // addi a7,zero,1
    0x0000_0073, // ecall
    0x0000_8067, // jalr zero,0(ra)
    // timer:
    0x0000_0013, // addi zero,zero,0
    0x0000_0893, // addi a7,zero,0
    0x0000_0073, // ecall
    0x0000_8067, // jalr zero,0(ra)
];
/// Where its `timer` has room for one more way to set it.
const SET_TIMER: usize = 42;
const CSRW_STIMECMP_A0: u32 = 0x14d5_1073;

/// What it shows from one reset to the next: the time at the start, and after `mtime` became 2^32; the timer for 2^33
/// as set, when `mtime` becomes that, and when it goes back; the time when `mtime` becomes zero.
const SHOWN: &str = "010100";

#[test]
fn time_timers_and_resets_follow_mtime() {
    for cpu in ["rv64", "max"] {
        let guest = Running::start(&PROGRAM, cpu);
        assert_eq!(guest.screen.take(18), SHOWN.repeat(3), "{cpu}");
    }
}

#[test]
fn stimecmp_follows_mtime() {
    let mut program = PROGRAM;
    program[SET_TIMER] = CSRW_STIMECMP_A0;
    program[SET_TIMER + 1] = 0x0000_8067; // jalr zero,0(ra)
    let guest = Running::start(&program, "max");
    assert_eq!(guest.screen.take(18), SHOWN.repeat(3));
}
