//! The state of one processor and its layout.

use std::mem::offset_of;

use vm_ir::{Slot, SlotDecl, Type};

use crate::guest::CommonState;

/// Words of a flag group (`vm_ir::eval::flags`).
const FLAG_WORDS: usize = (Type::Flags.slot_bytes() / 8) as usize;

/// A segment register with its hidden part (Intel SDM 3A, 3.4.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct Segment {
    /// Base address. Blocks use it as a slot.
    pub base: u64,
    /// Limit in bytes, the granularity applied.
    pub limit: u64,
    /// Selector.
    pub selector: u64,
    /// Bits 40 to 47 and 52 to 55 of the descriptor, at bits 0 to 7 and 12 to 15: type, S, DPL, P, AVL, L, D/B, G.
    pub attributes: u64,
}

impl Segment {
    /// The register with these parts; bits 0 to 7 of `attributes` are bits 40 to 47 of a descriptor, and bits 8 to 11 its
    /// bits 52 to 55.
    pub const fn new(selector: u16, base: u64, limit: u32, attributes: u16) -> Self {
        let attributes = attributes as u64;
        Self {
            base,
            limit: limit as u64,
            selector: selector as u64,
            attributes: attributes & 0xff | (attributes & 0xf00) << 4,
        }
    }
}

/// A descriptor-table register.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(C)]
pub struct Table {
    /// Linear address.
    pub base: u64,
    /// Limit in bytes.
    pub limit: u64,
}

/// Numbers of the segment registers, as instructions encode them.
pub mod seg {
    /// ES.
    pub const ES: usize = 0;
    /// CS.
    pub const CS: usize = 1;
    /// SS.
    pub const SS: usize = 2;
    /// DS.
    pub const DS: usize = 3;
    /// FS.
    pub const FS: usize = 4;
    /// GS.
    pub const GS: usize = 5;
}

/// Registers of one processor. Plain integers only.
///
/// [`CommonState::pc`] is the linear address of the next instruction: the base of CS plus RIP.
#[derive(Clone, Copy, PartialEq, Debug)]
#[repr(C)]
pub struct CpuState {
    /// What every ISA has.
    pub common: CommonState,
    /// RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8 to R15.
    pub gpr: [u64; 16],
    /// CF, PF, AF, ZF, SF and OF as a flag group of the IR.
    pub flags: [u64; FLAG_WORDS],
    /// The direction flag: 1, or all ones (minus one) when it is set. String instructions multiply by it.
    pub direction: u64,
    /// The other bits of RFLAGS at their places: TF, IF, IOPL, NT, RF, VM, AC, VIF, VIP, ID.
    pub system_flags: u64,
    /// ES, CS, SS, DS, FS, GS.
    pub segments: [Segment; 6],
    /// LDTR.
    pub ldtr: Segment,
    /// TR.
    pub tr: Segment,
    /// GDTR.
    pub gdtr: Table,
    /// IDTR.
    pub idtr: Table,
    /// Current privilege level, 0 to 3.
    pub cpl: u64,
    /// CR0.
    pub cr0: u64,
    /// CR2.
    pub cr2: u64,
    /// CR3.
    pub cr3: u64,
    /// CR4.
    pub cr4: u64,
    /// XCR0.
    pub xcr0: u64,
    /// IA32_EFER.
    pub efer: u64,
    /// DR0 to DR7; 4 and 5 are unused.
    pub dr: [u64; 8],
    /// Not zero for one instruction behind STI, MOV SS and POP SS (Intel SDM 3A, 6.8.3): bit 0 interrupts wait, bit 1
    /// debug exceptions wait too.
    pub shadow: u64,
    /// Bit 0: NMIs wait for IRET. Bit 1: INIT has been taken and a start-up interrupt is awaited. Bit 2: halted.
    pub activity: u64,
    /// The four page-directory-pointer registers of PAE paging (Intel SDM 3A, 5.4.1).
    pub pdpte: [u64; 4],
    /// Debug exceptions that the instruction has earned, in the places of DR6.
    pub pending_debug: u64,
    /// IA32_STAR, LSTAR, CSTAR, FMASK.
    pub syscall: [u64; 4],
    /// IA32_KERNEL_GS_BASE.
    pub kernel_gs_base: u64,
    /// IA32_SYSENTER_CS, ESP, EIP.
    pub sysenter: [u64; 3],
    /// IA32_PAT.
    pub pat: u64,
    /// IA32_TSC_AUX.
    pub tsc_aux: u64,
    /// What to add to the machine's time counter for the time-stamp counter.
    pub tsc_offset: u64,
    /// IA32_MISC_ENABLE.
    pub misc_enable: u64,
    /// IA32_MTRR_DEF_TYPE, the eleven fixed ranges, and base and mask of eight variable ones.
    pub mtrr: [u64; 28],
    /// Other model-specific registers that only keep what is written, by the rows of the MSR table.
    pub msr_words: [u64; 32],
    /// Accesses to model-specific registers that there are not, and the number of the last one.
    pub unknown_msrs: [u64; 2],
    /// XMM0 to XMM15: the low halves of YMM0 to YMM15.
    pub xmm: [[u64; 2]; 16],
    /// The high halves of YMM0 to YMM15.
    pub ymm_high: [[u64; 2]; 16],
    /// Operands of vector helpers that come from memory.
    pub vector_scratch: [[u64; 2]; 4],
    /// MXCSR without its six exception flags, which accrue in `common`.
    pub mxcsr: u64,
    /// The eight x87 registers in physical order: significand, then sign and exponent. MMX registers are the significands.
    pub x87: [[u64; 2]; 8],
    /// x87 control word.
    pub x87_control: u64,
    /// x87 status word with TOP.
    pub x87_status: u64,
    /// x87 tags, abridged: bit n is set when physical register n is not empty.
    pub x87_tags: u64,
    /// Last x87 instruction's opcode, address, operand address; selectors at bits 48 to 63 in modes that have them.
    pub x87_last: [u64; 3],
}

/// The first general register's slot: slot `GPR + n` is `gpr[n]`.
pub const GPR: u16 = 0;
/// The flag group's slot.
pub const FLAGS: u16 = 16;
/// The direction's slot.
pub const DIRECTION: u16 = 17;
/// The system flags' slot.
pub const SYSTEM_FLAGS: u16 = 18;
/// The slot of the base of ES; the other segments follow.
pub const SEGMENT_BASE: u16 = 19;
/// The slot of XMM0.
pub const XMM: u16 = SEGMENT_BASE + 6;
/// The slot of the high half of YMM0.
pub const YMM_HIGH: u16 = XMM + 16;
/// The slot of the first scratch vector.
pub const VECTOR_SCRATCH: u16 = YMM_HIGH + 16;
/// The slot of the selector of ES; the other segments follow.
pub const SELECTOR: u16 = VECTOR_SCRATCH + 4;
/// The slot of MM0, which is the significand of the first physical x87 register.
pub const MMX: u16 = SELECTOR + 6;
/// The slot of that register's sign and exponent.
pub const X87_EXPONENT: u16 = MMX + 8;
/// The slot of the x87 status word.
pub const X87_STATUS: u16 = X87_EXPONENT + 8;
/// The slot of the x87 tags.
pub const X87_TAGS: u16 = X87_STATUS + 1;
/// The slot of the x87 control word.
pub const X87_CONTROL: u16 = X87_TAGS + 1;
/// The slot of the limit of ES; the other segments follow.
pub const SEGMENT_LIMIT: u16 = X87_CONTROL + 1;
/// The slot of MXCSR without its flags.
pub const MXCSR: u16 = SEGMENT_LIMIT + 6;
/// The slot of the last x87 instruction's address.
pub const X87_CODE: u16 = MXCSR + 1;
/// The slot of its operand's address.
pub const X87_DATA: u16 = X87_CODE + 1;
/// The slot of IA32_KERNEL_GS_BASE.
pub const KERNEL_GS_BASE: u16 = X87_DATA + 1;
/// Slots in the layout.
pub const SLOTS: usize = KERNEL_GS_BASE as usize + 1;

/// Numbers of the general registers, as instructions encode them.
pub mod gpr {
    /// RAX.
    pub const RAX: usize = 0;
    /// RCX.
    pub const RCX: usize = 1;
    /// RDX.
    pub const RDX: usize = 2;
    /// RBX.
    pub const RBX: usize = 3;
    /// RSP.
    pub const RSP: usize = 4;
    /// RBP.
    pub const RBP: usize = 5;
    /// RSI.
    pub const RSI: usize = 6;
    /// RDI.
    pub const RDI: usize = 7;
}

/// Order in which general registers are given host registers: as compiled code uses them.
const PIN_ORDER: [usize; 16] = [0, 4, 7, 6, 2, 3, 1, 5, 12, 8, 13, 14, 15, 9, 10, 11];

const GPR_NAMES: [&str; 16] = [
    "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13",
    "r14", "r15",
];
const SEGMENT_NAMES: [&str; 6] = [
    "es_base", "cs_base", "ss_base", "ds_base", "fs_base", "gs_base",
];
const LIMIT_NAMES: [&str; 6] = [
    "es_limit", "cs_limit", "ss_limit", "ds_limit", "fs_limit", "gs_limit",
];
const SELECTOR_NAMES: [&str; 6] = ["es", "cs", "ss", "ds", "fs", "gs"];
const XMM_NAMES: [&str; 16] = [
    "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", "xmm10",
    "xmm11", "xmm12", "xmm13", "xmm14", "xmm15",
];
const YMM_NAMES: [&str; 16] = [
    "ymmh0", "ymmh1", "ymmh2", "ymmh3", "ymmh4", "ymmh5", "ymmh6", "ymmh7", "ymmh8", "ymmh9",
    "ymmh10", "ymmh11", "ymmh12", "ymmh13", "ymmh14", "ymmh15",
];
const SCRATCH_NAMES: [&str; 4] = ["vs0", "vs1", "vs2", "vs3"];
const MMX_NAMES: [&str; 8] = ["mm0", "mm1", "mm2", "mm3", "mm4", "mm5", "mm6", "mm7"];
const EXPONENT_NAMES: [&str; 8] = ["fe0", "fe1", "fe2", "fe3", "fe4", "fe5", "fe6", "fe7"];

/// The slot of general register `n`.
pub const fn gpr_slot(n: usize) -> Slot {
    Slot::state(GPR + n as u16)
}

/// The slot of the base of segment `n`.
pub const fn segment_base_slot(n: usize) -> Slot {
    Slot::state(SEGMENT_BASE + n as u16)
}

/// The slot of the selector of segment `n`.
pub const fn selector_slot(n: usize) -> Slot {
    Slot::state(SELECTOR + n as u16)
}

/// The slot of the limit of segment `n`.
pub const fn segment_limit_slot(n: usize) -> Slot {
    Slot::state(SEGMENT_LIMIT + n as u16)
}

/// Every slot of a processor.
pub static SLOT_TABLE: [SlotDecl; SLOTS] = slot_table();

const fn slot_table() -> [SlotDecl; SLOTS] {
    const fn row(name: &'static str, ty: Type, offset: usize) -> SlotDecl {
        SlotDecl {
            name,
            ty,
            offset: offset as u32,
            pin_rank: 255,
        }
    }
    let mut table = [row("", Type::I64, 0); SLOTS];
    let mut n = 0;
    while n < 16 {
        let (g, v) = (8 * n, 16 * n);
        table[GPR as usize + n] = row(GPR_NAMES[n], Type::I64, offset_of!(CpuState, gpr) + g);
        table[XMM as usize + n] = row(XMM_NAMES[n], Type::V128, offset_of!(CpuState, xmm) + v);
        let high = offset_of!(CpuState, ymm_high) + v;
        table[YMM_HIGH as usize + n] = row(YMM_NAMES[n], Type::V128, high);
        n += 1;
    }
    table[FLAGS as usize] = row("fl", Type::Flags, offset_of!(CpuState, flags));
    table[DIRECTION as usize] = row("df", Type::I64, offset_of!(CpuState, direction));
    table[SYSTEM_FLAGS as usize] = row("sysfl", Type::I64, offset_of!(CpuState, system_flags));
    let mut n = 0;
    while n < 6 {
        let at = offset_of!(CpuState, segments) + n * size_of::<Segment>();
        let (base, selector) = (offset_of!(Segment, base), offset_of!(Segment, selector));
        table[SEGMENT_BASE as usize + n] = row(SEGMENT_NAMES[n], Type::I64, at + base);
        let limit = at + offset_of!(Segment, limit);
        table[SELECTOR as usize + n] = row(SELECTOR_NAMES[n], Type::I64, at + selector);
        table[SEGMENT_LIMIT as usize + n] = row(LIMIT_NAMES[n], Type::I64, limit);
        n += 1;
    }
    let mut n = 0;
    while n < 4 {
        let at = offset_of!(CpuState, vector_scratch) + 16 * n;
        table[VECTOR_SCRATCH as usize + n] = row(SCRATCH_NAMES[n], Type::V128, at);
        n += 1;
    }
    let mut n = 0;
    while n < 8 {
        let at = offset_of!(CpuState, x87) + 16 * n;
        table[MMX as usize + n] = row(MMX_NAMES[n], Type::I64, at);
        table[X87_EXPONENT as usize + n] = row(EXPONENT_NAMES[n], Type::I64, at + 8);
        n += 1;
    }
    let (status, tags) = (
        offset_of!(CpuState, x87_status),
        offset_of!(CpuState, x87_tags),
    );
    table[X87_STATUS as usize] = row("fsw", Type::I64, status);
    table[X87_TAGS as usize] = row("ftags", Type::I64, tags);
    let control = offset_of!(CpuState, x87_control);
    table[X87_CONTROL as usize] = row("fcw", Type::I64, control);
    table[MXCSR as usize] = row("mxcsr", Type::I64, offset_of!(CpuState, mxcsr));
    let last = offset_of!(CpuState, x87_last);
    table[X87_CODE as usize] = row("fip", Type::I64, last + 8);
    table[X87_DATA as usize] = row("fdp", Type::I64, last + 16);
    let kernel_gs = offset_of!(CpuState, kernel_gs_base);
    table[KERNEL_GS_BASE as usize] = row("kernel_gs_base", Type::I64, kernel_gs);
    let mut rank = 0;
    while rank < PIN_ORDER.len() {
        table[GPR as usize + PIN_ORDER[rank]].pin_rank = rank as u8;
        table[XMM as usize + rank].pin_rank = rank as u8;
        rank += 1;
    }
    table
}

impl CpuState {
    /// All zeros.
    pub(super) fn zeroed() -> Self {
        Self {
            common: CommonState::default(),
            gpr: [0; 16],
            flags: [0; FLAG_WORDS],
            direction: 1,
            system_flags: 0,
            segments: [Segment::default(); 6],
            ldtr: Segment::default(),
            tr: Segment::default(),
            gdtr: Table::default(),
            idtr: Table::default(),
            cpl: 0,
            cr0: 0,
            cr2: 0,
            cr3: 0,
            cr4: 0,
            xcr0: 0,
            efer: 0,
            dr: [0; 8],
            shadow: 0,
            activity: 0,
            pdpte: [0; 4],
            pending_debug: 0,
            syscall: [0; 4],
            kernel_gs_base: 0,
            sysenter: [0; 3],
            pat: 0,
            tsc_aux: 0,
            tsc_offset: 0,
            misc_enable: 0,
            mtrr: [0; 28],
            msr_words: [0; 32],
            unknown_msrs: [0; 2],
            xmm: [[0; 2]; 16],
            ymm_high: [[0; 2]; 16],
            vector_scratch: [[0; 2]; 4],
            mxcsr: 0,
            x87: [[0; 2]; 8],
            x87_control: 0,
            x87_status: 0,
            x87_tags: 0,
            x87_last: [0; 3],
        }
    }
}
