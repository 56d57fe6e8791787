//! What another hart's stores between `lr` and `sc` do.

use super::machine::*;

const PLACE: u64 = RAM + 0x1_0000;
const OTHER_CODE: u64 = CODE + 0x800;
const CONDITIONAL: u64 = CODE + 0x400;

/// What `sc.d` gives when another hart has stored these values, one after the other, since `lr.d` found `held`.
fn conditional(translated: bool, held: u64, stored: &[u64]) -> u64 {
    let engine = engine(translated);
    write(&engine, PLACE, &held.to_le_bytes());
    put(&engine, CODE, &[atomic(LR, 3, 0), ECALL]);
    put(&engine, CONDITIONAL, &[atomic(SC, 3, VALUE as u32), ECALL]);
    put(&engine, OTHER_CODE, &[store(0x3023), ECALL]);
    let (mut first, mut second) = (vcpu(&engine, 0), vcpu(&engine, 1));
    first.state_mut().x[ADDRESS] = PLACE;
    second.state_mut().x[ADDRESS] = PLACE;
    assert_eq!(trap_from(&mut first, S, CODE).0, S_CALL);
    assert_eq!(first.state().x[RESULT], held);
    for &value in stored {
        second.state_mut().x[VALUE] = value;
        assert_eq!(trap_from(&mut second, S, OTHER_CODE).0, S_CALL);
    }
    assert_eq!(trap_from(&mut first, S, CONDITIONAL).0, S_CALL);
    first.state().x[RESULT]
}

#[test]
fn conditional_store_fails_behind_another_value() {
    for translated in TIERS {
        assert_eq!(conditional(translated, 5, &[]), 0);
        assert_eq!(conditional(translated, 5, &[6]), 1);
        assert_eq!(conditional(translated, 5, &[6, 7]), 1);
    }
}

/// DEVIATION: it should fail (RISC-V Unpriv 20240411, chapter "A"); see `docs/performance.md`, "Reservations".
#[test]
fn conditional_store_succeeds_behind_stores_that_bring_the_value_back() {
    for translated in TIERS {
        assert_eq!(conditional(translated, 5, &[6, 5]), 0);
    }
}
