//! The helpers that blocks call, found by name in the table of all.

use vm_ir::HelperId;

use crate::x86::helpers::DECLARATIONS;

/// The helper of this name.
const fn named(name: &str) -> HelperId {
    let mut n = 0;
    while n < DECLARATIONS.len() {
        if same(DECLARATIONS[n].name.as_bytes(), name.as_bytes()) {
            return HelperId(n as u16);
        }
        n += 1;
    }
    panic!("no helper has this name")
}

const fn same(a: &[u8], b: &[u8]) -> bool {
    let mut n = 0;
    while n < a.len() && n < b.len() && a[n] == b[n] {
        n += 1;
    }
    n == a.len() && n == b.len()
}

macro_rules! names {
    ($($id:ident $name:literal;)*) => {
        $(pub(in crate::x86) const $id: HelperId = named($name);)*
    };
}

names! {
    SEGMENT "segment";
    CODE_TARGET "code_target";
    LOAD_SEGMENT "load_segment";
    FAR_JUMP "far_jump";
    FAR_CALL "far_call";
    FAR_RETURN "far_return";
    IRET "iret";
    INTERRUPT "interrupt";
    SYSCALL "syscall";
    SYSRET "sysret";
    SYSENTER "sysenter";
    SYSEXIT "sysexit";
    WRITE_FLAGS "write_flags";
    READ_FLAGS "read_flags";
    CLI "cli";
    STI "sti";
    STI_WITHIN "sti_within";
    STAC "stac";
    CLAC "clac";
    CLTS "clts";
    READ_CONTROL "read_control";
    WRITE_CONTROL "write_control";
    READ_DEBUG "read_debug";
    WRITE_DEBUG "write_debug";
    SMSW "smsw";
    LMSW "lmsw";
    READ_MSR "read_msr";
    WRITE_MSR "write_msr";
    READ_PMC "read_pmc";
    READ_TSC "read_tsc";
    READ_TSC_AUX "read_tsc_aux";
    CPUID "cpuid";
    READ_XCR "read_xcr";
    WRITE_XCR "write_xcr";
    LOAD_TABLE "load_table";
    STORE_TABLE "store_table";
    LOAD_LDT "load_ldt";
    LOAD_TASK "load_task";
    STORE_LDT "store_ldt";
    STORE_TASK "store_task";
    ACCESS_RIGHTS "access_rights";
    SEGMENT_LIMIT "segment_limit";
    VERIFY_READ "verify_read";
    VERIFY_WRITE "verify_write";
    INVALIDATE_PAGE "invalidate_page";
    INVALIDATE_PCID "invalidate_pcid";
    INVALIDATE_CACHES "invalidate_caches";
    HALT "halt";
    PAUSE "pause";
    CHECK_FSGSBASE "check_fsgsbase";
    WRITE_SEGMENT_BASE "write_segment_base";
    PORT_IN "port_in";
    PORT_OUT "port_out";
    PORT_CHECK "port_check";
    RANDOM "random";
    RSM "rsm";
    BREAKPOINT "breakpoint";
    RETIRE "retire";
    STRING "string";
    PORT_STRING "port_string";
    ENTER "enter";
}
