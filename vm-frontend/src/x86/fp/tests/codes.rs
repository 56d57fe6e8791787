//! Every instruction that iced-x86 knows of the features that are ours.

use iced_x86::{Code, CpuidFeature, EncodingKind};

use crate::x86::fp::lift::knows;

/// Features whose instructions all have rules here.
const FEATURES: [CpuidFeature; 24] = [
    CpuidFeature::FPU,
    CpuidFeature::FPU287,
    CpuidFeature::FPU387,
    CpuidFeature::MMX,
    CpuidFeature::SSE,
    CpuidFeature::SSE2,
    CpuidFeature::SSE3,
    CpuidFeature::SSSE3,
    CpuidFeature::SSE4_1,
    CpuidFeature::SSE4_2,
    CpuidFeature::AES,
    CpuidFeature::PCLMULQDQ,
    CpuidFeature::SHA,
    CpuidFeature::AVX,
    CpuidFeature::AVX2,
    CpuidFeature::FMA,
    CpuidFeature::F16C,
    CpuidFeature::VAES,
    CpuidFeature::FXSR,
    CpuidFeature::XSAVE,
    CpuidFeature::XSAVEOPT,
    CpuidFeature::XSAVEC,
    CpuidFeature::VPCLMULQDQ,
    CpuidFeature::FPU,
];

/// Instructions of these features that are no one's, or of the integer set.
fn is_elsewhere(code: Code) -> bool {
    use iced_x86::Mnemonic as M;
    matches!(
        code.mnemonic(),
        M::Lfence
            | M::Mfence
            | M::Sfence
            | M::Clflush
            | M::Prefetchnta
            | M::Prefetcht0
            | M::Prefetcht1
            | M::Prefetcht2
            | M::Movnti
            | M::Crc32
            | M::Xgetbv
            | M::Xsetbv
            | M::Pause
    )
}

/// What the decoder never makes: it gives FWAIT and the rest apart; and 8087 and 80287 forms without a meaning since.
fn is_composed(code: Code) -> bool {
    use iced_x86::Mnemonic as M;
    matches!(
        code.mnemonic(),
        M::Finit
            | M::Fclex
            | M::Fstcw
            | M::Fstsw
            | M::Fstenv
            | M::Fsave
            | M::Feni
            | M::Fdisi
            | M::Fsetpm
            | M::Fstdw
            | M::Fstsg
            | M::Fnstdw
            | M::Fnstsg
            | M::Frstpm
    )
}

#[test]
fn every_code_of_the_features_has_a_rule() {
    let missing: Vec<Code> = Code::values()
        .filter(|code| {
            let features = code.cpuid_features();
            features.iter().all(|feature| FEATURES.contains(feature))
        })
        .filter(|code| matches!(code.encoding(), EncodingKind::Legacy | EncodingKind::VEX))
        .filter(|&code| !is_elsewhere(code) && !is_composed(code) && !knows(code.mnemonic()))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}
