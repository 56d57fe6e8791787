//! What operations of x86's integer code cost, each in a long row of its like.

use super::*;

const LENGTH: usize = 100;
const ROUNDS: u64 = 20_000;

/// Nanoseconds that each of these operations takes, in a block that runs itself again and again.
fn nanoseconds(body: &str) -> f64 {
    let mut bench = Bench::<0>::new(9);
    let (at, end) = (bench.next, bench.next + 8);
    let offset = at & (PAGE_BYTES - 1);
    let rows = format!("{body}\n").repeat(LENGTH);
    let text = format!(
        "block phys={at:#x}\ninsn {offset}, 4\n{rows}r1 = sub.i64 r1, 1\n\
         branch.i64.ne r1, 0, {offset}, {}",
        end & (PAGE_BYTES - 1)
    );
    let block =
        vm_ir::text::parse(&text, &LAYOUT).unwrap_or_else(|error| panic!("{error}\n{text}"));
    assert_eq!(verify(&block, &LAYOUT), Ok(()));
    bench.give(block);
    let state = bench.vcpu.state_mut();
    state.common.pc = at;
    (state.words[2], state.words[3], state.words[24]) = (3, ROUNDS, 0x0123_4567_89ab_cdef);
    let started = std::time::Instant::now();
    bench.vcpu.run();
    started.elapsed().as_nanos() as f64 / (ROUNDS as f64 * LENGTH as f64)
}

/// Operations that ordinary integer code consists of.
const COMMON: [&str; 20] = [
    "r2 = add.i64 r2, r0",
    "r2 = add.i8.keep r2, r0",
    "r2 = add.i16.keep r2, 5",
    "fl = setflags.i64.sub r2, r0, 0",
    "fl = setflags.i32.sub r2, r0, 0\nr2 = sub.i32 r2, r0",
    "r2 = and.i32 r2, r0\nfl = setflags.i32.logic r2, 0, 0",
    "fl = setflags.i32.inc r2, 0, 0, fl\nr2 = add.i32 r2, 1",
    "fl = setflags.i32.shl r2, r0, 0, fl\nr2 = shl.i32 r2, r0",
    "r2 = getflag.i64.lt fl",
    "r2 = getflag.i8.keep.z fl",
    "r2 = flagbits.i64 fl",
    "fl = setflags.i64.carry r2, 0, 0, fl",
    "fl = setflags.i64.bits r2, 0, 0",
    "r2 = deposit.i64.[15:8] r2, r0",
    "r2 = extract.i64.[15:8] r2",
    "r2 = addc.i64 r2, r0, 1",
    "r2 = rolc.i32 r2, 1, 1",
    "r2 = funnel_shr.i64 r2, r0, 3",
    "r2 = mulhu.i64 r2, r0",
    "v0 = v_add.v128.i8 v0, v1",
];

#[test]
#[ignore = "measures: wants a quiet machine"]
fn operations_of_ordinary_integer_code_take_few_nanoseconds() {
    let bound = std::env::var("BOUND_NS").map_or(3.0, |ns| ns.parse().expect("a number"));
    let costs = COMMON.map(|body| (body, nanoseconds(body)));
    let table: Vec<String> = costs
        .iter()
        .map(|(body, ns)| format!("{ns:6.2} ns  {}", body.replace('\n', "; ")))
        .collect();
    let table = table.join("\n");
    assert!(costs.iter().all(|&(_, ns)| ns < bound), "{table}");
}
