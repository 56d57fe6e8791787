//! Slow paths: everything that block code does not do itself.

#![allow(unsafe_code)]

use std::sync::atomic::Ordering;

use vm_core::{AccessWidth, GuestPhysAddr, GuestVirtAddr, PAGE_BYTES};
use vm_frontend::{Access, AddressSpace, BusAbort, Exception, Guest};
use vm_mem::{HAS_CODE, TableRef, TlbFill, access, tag_of};

use crate::frame::{FrameHead, SlowPaths};
use crate::interp::memory;
use crate::microop::{Leave, MicroOp};
use crate::vcpu::Vcpu;

/// Slow paths of one guest ISA.
pub(crate) struct For<G>(std::marker::PhantomData<G>);

impl<G: Guest> For<G> {
    pub(crate) const PATHS: &'static SlowPaths = &SlowPaths {
        load: load::<G>,
        store: store::<G>,
        resolve: resolve::<G>,
        probe: probe::<G>,
        wrote: wrote::<G>,
        call: call::<G>,
        go_on: go_on::<G>,
        stops_at: stops_at::<G>,
        define: define::<G>,
        float_control: float_control::<G>,
    };
}

/// The virtual CPU that a frame belongs to.
///
/// Safety: `f` is a live frame whose owner is inside `run`, which uses itself only through this pointer meanwhile.
unsafe fn owner<'a, G: Guest>(f: *mut FrameHead) -> &'a mut Vcpu<G> {
    // SAFETY: see above.
    unsafe { &mut *(*f).owner.cast::<Vcpu<G>>() }
}

/// Puts the outcome where handlers look for it.
unsafe fn outcome(f: *mut FrameHead, result: Result<(), Exception>) -> bool {
    match result {
        Ok(()) => true,
        Err(exception) => {
            // SAFETY: `f` is a live frame.
            unsafe { (*f).fault = exception };
            false
        }
    }
}

unsafe fn load<G: Guest>(f: *mut FrameHead, addr: u64, size_log2: u8) -> bool {
    // SAFETY: called from handlers of a running virtual CPU.
    unsafe {
        let result = owner::<G>(f)
            .load(addr, size_log2)
            .map(|value| (*f).value = value);
        outcome(f, result)
    }
}

unsafe fn store<G: Guest>(f: *mut FrameHead, addr: u64, size_log2: u8) -> bool {
    // SAFETY: as above.
    unsafe {
        let value = (*f).value;
        let result = owner::<G>(f).store(addr, size_log2, value);
        outcome(f, result)
    }
}

unsafe fn resolve<G: Guest>(f: *mut FrameHead, addr: u64, size_log2: u8, write: bool) -> bool {
    // SAFETY: as above.
    unsafe {
        let result = owner::<G>(f)
            .resolve(addr, size_log2, write)
            .map(|place| (*f).value = place);
        outcome(f, result)
    }
}

unsafe fn probe<G: Guest>(f: *mut FrameHead, addr: u64, size_log2: u8) -> bool {
    // SAFETY: as above.
    unsafe {
        let addr = GuestVirtAddr(addr);
        let result = owner::<G>(f).probe_store(addr, 1 << size_log2);
        outcome(f, result)
    }
}

unsafe fn wrote<G: Guest>(f: *mut FrameHead, phys: u64, bytes: u64) {
    // SAFETY: as above.
    let vcpu = unsafe { owner::<G>(f) };
    let addr = GuestPhysAddr(phys);
    if vcpu.rehearse_written(phys, bytes) || vcpu.write_split() {
        return;
    }
    if let Some(code) = vcpu.engine.code_at(addr) {
        code.written(addr, bytes);
    }
}

unsafe fn call<G: Guest>(f: *mut FrameHead, op: *const MicroOp, a: u64, b: u64, c: u64) -> bool {
    // SAFETY: as above.
    unsafe {
        let (helper, left) = ((*op).aux as u16, u64::from((*op).left));
        let result = owner::<G>(f).call_helper(helper, [a, b, c], left);
        let result = result.map(|value| (*f).value[0] = value);
        outcome(f, result)
    }
}

unsafe fn go_on<G: Guest>(f: *mut FrameHead, leave: Leave) -> Option<u64> {
    // SAFETY: as above.
    unsafe { owner::<G>(f).go_on(leave) }
}

unsafe fn stops_at<G: Guest>(f: *mut FrameHead, pc: u64) -> bool {
    // SAFETY: as above.
    unsafe { owner::<G>(f).stops_at(GuestVirtAddr(pc)) }
}

unsafe fn define<G: Guest>(f: *mut FrameHead, op: *const MicroOp) {
    // SAFETY: as above.
    unsafe { crate::interp::define::run::<G>(f, op) }
}

unsafe fn float_control<G: Guest>(f: *mut FrameHead) -> u32 {
    // SAFETY: the state is of this guest and begins with the common part (`Frame`).
    unsafe {
        let common = crate::frame::common(f);
        crate::hostfp::guest_control(
            G::fp_env(&*common.cast::<G::State>()),
            (*common).fp_rounding,
        )
    }
}

/// Bytes of a line of the host's caches, within which it locks accesses however they lie.
const HOST_LINE_BYTES: u64 = 64;

/// Where an access goes.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    pub(crate) phys: GuestPhysAddr,
    /// Its host address when that is RAM.
    pub(crate) host: Option<u64>,
    /// Whether the TLB has it, and the page's code alone keeps writes from hitting.
    barred: bool,
}

/// The translation of a page without RAM, which the TLB has none of: interrupt controllers are asked again and again.
#[derive(Clone, Copy)]
pub(crate) struct DevicePage {
    space: AddressSpace,
    addr: GuestVirtAddr,
    phys: GuestPhysAddr,
    read: bool,
    write: bool,
}

impl DevicePage {
    fn serves(self, space: AddressSpace, addr: GuestVirtAddr, write: bool) -> bool {
        let allowed = if write { self.write } else { self.read };
        allowed && self.space == space && self.addr == addr.page_base()
    }
}

impl Place {
    /// Where its byte number `n` is.
    fn byte(self, n: u64) -> Self {
        Self {
            phys: self.phys + n,
            host: self.host.map(|host| host + n),
            ..self
        }
    }
}

impl<G: Guest> Vcpu<G> {
    /// Where an access of `bytes` bytes within a page goes, by the TLB or else by the page tables, whose translation is
    /// remembered where that is allowed.
    pub(crate) fn reach(
        &mut self,
        addr: GuestVirtAddr,
        bytes: u64,
        kind: Access,
    ) -> Result<Place, Exception> {
        if let Some(place) = self.reach_known(addr, bytes, kind) {
            return Ok(place);
        }
        // SAFETY: the state is only read, by code that holds no other reference to it.
        let state = unsafe { &(*self.frame.as_ptr()).state };
        self.reach_from(state, addr, bytes, kind)
    }

    /// The same for bytes on up to two pages, of RAM if they are two; the exception is of the first part that has one.
    fn reach_all(
        &mut self,
        addr: GuestVirtAddr,
        bytes: u64,
        kind: Access,
    ) -> Result<(), Exception> {
        if addr.page_offset() + bytes > PAGE_BYTES {
            self.reach_split(addr, bytes, kind).map(|_| ())
        } else {
            self.reach(addr, bytes, kind).map(|_| ())
        }
    }

    /// Where each of up to 16 bytes on two pages of RAM is.
    fn reach_split(
        &mut self,
        addr: GuestVirtAddr,
        bytes: u64,
        kind: Access,
    ) -> Result<impl Iterator<Item = Place> + use<G>, Exception> {
        let here = PAGE_BYTES - addr.page_offset();
        let first = self.reach_ram(addr, here, kind)?;
        let second = self.reach_ram(addr.wrapping_add(here), bytes - here, kind)?;
        Ok((0..here)
            .map(move |n| first.byte(n))
            .chain((0..bytes - here).map(move |n| second.byte(n))))
    }

    /// Where a part of an access goes. Devices have no accesses in parts: one might be done when another fails.
    fn reach_ram(
        &mut self,
        addr: GuestVirtAddr,
        bytes: u64,
        kind: Access,
    ) -> Result<Place, Exception> {
        let place = self.reach(addr, bytes, kind)?;
        match place.host {
            Some(_) => Ok(place),
            // Bytes that nobody answers for cannot be left out of an access half to RAM.
            None => match G::bus_error(addr, kind) {
                BusAbort::Raise(exception) => Err(exception),
                BusAbort::Value(_) => Ok(place),
            },
        }
    }

    /// The same, from within a helper that has the state.
    fn reach_from(
        &mut self,
        state: &G::State,
        addr: GuestVirtAddr,
        bytes: u64,
        kind: Access,
    ) -> Result<Place, Exception> {
        let write = kind == Access::Write;
        if let Some(page) = self
            .device_page
            .filter(|known| known.serves(self.space, addr, write))
        {
            return Ok(Place {
                phys: page.phys + addr.page_offset(),
                host: None,
                barred: false,
            });
        }
        let mapping = G::translate(state, &self.engine.memory, self.view, addr, bytes, kind)?;
        let phys = mapping.page + addr.page_offset();
        let Some(found) = self.engine.map.find(mapping.page, write) else {
            if mapping.cacheable {
                // Of ROM, and of RAM that is hidden, only one kind of access is a device's.
                let is_device = |write| self.engine.map.find(mapping.page, write).is_none();
                self.device_page = Some(DevicePage {
                    space: self.space,
                    addr: addr.page_base(),
                    phys: mapping.page,
                    read: mapping.read && is_device(false),
                    write: mapping.write && is_device(true),
                });
            }
            return Ok(Place {
                phys,
                host: None,
                barred: false,
            });
        };
        let (host, code) = (found.host().raw(), found.code);
        let has_code = |page| code.is_some_and(|code| code.has_code(page));
        if mapping.cacheable && !self.watches_page(state, addr) && self.rehearsal_table().is_none()
        {
            let page = mapping.page;
            let fill = TlbFill {
                addr,
                phys: page,
                host,
                read: mapping.read && found.reads,
                write: mapping.write && found.writes,
                code: has_code(page),
                page_bytes: mapping.page_bytes,
            };
            let (asid, mode) = (self.space.asid, self.space.data_mode);
            let tlb = &self.shared.tlb;
            if tlb.fill(asid, mode, fill, || !has_code(page)) {
                self.enter_table();
            }
        }
        Ok(Place {
            phys,
            host: Some(host + addr.page_offset()),
            barred: false,
        })
    }

    /// Where an access within a page goes, if the TLB knows: parts of misaligned ones, and writes to pages with code,
    /// come here though it does.
    fn reach_known(&mut self, addr: GuestVirtAddr, bytes: u64, kind: Access) -> Option<Place> {
        let TableRef { sets, mask } = self.table_of_space().table;
        let write = kind == Access::Write;
        let tag = tag_of(addr.raw(), bytes);
        // SAFETY: this is the current table of this virtual CPU.
        let find = |tag| unsafe { memory::find_tag(sets, mask, addr.raw(), tag, write) };
        let (entry, barred) = match find(tag) {
            Some(entry) => (entry, false),
            None if write => (find(tag | HAS_CODE)?, true),
            None => return None,
        };
        let page = GuestPhysAddr(entry.phys.load(Ordering::Relaxed));
        let addend = entry.addend.load(Ordering::Relaxed);
        Some(Place {
            phys: page + addr.page_offset(),
            host: Some(addr.raw().wrapping_add(addend)),
            barred,
        })
    }

    /// Loads up to 16 bytes, however they lie.
    pub(crate) fn load(&mut self, addr: u64, size_log2: u8) -> Result<[u64; 2], Exception> {
        self.counters_mut().tlb_misses += 1;
        if size_log2 == 4 {
            let low = self.load(addr, 3)?[0];
            return Ok([low, self.load(addr.wrapping_add(8), 3)?[0]]);
        }
        let bytes = 1_u64 << size_log2;
        let addr = GuestVirtAddr(addr);
        if addr.page_offset() + bytes > PAGE_BYTES {
            return self.load_split(addr, bytes);
        }
        let place = self.reach(addr, bytes, Access::Read)?;
        self.note_watched(addr, bytes, false);
        if let Some(host) = place.host {
            return Ok([self.load_ram(place.phys, host, size_log2), 0]);
        }
        self.counters_mut().device_accesses += 1;
        let width = AccessWidth::from_bytes(bytes).expect("invariant: 1, 2, 4 or 8 bytes");
        match self.bus_read(place.phys.raw(), width) {
            Some(value) => Ok([value, 0]),
            None => nobody::<G>(addr, Access::Read).map(|value| [value & width.mask(), 0]),
        }
    }

    /// Loads across a page end, byte by byte.
    fn load_split(&mut self, addr: GuestVirtAddr, bytes: u64) -> Result<[u64; 2], Exception> {
        let places = self.reach_split(addr, bytes, Access::Read)?;
        self.note_watched(addr, bytes, false);
        let mut value = 0;
        for (n, place) in places.enumerate() {
            let byte = match place.host {
                Some(host) => self.load_ram(place.phys, host, 0),
                None => self
                    .bus_read(place.phys.raw(), AccessWidth::Byte)
                    .unwrap_or(0xff),
            };
            value |= byte << (8 * n);
        }
        Ok([value, 0])
    }

    /// Loads from RAM, within a page, to which the address leads.
    fn load_ram(&mut self, phys: GuestPhysAddr, host: u64, size_log2: u8) -> u64 {
        match self.rehearse_load(phys.raw(), host, 1 << size_log2) {
            Some(value) => value,
            // SAFETY: the bytes lie in one page of mapped RAM.
            None => unsafe { access::load(host, size_log2) },
        }
    }

    /// Stores up to 16 bytes, however they lie. Nothing is written when any byte faults.
    pub(crate) fn store(
        &mut self,
        addr: u64,
        size_log2: u8,
        value: [u64; 2],
    ) -> Result<(), Exception> {
        self.counters_mut().tlb_misses += 1;
        if size_log2 == 4 {
            self.probe_store(GuestVirtAddr(addr), 16)?;
            self.store(addr, 3, [value[0], 0])?;
            return self.store(addr.wrapping_add(8), 3, [value[1], 0]);
        }
        let bytes = 1_u64 << size_log2;
        let addr = GuestVirtAddr(addr);
        if addr.page_offset() + bytes > PAGE_BYTES {
            let places = self.reach_split(addr, bytes, Access::Write)?;
            self.check_split_code(addr, bytes)?;
            self.note_watched(addr, bytes, true);
            for (n, place) in (0..).zip(places) {
                let byte = value[0] >> (8 * n);
                if !self.store_ram(addr.wrapping_add(n), place, 0, byte) {
                    self.bus_write(place.phys.raw(), AccessWidth::Byte, byte & 0xff);
                }
            }
            return Ok(());
        }
        let place = self.reach(addr, bytes, Access::Write)?;
        self.check_code(place, bytes)?;
        self.note_watched(addr, bytes, true);
        if self.store_ram(addr, place, size_log2, value[0]) {
            return Ok(());
        }
        self.counters_mut().device_accesses += 1;
        let width = AccessWidth::from_bytes(bytes).expect("invariant: 1, 2, 4 or 8 bytes");
        if self.bus_write(place.phys.raw(), width, value[0]) {
            Ok(())
        } else {
            nobody::<G>(addr, Access::Write).map(|_| ())
        }
    }

    /// Checks that bytes on up to two pages can be stored to, and that doing so needs no instruction run by itself.
    pub(crate) fn probe_store(&mut self, addr: GuestVirtAddr, bytes: u64) -> Result<(), Exception> {
        if addr.page_offset() + bytes > PAGE_BYTES {
            self.reach_all(addr, bytes, Access::Write)?;
            return self.check_split_code(addr, bytes);
        }
        let place = self.reach(addr, bytes, Access::Write)?;
        self.check_code(place, bytes)
    }

    /// Whether a store may be done in the middle of a block: where stores to code take effect at once, not one that hits
    /// code.
    pub(crate) fn check_code(&self, place: Place, bytes: u64) -> Result<(), Exception> {
        if !G::CODE_IS_COHERENT || self.runs_one || place.host.is_none() {
            return Ok(());
        }
        match self.engine.code_at(place.phys) {
            Some(code) if code.is_code(place.phys, bytes) => Err(Exception::RUN_ALONE),
            _ => Ok(()),
        }
    }

    /// The same for bytes on two pages.
    fn check_split_code(&mut self, addr: GuestVirtAddr, bytes: u64) -> Result<(), Exception> {
        if G::CODE_IS_COHERENT {
            for place in self.reach_split(addr, bytes, Access::Write)? {
                self.check_code(place, 1)?;
            }
        }
        Ok(())
    }

    /// Stores to a place in RAM, within a page, to which the address leads; false when it is none.
    fn store_ram(&mut self, addr: GuestVirtAddr, place: Place, size_log2: u8, value: u64) -> bool {
        let Place { phys, host, barred } = place;
        let Some(host) = host else { return false };
        if self.rehearse_store(phys.raw(), 1 << size_log2, value) {
            return true;
        }
        // SAFETY: the bytes lie in one page of mapped RAM.
        unsafe { access::store(host, size_log2, value) };
        if let Some(code) = self.engine.code_at(phys) {
            code.written(phys, 1 << size_log2);
            if barred && !code.has_code(phys) {
                let (asid, mode) = (self.space.asid, self.space.data_mode);
                let still_writable = || !code.has_code(phys);
                self.shared.tlb.unprotect(asid, mode, addr, still_writable);
            }
        }
        true
    }

    /// Host and guest-physical address of an atomic access. That is an aligned one to RAM; where others are atomic, too,
    /// one within a line of the host's caches is as good, and the rest are done in parts, by themselves.
    fn resolve(&mut self, addr: u64, size_log2: u8, write: bool) -> Result<[u64; 2], Exception> {
        self.counters_mut().tlb_misses += 1;
        let addr = GuestVirtAddr(addr);
        let kind = if write { Access::Write } else { Access::Read };
        let bytes = 1 << size_log2;
        let splits = G::ATOMICS_MAY_SPLIT && size_log2 <= 3;
        if !addr.raw().is_multiple_of(bytes) {
            if !splits {
                return Err(G::misaligned(addr, kind));
            }
            if addr.raw() % HOST_LINE_BYTES + bytes > HOST_LINE_BYTES {
                return Ok([self.start_split(addr.raw(), size_log2)?, 0]);
            }
        }
        let place = self.reach(addr, bytes, kind)?;
        let Place { phys, host, .. } = place;
        if write {
            self.check_code(place, bytes)?;
        }
        self.note_watched(addr, bytes, write);
        match host {
            Some(host) => {
                let there = self.rehearse_atomic(phys.raw(), host, bytes);
                Ok([there.unwrap_or(host), phys.raw()])
            }
            None => match G::bus_error(addr, kind) {
                BusAbort::Raise(exception) => Err(exception),
                BusAbort::Value(_) if splits => {
                    Ok([self.start_split(addr.raw(), size_log2)?, phys.raw()])
                }
                BusAbort::Value(_) => Err(G::misaligned(addr, kind)),
            },
        }
    }

    /// Fills `bytes` aligned bytes with zeros, as one store.
    pub(crate) fn zero(
        &mut self,
        state: &G::State,
        addr: GuestVirtAddr,
        bytes: u64,
    ) -> Result<(), Exception> {
        // SAFETY: the frame's table is the one in use; a matching tag leads to mapped guest RAM.
        unsafe {
            let frame = self.frame.as_ptr().cast();
            if let Some(entry) = memory::entry(frame, addr.raw(), 8, true) {
                let host = addr
                    .raw()
                    .wrapping_add(entry.addend.load(Ordering::Relaxed));
                for offset in (0..bytes).step_by(8) {
                    access::store_u64(host + offset, 0);
                }
                return Ok(());
            }
        }
        let Place { phys, host, .. } = self.reach_from(state, addr, bytes, Access::Write)?;
        self.note_watched(addr, bytes, true);
        for offset in (0..bytes).step_by(8) {
            if host.is_some() && self.rehearse_store(phys.raw() + offset, 8, 0) {
                continue;
            }
            match host {
                // SAFETY: the block is aligned, so its words lie in the one page that was reached.
                Some(host) => unsafe { access::store(host + offset, 3, 0) },
                None if self.bus_write(phys.raw() + offset, AccessWidth::Double, 0) => {}
                None => nobody::<G>(addr, Access::Write).map(|_| ())?,
            }
        }
        if let Some(code) = self.engine.code_at(phys) {
            code.written(phys, bytes);
        }
        Ok(())
    }

    /// Checks an access within a page without doing it.
    pub(crate) fn probe(
        &mut self,
        state: &G::State,
        addr: GuestVirtAddr,
        bytes: u64,
        kind: Access,
    ) -> Result<(), Exception> {
        let place = self.reach_from(state, addr, bytes, kind)?;
        if place.host.is_none() && !self.engine.bus.answers(place.phys.raw()) {
            return nobody::<G>(addr, kind).map(|_| ());
        }
        Ok(())
    }

    fn counters_mut(&mut self) -> &mut crate::frame::Counters {
        // SAFETY: the frame is owned by this virtual CPU and nobody else holds a reference into it now.
        unsafe { &mut (*self.frame.as_ptr()).head.counters }
    }

    /// Lines that are high.
    pub(crate) fn lines(&self) -> u64 {
        self.shared.lines.load(Ordering::SeqCst)
    }
}

/// What an access gives that nobody answers.
fn nobody<G: Guest>(addr: GuestVirtAddr, access: Access) -> Result<u64, Exception> {
    match G::bus_error(addr, access) {
        BusAbort::Raise(exception) => Err(exception),
        BusAbort::Value(value) => Ok(value),
    }
}
