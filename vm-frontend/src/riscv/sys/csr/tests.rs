//! Legal values, privileges and side effects of each register.

use super::*;
use crate::guest::FlushScope;
use crate::riscv::isa::{AdUpdate, CpuModel};
use crate::riscv::sys::fields::irq;
use crate::riscv::sys::testing::{INSN, Machine, illegal_insn};
use crate::riscv::sys::{HELPER_CSR, csr_request};

const FFLAGS: u16 = 0x001;
const FRM: u16 = 0x002;
const FCSR: u16 = 0x003;
const SSTATUS: u16 = 0x100;
const SIE: u16 = 0x104;
const SCOUNTEREN: u16 = 0x106;
const SENVCFG: u16 = 0x10a;
const SIP: u16 = 0x144;
const STIMECMP: u16 = 0x14d;
const SATP: u16 = 0x180;
const MSTATUS: u16 = 0x300;
const MISA: u16 = 0x301;
const MIDELEG: u16 = 0x303;
const MIE: u16 = 0x304;
const MCOUNTEREN: u16 = 0x306;
const MENVCFG: u16 = 0x30a;
const MCOUNTINHIBIT: u16 = 0x320;
const MIP: u16 = 0x344;
const PMPCFG0: u16 = 0x3a0;
const PMPADDR0: u16 = 0x3b0;
const MCYCLE: u16 = 0xb00;
const MINSTRET: u16 = 0xb02;
const CYCLE: u16 = 0xc00;
const TIME: u16 = 0xc01;
const INSTRET: u16 = 0xc02;

const EVERYTHING: FlushScope = FlushScope {
    page: None,
    asid: None,
};

#[test]
fn table_rows_ascend_and_do_not_overlap() {
    for pair in table::ROWS.windows(2) {
        assert!(
            pair[0].first + pair[0].count <= pair[1].first,
            "{} {}",
            pair[0].name,
            pair[1].name
        );
    }
}

#[test]
fn registers_names_are_unique_and_indexed() {
    let config = CpuModel::from_name("max").expect("model").config();
    let all: Vec<_> = registers(&config).collect();
    for (number, name) in [
        (0x323, "mhpmevent3"),
        (0x3a2, "pmpcfg2"),
        (0x3ef, "pmpaddr63"),
        (0x7a3, "tdata3"),
        (0xb1f, "mhpmcounter31"),
        (0xc03, "hpmcounter3"),
    ] {
        assert!(all.contains(&(number, name.to_owned())), "{name}");
    }
    let mut names: Vec<_> = all.iter().map(|(_, name)| name).collect();
    names.sort();
    names.dedup();
    assert_eq!(names.len(), all.len());
}

/// What reads back after writing all ones and then zeros in M-mode, on the model with every extension.
#[test]
fn write_all_ones_then_zeros_reads_back_legal_values() {
    let status = 0x8000_000a_007e_79aa;
    let rows: &[(u16, &str, u64, u64)] = &[
        (FFLAGS, "fflags", 0x1f, 0),
        (FRM, "frm", 0x7, 0),
        (FCSR, "fcsr", 0xff, 0),
        (
            SSTATUS,
            "sstatus",
            status & 0x8000_0003_000d_e762,
            0x2_0000_0000,
        ),
        (0x105, "stvec", !2, 0),
        (SCOUNTEREN, "scounteren", 0xffff_ffff, 0),
        (SENVCFG, "senvcfg", 0xf1, 0),
        (0x140, "sscratch", u64::MAX, 0),
        (0x141, "sepc", !1, 0),
        (0x142, "scause", u64::MAX, 0),
        (0x143, "stval", u64::MAX, 0),
        (STIMECMP, "stimecmp", u64::MAX, 0),
        (SATP, "satp with mode 15", 0, 0),
        (MSTATUS, "mstatus", status, 0xa_0000_0000),
        (MISA, "misa", 0x8000_0000_0014_112f, 0x8000_0000_0014_112f),
        (0x302, "medeleg", 0xb3ff, 0),
        (MIDELEG, "mideleg", 0x222, 0),
        (MIE, "mie", 0xaaa, 0),
        (0x305, "mtvec", !2, 0),
        (MCOUNTEREN, "mcounteren", 0xffff_ffff, 0),
        (MENVCFG, "menvcfg", 0xe800_0000_0000_00f1, 0),
        (MCOUNTINHIBIT, "mcountinhibit", 5, 0),
        (0x323, "mhpmevent3", 0, 0),
        (0x33f, "mhpmevent31", 0, 0),
        (0x340, "mscratch", u64::MAX, 0),
        (0x341, "mepc", !1, 0),
        (0x342, "mcause", u64::MAX, 0),
        (0x343, "mtval", u64::MAX, 0),
        (PMPADDR0, "pmpaddr0", (1 << 54) - 1, 0),
        (0x7a0, "tselect", 0, 0),
        (0x7a1, "tdata1", 0, 0),
        (0x7a4, "tinfo", 1, 1),
        (0xb03, "mhpmcounter3", 0, 0),
        (0xb1f, "mhpmcounter31", 0, 0),
    ];
    for &(number, name, ones, zeros) in rows {
        let mut m = Machine::new("max");
        m.state.mstatus |= mstatus::FS.mask();
        m.write(number, u64::MAX);
        assert_eq!(m.read(number), ones, "{name} after ones");
        m.write(number, 0);
        if (FFLAGS..=FCSR).contains(&number) {
            assert_eq!(m.read(number), zeros, "{name} after zeros");
            continue;
        }
        let mut m = Machine::new("max");
        m.write(number, 0);
        assert_eq!(m.read(number), zeros, "{name} after zeros");
    }
}

#[test]
fn write_read_only_number_is_illegal() {
    let mut m = Machine::new("max");
    for number in [
        CYCLE, TIME, INSTRET, 0xc1f, 0xf11, 0xf12, 0xf13, 0xf14, 0xf15,
    ] {
        assert!(m.try_read(number).is_ok(), "{number:#x}");
        assert_eq!(m.try_write(number, 0), Err(illegal_insn()), "{number:#x}");
    }
    assert_eq!(m.read(0xf14), 3, "mhartid");
}

#[test]
fn access_absent_register_is_illegal() {
    let absent = [
        0x000,
        0x015,
        0x180 + 1,
        0x200,
        0x310,
        0x3a1,
        0x5a8,
        0x600,
        0x747,
        0x7a5,
        0x7b0,
        0xb01,
        0xda0,
        0xfff,
    ];
    let mut m = Machine::new("max");
    for number in absent {
        assert_eq!(m.try_read(number), Err(illegal_insn()), "{number:#x}");
        assert_eq!(m.try_write(number, 0), Err(illegal_insn()), "{number:#x}");
    }
}

#[test]
fn access_below_least_privilege_is_illegal() {
    let config = CpuModel::from_name("max").expect("model").config();
    for (number, name) in registers(&config) {
        for level in [privilege::U, privilege::S, privilege::M] {
            let mut m = Machine::with(config.clone(), false);
            m.state.mstatus |= mstatus::FS.mask();
            m.write(MCOUNTEREN, u64::MAX);
            m.write(SCOUNTEREN, u64::MAX);
            m.write(MENVCFG, envcfg::STCE.mask());
            m.state.mstateen = STATE_ENABLES;
            m.state.privilege = level;
            let result = m.try_read(number);
            let expected = level >= least_privilege(number);
            assert_eq!(result.is_ok(), expected, "{name} at {level}");
            assert!(expected || result == Err(illegal_insn()));
        }
    }
}

#[test]
fn access_gated_by_extension_follows_config() {
    let full = CpuModel::from_name("max").expect("model").config();
    for (ext, number) in [
        (Extension::F, FFLAGS),
        (Extension::F, FCSR),
        (Extension::Zicntr, TIME),
        (Extension::Zihpm, 0xc03),
        (Extension::Sstc, STIMECMP),
    ] {
        let mut config = full.clone();
        config.extensions = config.extensions.without(ext);
        for (config, present) in [(full.clone(), true), (config, false)] {
            let mut m = Machine::with(config, false);
            m.state.mstatus |= mstatus::FS.mask();
            assert_eq!(m.try_read(number).is_ok(), present, "{ext} {number:#x}");
        }
    }
}

#[test]
fn set_and_clear_change_named_bits_and_give_old_value() {
    let mut m = Machine::new("max");
    m.write(0x340, 0xf0);
    assert_eq!(m.csr(0x340, CsrOp::Set, 0x0f), Ok(0xf0));
    assert_eq!(m.csr(0x340, CsrOp::Clear, 0x81), Ok(0xff));
    assert_eq!(m.csr(0x340, CsrOp::Write, 5), Ok(0x7e));
    assert_eq!(m.read(0x340), 5);
}

#[test]
fn float_registers_off_are_illegal_and_writes_dirty() {
    let mut m = Machine::new("max");
    for number in [FFLAGS, FRM, FCSR] {
        assert_eq!(m.try_read(number), Err(illegal_insn()));
    }
    for number in [FFLAGS, FRM, FCSR] {
        m.state.mstatus = mstatus::FS.with(m.state.mstatus, 1);
        assert!(m.try_read(number).is_ok());
        assert_eq!(mstatus::FS.get(m.state.mstatus), 1, "reads leave it");
        m.write(number, 0);
        assert_eq!(mstatus::FS.get(m.state.mstatus), 3, "{number}");
    }
    assert_eq!(m.read(MSTATUS) >> 63, 1, "SD");
}

#[test]
fn fcsr_parts_are_fflags_and_frm() {
    let mut m = Machine::new("max");
    m.state.mstatus |= mstatus::FS.mask();
    m.write(FCSR, 0x7f);
    assert_eq!((m.read(FFLAGS), m.read(FRM)), (0x1f, 3));
    assert_eq!(
        (m.state.common.fp_flags, m.state.common.fp_rounding),
        (0x1f, 3)
    );
    m.write(FRM, 4);
    m.write(FFLAGS, 0x11);
    assert_eq!(m.read(FCSR), 0x91);
    m.write(FRM, 6);
    assert_eq!(
        (m.read(FRM), m.state.common.fp_rounding),
        (6, 0),
        "reserved, kept for software"
    );
}

#[test]
fn mstatus_reserved_mpp_keeps_old() {
    let mut m = Machine::new("max");
    for old in [privilege::U, privilege::S, privilege::M] {
        m.write(MSTATUS, mstatus::MPP.with(0, old));
        m.write(MSTATUS, mstatus::MPP.with(0, 2));
        assert_eq!(mstatus::MPP.get(m.read(MSTATUS)), old);
    }
}

#[test]
fn mstatus_mxr_change_flushes() {
    let mut m = Machine::new("max");
    m.write(SSTATUS, mstatus::SUM.mask());
    assert!(m.env.flushes.is_empty() && m.env.state_changes > 0);
    m.write(SSTATUS, mstatus::MXR.mask());
    assert_eq!(m.env.flushes, [EVERYTHING]);
    m.write(SSTATUS, mstatus::MXR.mask());
    assert_eq!(m.env.flushes.len(), 1, "no change");
}

#[test]
fn sstatus_write_leaves_machine_fields() {
    let mut m = Machine::new("max");
    m.write(MSTATUS, u64::MAX);
    m.write(SSTATUS, 0);
    assert_eq!(m.read(MSTATUS), 0xa_0072_1888);
}

#[test]
fn satp_accepts_modes_up_to_the_configured() {
    for (model, accepted) in [("rv64", &[0, 8][..]), ("max", &[0, 8, 9, 10])] {
        for mode in 0..16 {
            let mut m = Machine::new(model);
            let old = 8 << 60 | 0x77;
            m.write(SATP, old);
            let new = mode << 60 | 0xabcd << 44 | 0x12345;
            m.write(SATP, new);
            let expected = if accepted.contains(&mode) { new } else { old };
            assert_eq!(m.read(SATP), expected, "{model} mode {mode}");
        }
    }
}

#[test]
fn satp_new_depth_flushes_and_new_root_does_not() {
    let mut m = Machine::new("max");
    m.write(SATP, 8 << 60 | 1);
    m.env.flushes.clear();
    m.write(SATP, 8 << 60 | 2);
    assert!(m.env.flushes.is_empty());
    m.write(SATP, 9 << 60 | 2);
    assert_eq!(m.env.flushes, [EVERYTHING]);
}

#[test]
fn satp_tvm_traps_supervisor_only() {
    let mut m = Machine::new("max");
    m.write(MSTATUS, mstatus::TVM.mask());
    assert!(m.try_read(SATP).is_ok());
    m.state.privilege = privilege::S;
    assert_eq!(m.try_read(SATP), Err(illegal_insn()));
    assert_eq!(m.try_write(SATP, 0), Err(illegal_insn()));
    m.write(MSTATUS, 0);
    assert!(m.try_read(SATP).is_ok());
}

#[test]
fn mip_read_joins_lines_and_software_bits() {
    let mut m = Machine::new("max");
    m.env.lines = irq::bit(irq::MTI) | irq::bit(irq::MEI) | 1 << 16;
    m.write(MIP, irq::bit(irq::SEI));
    assert_eq!(m.read(MIP), 0xa80);
    m.write(MIP, 0);
    assert_eq!(m.read(MIP), 0x880, "M-mode lines are read-only");
}

#[test]
fn mip_set_of_other_bit_does_not_latch_external_line() {
    let mut m = Machine::new("max");
    m.env.lines = irq::bit(irq::SEI);
    assert_eq!(
        m.csr(MIP, CsrOp::Set, irq::bit(irq::SSI)),
        Ok(irq::bit(irq::SEI))
    );
    m.env.lines &= !irq::bit(irq::SEI);
    assert_eq!(m.read(MIP), irq::bit(irq::SSI));
}

#[test]
fn mip_ssip_is_a_line() {
    let mut m = Machine::new("max");
    m.write(MIP, u64::MAX);
    assert_eq!(m.env.lines, irq::bit(irq::SSI));
    let _ = m.csr(MIP, CsrOp::Clear, irq::bit(irq::SSI));
    assert_eq!(m.env.lines, 0);
}

#[test]
fn mip_stip_is_writable_without_stimecmp_only() {
    let stip = irq::bit(irq::STI);
    let mut m = Machine::new("max");
    m.write(MIP, stip);
    assert_eq!(m.read(MIP), stip);
    m.write(MENVCFG, envcfg::STCE.mask());
    assert_eq!(m.read(MIP), 0, "now the comparator's");
    m.write(MIP, stip);
    assert_eq!(m.read(MIP), 0);
}

#[test]
fn sie_and_sip_show_delegated_bits_only() {
    let mut m = Machine::new("max");
    m.write(MIE, 0xaaa);
    m.env.lines = 0xaaa;
    assert_eq!((m.read(SIE), m.read(SIP)), (0, 0));
    m.write(SIE, 0);
    assert_eq!(m.read(MIE), 0xaaa);
    m.write(MIDELEG, 0x202);
    assert_eq!((m.read(SIE), m.read(SIP)), (0x202, 0x202));
    m.write(SIE, 0x222);
    m.write(SIE, 0x200);
    assert_eq!(m.read(MIE), 0xaa8);
    m.write(SIP, 0);
    assert_eq!(m.env.lines, 0xaa8, "only SSIP is writable");
}

#[test]
fn sip_ssip_undelegated_is_read_only() {
    let mut m = Machine::new("max");
    m.write(SIP, 2);
    assert_eq!(m.env.lines, 0);
    m.write(MIDELEG, 2);
    m.write(SIP, 2);
    assert_eq!(m.env.lines, 2);
}

#[test]
fn menvcfg_fields_follow_extensions() {
    let mut config = CpuModel::from_name("max").expect("model").config();
    config.set_ad_update(AdUpdate::Software);
    let rows = [
        (
            Extension::Zicbom,
            envcfg::CBIE.mask() | envcfg::CBCFE.mask(),
        ),
        (Extension::Zicboz, envcfg::CBZE.mask()),
        (Extension::Ssdbltrp, envcfg::DTE.mask()),
        (Extension::Svpbmt, envcfg::PBMTE.mask()),
        (Extension::Sstc, envcfg::STCE.mask()),
    ];
    let all = rows.iter().fold(1, |mask, row| mask | row.1);
    for (ext, mask) in rows {
        let mut config = config.clone();
        config.extensions = config.extensions.without(ext);
        let mut m = Machine::with(config, false);
        m.write(MENVCFG, u64::MAX);
        assert_eq!(m.read(MENVCFG), all & !mask, "without {ext}");
    }
}

#[test]
fn menvcfg_reserved_cbie_keeps_old() {
    for number in [MENVCFG, SENVCFG] {
        for old in [0, 1, 3] {
            let mut m = Machine::new("max");
            m.write(number, old << 4);
            m.write(number, 2 << 4 | 1);
            assert_eq!(m.read(number), old << 4 | 1);
        }
    }
}

#[test]
fn menvcfg_translation_change_flushes() {
    for field in [envcfg::ADUE, envcfg::PBMTE] {
        let mut m = Machine::new("max");
        m.write(MENVCFG, 0);
        m.env.flushes.clear();
        m.write(MENVCFG, envcfg::FIOM.mask());
        assert!(m.env.flushes.is_empty());
        m.write(MENVCFG, field.mask());
        assert_eq!(m.env.flushes, [EVERYTHING]);
    }
}

#[test]
fn stimecmp_drives_timer_while_enabled() {
    let mut m = Machine::new("max");
    m.write(STIMECMP, 500);
    assert!(m.env.timers.is_empty(), "STCE is clear");
    m.write(MENVCFG, envcfg::STCE.mask());
    m.write(STIMECMP, 700);
    m.write(STIMECMP, u64::MAX);
    m.write(STIMECMP, 900);
    m.write(MENVCFG, 0);
    let deadlines: Vec<_> = m.env.timers.iter().map(|&(line, at)| (line, at)).collect();
    let expected = [Some(500), Some(700), None, Some(900), None].map(|at| (irq::STI, at));
    assert_eq!(deadlines, expected);
}

#[test]
fn stimecmp_below_machine_needs_tm_and_stce() {
    for (tm, stce) in [(false, false), (false, true), (true, false), (true, true)] {
        let mut m = Machine::new("max");
        m.write(MCOUNTEREN, u64::from(tm) << 1);
        m.write(MENVCFG, envcfg::STCE.with(0, u64::from(stce)));
        m.state.privilege = privilege::S;
        assert_eq!(
            m.try_write(STIMECMP, 1).is_ok(),
            tm && stce,
            "TM {tm} STCE {stce}"
        );
        assert!(m.try_read(STIMECMP).is_ok() == (tm && stce));
    }
}

#[test]
fn counters_below_machine_need_their_enable_bits() {
    for (n, number) in [(0, CYCLE), (1, TIME), (2, INSTRET), (3, 0xc03), (31, 0xc1f)] {
        let bit = 1 << n;
        for (level, mcounteren, scounteren, open) in [
            (privilege::M, 0, 0, true),
            (privilege::S, 0, bit, false),
            (privilege::S, bit, 0, true),
            (privilege::S, !bit, 0, false),
            (privilege::U, bit, 0, false),
            (privilege::U, 0, bit, false),
            (privilege::U, bit, bit, true),
        ] {
            let mut m = Machine::new("max");
            m.write(MCOUNTEREN, mcounteren);
            m.write(SCOUNTEREN, scounteren);
            m.state.privilege = level;
            assert_eq!(m.try_read(number).is_ok(), open, "{number:#x} at {level}");
        }
    }
}

#[test]
fn counters_read_inputs() {
    let mut m = Machine::new("max");
    m.env.time = 77;
    m.env.retired = 1000;
    assert_eq!(
        (m.read(TIME), m.read(INSTRET), m.read(CYCLE)),
        (77, 1000, 1000)
    );
    assert_eq!((m.read(MINSTRET), m.read(MCYCLE)), (1000, 1000));
}

#[test]
fn minstret_write_reads_back_in_next_instruction() {
    for (counter, shadow) in [(MINSTRET, INSTRET), (MCYCLE, CYCLE)] {
        let mut m = Machine::new("max");
        m.env.retired = 1000;
        m.write(counter, u64::MAX);
        m.env.retired += 1;
        assert_eq!(m.read(counter), u64::MAX);
        m.env.retired += 1;
        assert_eq!(m.read(shadow), 0);
    }
}

#[test]
fn mcountinhibit_stops_and_resumes_counters() {
    let mut m = Machine::new("max");
    m.env.retired = 100;
    m.write(MCOUNTINHIBIT, 4);
    m.env.retired = 500;
    assert_eq!((m.read(MINSTRET), m.read(MCYCLE)), (101, 500));
    m.write(MINSTRET, 7);
    m.env.retired = 600;
    assert_eq!(m.read(MINSTRET), 7);
    m.write(MCOUNTINHIBIT, 0);
    m.env.retired = 601;
    assert_eq!(m.read(MINSTRET), 7);
    m.env.retired = 611;
    assert_eq!((m.read(MINSTRET), m.read(MCYCLE)), (17, 611));
}

#[test]
fn pmp_registers_exist_by_entry_count() {
    for (entries, cfgs, addrs) in [(0, 0, 0), (16, 2, 16), (64, 8, 64)] {
        let mut config = CpuModel::from_name("max").expect("model").config();
        config.pmp_entries = entries;
        let mut m = Machine::with(config, false);
        let count = |m: &mut Machine, first: u16, n: u16| {
            (first..first + n)
                .filter(|&number| m.try_read(number).is_ok())
                .count()
        };
        assert_eq!(count(&mut m, PMPCFG0, 16), cfgs, "{entries}");
        assert_eq!(count(&mut m, PMPADDR0, 64), addrs, "{entries}");
        assert!(m.try_read(PMPCFG0 + 1).is_err());
    }
}

#[test]
fn pmpcfg_holds_eight_entries_and_flushes() {
    let mut m = Machine::new("max");
    m.write(PMPCFG0 + 2, 0x1f_00_00_00_00_00_00_19);
    assert_eq!(m.read(PMPCFG0 + 2), 0x1f_00_00_00_00_00_00_19);
    assert_eq!((m.state.pmpcfg[8], m.state.pmpcfg[15]), (0x19, 0x1f));
    assert_eq!(m.env.flushes, [EVERYTHING]);
}

#[test]
fn peek_and_poke_ignore_privilege() {
    let mut m = Machine::new("max");
    m.state.privilege = privilege::U;
    assert!(poke(&mut m.state, &m.config, &mut m.env, 0x340, 9));
    let at = CsrSnapshot {
        time: 5,
        lines: 0x80,
        retired: 11,
    };
    let peek = |number| peek(&m.state, &m.config, &at, number);
    assert_eq!(peek(0x340), Some(9));
    assert_eq!(
        (peek(TIME), peek(MIP), peek(INSTRET)),
        (Some(5), Some(0x80), Some(11))
    );
    assert_eq!(peek(0x015), None);
    assert!(!poke(&mut m.state, &m.config, &mut m.env, 0xf14, 9));
}

#[test]
fn csr_stays_in_block_registers_change_nothing_else() {
    for number in (0..0x1000).filter(|&number| stays_in_block(number, Change::Any)) {
        let mut m = Machine::new("max");
        m.state.mstatus |= mstatus::FS.mask();
        m.write(number, u64::MAX);
        assert_eq!(m.env.state_changes, 0, "{number:#x}");
        assert!(m.env.flushes.is_empty() && m.env.timers.is_empty());
    }
}

#[test]
fn csr_stays_in_block_where_it_closes_interrupts() {
    const SSTATUS: u16 = 0x100;
    let low = |number| stays_in_block(number, Change::ClearsLow);
    assert!(low(SSTATUS) && !stays_in_block(SSTATUS, Change::Any));
    let closes = |&number: &u16| low(number) && !stays_in_block(number, Change::Any);
    for number in (0..0x1000).filter(closes) {
        let mut m = Machine::new("max");
        m.state.mstatus |= mstatus::FS.mask() | mstatus::SIE.mask();
        let clear = csr_request(number, CsrOp::Clear, true, true);
        assert!(m.call(HELPER_CSR, [clear, 0x1f, INSN]).is_ok());
        assert!(!mstatus::SIE.is_set(m.state.mstatus));
        assert_eq!(m.env.state_changes, 0, "{number:#x}");
        assert!(m.env.flushes.is_empty() && m.env.timers.is_empty());
        // Opening them is to be noticed at once.
        let set = csr_request(number, CsrOp::Set, true, true);
        assert!(m.call(HELPER_CSR, [set, mstatus::SIE.mask(), INSN]).is_ok());
        assert_eq!(m.env.state_changes, 1, "{number:#x}");
    }
}

#[test]
fn access_write_without_read_gives_zero() {
    let mut m = Machine::new("max");
    m.write(0x340, 7);
    let request = csr_request(0x340, CsrOp::Write, false, true);
    assert_eq!(m.call(HELPER_CSR, [request, 8, INSN]), Ok(0));
    assert_eq!(m.read(0x340), 8);
}

#[test]
fn stateen_closes_senvcfg_and_sstateen_to_the_supervisor() {
    const SSTATEEN0: u16 = 0x10c;
    const MSTATEEN0: u16 = 0x30c;
    let mut m = Machine::new("max");
    m.state.privilege = privilege::S;
    for (enables, senvcfg, sstateen) in [
        (0, false, false),
        (stateen::ENVCFG.mask(), true, false),
        (stateen::SE.mask(), false, true),
    ] {
        m.write(MSTATEEN0, enables);
        assert_eq!(m.try_read(SENVCFG).is_ok(), senvcfg, "{enables:#x}");
        assert_eq!(m.try_read(SSTATEEN0).is_ok(), sstateen, "{enables:#x}");
        // Each number has an enable of its own.
        assert_eq!(m.try_read(SSTATEEN0 + 1), Err(illegal_insn()));
    }
    for n in 0..4 {
        m.write(MSTATEEN0 + n, u64::MAX);
        let expected = if n == 0 { 3 << 62 } else { 1 << 63 };
        assert_eq!(m.read(MSTATEEN0 + n), expected);
        assert_eq!(
            (m.try_write(SSTATEEN0 + n, u64::MAX), m.read(SSTATEEN0 + n)),
            (Ok(()), 0)
        );
    }
}

#[test]
fn stateen_without_the_extension_does_not_exist_and_closes_nothing() {
    let mut m = Machine::new("debian");
    for number in [0x30c, 0x30f, 0x10c, 0x10f] {
        assert_eq!(m.try_read(number), Err(illegal_insn()), "{number:#x}");
    }
    m.state.privilege = privilege::S;
    assert_eq!(m.try_read(SENVCFG), Ok(0));
}

#[test]
fn sstatus_sdt_is_there_while_enabled_and_keeps_interrupts_off() {
    const SDT: u64 = mstatus::SDT.mask();
    const SIE_BIT: u64 = mstatus::SIE.mask();
    let mut m = Machine::new("max");
    m.write(SSTATUS, SDT | SIE_BIT);
    assert_eq!(m.read(SSTATUS) & (SDT | SIE_BIT), SIE_BIT, "DTE is clear");
    m.write(MENVCFG, envcfg::DTE.mask());
    m.write(SSTATUS, SDT | SIE_BIT);
    assert_eq!(m.read(SSTATUS) & (SDT | SIE_BIT), SDT);
    m.write(MSTATUS, SIE_BIT);
    assert_eq!(m.read(MSTATUS) & (SDT | SIE_BIT), SIE_BIT);
    m.write(SSTATUS, SDT);
    m.write(MENVCFG, 0);
    assert_eq!(m.read(SSTATUS) & SDT, 0, "it goes with DTE");
}
