//! The leaves of CPUID (Intel SDM 2A, "CPUID").

use super::{CpuConfig, Feature, PHYS_ADDR_BITS, TSC_HZ};

/// The last basic leaf, the last of a hypervisor, and the last extended one.
const LAST_BASIC: u32 = 0x16;
const FIRST_HYPERVISOR: u32 = 0x4000_0000;
const LAST_HYPERVISOR: u32 = 0x4000_0010;
const FIRST_EXTENDED: u32 = 0x8000_0000;
const LAST_EXTENDED: u32 = 0x8000_0008;

/// EBX, EDX, ECX of leaf 0.
const VENDOR: &[u8; 12] = b"GenuineIntel";
/// EBX, ECX, EDX of leaf 0x40000000.
const HYPERVISOR: &[u8; 12] = b"VmRsVmRsVmRs";
/// Family 6, model 0x36, stepping 9.
const SIGNATURE: u32 = 0x0003_0669;
/// Bytes of a cache line.
const LINE_BYTES: u32 = 64;

/// What of a processor's state shows in CPUID.
#[derive(Clone, Copy, Debug)]
pub struct Shown {
    /// Number of the local APIC.
    pub apic_id: u32,
    /// CR4.OSXSAVE.
    pub osxsave: bool,
    /// XCR0.
    pub xcr0: u64,
    /// Whether 64-bit code asks.
    pub in_64: bool,
    /// Whether the local APIC is on.
    pub apic_on: bool,
}

fn word(text: &[u8], n: usize) -> u32 {
    (0..4).fold(0, |word, i| {
        word | u32::from(text.get(4 * n + i).copied().unwrap_or(0)) << (8 * i)
    })
}

/// EAX, EBX, ECX and EDX of a leaf; zeros for those that there are not.
pub fn cpuid(config: &CpuConfig, shown: Shown, leaf: u32, subleaf: u32) -> [u32; 4] {
    // Leaves without subleaves say the same for all of them.
    let told = match leaf {
        7 | 0xd => subleaf,
        _ => 0,
    };
    let mut words = plain(config, shown, leaf, subleaf);
    for row in config.features.iter().map(Feature::info) {
        if row.leaf == [leaf, told] {
            words[row.register as usize] |= 1 << row.bit;
        }
    }
    match leaf {
        1 => {
            if shown.osxsave {
                words[2] |= 1 << 27;
            }
            if config.cpus > 1 {
                words[3] |= 1 << 28;
            }
            if !shown.apic_on {
                words[3] &= !(1 << 9);
            }
        }
        // Intel's processors tell of SYSCALL in 64-bit mode only.
        0x8000_0001 if !shown.in_64 => words[3] &= !(1 << 11),
        _ => {}
    }
    words
}

/// A leaf without the bits of features.
fn plain(config: &CpuConfig, shown: Shown, leaf: u32, subleaf: u32) -> [u32; 4] {
    let cpus = config.cpus.max(1);
    match leaf {
        0 => [
            LAST_BASIC,
            word(VENDOR, 0),
            word(VENDOR, 2),
            word(VENDOR, 1),
        ],
        1 => {
            let ids = cpus.next_power_of_two().min(255);
            let ebx = shown.apic_id << 24 | ids << 16 | (LINE_BYTES / 8) << 8;
            [SIGNATURE, ebx, 0, 0]
        }
        // "Look at leaf 4."
        2 => [0x00ff_ff01, 0, 0, 0],
        4 => cache(cpus, subleaf),
        0xb => topology(cpus, shown.apic_id, subleaf),
        0xd if config.has(Feature::Xsave) => extended_state(config, shown, subleaf),
        // One tick of the counter for each of the crystal, whose frequency is told.
        0x15 => [1, 1, TSC_HZ as u32, 0],
        0x16 => [
            (TSC_HZ / 1_000_000) as u32,
            (TSC_HZ / 1_000_000) as u32,
            100,
            0,
        ],
        FIRST_HYPERVISOR if config.has(Feature::Hypervisor) => {
            let [b, c, d] = [0, 1, 2].map(|n| word(HYPERVISOR, n));
            [LAST_HYPERVISOR, b, c, d]
        }
        // Frequencies of the counter and of the APIC timer, in kHz.
        LAST_HYPERVISOR if config.has(Feature::Hypervisor) => {
            [(TSC_HZ / 1000) as u32, (TSC_HZ / 1000) as u32, 0, 0]
        }
        FIRST_EXTENDED => [LAST_EXTENDED, 0, 0, 0],
        0x8000_0002..=0x8000_0004 => brand(config, leaf - 0x8000_0002),
        // 2 MiB in 16 ways.
        0x8000_0006 => [0, 0, 2048 << 16 | 8 << 12 | LINE_BYTES, 0],
        0x8000_0008 => {
            let linear = if config.has(Feature::La57) { 57 } else { 48 };
            [PHYS_ADDR_BITS | linear << 8, 0, 0, 0]
        }
        _ => [0; 4],
    }
}

fn brand(config: &CpuConfig, part: u32) -> [u32; 4] {
    let text = format!("VM {} processor", config.model);
    [0, 1, 2, 3].map(|n| word(text.as_bytes(), 4 * part as usize + n))
}

/// Leaf 4: a cache.
fn cache(cpus: u32, n: u32) -> [u32; 4] {
    const DATA: u32 = 1;
    const CODE: u32 = 2;
    const BOTH: u32 = 3;
    let (kind, level, ways, sets, sharers) = match n {
        0 => (DATA, 1, 8, 64, 1),
        1 => (CODE, 1, 8, 64, 1),
        2 => (BOTH, 2, 16, 2048, 1),
        3 => (BOTH, 3, 16, 16384, cpus.next_power_of_two()),
        _ => return [0; 4],
    };
    let cores = cpus.next_power_of_two().min(64);
    let self_initialising = 1 << 8;
    let eax = kind | level << 5 | self_initialising | (sharers - 1) << 14 | (cores - 1) << 26;
    [eax, (LINE_BYTES - 1) | (ways - 1) << 22, sets - 1, 0]
}

/// Leaf 0xb: threads of a core, cores of the package.
fn topology(cpus: u32, apic_id: u32, level: u32) -> [u32; 4] {
    const THREADS: u32 = 1 << 8;
    const CORES: u32 = 2 << 8;
    match level {
        0 => [0, 1, THREADS, apic_id],
        1 => [
            cpus.next_power_of_two().trailing_zeros(),
            cpus,
            1 | CORES,
            apic_id,
        ],
        n => [0, 0, n & 0xff, apic_id],
    }
}

/// Offset and bytes of AVX state in the XSAVE area (Intel SDM 1, 13.4.3).
const AVX_STATE: [u32; 2] = [576, 256];
/// Bytes of legacy state and header.
const LEGACY_STATE: u32 = 576;

/// Leaf 0xd.
fn extended_state(config: &CpuConfig, shown: Shown, subleaf: u32) -> [u32; 4] {
    let bytes = |xcr0: u64| {
        if xcr0 & 4 != 0 {
            AVX_STATE[0] + AVX_STATE[1]
        } else {
            LEGACY_STATE
        }
    };
    let all = config.xcr0();
    match subleaf {
        0 => [all as u32, bytes(shown.xcr0), bytes(all), 0],
        1 => [0, bytes(shown.xcr0), 0, 0],
        2 if all & 4 != 0 => [AVX_STATE[1], AVX_STATE[0], 0, 0],
        _ => [0; 4],
    }
}
