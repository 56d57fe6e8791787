//! From a virtual address to code: the caches, and translation.

#![allow(unsafe_code)]

use std::time::Instant;

use vm_core::{AccessWidth, GuestPhysAddr, GuestVirtAddr, HostVirtAddr, PAGE_BYTES};
use vm_frontend::{Access, BusAbort, CodePage, Exception, Guest, LiftLimits, View};
use vm_ir::passes::remove_dead_flags;
use vm_ir::{Block, BlockKey};
use vm_mem::{CodePages, access};
use vm_softfloat::{Env, FlushResults, NanRule, Subnormals, Tininess};

use super::{ENTERED, FETCH_LINES, FetchLine, MAX_INSNS, Vcpu};
use crate::cache::CachedBlock;
use crate::code::{Code, TooManyTemps, predecode, translate};
use crate::engine::Engine;
use crate::frame::Frame;
use crate::jump::{Context, Entry};
use crate::predecode::Rules;

/// Whether the host's floating-point unit, as [`crate::hostfp`] sets it, follows these rules, results that are NaNs aside.
fn host_follows(rules: Env) -> bool {
    rules.nan == NanRule::Canonical
        && rules.tininess == Tininess::AfterRounding
        && rules.subnormals == Subnormals::Keep
        && rules.flush == FlushResults::Never
}

/// A page that code is fetched from.
pub(super) struct Fetched {
    pub(super) page: GuestPhysAddr,
    /// What the translation holds in.
    context: Context,
    /// Whether all of the page may be fetched from, or none of it.
    pub(super) whole: bool,
}

impl<G: Guest> Vcpu<G> {
    /// Where the code at a virtual address is entered, from the caches or newly translated. `None` where each instruction
    /// is to be run by itself: rights to fetch change within the page, and each asks for them anew; or too much code that
    /// was thrown away waits for another virtual CPU, and what is run meanwhile is not kept.
    pub(super) fn find(&mut self, pc: u64) -> Result<Option<Entry>, Exception> {
        if let Some(entry) = self.head().known(pc) {
            return Ok(Some(entry));
        }
        Ok(self.look_up(pc)?.map(|block| block.entry()))
    }

    /// The block at a virtual address, from the block cache or newly translated, which the jump cache gets. `None` as
    /// for [`Vcpu::find`].
    pub(super) fn look_up(&mut self, pc: u64) -> Result<Option<&'static CachedBlock>, Exception> {
        self.head().counters.lookups += 1;
        let Fetched {
            page,
            mut context,
            whole,
        } = self.fetch_page_in(GuestVirtAddr(pc))?;
        if !whole {
            return Ok(None);
        }
        let phys = page + (pc & (PAGE_BYTES - 1));
        let key = BlockKey {
            phys_pc: phys,
            mode: self.mode,
        };
        let block = match self.engine.cache.find(key) {
            Some(block) if self.second_page_matches(block, pc)? => block,
            _ if self.engine.cache.is_crowded() => return Ok(None),
            Some(block) => {
                // Another page follows here than where the block was made: make it anew each time.
                self.engine.cache.forget(block.key);
                self.translate_block(key, pc)?
            }
            None => self.translate_block(key, pc)?,
        };
        if block.second_page.is_some() {
            // The other page may be mapped here only.
            context = self.head().context;
        }
        block.entered.enter(pc);
        self.engine.cache.note_entered(block);
        if self.entered_pcs.len() < ENTERED {
            self.entered_pcs.push(pc);
        }
        let entry = block.entry();
        // Where there is a translator, lines lead to host code.
        let leads_to_host = self.head().enter_host != 0;
        if leads_to_host == matches!(entry, Entry::Host(_)) {
            if self.jumps.is_small_for(self.engine.cache.blocks()) {
                self.jumps.grow();
                self.head().jump_lines = self.jumps.lines();
            }
            self.jumps.enter(pc, context, entry);
        }
        Ok(Some(block))
    }

    pub(super) fn second_page_matches(
        &mut self,
        block: &CachedBlock,
        pc: u64,
    ) -> Result<bool, Exception> {
        match block.second_page {
            None => Ok(true),
            Some(second) => {
                let next = GuestVirtAddr(pc).page_base() + PAGE_BYTES;
                Ok(self.fetch_page(next)? == second.page_base())
            }
        }
    }

    /// Physical page of a virtual page that code is fetched from.
    pub(super) fn fetch_page(&mut self, addr: GuestVirtAddr) -> Result<GuestPhysAddr, Exception> {
        self.fetch_page_in(addr).map(|fetched| fetched.page)
    }

    /// The same, with where that holds.
    pub(super) fn fetch_page_in(&mut self, addr: GuestVirtAddr) -> Result<Fetched, Exception> {
        let page = addr.page_base().raw();
        let line = addr.page_number() as usize & (FETCH_LINES - 1);
        let known = self.fetch[line];
        if known.page == page && self.head().holds(known.context) {
            return Ok(Fetched {
                page: GuestPhysAddr(known.phys),
                context: known.context,
                whole: true,
            });
        }
        let mapping = G::translate(
            self.state(),
            &self.engine.memory,
            View::Current,
            addr,
            G::PARCEL_BYTES,
            Access::Execute,
        )?;
        let fetchable = self.engine.map.find(mapping.page, false).is_some()
            || self.engine.rom_at(mapping.page).is_some();
        if !fetchable && let BusAbort::Raise(exception) = G::bus_error(addr, Access::Execute) {
            return Err(exception);
        }
        let context = match self.head().global_context {
            global if mapping.global && global != 0 => global,
            _ => self.head().context,
        };
        let global = context != self.head().context;
        self.fetched.note(addr, mapping.page_bytes, global);
        if mapping.cacheable {
            self.fetch[line] = FetchLine {
                page,
                context,
                phys: mapping.page.raw(),
            };
        }
        Ok(Fetched {
            page: mapping.page,
            context,
            whole: mapping.cacheable,
        })
    }

    #[cold]
    pub(super) fn translate_block(
        &mut self,
        key: BlockKey,
        pc: u64,
    ) -> Result<&'static CachedBlock, Exception> {
        let started = Instant::now();
        let block = self.make_block(key, pc);
        let took = started.elapsed().as_nanos() as u64;
        let counters = &mut self.head().counters;
        counters.translation_ns += took;
        if let Ok(block) = block {
            counters.translated += 1;
            counters.translated_insns += block.guest_insns();
            let [hot, cold] = block.host_bytes();
            counters.hot_code_bytes += hot as u64;
            counters.cold_code_bytes += cold as u64;
        }
        block
    }

    fn make_block(&mut self, key: BlockKey, pc: u64) -> Result<&'static CachedBlock, Exception> {
        let stops = self.engine.stops.load_full();
        // A watchpoint stops behind the instruction that hits it, so each gets a block of its own.
        let mut max_insns = if stops.watchpoints.is_empty() {
            MAX_INSNS
        } else {
            1
        };
        let breakpoint = stops
            .page_offsets
            .contains(&(key.phys_pc.page_offset() as u16));
        loop {
            let before = self.engine.cache.invalidated();
            let block = self.lift(key, pc, max_insns, &stops.page_offsets)?;
            // A debugger's stops want a turn of the run loop after every block.
            let plain = breakpoint || !stops.watchpoints.is_empty();
            let translated = if plain {
                None
            } else {
                self.translate(&block, pc)
            };
            let code = match translated {
                Some(code) => Ok(code),
                None => self.predecode(&block, breakpoint, self.engine.translator.get().is_some()),
            };
            match code {
                Ok(code) => {
                    if !plain
                        && let Some(translator) = self.engine.translator.get()
                        && translator.is_full()
                    {
                        self.engine.cache.evict_some();
                    }
                    let mut cached = CachedBlock::new(key, code, block.second_page);
                    if self.engine.lockstep.get().is_some() && !plain {
                        cached.plain = self.predecode(&block, false, false).ok().map(Box::new);
                    }
                    self.spare = block;
                    // Else the code was written meanwhile: read it again.
                    if let Some(block) = self.engine.cache.insert(cached, before) {
                        return Ok(block);
                    }
                }
                Err(_) => max_insns = (max_insns / 2).max(1),
            }
        }
    }

    /// Host code for the block, if there is a translator and it can.
    fn translate(&mut self, block: &Block, pc: u64) -> Option<Code> {
        let translator = self.engine.translator.get()?.as_ref();
        translate((block, pc), Self::rules(), &mut self.predecoded, translator)
    }

    fn rules() -> Rules {
        Rules {
            layout: G::layout(),
            temps_offset: Frame::<G::State>::TEMPS_OFFSET,
            host_float: host_follows(G::fp_rules()),
            host_is_guest: cfg!(target_arch = "x86_64") && G::FLOAT_IS_X86,
            masks_float: G::masks_float,
        }
    }

    /// Micro-operations for the block. `breakpoint` has the debugger asked before its first instruction, `counted` has
    /// its instructions counted as interpreted ones.
    pub(super) fn predecode(
        &mut self,
        block: &Block,
        breakpoint: bool,
        counted: bool,
    ) -> Result<Code, TooManyTemps> {
        let block = (block, breakpoint, counted);
        predecode(block, Self::rules(), &mut self.predecoded)
    }

    pub(super) fn lift(
        &mut self,
        key: BlockKey,
        pc: u64,
        max_insns: u32,
        stop_before: &[u16],
    ) -> Result<Block, Exception> {
        let engine = self.engine.clone();
        let spare = std::mem::take(&mut self.spare);
        let mut code = BlockBytes {
            vcpu: self,
            page: PageBytes::of(&engine, key.phys_pc.page_base()),
            pc,
        };
        let limits = LiftLimits {
            max_insns,
            stop_before,
        };
        let mut block = G::lift(&engine.config, key, &mut code, limits, spare)?;
        remove_dead_flags(&mut block, G::layout());
        Ok(block)
    }
}

/// One page of code.
struct PageBytes<'a, G: Guest> {
    engine: &'a Engine<G>,
    page: GuestPhysAddr,
    /// Where it is, and its marks, if it is in memory.
    memory: Option<(HostVirtAddr, &'a CodePages)>,
    /// Granules marked as code so far.
    marked: u64,
}

impl<'a, G: Guest> PageBytes<'a, G> {
    fn of(engine: &'a Engine<G>, page: GuestPhysAddr) -> Self {
        let found = engine.map.find(page, false);
        if let (None, Some(rom)) = (found, engine.rom_at(page)) {
            rom.note_code();
        }
        Self {
            engine,
            page,
            memory: found.and_then(|found| Some((found.host(), found.code?))),
            marked: 0,
        }
    }

    /// Bytes from an offset on, each pair at an even address read at once. Marks before reading, so that a store after
    /// the reading is noticed.
    fn fill(&mut self, offset: u16, into: &mut [u8]) {
        let mut offset = offset;
        let mut left = into;
        while !left.is_empty() && u64::from(offset) < PAGE_BYTES {
            let pair = offset.is_multiple_of(2) && left.len() > 1;
            let (here, behind) = left.split_at_mut(1 + usize::from(pair));
            let value = self.parcel(offset, pair).to_le_bytes();
            here.copy_from_slice(&value[..here.len()]);
            offset += here.len() as u16;
            left = behind;
        }
    }

    /// One byte, or two at an even offset.
    fn parcel(&mut self, offset: u16, pair: bool) -> u16 {
        let Some((host, code)) = self.memory else {
            let addr = self.page + u64::from(offset);
            let width = if pair {
                AccessWidth::Half
            } else {
                AccessWidth::Byte
            };
            let value = self.engine.bus.read(addr.raw(), width);
            return value.unwrap_or(G::NO_CODE) as u16;
        };
        let granule = 1 << (offset / 64);
        if self.marked & granule == 0 {
            self.marked |= granule;
            self.mark(code, offset);
        }
        let host = host + u64::from(offset);
        // SAFETY: the bytes lie in one page of mapped RAM, as two at an even offset do.
        unsafe { access::load(host.raw(), pair.into()) as u16 }
    }

    fn mark(&self, code: &CodePages, offset: u16) {
        let engine = self.engine;
        if engine.cache.mark(code, self.page + u64::from(offset)) {
            for peer in engine.peers() {
                peer.tlb.protect(self.page);
            }
            engine.cache.note_protected(self.page);
        }
    }
}

/// The code of a block as the lifter reads it.
struct BlockBytes<'a, G: Guest> {
    vcpu: &'a mut Vcpu<G>,
    page: PageBytes<'a, G>,
    pc: u64,
}

impl<G: Guest> CodePage for BlockBytes<'_, G> {
    fn bytes(&mut self, offset: u16, into: &mut [u8]) {
        self.page.fill(offset, into);
    }

    fn next_page(&mut self, into: &mut [u8]) -> Result<GuestPhysAddr, Exception> {
        let next = GuestVirtAddr(self.pc).page_base() + PAGE_BYTES;
        let page = self.vcpu.fetch_page(next)?;
        PageBytes::of(self.page.engine, page).fill(0, into);
        Ok(page)
    }
}
