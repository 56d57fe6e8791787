use proptest::prelude::*;

use super::*;
use crate::arbitrary::{self, LAYOUT, Random};
use crate::verify::verify;

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..Default::default() })]

    #[test]
    fn parse_of_print_gives_the_block_back(seed: u64) {
        let block = arbitrary::block(&mut Random(seed));
        let text = print(&block, &LAYOUT);
        prop_assert_eq!(verify(&block, &LAYOUT), Ok(()), "{}", text);
        prop_assert_eq!(parse(&text, &LAYOUT).map_err(|e| e.to_string()), Ok(block), "{}", text);
    }

    #[test]
    fn parse_of_damaged_text_never_panics(seed: u64, at: prop::sample::Index, with in ".{0,3}") {
        let mut text = print(&arbitrary::block(&mut Random(seed)), &LAYOUT);
        let places: Vec<usize> = text.char_indices().map(|(place, _)| place).collect();
        let place = places[at.index(places.len())];
        text.replace_range(place..place + 1, &with);
        if let Err(error) = parse(&text, &LAYOUT) {
            prop_assert!(error.line <= text.lines().count() + 1);
        }
    }
}

#[test]
fn random_blocks_use_every_operation() {
    let mut random = Random(1);
    let mut unused: Vec<&str> = Op::TABLE.iter().map(|row| row.name).collect();
    for _ in 0..20_000 {
        let block = arbitrary::block(&mut random);
        unused.retain(|name| block.insts.iter().all(|inst| inst.op.info().name != *name));
        if unused.is_empty() {
            return;
        }
    }
    panic!("never generated: {unused:?}");
}

#[test]
fn print_keeps_its_form() {
    let text = "\
block phys=0x80001010 mode=0x3
  temp %t1:f64
  insn 0x10, 4
  %t0:i64 = load.i64.b4s.acq.align [p0 + r0<<2 - 8]
  store.v128.b16.be.seqcst [0x1000 + 8<<0 + 0x7d0], v0
  restart 0x10
  d0 = add.i32 %t0, -12
  r0 = extract.i64.s[15:8] r0
  r0 = deposit.i64.[7:0] r0, b0
  fl = setflags.i32.inc r0, 0, 0, fl
  v0 = v_shl.v128.i16[3] v1
  v0 = v_add.v128.i8 v0, v1
  f0 = fp_to_fp.f32.ones.f64.dyn f1
  r1 = fp_to_int.i32.s.f64.rtz.unsigned.indefinite f1
  f0 = fp_round.f64.rne.exact f1
  r1 = call @twice r0, none, 3
  fence.rw.w
  exit_if.i8.ltu r0, 0x3e8, -0x8000000000000000
  insn 0x14, 2
  raise_if.i64.eq r0, 0, 13, r1
  branch.i32.ges d0, -1, 0x1234, 24
";
    let block = parse(text, &LAYOUT).expect("it parses");
    assert_eq!(print(&block, &LAYOUT), text);
    assert_eq!(
        (block.guest_insns, block.guest_bytes, block.temps.len()),
        (2, 6, 2)
    );
}

#[test]
fn parse_says_where_and_what_is_wrong() {
    for (text, line, column, problem) in [
        ("insn 0, 4\n", 2, 1, "expected a terminator"),
        (
            "\n  r9 = add.i64 r0, 1\ndispatch",
            2,
            3,
            "unknown slot `r9`",
        ),
        ("  r0 = ad.i64 r0, 1", 1, 8, "unknown operation `ad`"),
        ("r0 = add.i63 r0, 1", 1, 10, "unknown type `i63`"),
        ("r0 = add r0, 1", 1, 9, "expected type"),
        ("r0 = add.i64.q r0, 1", 1, 14, "`q` does not belong here"),
        ("r0 = cmp.i64.less r0, 1", 1, 14, "unknown condition `less`"),
        ("r0 = load.i64 [p0]", 1, 14, "expected access size"),
        ("r0 = load.i64.b8 p0", 1, 18, "expected ["),
        ("r0 = load.i64.b8 [p0", 1, 21, "expected ]"),
        ("r0 = add.i64 r0 1", 1, 17, "expected ,"),
        (
            "r0 = add.i64 r0, 1x",
            1,
            18,
            "`1x` is not a number that fits here",
        ),
        (
            "r0 = add.i64 r0, 0x8000000000000000",
            1,
            18,
            "`0x8000000000000000` is not a number that fits here",
        ),
        ("insn 0, 256", 1, 9, "`256` is not a number that fits here"),
        ("%t0 = mov.i64 1", 1, 5, "expected :"),
        (
            "%t0:i8 = mov.i8 1\n%t0:i64 = mov.i64 1",
            2,
            1,
            "temporary 0 has two types",
        ),
        (
            "r0 = mov.i64 %t1\ndispatch",
            3,
            1,
            "temporary 0 is never written, nor declared by a `temp` line",
        ),
        ("call @nobody", 1, 7, "unknown helper `nobody`"),
        (
            "dispatch\ndispatch",
            2,
            1,
            "nothing may follow the terminator",
        ),
        ("dispatch 1", 1, 10, "expected the end of the line"),
        ("jump ; é", 1, 6, "expected a number"),
        ("é = mov.i64 1", 1, 1, "unknown slot `é`"),
        ("block phys=1 size=2", 1, 14, "unknown field `size`"),
    ] {
        let error = parse(text, &LAYOUT).expect_err(text);
        let got = (error.line, error.column, error.problem.to_string());
        assert_eq!(got, (line, column, problem.to_owned()), "{text}");
    }
}
