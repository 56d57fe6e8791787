//! Where everything goes in RAM, and how the harts start.
//!
//! The places are those of QEMU's `virt`: firmware at the start of RAM; the kernel at its `text_offset`, 2 MiB
//! into RAM (the address that `fw_jump` has built in); the device tree at a 2 MiB boundary below the end of
//! RAM's first GiB; the RAM disk in between, half of RAM (at most 512 MiB) behind the kernel if it fits there.

use vm_core::{GuestArch, GuestPhysAddr, PAGE_BYTES};
use vm_mem::GuestMemory;

use super::dynamic_info::{DynamicInfo, NextMode};
use super::reset_vector::{RESET_VECTOR_BYTES, reset_vector};
use super::stages;
use crate::image::{ElfProgram, HtifSymbols, Program, ProgramKind};
use crate::part::{Part, check_apart};
use crate::{BootError, BootFile, Content, Extent};

const MIB: u64 = 1 << 20;

/// Alignment of kernels and of the device tree (Linux `Documentation/arch/riscv/boot.rst`: a PMD).
const LARGE_PAGE_BYTES: u64 = 2 * MIB;
/// Bytes from the start of RAM to what firmware starts next.
const NEXT_STAGE_OFFSET: u64 = 2 * MIB;
/// Bytes from the start of RAM within which device tree and RAM disk are kept, so that 32-bit code in
/// firmware reaches them.
const LOW_RAM_BYTES: u64 = 1 << 30;
/// Bytes that are kept for the device tree. Firmware adds nodes in place.
pub const DEVICE_TREE_ROOM_BYTES: u64 = LARGE_PAGE_BYTES;
/// Most bytes between the kernel and the RAM disk.
const INITRD_GAP_MAX_BYTES: u64 = 512 * MIB;

/// Who serves the kernel's firmware calls, or what runs instead of a kernel.
#[derive(Clone, Debug)]
pub enum Firmware {
    /// The built-in SBI: the kernel starts in S-mode.
    BuiltIn,
    /// Nobody: the program starts in M-mode.
    None,
    /// This program, started in M-mode; it starts the kernel.
    Program(Program),
}

/// What is to be booted.
#[derive(Clone, Debug)]
pub struct BootRequest {
    /// What comes before the kernel.
    pub firmware: Firmware,
    /// The kernel, boot loader or bare program.
    pub kernel: Option<Program>,
    /// The RAM disk that the kernel is told of.
    pub initrd: Option<BootFile>,
    /// Base of the flash bank with code, when one was given. Without a kernel, it takes the kernel's place.
    pub code_flash: Option<GuestPhysAddr>,
    /// Where harts start in M-mode: the mask ROM that gets [`BootPlan::reset_vector`].
    pub reset_address: GuestPhysAddr,
    /// Hart that boots; the others wait for it.
    pub boot_hart: u64,
}

/// Privilege mode of a starting hart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Privilege {
    /// M-mode.
    Machine,
    /// S-mode.
    Supervisor,
}

/// Which harts run after a reset.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StartingHarts {
    /// All of them; software sorts them out.
    All,
    /// One; the kernel starts the others through SBI HSM.
    BootHartOnly,
}

/// State of one hart after a reset. All registers that are not named are zero, interrupts and translation off.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HartStart {
    /// Privilege mode.
    pub privilege: Privilege,
    /// First instruction.
    pub pc: GuestPhysAddr,
    /// Register a0.
    pub a0: u64,
    /// Register a1.
    pub a1: u64,
    /// Register a2.
    pub a2: u64,
}

/// Where everything goes, and how the harts start.
#[derive(Clone, Debug)]
pub struct BootPlan {
    parts: Vec<Part>,
    device_tree: GuestPhysAddr,
    initrd: Option<Extent>,
    entry: GuestPhysAddr,
    next: GuestPhysAddr,
    privilege: Privilege,
    reset_address: GuestPhysAddr,
    boot_hart: u64,
    htif: HtifSymbols,
}

impl BootPlan {
    /// Finds a place in `ram` for everything that `request` names.
    ///
    /// # Errors
    /// When there is nothing to start or well-known programs do not go together, RAM is too small, or a program is
    /// linked to a place that it cannot get.
    pub fn new(request: BootRequest, ram: Extent) -> Result<Self, BootError> {
        stages::check(
            &request.firmware,
            request.kernel.as_ref(),
            request.code_flash.is_some(),
        )?;
        let mut placer = Placer::new(ram)?;
        let firmware = match &request.firmware {
            Firmware::Program(program) => Some(placer.program(program, ram.base, "firmware")?),
            Firmware::BuiltIn | Firmware::None => None,
        };
        let kernel_floor = match firmware {
            Some(placed) => align_up(
                placed.end.max(ram.base + NEXT_STAGE_OFFSET),
                LARGE_PAGE_BYTES,
            ),
            None => ram.base,
        };
        let kernel = match &request.kernel {
            Some(program) => Some(placer.program(program, kernel_floor, "kernel")?),
            None => None,
        };
        let initrd = match &request.initrd {
            Some(file) => Some(placer.initrd(file, kernel)?),
            None => None,
        };
        let device_tree = Extent {
            base: placer.device_tree,
            bytes: DEVICE_TREE_ROOM_BYTES,
        };
        check_apart(&placer.parts, &[(device_tree, "device tree")])?;

        let next = kernel.map(|placed| placed.entry).or(request.code_flash);
        let entry = firmware
            .map(|placed| placed.entry)
            .or(next)
            .ok_or(BootError::NothingToBoot)?;
        Ok(Self {
            device_tree: placer.device_tree,
            initrd,
            entry,
            next: next.unwrap_or(ram.base + NEXT_STAGE_OFFSET),
            privilege: match request.firmware {
                Firmware::BuiltIn => Privilege::Supervisor,
                Firmware::None | Firmware::Program(_) => Privilege::Machine,
            },
            reset_address: request.reset_address,
            boot_hart: request.boot_hart,
            htif: request
                .kernel
                .as_ref()
                .map(Program::htif_symbols)
                .unwrap_or_default(),
            parts: placer.parts,
        })
    }

    /// Where the RAM disk lies, for `linux,initrd-start` and `-end`.
    pub fn initrd(&self) -> Option<Extent> {
        self.initrd
    }

    /// Where the device tree lies; [`DEVICE_TREE_ROOM_BYTES`] are kept for it.
    pub fn device_tree(&self) -> GuestPhysAddr {
        self.device_tree
    }

    /// Entry of the first program: the firmware's, or the kernel's.
    pub fn entry(&self) -> GuestPhysAddr {
        self.entry
    }

    /// Addresses that a bare test program shares with the host.
    pub fn htif_symbols(&self) -> HtifSymbols {
        self.htif
    }

    /// Which harts run after a reset.
    pub fn starting_harts(&self) -> StartingHarts {
        match self.privilege {
            Privilege::Machine => StartingHarts::All,
            Privilege::Supervisor => StartingHarts::BootHartOnly,
        }
    }

    /// How the hart of that id starts. In M-mode that is at the reset vector, which loads the registers; in
    /// S-mode at the kernel (Linux `Documentation/arch/riscv/boot.rst`: a0 = hart id, a1 = device tree).
    pub fn hart_start(&self, hart: u64) -> HartStart {
        let (pc, a0, a1) = match self.privilege {
            Privilege::Machine => (self.reset_address, 0, 0),
            Privilege::Supervisor => (self.entry, hart, self.device_tree.raw()),
        };
        HartStart {
            privilege: self.privilege,
            pc,
            a0,
            a1,
            a2: 0,
        }
    }

    /// Code and data for the mask ROM at the request's reset address.
    pub fn reset_vector(&self) -> [u8; RESET_VECTOR_BYTES] {
        let info = DynamicInfo {
            next_addr: self.next,
            next_mode: NextMode::Supervisor,
            boot_hart: self.boot_hart,
        };
        reset_vector(self.entry, self.device_tree, info)
    }

    /// Writes everything to guest memory. To be called before each start: a guest changes what was loaded.
    ///
    /// # Errors
    /// When the device tree is larger than its room, or `memory` is not the RAM that was planned for.
    pub fn load(&self, memory: &GuestMemory, device_tree: &[u8]) -> Result<(), BootError> {
        let bytes = device_tree.len() as u64;
        if bytes > DEVICE_TREE_ROOM_BYTES {
            return Err(BootError::DeviceTreeTooLarge {
                bytes,
                room: DEVICE_TREE_ROOM_BYTES,
            });
        }
        for part in &self.parts {
            part.load(memory)?;
        }
        Ok(memory.write(self.device_tree, device_tree)?)
    }
}

/// Where a program came to lie.
#[derive(Clone, Copy)]
struct Placed {
    entry: GuestPhysAddr,
    start: GuestPhysAddr,
    end: GuestPhysAddr,
}

struct Placer {
    ram: Extent,
    device_tree: GuestPhysAddr,
    parts: Vec<Part>,
}

impl Placer {
    fn new(ram: Extent) -> Result<Self, BootError> {
        let low_end = ram.base + ram.bytes.min(LOW_RAM_BYTES);
        let device_tree = align_down(low_end, LARGE_PAGE_BYTES)
            .raw()
            .checked_sub(DEVICE_TREE_ROOM_BYTES)
            .map(GuestPhysAddr)
            .filter(|&at| at > ram.base)
            .ok_or(BootError::TooLittleRam { bytes: ram.bytes })?;
        Ok(Self {
            ram,
            device_tree,
            parts: Vec::new(),
        })
    }

    /// Places a program; one without an address of its own comes to lie at `floor` or above.
    fn program(
        &mut self,
        program: &Program,
        floor: GuestPhysAddr,
        owner: &'static str,
    ) -> Result<Placed, BootError> {
        match program.kind() {
            ProgramKind::Elf(elf) => self.elf(program, elf, floor, owner),
            ProgramKind::BzImage(_) | ProgramKind::Multiboot(_) => Err(BootError::WrongArch {
                role: program.role(),
                name: program.name().to_owned(),
                found: GuestArch::X86_64.name().to_owned(),
                wanted: GuestArch::Riscv64,
            }),
            ProgramKind::Raw(content) => {
                self.contiguous(program, content, content.len(), Some(floor), owner)
            }
            ProgramKind::Flat(image) => {
                let wanted = self
                    .ram
                    .base
                    .checked_add(image.text_offset)
                    .and_then(|at| checked_align_up(at.max(floor), LARGE_PAGE_BYTES));
                self.contiguous(program, &image.content, image.memory_bytes, wanted, owner)
            }
        }
    }

    fn contiguous(
        &mut self,
        program: &Program,
        content: &Content,
        memory_bytes: u64,
        at: Option<GuestPhysAddr>,
        owner: &'static str,
    ) -> Result<Placed, BootError> {
        let at = at.unwrap_or(GuestPhysAddr(u64::MAX));
        let free = self.device_tree.raw().saturating_sub(at.raw());
        if memory_bytes > free {
            return Err(BootError::TooLarge {
                role: program.role(),
                name: program.name().to_owned(),
                needed: memory_bytes,
                free,
            });
        }
        let extent = Extent {
            base: at,
            bytes: memory_bytes,
        };
        self.parts.push(Part::of(program, owner, extent, content));
        Ok(Placed {
            entry: at,
            start: at,
            end: extent.end(),
        })
    }

    fn elf(
        &mut self,
        program: &Program,
        elf: &ElfProgram,
        floor: GuestPhysAddr,
        owner: &'static str,
    ) -> Result<Placed, BootError> {
        let lowest = elf.segments.iter().map(|s| s.addr).min().unwrap_or(floor);
        // Position-independent firmware is linked to 0 and relocates itself from wherever it finds itself.
        let shift = if elf.relocatable && !self.ram.contains(lowest, 1) {
            floor.raw().wrapping_sub(lowest.raw())
        } else {
            0
        };
        let (mut start, mut end) = (GuestPhysAddr(u64::MAX), GuestPhysAddr(0));
        let mut total = 0_u64;
        for segment in &elf.segments {
            let base = segment.addr.wrapping_add(shift);
            let extent = Extent {
                base,
                bytes: segment.memory_bytes,
            };
            total = total.saturating_add(extent.bytes);
            if !self.ram.contains(base, extent.bytes) || total > self.ram.bytes {
                return Err(self.outside_ram(program, extent));
            }
            start = start.min(base);
            end = end.max(extent.end());
            self.parts
                .push(Part::of(program, owner, extent, &segment.content));
        }
        let entry = elf.entry.wrapping_add(shift);
        if !self.ram.contains(entry, 1) {
            return Err(self.outside_ram(
                program,
                Extent {
                    base: entry,
                    bytes: 4,
                },
            ));
        }
        Ok(Placed { entry, start, end })
    }

    fn outside_ram(&self, program: &Program, wanted: Extent) -> BootError {
        BootError::OutsideRam {
            role: program.role(),
            name: program.name().to_owned(),
            addr: wanted.base,
            bytes: wanted.bytes,
            ram_base: self.ram.base,
            ram_end: self.ram.end(),
        }
    }

    fn initrd(&mut self, file: &BootFile, kernel: Option<Placed>) -> Result<Extent, BootError> {
        let next_stage = self.ram.base + NEXT_STAGE_OFFSET;
        let start = kernel.map_or(next_stage, |placed| placed.start);
        let floor = kernel.map_or(next_stage, |placed| placed.end);
        let bytes = file.content().len();
        let gap = (self.ram.bytes / 2).min(INITRD_GAP_MAX_BYTES);
        let preferred = align_up(floor.max(start + gap), PAGE_BYTES);
        let free = self
            .device_tree
            .raw()
            .saturating_sub(align_up(floor, PAGE_BYTES).raw());
        if bytes > free {
            return Err(file.too_large(bytes, free));
        }
        let highest = align_down(GuestPhysAddr(self.device_tree.raw() - bytes), PAGE_BYTES);
        let extent = Extent {
            base: preferred.min(highest),
            bytes,
        };
        self.parts.push(Part::of_file(file, "initrd", extent));
        Ok(extent)
    }
}

const fn align_down(addr: GuestPhysAddr, align: u64) -> GuestPhysAddr {
    GuestPhysAddr(addr.raw() / align * align)
}

/// Rounds an address within RAM up.
const fn align_up(addr: GuestPhysAddr, align: u64) -> GuestPhysAddr {
    GuestPhysAddr(addr.raw().next_multiple_of(align))
}

fn checked_align_up(addr: GuestPhysAddr, align: u64) -> Option<GuestPhysAddr> {
    addr.raw()
        .checked_next_multiple_of(align)
        .map(GuestPhysAddr)
}

#[cfg(test)]
mod tests;
