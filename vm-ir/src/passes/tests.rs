//! Every pass on random blocks: before and after must agree on random states wherever the guest can look.

use super::*;
use crate::arbitrary::{self, LAYOUT, Random};
use crate::eval::block::{End, Machine};
use crate::text::{parse, print};
use crate::verify;

/// Runs a copy of the machine; bits that nobody may look at are cleared.
fn run(block: &Block, machine: &Machine) -> (End, Machine) {
    let mut machine = machine.clone();
    let end = machine.run(block, &LAYOUT, &mut |helper, args, state| {
        arbitrary::helpers(helper, args, state)
    });
    for (number, declared) in LAYOUT.slots.iter().enumerate() {
        if declared.ty.bits() < 64 {
            let slot = Slot::state(number as u16);
            let mut value = machine.get(&LAYOUT, slot);
            value[0] &= (1 << declared.ty.bits()) - 1;
            machine.set(&LAYOUT, slot, value);
        }
    }
    (end, machine)
}

/// Checks `pass` on random blocks; gives how many operations it removed in all, and how often blocks faulted.
fn check(seed: u64, pass: impl Fn(&mut Block)) -> (usize, usize) {
    let mut random = Random(seed);
    let (mut removed, mut faults) = (0, 0);
    for _ in 0..3000 {
        let before = arbitrary::block(&mut random);
        let mut after = before.clone();
        pass(&mut after);
        let texts = || format!("{}---\n{}", print(&before, &LAYOUT), print(&after, &LAYOUT));
        verify(&after, &LAYOUT).unwrap_or_else(|error| panic!("{error}\n{}", texts()));
        removed += before.insts.len() - after.insts.len();
        for _ in 0..8 {
            let machine = arbitrary::machine(&mut random);
            let (expected, got) = (run(&before, &machine), run(&after, &machine));
            assert_eq!(expected, got, "{}", texts());
            faults += usize::from(matches!(expected.0, End::Faults { .. }));
        }
    }
    (removed, faults)
}

#[test]
fn fold_constants_keeps_what_the_guest_sees() {
    let (_, faults) = check(1, |block| fold_constants(block, &LAYOUT));
    assert!(faults > 1000, "{faults}");
}

#[test]
fn propagate_copies_keeps_what_the_guest_sees() {
    check(2, |block| propagate_copies(block, &LAYOUT));
}

#[test]
fn remove_dead_keeps_what_the_guest_sees() {
    let (removed, faults) = check(3, |block| remove_dead(block, &LAYOUT));
    assert!(removed > 1000 && faults > 1000, "{removed} {faults}");
}

#[test]
fn remove_dead_flags_keeps_what_the_guest_sees() {
    let (removed, faults) = check(5, |block| remove_dead_flags(block, &LAYOUT));
    assert!(removed > 5 && faults > 1000, "{removed} {faults}");
}

#[test]
fn remove_dead_flags_removes_what_is_set_anew_unseen() {
    let body = "fl = setflags.i64.add r0, 1, 0\nr0 = add.i64 r0, 1\nfl = setflags.i64.sub r0, 5, 0\n\
                d0 = getflag.i32.z fl\nfl = setflags.i8.inc r1, 0, 0, fl\nfl = setflags.i8.neg r1, 0, 0\n\
                %t0:i64 = load.i64.b8 [p0]\nfl = setflags.i8.dec %t0, 0, 0, fl\nfl = fp_cmpflags.f64 f0, f1\n\
                fl = setflags.i64.logic r1, 0, 0\ndispatch";
    let expected = "r0 = add.i64 r0, 1\nfl = setflags.i64.sub r0, 5, 0\n\
                    d0 = getflag.i32.z fl\nfl = setflags.i8.neg r1, 0, 0\n\
                    %t0:i64 = load.i64.b8 [p0]\nfp_cmpflags.f64 f0, f1\n\
                    fl = setflags.i64.logic r1, 0, 0\ndispatch";
    // The load's instruction begins behind the flags that it must find.
    let split = |body: &str| body.replace("%t0:", "insn 4, 4\n%t0:");
    let got = after(&split(body), remove_dead_flags);
    assert_eq!(got.replace("temp %t0:i64\n", ""), expected);
}

#[test]
fn optimize_keeps_what_the_guest_sees() {
    check(4, |block| optimize(block, &LAYOUT));
}

/// The operations of a block after a pass, without markers.
fn after(body: &str, pass: impl Fn(&mut Block, &StateLayout)) -> String {
    let text = format!("insn 0, 4\n{body}\n");
    let mut block = parse(&text, &LAYOUT).unwrap_or_else(|error| panic!("{error}\n{text}"));
    verify(&block, &LAYOUT).unwrap_or_else(|error| panic!("{error}\n{text}"));
    pass(&mut block, &LAYOUT);
    let text = print(&block, &LAYOUT);
    let lines = text.lines().map(str::trim);
    lines
        .filter(|line| !line.starts_with(['b', 'i']))
        .collect::<Vec<_>>()
        .join("\n")
}

#[test]
fn fold_constants_follows_values_through_operations_and_flags() {
    let body = "r0 = mov.i64 5\nr1 = add.i32.s r0, -6\nfl = setflags.i64.sub r0, 5, 0\n\
                d0 = getflag.i32.z fl\nbranch.i64.eq r0, 5, 8, 4";
    let expected = "r0 = mov.i64 5\nr1 = mov.i64 -1\nfl = setflags.i64.sub 5, 5, 0\n\
                    d0 = mov.i32 1\njump 8";
    assert_eq!(after(body, fold_constants), expected);
}

#[test]
fn fold_constants_forgets_state_that_a_helper_writes() {
    let body = "%t0:i64 = mov.i64 1\nr0 = mov.i64 1\ncall @change\nr1 = add.i64 r0, %t0\ndispatch";
    let got = after(body, fold_constants);
    assert!(got.contains("r1 = add.i64 r0, 1"), "{got}");
}

#[test]
fn fold_constants_drops_exceptions_that_never_happen() {
    let body = "%t0:i64 = mov.i64 1\nraise_if.i64.eq %t0, 0, 2, 0\nr0 = select.i64.ltu p0, p1, %t0, 2\ndispatch";
    assert_eq!(
        after(body, fold_constants),
        "%t0:i64 = mov.i64 1\nr0 = mov.i64 p0\ndispatch"
    );
}

#[test]
fn propagate_copies_stops_at_writes_of_either_side() {
    let body =
        "%t0:i64 = mov.i64 r0\nr1 = add.i64 %t0, 1\nr0 = mov.i64 7\nr1 = add.i64 %t0, r1\ndispatch";
    let got = after(body, propagate_copies);
    assert!(got.contains("r1 = add.i64 r0, 1\n"), "{got}");
    assert!(got.contains("r1 = add.i64 %t0, r1"), "{got}");
}

#[test]
fn propagate_copies_leaves_narrow_moves_alone() {
    let body = "%t0:i64 = mov.i32 r0\nr1 = add.i64 %t0, 1\ndispatch";
    assert_eq!(after(body, propagate_copies), body);
}

#[test]
fn remove_dead_removes_what_is_overwritten_unseen() {
    let body = "r0 = mov.i64 1\nfl = setflags.i64.add r0, 1, 0\nfl = setflags.i64.add r1, 1, 0\n\
                r0 = mov.i64 2\n%t0:i64 = add.i64 r1, 1\nf0 = fp_add.f64.dyn f1, f1\nf0 = mov.f64 f1\ndispatch";
    let expected = "fl = setflags.i64.add r1, 1, 0\nr0 = mov.i64 2\nfp_add.f64.dyn f1, f1\n\
                    f0 = mov.f64 f1\ndispatch";
    let got = after(body, remove_dead);
    assert_eq!(got.replace("temp %t0:i64\n", ""), expected);
}

#[test]
fn remove_dead_keeps_what_a_fault_shows() {
    let body = "r0 = mov.i64 1\nrestart 0\n%t0:i64 = load.i64.b8 [p0]\nr0 = mov.i64 %t0\ndispatch";
    assert_eq!(
        after(body, remove_dead),
        body.replace("restart 0\n", "restart 0x0\n")
    );
}

#[test]
fn remove_dead_keeps_the_rest_of_a_partial_write() {
    let body = "r0 = mov.i64 5\nr0 = mov.i8.keep r1\ndispatch";
    assert_eq!(after(body, remove_dead), body);
}

#[test]
fn remove_dead_keeps_what_a_helper_reads() {
    let body = "r0 = mov.i64 1\ncall @look\nr0 = mov.i64 2\ndispatch";
    assert_eq!(after(body, remove_dead), body);
}

#[test]
fn propagate_copies_forgets_state_that_a_helper_writes() {
    let body = "%t0:i64 = mov.i64 r0\ncall @change\nr1 = add.i64 %t0, 1\ndispatch";
    assert_eq!(after(body, propagate_copies), body);
}
