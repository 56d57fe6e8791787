//! Every operation on numbers whose result is known; the same numbers hold for every engine.

use super::Value;
use super::block::{End, Fault, Machine};
use crate::arbitrary::{LAYOUT, helpers};
use crate::op::{Class, Op};
use crate::text;
use crate::{HelperId, JumpKind, verify};

/// A machine whose slots hold these values, with 16 bytes 0x80 to 0x8f at 0x2000.
fn machine(slots: &[(&str, u128)]) -> Machine {
    let mut machine = Machine::new(&LAYOUT);
    machine.memory.map(0x2000, true);
    machine.memory.set(
        0x2000,
        &std::array::from_fn::<u8, 16, _>(|n| 0x80 + n as u8),
    );
    machine.page_base = 0x7000;
    for &(name, value) in slots {
        let slot = LAYOUT.slot(name).expect("a slot of the test layout");
        machine.set(&LAYOUT, slot, [value as u64, (value >> 64) as u64]);
    }
    machine
}

fn run(machine: &mut Machine, body: &str) -> End {
    let source = format!("insn 0, 4\n{body}\n");
    let block = text::parse(&source, &LAYOUT).unwrap_or_else(|error| panic!("{error}\n{source}"));
    verify(&block, &LAYOUT).unwrap_or_else(|error| panic!("{error}\n{source}"));
    machine.run(&block, &LAYOUT, &mut |helper: HelperId, args, state| {
        helpers(helper, args, state)
    })
}

fn get(machine: &Machine, name: &str) -> Value {
    machine.get(
        &LAYOUT,
        LAYOUT.slot(name).expect("a slot of the test layout"),
    )
}

/// The low 128 bits of `slot` after one operation.
fn after(slots: &[(&str, u128)], operation: &str, slot: &str) -> u128 {
    let mut machine = machine(slots);
    run(&mut machine, &format!("{operation}\ndispatch"));
    let [low, high, ..] = get(&machine, slot);
    u128::from(high) << 64 | u128::from(low)
}

/// Integer operations on constants.
const INTEGERS: &[(&str, u64)] = &[
    ("mov.i8.s 0x180", 0xffff_ffff_ffff_ff80),
    ("pc_rel.i64 -16", 0x6ff0),
    ("select.i8.ltu 1, 2, 0x1ff, 0x100", 2),
    ("select.i64.lts 1, 2, -1, 0", 1),
    ("add.i8 0xff, 2", 1),
    ("sub.i16 1, 2", 0xffff),
    ("and.i64 12, 10", 8),
    ("or.i64 12, 10", 14),
    ("xor.i64 12, 10", 6),
    ("andn.i8 12, 10", 4),
    ("orn.i8 12, 10", 0xfd),
    ("xnor.i8 12, 10", 0xf9),
    ("shl.i32 3, 63", 0x8000_0000),
    ("shr.i8 0x1f0, 12", 0x0f),
    ("sar.i8 0xf0, 4", 0xff),
    ("rol.i8 0x81, 9", 0x03),
    ("ror.i8 0x81, 9", 0xc0),
    ("ror.i16 0x8001, 0", 0x8001),
    ("mul.i32.s 0x10001, 0x8000", 0xffff_ffff_8000_8000),
    ("mulhs.i8 -2, 3", 0xff),
    ("mulhs.i8 3, -2", 0xff),
    ("mulhu.i64 -1, -1", 0xffff_ffff_ffff_fffe),
    ("mulhsu.i64 -1, -1", 0xffff_ffff_ffff_ffff),
    ("mulhsu.i8 2, -1", 1),
    ("divs.i32 5, 0", 0xffff_ffff),
    ("divs.i8 -128, -1", 0x80),
    ("divs.i64 -7, 2", -3_i64 as u64),
    ("divu.i8 0x1ff, 2", 0x7f),
    ("divu.i16 5, 0x10000", 0xffff),
    ("rems.i64 -7, 2", -1_i64 as u64),
    ("rems.i8 -128, -1", 0),
    ("rems.i8 5, 0", 5),
    ("remu.i8 0xff, 16", 15),
    ("remu.i8 0x105, 0", 5),
    ("mins.i8 0xff, 1", 0xff),
    ("minu.i8 0xff, 1", 1),
    ("maxs.i8 0xff, 1", 1),
    ("maxu.i8 0xff, 1", 0xff),
    ("addshl.i64 5, 1, 3", 41),
    ("addshl_u32.i64 -1, 1, 4", 0xf_ffff_fff1),
    ("cmp.i16.geu 0x1ffff, 0xffff", 1),
    ("cmp.i64.ges -1, 0", 0),
    ("clmul.i8 0xff, 3", 0x01),
    ("clmulh.i8 0xff, 3", 0x01),
    ("clmulr.i8 0xff, 3", 0x02),
    ("bset.i8 0, 9", 2),
    ("bclr.i8 0xff, 15", 0x7f),
    ("binv.i16 1, 16", 0),
    ("bext.i8 4, 10", 1),
    ("addc.i8 0xff, 0, 1", 0),
    ("subb.i8 0, 0xff, 1", 0),
    ("not.i16 0xff", 0xff00),
    ("neg.i8 1", 0xff),
    ("clz.i16 0x10001", 15),
    ("clz.i8 0x100", 8),
    ("ctz.i32 0", 32),
    ("ctz.i8 0x104", 2),
    ("popcnt.i8 0x1ff", 8),
    ("bswap.i32 0x01020304", 0x0403_0201),
    ("orcb.i32 0x01000200", 0xff00_ff00),
    ("brevb.i16 0x0107", 0x80e0),
    ("permb.i32 0x44332211, 0x00030401", 0x1144_0022),
    (
        "permb.i64 0x0877665544332211, 0x0706050403020108",
        0x0877_6655_4433_2200,
    ),
    ("permn.i16 0x4321, 0x0014", 0x1120),
    (
        "permn.i64 0x7edcba9876543210, 0x0123456789abcdef",
        0x0123_4567_89ab_cde7,
    ),
    ("extract.i64.s[7:4] 0xf5", u64::MAX),
    ("extract.i64.[7:4] 0xf5", 15),
    ("deposit.i16.[11:8] 0xffff, 0x12", 0xf2ff),
    ("funnel_shr.i8 0x12, 0x34, 12", 0x41),
    ("funnel_shr.i64 1, 2, 64", 1),
    ("pdep.i16 5, 0x8014", 0x8004),
    ("pdep.i64 -1, -0x7fffffffffffffff", 0x8000_0000_0000_0001),
    ("pext.i8 0xa5, 0xf4", 0x15),
    ("pext.i64 -0x8000000000000000, -0x8000000000000000", 1),
    ("rolc.i8 0x81, 1, 0", 0x02),
    ("rolc.i8 0x81, 9, 1", 0x81),
    ("rolc.i64 1, 64, 1", 1 << 63),
    ("rorc.i8 0x81, 1, 0", 0x40),
    ("rorc.i8 0x81, 2, 1", 0xe0),
    ("rorc.i64 1, 0, 1", 1),
    ("divu_wide.i64 7, 1, 3", 0x5555_5555_5555_5557),
    ("divu_wide.i8 0x34, 0x112, 0x20", 0x91),
    ("divu_wide.i32 1, 2, 0", 0xffff_ffff),
    ("remu_wide.i64 7, 1, 3", 2),
    ("remu_wide.i16 0x10005, 2, 0", 5),
    ("divs_wide.i64 -7, -1, 2", -3_i64 as u64),
    ("divs_wide.i64 0, 1, -1", 0),
    ("divs_wide.i8 1, 2, 0", 0xff),
    ("rems_wide.i64 -7, -1, 2", u64::MAX),
    ("rems_wide.i8 1, 2, 0", 1),
    ("divs_overflows.i64 -0x8000000000000000, -1, -1", 1),
    ("divs_overflows.i64 -0x8000000000000000, -1, 1", 0),
    ("divs_overflows.i64 0, -0x8000000000000000, -1", 1),
    ("divs_overflows.i8 0x80, 0, 1", 1),
    ("divs_overflows.i8 0x7f, 0, 1", 0),
    ("divs_overflows.i32 5, 0, 0", 1),
    (
        "crc32c.i64 0xffffffff, 0x3837363534333231, 8",
        !0x6087_809a_u32 as u64,
    ),
    ("crc32c.i32 0, 1, 1", 0xf26b_8303),
];

#[test]
fn integer_operations_give_the_known_results() {
    for &(operation, expected) in INTEGERS {
        let got = after(&[], &format!("r0 = {operation}"), "r0");
        assert_eq!(got as u64, expected, "{operation}: {got:#x}");
    }
}

const ONE: u128 = 0x3ff0 << 48;
const TWO: u128 = 0x4000 << 48;
const THREE: u128 = 0x4008 << 48;
const SIGN: u128 = 1 << 63;
const QUIET: u128 = 0x7ff8 << 48;
const SIGNALLING: u128 = 0x7ff0_0000_0000_0001;

/// Floating-point operations with `f0`, `f1`, `v0`; where the result is, it, and the flags raised.
const FLOATS: &[(&str, [u128; 3], &str, u128, u32)] = &[
    ("f0 = fp_add.f64.rne f0, f1", [ONE, TWO, 0], "f0", THREE, 0),
    ("f0 = fp_sub.f64.rne f0, f1", [THREE, TWO, 0], "f0", ONE, 0),
    ("f0 = fp_mul.f64.rne f0, f1", [ONE, TWO, 0], "f0", TWO, 0),
    (
        "f0 = fp_div.f64.rup f0, f1",
        [ONE, THREE, 0],
        "f0",
        0x3fd5_5555_5555_5556,
        1,
    ),
    (
        "f0 = fp_div.f64.rdn f0, f1",
        [ONE, THREE, 0],
        "f0",
        0x3fd5_5555_5555_5555,
        1,
    ),
    (
        "f0 = fp_sqrt.f64.rtz f1",
        [0, 0x4010 << 48, 0],
        "f0",
        TWO,
        0,
    ),
    (
        "f0 = fp_madd.f64.rne f0, f1, v0",
        [ONE, TWO, ONE],
        "f0",
        THREE,
        0,
    ),
    (
        "f0 = fp_msub.f64.rne f0, f1, v0",
        [ONE, THREE, ONE],
        "f0",
        TWO,
        0,
    ),
    (
        "f0 = fp_nmadd.f64.rne f0, f1, v0",
        [ONE, TWO, ONE],
        "f0",
        THREE | SIGN,
        0,
    ),
    (
        "f0 = fp_nmsub.f64.rne f0, f1, v0",
        [ONE, TWO, ONE],
        "f0",
        ONE | SIGN,
        0,
    ),
    (
        "f0 = fp_min.f64.number f0, f1",
        [QUIET, TWO, 0],
        "f0",
        TWO,
        0,
    ),
    (
        "f0 = fp_min.f64.propagate f0, f1",
        [TWO, QUIET, 0],
        "f0",
        QUIET,
        0,
    ),
    (
        "f0 = fp_min.f64.second f0, f1",
        [QUIET, TWO, 0],
        "f0",
        TWO,
        16,
    ),
    ("f0 = fp_max.f64.second f0, f1", [0, SIGN, 0], "f0", SIGN, 0),
    ("f0 = fp_max.f64.number f0, f1", [SIGN, 0, 0], "f0", 0, 0),
    (
        "f0 = fp_sign.f64 f0, f1",
        [ONE, SIGN, 0],
        "f0",
        ONE | SIGN,
        0,
    ),
    ("f0 = fp_signn.f64 f0, f1", [ONE, SIGN, 0], "f0", ONE, 0),
    (
        "f0 = fp_signx.f64 f0, f1",
        [ONE | SIGN, SIGN, 0],
        "f0",
        ONE,
        0,
    ),
    ("r0 = fp_eq.f64 f0, f1", [QUIET, QUIET, 0], "r0", 0, 0),
    ("r0 = fp_eq.f64 f0, f1", [0, SIGN, 0], "r0", 1, 0),
    ("r0 = fp_eq.f64 f0, f1", [SIGNALLING, 0, 0], "r0", 0, 16),
    ("r0 = fp_lt.f64 f0, f1", [ONE, ONE, 0], "r0", 0, 0),
    ("r0 = fp_lt.f64 f0, f1", [QUIET, ONE, 0], "r0", 0, 16),
    ("r0 = fp_le.f64 f0, f1", [ONE, ONE, 0], "r0", 1, 0),
    ("r0 = fp_le.f64 f0, f1", [QUIET, ONE, 0], "r0", 0, 16),
    ("r0 = fp_ltq.f64 f0, f1", [ONE, TWO, 0], "r0", 1, 0),
    ("r0 = fp_leq.f64 f0, f1", [QUIET, ONE, 0], "r0", 0, 0),
    ("r0 = fp_leq.f64 f0, f1", [ONE, ONE, 0], "r0", 1, 0),
    ("r0 = fp_class.f64 f0", [SIGN, 0, 0], "r0", 8, 0),
    (
        "f0 = fp_unbox.f32 f1",
        [0, 0xffff_ffff_3f80_0000, 0],
        "f0",
        0x3f80_0000,
        0,
    ),
    (
        "f0 = fp_unbox.f32 f1",
        [0, 0x3f80_0000, 0],
        "f0",
        0x7fc0_0000,
        0,
    ),
    (
        "f0 = fp_unbox.f16.ones f1",
        [0, 0, 0],
        "f0",
        0xffff_ffff_ffff_7e00,
        0,
    ),
    (
        "f0 = fp_to_fp.f32.ones.f64.rne f1",
        [0, ONE, 0],
        "f0",
        0xffff_ffff_3f80_0000,
        0,
    ),
    ("f0 = fp_to_fp.f64.f16.rne f1", [0, 0x3c00, 0], "f0", ONE, 0),
    (
        "r0 = fp_to_int.i32.s.f64.rtz.signed.nan_max f0",
        [QUIET, 0, 0],
        "r0",
        0x7fff_ffff,
        16,
    ),
    (
        "r0 = fp_to_int.i32.f64.rtz.signed.nan_zero f0",
        [QUIET, 0, 0],
        "r0",
        0,
        16,
    ),
    (
        "r0 = fp_to_int.i32.f64.rtz.signed.indefinite f0",
        [QUIET, 0, 0],
        "r0",
        0x8000_0000,
        16,
    ),
    (
        "r0 = fp_to_int.i32.f64.rtz.signed.modulo f0",
        [0x41f0_0000_0010_0000, 0, 0],
        "r0",
        1,
        16,
    ),
    (
        "r0 = fp_to_int.i64.f64.rtz.unsigned.nan_max f0",
        [ONE | SIGN, 0, 0],
        "r0",
        0,
        16,
    ),
    (
        "f0 = int_to_fp.f64.i32.rne r1",
        [0, 0, 0],
        "f0",
        ONE | SIGN,
        0,
    ),
    (
        "f0 = int_to_fp.f64.i16.rne.unsigned r1",
        [0, 0, 0],
        "f0",
        0x40ef_ffe0_0000_0000,
        0,
    ),
    (
        "f0 = fp_round.f64.rup.exact f1",
        [0, 0x3ff8 << 48, 0],
        "f0",
        TWO,
        1,
    ),
    (
        "f0 = fp_round.f64.rdn f1",
        [0, 0x3ff8 << 48, 0],
        "f0",
        ONE,
        0,
    ),
];

#[test]
fn floating_point_operations_give_the_known_results_and_flags() {
    for &(operation, [f0, f1, v0], slot, expected, flags) in FLOATS {
        let r1 = u128::from(u64::MAX);
        let mut machine = machine(&[("f0", f0), ("f1", f1), ("v0", v0), ("r1", r1)]);
        run(&mut machine, &format!("{operation}\ndispatch"));
        let got = u128::from(get(&machine, slot)[0]);
        assert_eq!(
            (got, machine.fp.flags),
            (expected, flags),
            "{operation}: {got:#x}"
        );
    }
}

const A: u128 = 0x000f_0e0d_0c0b_0a09_0807_0605_0403_02ff;
const B: u128 = 0x0010_0f8f_0102_0304_0506_0708_7f80_0101;

/// Vector operations on `v0` = [`A`] and `v1` = [`B`].
const VECTORS: &[(&str, u128)] = &[
    (
        "v_and.v128 v0, v1",
        0x0000_0e0d_0002_0200_0006_0600_0400_0001,
    ),
    (
        "v_or.v128 v0, v1",
        0x001f_0f8f_0d0b_0b0d_0d07_070d_7f83_03ff,
    ),
    (
        "v_xor.v128 v0, v1",
        0x001f_0182_0d09_090d_0d01_010d_7b83_03fe,
    ),
    (
        "v_andn.v128 v0, v1",
        0x000f_0000_0c09_0809_0801_0005_0003_02fe,
    ),
    (
        "v_add.v128.i8 v0, v1",
        0x001f_1d9c_0d0d_0d0d_0d0d_0d0d_8383_0300,
    ),
    (
        "v_sub.v128.i64 v0, v1",
        0xfffe_fe7e_0b09_0705_0300_fefc_8483_01fe,
    ),
    (
        "v_mul.v128.i16 v0, v1",
        0x00f0_9c43_2316_4324_532a_5328_7e80_01ff,
    ),
    ("v_cmpeq.v128.i32 v0, v0", u128::MAX),
    (
        "v_cmpeq.v128.i8 v0, v1",
        0xff00_0000_0000_0000_0000_0000_0000_0000,
    ),
    (
        "v_cmpgts.v128.i8 v0, v1",
        0x0000_00ff_ffff_ffff_ffff_0000_00ff_ff00,
    ),
    (
        "v_mins.v128.i8 v0, v1",
        0x000f_0e8f_0102_0304_0506_0605_0480_01ff,
    ),
    (
        "v_minu.v128.i8 v0, v1",
        0x000f_0e0d_0102_0304_0506_0605_0403_0101,
    ),
    (
        "v_maxs.v128.i8 v0, v1",
        0x0010_0f0d_0c0b_0a09_0807_0708_7f03_0201,
    ),
    (
        "v_maxu.v128.i8 v0, v1",
        0x0010_0f8f_0c0b_0a09_0807_0708_7f80_02ff,
    ),
    (
        "v_shl.v128.i16[4] v0",
        0x00f0_e0d0_c0b0_a090_8070_6050_4030_2ff0,
    ),
    ("v_shl.v128.i16[16] v0", 0),
    (
        "v_shr.v128.i64[8] v0",
        0x0000_0f0e_0d0c_0b0a_0008_0706_0504_0302,
    ),
    ("v_shr.v128.i8[8] v1", 0),
    (
        "v_sar.v128.i8[1] v1",
        0x0008_07c7_0001_0102_0203_0304_3fc0_0000,
    ),
    (
        "v_sar.v128.i8[9] v1",
        0x0000_00ff_0000_0000_0000_0000_00ff_0000,
    ),
    (
        "v_splat.v128.i16 0x71234",
        0x1234_1234_1234_1234_1234_1234_1234_1234,
    ),
    (
        "v_insert.v128.i32[1] v0, 0x11223344",
        0x000f_0e0d_0c0b_0a09_1122_3344_0403_02ff,
    ),
    (
        "v_shuffle.v128 v0, v1",
        0xffff_0000_0203_0405_0607_0809_0000_0202,
    ),
    (
        "v_table.v128 v0, v1",
        0xff00_0000_0203_0405_0607_0809_0000_0202,
    ),
    (
        "v_ziplo.v128.i8 v0, v1",
        0x0508_0607_0706_0805_7f04_8003_0102_01ff,
    ),
    (
        "v_ziphi.v128.i8 v0, v1",
        0x0000_100f_0f0e_8f0d_010c_020b_030a_0409,
    ),
    (
        "v_ziphi.v128.i64 v0, v1",
        0x0010_0f8f_0102_0304_000f_0e0d_0c0b_0a09,
    ),
];

#[test]
fn vector_operations_give_the_known_results() {
    for &(operation, expected) in VECTORS {
        let got = after(&[("v0", A), ("v1", B)], &format!("v0 = {operation}"), "v0");
        assert_eq!(got, expected, "{operation}: {got:#x}");
    }
    let got = after(&[("v0", A)], "r0 = v_extract.i16.s.i8[0] v0", "r0");
    assert_eq!(got, 0xff, "the lane is zero-extended to the type");
}

#[test]
fn vector_floating_point_works_by_lanes_and_accrues() {
    // 1.5, -2, 0.25, 3 and 2, 0.5, 4, -1.
    let slots = [
        ("v0", 0x4040_0000_3e80_0000_c000_0000_3fc0_0000),
        ("v1", 0xbf80_0000_4080_0000_3f00_0000_4000_0000),
    ];
    for (operation, expected) in [
        (
            "v_fp_add.v128.f32 v0, v1",
            0x4000_0000_4088_0000_bfc0_0000_4060_0000,
        ),
        (
            "v_fp_sub.v128.f32 v0, v1",
            0x4080_0000_c070_0000_c020_0000_bf00_0000,
        ),
        (
            "v_fp_mul.v128.f32 v0, v1",
            0xc040_0000_3f80_0000_bf80_0000_4040_0000,
        ),
    ] {
        assert_eq!(
            after(&slots, &format!("v0 = {operation}"), "v0"),
            expected,
            "{operation}"
        );
    }
    let mut machine = machine(&[("v0", QUIET | SIGNALLING << 64)]);
    run(&mut machine, "v0 = v_fp_add.v128.f64 v0, v0\ndispatch");
    assert_eq!(machine.fp.flags, 16);
}

/// Operations on the bytes 0x80 to 0x8f at 0x2000: result in `r0`, and the first eight bytes after.
const ATOMICS: &[(&str, u64, u64)] = &[
    (
        "atomic_swap.i16.b2 0x2000, 0x1234",
        0x8180,
        0x8786_8584_8382_1234,
    ),
    ("atomic_add.i8.b1 0x2000, 0x81", 0x80, 0x8786_8584_8382_8101),
    ("atomic_and.i8.b1 0x2000, 0x0f", 0x80, 0x8786_8584_8382_8100),
    ("atomic_or.i8.b1 0x2000, 0x0f", 0x80, 0x8786_8584_8382_818f),
    ("atomic_xor.i8.b1 0x2000, 0xff", 0x80, 0x8786_8584_8382_817f),
    ("atomic_mins.i8.b1 0x2000, 1", 0x80, 0x8786_8584_8382_8180),
    ("atomic_maxs.i8.b1 0x2000, 1", 0x80, 0x8786_8584_8382_8101),
    ("atomic_minu.i8.b1 0x2000, 1", 0x80, 0x8786_8584_8382_8101),
    ("atomic_maxu.i8.b1 0x2000, 1", 0x80, 0x8786_8584_8382_8180),
    (
        "atomic_add.i32.s.b4.be 0x2000, 1",
        0xffff_ffff_8081_8283,
        0x8786_8584_8482_8180,
    ),
    ("cas.i8.b1 0x2000, 0x80, 7", 0x80, 0x8786_8584_8382_8107),
    ("cas.i8.b1 0x2000, 0x81, 7", 0x80, 0x8786_8584_8382_8180),
    ("load.i64.b2 [0x2000 + 1]", 0x8281, 0x8786_8584_8382_8180),
    (
        "load.i64.b2s.be [0x2000 + 1<<2 - 4]",
        0xffff_ffff_ffff_8081,
        0x8786_8584_8382_8180,
    ),
    ("load.i32.b1s [0x2000]", 0xffff_ff80, 0x8786_8584_8382_8180),
    ("load_reserved.i16.b2 0x2002", 0x8382, 0x8786_8584_8382_8180),
    (
        "store_conditional.i16.b2 0x2002, 5",
        1,
        0x8786_8584_8382_8180,
    ),
];

#[test]
fn memory_operations_give_the_known_results() {
    for &(operation, result, held) in ATOMICS {
        let mut machine = machine(&[]);
        run(&mut machine, &format!("r0 = {operation}\ndispatch"));
        let mut bytes = [0; 8];
        machine.memory.read(0x2000, &mut bytes).expect("mapped");
        assert_eq!(
            (get(&machine, "r0")[0], u64::from_le_bytes(bytes)),
            (result, held),
            "{operation}"
        );
    }
}

#[test]
fn store_conditional_needs_its_reservation_and_unchanged_memory() {
    let reserve = "r0 = load_reserved.i16.b2 0x2002\ninsn 4, 4\n";
    let conditional = "r1 = store_conditional.i16.b2 0x2002, 5\ndispatch";
    for (between, expected) in [("", 0), ("store.i8.b1 [0x2002], 1\ninsn 8, 4\n", 1)] {
        let mut machine = machine(&[]);
        run(&mut machine, &format!("{reserve}{between}{conditional}"));
        assert_eq!(get(&machine, "r1")[0], expected, "{between}");
        assert_eq!(machine.reservation, None);
    }
}

#[test]
fn faults_leave_the_instruction_undone_and_uncounted() {
    let tail = "insn 4, 4\n%t0:i64 = load.i64.b8 [0x2ffc]\nr0 = mov.i64 %t0\ndispatch";
    let mut m = machine(&[]);
    let end = run(&mut m, &format!("r1 = mov.i64 1\n{tail}"));
    assert_eq!(
        end,
        End::Faults {
            pc: 0x7004,
            fault: Fault::Read { addr: 0x3000 }
        }
    );
    assert_eq!((get(&m, "r1")[0], m.retired), (1, 1));
    let end = run(&mut m, "store.i64.b8.align [0x2001], 1\ndispatch");
    assert_eq!(
        end,
        End::Faults {
            pc: 0x7000,
            fault: Fault::Misaligned { addr: 0x2001 }
        }
    );
    let before = m.memory.clone();
    let end = run(&mut m, "store.i64.b8 [0x2ffc], 1\ndispatch");
    assert_eq!(
        end,
        End::Faults {
            pc: 0x7000,
            fault: Fault::Write { addr: 0x3000 }
        }
    );
    assert_eq!(m.memory, before);
}

#[test]
fn exit_if_completes_its_instruction_and_leaves() {
    let mut m = machine(&[("r0", 5)]);
    let end = run(
        &mut m,
        "exit_if.i64.eq r0, 5, -8\ninsn 4, 4\nr0 = mov.i64 1\ndispatch",
    );
    assert_eq!(
        end,
        End::Goes {
            pc: 0x6ff8,
            kind: JumpKind::Plain
        }
    );
    assert_eq!((get(&m, "r0")[0], m.retired), (5, 1));
}

#[test]
fn results_fill_slots_as_the_extension_says() {
    let old = u128::MAX / 3;
    for (operation, expected) in [
        ("v0 = fp_sign.f32 v1, v1", 0x7f80_0101),
        (
            "v0 = fp_sign.f32.ones v1, v1",
            u128::MAX << 32 | 0x7f80_0101,
        ),
        (
            "v0 = fp_sign.f32.keep v1, v1",
            old >> 32 << 32 | 0x7f80_0101,
        ),
        ("v0 = load.i8.s.b1 [0x2000]", u128::MAX << 8 | 0x80),
    ] {
        assert_eq!(
            after(&[("v0", old), ("v1", B)], operation, "v0"),
            expected,
            "{operation}"
        );
    }
}

#[test]
fn known_results_exist_for_every_pure_operation() {
    let elsewhere = [
        "insn",
        "mov",
        "pair",
        "low",
        "high",
        "setflags",
        "getflag",
        "flagbits",
        "fp_cmpflags",
    ];
    let names = INTEGERS
        .iter()
        .map(|row| row.0)
        .chain(VECTORS.iter().map(|row| row.0));
    let names = names.chain(
        FLOATS
            .iter()
            .map(|row| row.0.split(" = ").nth(1).unwrap_or_default()),
    );
    let tested: Vec<&str> = names
        .chain(["v_extract", "v_fp_add", "v_fp_sub", "v_fp_mul"])
        .collect();
    for row in Op::TABLE {
        let reaches_out = matches!(
            row.attr,
            crate::AttrClass::Mem | crate::AttrClass::Helper | crate::AttrClass::Vector
        ) || row.result == Class::None;
        let known = tested
            .iter()
            .any(|text| text.split('.').next() == Some(row.name));
        assert!(
            known || reaches_out || elsewhere.contains(&row.name),
            "{}",
            row.name
        );
    }
}
