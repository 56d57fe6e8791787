use super::*;
use crate::arbitrary::LAYOUT;

/// The violation of a block in text form, which starts with an instruction of four bytes at 0.
fn violation(body: &str) -> Option<Violation> {
    let text = format!("insn 0, 4\n{body}");
    let block = text::parse(&text, &LAYOUT).unwrap_or_else(|error| panic!("{error}\n{text}"));
    verify(&block, &LAYOUT).err().map(|error| error.violation)
}

#[test]
fn verify_each_rule_broken_is_named() {
    use Violation::*;
    for (body, expected) in [
        ("r0 = add.i64 r0\ndispatch", Class("operand 2")),
        ("r0 = add.i64 r0, 1, 2\ndispatch", Class("operand 3")),
        ("r0 = add.i64 f0, 1\ndispatch", Class("operand 1")),
        ("r0 = addshl.i64 r0, r1, r1\ndispatch", Class("operand 3")),
        ("f0 = fp_add.f64.rne f0, 1\ndispatch", Class("operand 2")),
        ("v0 = v_add.v128.i8 v0, q0\ndispatch", Class("operand 2")),
        ("r0 = low.i64 v0\ndispatch", Class("operand 1")),
        ("r0 = getflag.i64.z r0\ndispatch", Class("operand 1")),
        ("r0 = mov.i64 fl\ndispatch", Class("operand 1")),
        ("f0 = add.i64 r0, 1\ndispatch", Class("result")),
        ("r0 = store.i64.b8 [p0], r0\ndispatch", Class("result")),
        ("r0 = add.i64 d0, 1\ndispatch", Width("operand 1")),
        ("d0 = add.i64 r0, 1\ndispatch", Width("result")),
        ("s0 = fp_unbox.f32 s0\ndispatch", Width("operand 1")),
        ("r0 = load.i64.b8 [d0]\ndispatch", Width("operand 1")),
        ("store.i64.b8 [p0], d0\ndispatch", Width("operand 4")),
        (
            "f0 = int_to_fp.f64.i64.rne d0\ndispatch",
            Width("operand 1"),
        ),
        ("branch.i64.eq d0, 0, 4, 8", Width("operand")),
        ("r0 = add.i64.s r0, 1\ndispatch", Extension),
        ("store.i32.keep.b4 [p0], r0\ndispatch", Extension),
        ("r0 = add.f64 r0, 1\ndispatch", OperationType),
        ("f0 = fp_add.i64.rne f0, f0\ndispatch", OperationType),
        ("v0 = v_add.i64.i8 v0, v0\ndispatch", OperationType),
        ("fl = load.flags.b2 [p0]\ndispatch", OperationType),
        ("branch.f64.eq 0, 0, 4, 8", OperationType),
        (
            "r0 = load.i32.b8 [p0]\ndispatch",
            Attribute("access is wider than the type"),
        ),
        (
            "f0 = load.f64.b4 [p0]\ndispatch",
            Attribute("access is not of the format's size"),
        ),
        (
            "r0 = load.i64.b8 [p0 + r0<<4]\ndispatch",
            Attribute("index shift beyond three"),
        ),
        (
            "r0 = extract.i32.[32:8] r0\ndispatch",
            Attribute("field is not inside the type"),
        ),
        (
            "r0 = deposit.i32.s[3:0] r0, r1\ndispatch",
            Attribute("only extraction extends a sign"),
        ),
        (
            "v0 = v_add.v128.i8[1] v0, v0\ndispatch",
            Attribute("index without meaning"),
        ),
        (
            "v0 = v_add.v128.f32 v0, v0\ndispatch",
            Attribute("no lanes of this type"),
        ),
        (
            "v0 = v_insert.v128.i64[2] v0, r0\ndispatch",
            Attribute("no such lane"),
        ),
        (
            "d0 = v_extract.i32.i64[1] v0\ndispatch",
            Attribute("lane is wider than the type"),
        ),
        (
            "r0 = fp_to_int.i8.f64.rne f0\ndispatch",
            Attribute("no conversion between these types"),
        ),
        (
            "r0 = fp_to_int.i64.f64.rtz.modulo f0\ndispatch",
            Attribute("modulo is to i32 only"),
        ),
        (
            "fl = setflags.i64.inc r0, 0, 0\ndispatch",
            Attribute("old flag group missing or superfluous"),
        ),
        (
            "fl = setflags.i64.add r0, 0, 0, fl\ndispatch",
            Attribute("old flag group missing or superfluous"),
        ),
        ("%t0:i64 = add.i64 %t0, 1\ndispatch", Undefined),
        ("%t0:i64 = mov.i8.keep 1\ndispatch", Undefined),
        ("temp %t0:i64\nindirect %t0", Undefined),
        (
            "r0 = mov.i64 1\nr1 = load.i64.b8 [p0]\ndispatch",
            WriteBeforeFault { fault: 2 },
        ),
        (
            "store.i64.b8 [p0], 1\nstore.i64.b8 [p1], 1\ndispatch",
            WriteBeforeFault { fault: 2 },
        ),
        (
            "fp_add.f64.rne f0, f0\ncall @fail\ndispatch",
            WriteBeforeFault { fault: 2 },
        ),
        (
            "call @change\ncall @fail\ndispatch",
            WriteBeforeFault { fault: 2 },
        ),
        (
            "r0 = mov.i64 1\nexception 2, 0",
            WriteBeforeFault { fault: 0 },
        ),
        (
            "exit_if.i64.eq r0, 0, 4\nr0 = mov.i64 1\ndispatch",
            AfterExit,
        ),
        ("exit_if.i64.eq r0, 0, 0x80000000\ndispatch", Offset),
        ("jump 0x80000000", Offset),
        ("insn 6, 2\ndispatch", Marker),
        ("restart 4\ndispatch", Marker),
        (
            "insn 4, 255\ninsn 0x103, 4\ninsn 0x2000, 1\ndispatch",
            Marker,
        ),
    ] {
        assert_eq!(violation(body), Some(expected), "{body}");
    }
}

#[test]
fn verify_what_is_allowed_passes() {
    for body in [
        "r0 = load.i64.b8 [p0]\ndispatch",
        "probe_write.i64.b16 [p0]\nstore.i64.b8 [p0], r0\nstore.i64.b8 [p0 + 8], r1\ndispatch",
        "r0 = mov.i64 1\nrestart 0\nr1 = load.i64.b8 [p0]\ndispatch",
        "r0 = mov.i64 1\ninsn 4, 4\nr1 = load.i64.b8 [p0]\ndispatch",
        "r0 = mov.i64 1\ninsn 4, 4\nexception 2, 0",
        "fence.rw.rw\nr1 = load.i64.b8 [p0]\ndispatch",
        "fl = mov.flags fl\nv0 = mov.v128 q0\nf0 = mov.i32.ones r0\ndispatch",
        "v0 = fp_add.f32.keep.dyn v0, v1\nr0 = mov.i8.keep d0\ndispatch",
    ] {
        assert_eq!(violation(body), None, "{body}");
    }
}

#[test]
fn verify_a_probe_covers_only_the_bytes_it_checked() {
    for body in [
        "probe_write.i64.b8 [p0]\nstore.i64.b8 [p1], 1\nstore.i64.b8 [p0 + 8], r0\ndispatch",
        "probe_write.i64.b8 [p0]\nstore.i64.b8 [p1], 1\nstore.i64.b8 [p1], r0\ndispatch",
        "%t0:i64 = mov.i64 p0\nprobe_write.i64.b8 [%t0]\n%t0:i64 = add.i64 %t0, 8\n\
         store.i64.b8 [p1], 1\nstore.i64.b8 [%t0], r0\ndispatch",
        "probe_write.i64.b8 [p0]\nstore.i64.b8 [p1], 1\nstore.i64.b8.align [p0], r0\ndispatch",
    ] {
        assert!(
            matches!(violation(body), Some(Violation::WriteBeforeFault { .. })),
            "{body}"
        );
    }
}

#[test]
fn verify_counts_and_ranges_that_text_cannot_say() {
    let parse = |text| text::parse(text, &LAYOUT).expect("it parses");
    let broken = |block: &Block| verify(block, &LAYOUT).expect_err("it is broken").violation;
    let mut block = parse("insn 0, 4\ndispatch");
    block.guest_insns = 2;
    assert_eq!(broken(&block), Violation::Counts);
    let mut block = parse("insn 0, 4\nr0 = mov.i64 1\ndispatch");
    block.insts[1].dst = Some(Slot::state(99));
    assert_eq!(broken(&block), Violation::NoSuchSlot);
    block.insts[1].dst = Some(Slot::temp(0));
    assert_eq!(broken(&block), Violation::NoSuchSlot);
    let mut block = parse("insn 0, 4\nr0 = cmp.i64.eq r0, 1\ndispatch");
    block.insts[1].attr = Attr::None;
    assert_eq!(broken(&block), Violation::AttributeClass);
    let mut block = parse("insn 0, 4\ncall @twice\ndispatch");
    block.insts[1].attr = Attr::Helper(crate::HelperId(99));
    assert_eq!(broken(&block), Violation::NoSuchHelper);
    let mut block = parse("insn 0, 4\ndispatch");
    block.insts.insert(
        0,
        Inst {
            op: Op::Fence,
            attr: Attr::Fence(crate::FenceSet::FULL),
            ..block.insts[0]
        },
    );
    assert_eq!(broken(&block), Violation::OutsideInstruction);
}

#[test]
fn verify_only_a_straddling_instruction_alone_leaves_the_page() {
    let text = "block phys=0x1ffe second=0x3000\ninsn 0xffe, 4\ndispatch";
    assert_eq!(
        verify(&text::parse(text, &LAYOUT).expect("it parses"), &LAYOUT),
        Ok(())
    );
    let text = text.replace(" second=0x3000", "");
    let error = verify(&text::parse(&text, &LAYOUT).expect("it parses"), &LAYOUT);
    assert_eq!(
        error.expect_err("it leaves the page").violation,
        Violation::Marker
    );
}

#[test]
fn verify_error_shows_the_operation() {
    let text = "insn 0, 4\nr0 = add.i64 d0, 1\ndispatch";
    let error =
        verify(&text::parse(text, &LAYOUT).expect("it parses"), &LAYOUT).expect_err("narrow");
    let expected = "operation 1 `r0 = add.i64 d0, 1`: operand 1 is narrower than the type";
    assert_eq!(error.to_string(), expected);
}
