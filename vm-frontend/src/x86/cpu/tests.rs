//! Models, descriptions, leaves.

use super::*;

const SHOWN: Shown = Shown {
    apic_id: 0,
    osxsave: false,
    xcr0: 1,
    in_64: true,
    apic_on: true,
};

fn parsed(text: &str) -> Result<CpuConfig, String> {
    text.parse().map_err(|error: CpuError| error.to_string())
}

#[test]
fn table_names_each_feature_once_and_in_order() {
    let mut names = std::collections::BTreeSet::new();
    let mut places = std::collections::BTreeSet::new();
    for (n, row) in Feature::TABLE.iter().enumerate() {
        assert_eq!(row.feature as usize, n);
        assert!(names.insert(row.name), "{}", row.name);
        let place = (row.leaf, row.register as u8, row.bit);
        assert!(places.insert(place), "{}", row.name);
        for need in row.needs {
            assert!(need.info().level <= row.level, "{}", row.name);
        }
    }
    assert!(Feature::TABLE.len() <= 128);
}

#[test]
fn descriptions_add_and_remove_with_what_depends() {
    let v3 = parsed("x86-64-v3").expect("a model");
    assert!(v3.has(Feature::Avx2) && !v3.has(Feature::La57));
    let less = parsed("x86-64-v3,-avx").expect("a description");
    assert!(!less.has(Feature::Avx2) && !less.has(Feature::Fma) && less.has(Feature::Xsave));
    let more = parsed("x86-64-v1,+vaes").expect("a description");
    assert!(more.has(Feature::Avx) && more.has(Feature::Xsave) && more.has(Feature::Aes));
    assert_eq!(
        parsed("+la57").map(|config| config.has(Feature::La57)),
        Ok(true)
    );
}

#[test]
fn descriptions_that_are_wrong_name_the_nearest() {
    for (text, part) in [
        ("x86-64-v4", "did you mean 'x86-64-v"),
        ("max,+avx22", "did you mean 'avx2'?"),
        ("max,avx2", "write +avx2 to add"),
        ("max,-sse2", "cannot be removed"),
    ] {
        let error = parsed(text).expect_err(text);
        assert!(error.contains(part), "{text}: {error}");
    }
}

#[test]
fn cpuid_shows_features_where_the_table_says() {
    let config = CpuModel::from_name("max").expect("a model").config();
    for row in Feature::TABLE {
        let words = cpuid(&config, SHOWN, row.leaf[0], row.leaf[1]);
        assert!(
            words[row.register as usize] >> row.bit & 1 == 1,
            "{}",
            row.name
        );
        let without = CpuConfig {
            features: config.features.without(row.feature),
            ..config.clone()
        };
        let words = cpuid(&without, SHOWN, row.leaf[0], row.leaf[1]);
        assert!(
            words[row.register as usize] >> row.bit & 1 == 0,
            "{}",
            row.name
        );
    }
}

#[test]
fn cpuid_tells_frequencies_and_who_it_is() {
    let config = CpuConfig::default();
    let at = |leaf| cpuid(&config, SHOWN, leaf, 0);
    assert_eq!(at(0x15), [1, 1, 1_000_000_000, 0]);
    let name = [at(0)[1], at(0)[3], at(0)[2]]
        .map(u32::to_le_bytes)
        .concat();
    assert_eq!(name, b"GenuineIntel");
    assert_eq!(at(0)[0], 0x16);
    assert_eq!(at(0x1234_5678), [0; 4]);
}

#[test]
fn instructions_go_with_their_features() {
    let v1 = CpuModel::from_name("x86-64-v1").expect("a model").config();
    assert!(v1.allows(CpuidFeature::SSE2) && v1.allows(CpuidFeature::INTEL386));
    assert!(!v1.allows(CpuidFeature::SSE4_2) && !v1.allows(CpuidFeature::AVX512F));
}
