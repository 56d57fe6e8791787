use super::*;

fn parse(text: &str) -> IsaConfig {
    text.parse()
        .unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn error(text: &str) -> String {
    text.parse::<IsaConfig>().expect_err(text).to_string()
}

#[test]
fn cpu_empty_is_the_default_model() {
    assert_eq!(
        parse(""),
        CpuModel::from_name("debian").expect("a model").config()
    );
    assert_eq!(parse("satp=sv57").satp, SatpMode::Sv57);
}

#[test]
fn cpu_rv64_isa_string_matches_rv64gc() {
    assert_eq!(
        parse("rv64").isa_string(),
        "rv64imafdc_zicntr_zicsr_zifencei_zihpm_zca_svade"
    );
    assert_eq!(parse("rv64").misa(), 0x8000_0000_0014_112d);
}

#[test]
fn cpu_debian_isa_string_is_in_canonical_order() {
    assert_eq!(
        parse("debian").isa_string(),
        "rv64imafdc_zicbom_zicbop_zicboz_zicntr_zicond_zicsr_zifencei_zihintntl_zihintpause_zihpm_zabha_\
         zacas_zawrs_zfa_zfhmin_zca_zba_zbb_zbc_zbkb_zbs_sstc_svadu_svinval_svnapot_svpbmt"
    );
    assert_eq!(parse("debian").misa(), 0x8000_0000_0014_112f);
    assert_eq!(parse("debian").isa_base(), "rv64i");
    assert_eq!(
        parse("rv64").isa_extensions()[..7],
        ["i", "m", "a", "f", "d", "c", "zicntr"]
    );
}

#[test]
fn cpu_max_has_every_extension_but_one_in_canonical_order() {
    assert_eq!(
        parse("max").isa_string(),
        "rv64imafdc_zicbom_zicbop_zicboz_zicntr_zicond_zicsr_zifencei_zihintntl_zihintpause_zihpm_zimop_\
         zabha_zacas_zawrs_zfa_zfh_zfhmin_zca_zcb_zcmop_zba_zbb_zbc_zbkb_zbkc_zbkx_zbs_ssdbltrp_\
         ssstateen_sstc_svadu_svinval_svnapot_svpbmt_smstateen"
    );
    assert!(
        parse("max,+smdbltrp")
            .isa_string()
            .ends_with("_smdbltrp_smstateen")
    );
    assert_eq!(
        parse("max,-zca").isa_extensions()[4],
        "d",
        "no c, zcb, zcmop"
    );
    assert!(!parse("max,-zca").has(Extension::Zcb));
    assert!(parse("rv64,+zfh").has(Extension::Zfhmin));
}

#[test]
fn cpu_items_apply_left_to_right() {
    let config = parse("rv64,+zbb,-d,satp=sv48,pmp=64,zba=on,zbb=off,+sstc");
    assert!(config.has(Extension::Zba) && config.has(Extension::F) && config.has(Extension::Sstc));
    assert!(!config.has(Extension::Zbb) && !config.has(Extension::D));
    assert_eq!((config.satp, config.pmp_entries), (SatpMode::Sv48, 64));
}

#[test]
fn cpu_svade_and_svadu_exclude_each_other() {
    for (text, who) in [
        ("debian", AdUpdate::Hardware),
        ("debian,+svade", AdUpdate::Software),
        ("debian,-svadu", AdUpdate::Software),
        ("rv64,+svadu", AdUpdate::Hardware),
        ("rv64,-svade", AdUpdate::Hardware),
        ("rv64,svadu=on,svadu=off", AdUpdate::Software),
    ] {
        let config = parse(text);
        assert_eq!(config.ad_update(), who, "{text}");
        assert_ne!(
            config.has(Extension::Svade),
            config.has(Extension::Svadu),
            "{text}"
        );
    }
}

#[test]
fn cpu_unknown_names_get_the_nearest_match() {
    assert!(
        error("debain").contains("did you mean 'debian'?"),
        "{}",
        error("debain")
    );
    assert!(error("rv64,+svinvl").contains("did you mean 'svinval'?"));
    assert!(error("rv64,sapt=sv39").contains("did you mean 'satp'?"));
    assert!(!error("rv64,+qqqq").contains("did you mean"));
}

#[test]
fn cpu_bad_values_say_what_is_allowed() {
    assert!(error("rv64,satp=sv32").contains("bare, sv39, sv48, sv57"));
    assert!(error("rv64,pmp=7").contains("0, 16 or 64"));
    assert!(error("rv64,zbb=maybe").contains("on or off"));
    assert!(error("rv64,zbb").contains("+zbb"));
    assert!(error("rv64,-i").contains("base"));
    assert!(error("rv64,-zicsr").contains("cannot be removed"));
}
