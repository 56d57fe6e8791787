use proptest::prelude::*;

use super::testing::Rig;
use super::*;

#[test]
fn from_registers_takes_a0_to_a7() {
    let call = SbiCall::from_registers([10, 11, 12, 13, 14, 15, 16, 17]);
    assert_eq!(
        call,
        SbiCall {
            args: [10, 11, 12, 13, 14, 15],
            function: 16,
            extension: 17
        }
    );
}

fn any_argument() -> impl Strategy<Value = u64> {
    prop_oneof![
        0..10_u64,
        any::<u64>(),
        Just(u64::MAX),
        (0x7fff_f000_u64..0x8011_0000),
        (0..4_u64).prop_map(|n| 0x8000_0000 + n),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn handle_any_sequence_never_panics_and_keeps_states_legal(
        calls in prop::collection::vec(
            (
                0..4_u32,
                prop_oneof![
                    (0..EXTENSIONS.len()).prop_map(|n| EXTENSIONS[n].0),
                    0..17_u64,
                    any::<u64>(),
                ],
                prop_oneof![0..8_u64, any::<u64>()],
                prop::array::uniform6(any_argument()),
            ),
            1..40,
        )
    ) {
        let rig = Rig::new(4);
        let harts = rig.sbi().harts();
        for (hart, extension, function, args) in calls {
            let caller = VcpuId(hart);
            // Only a started hart makes calls; bring the others on when they were told to start.
            if harts.state(caller) != HsmState::Started && harts.take_start(caller).is_none() {
                continue;
            }
            match rig.outcome(hart, extension, function, &args) {
                SbiOutcome::Return { .. } | SbiOutcome::Reset(_) => {
                    prop_assert_eq!(harts.state(caller), HsmState::Started);
                }
                SbiOutcome::Stop => {
                    prop_assert_eq!(harts.state(caller), HsmState::StopPending);
                    harts.stopped(caller);
                    prop_assert_eq!(harts.state(caller), HsmState::Stopped);
                }
                SbiOutcome::Suspend(_) => {
                    prop_assert_eq!(harts.state(caller), HsmState::Suspended);
                    harts.resumed(caller);
                    prop_assert_eq!(harts.state(caller), HsmState::Started);
                }
            }
        }
    }
}
