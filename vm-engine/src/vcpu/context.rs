//! What the frame says of the state: the table of translations in use, the contexts of code addresses, recent
//! translations; and how all that is known of code and translations is forgotten.

use std::mem::size_of;

use vm_frontend::{FlushScope, Guest};
use vm_mem::{SpaceRef, TlbSet};

use super::{COLLECTED, CONTEXTS, ENTERED, Entered, FetchLine, Known, Vcpu};
use crate::jump::{Context, LAST_CONTEXT};
use crate::retired::News;

/// What the frame's recent translations are copies of.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct RecentOf {
    asid: u32,
    data_mode: u8,
    /// [`vm_mem::Tlb::changes`] when they were last known to hold.
    changes: u64,
}

impl<G: Guest> Vcpu<G> {
    /// Brings the frame's copies up to date with the state.
    pub(super) fn refresh_translation(&mut self) {
        self.stale = false;
        self.mode = G::mode(self.state());
        self.space = G::address_space(self.state());
        let generation = self.enter_table();
        self.renumber_contexts();
        self.head().context = self.context(generation, false);
        self.head().global_context = match self.space.asid {
            0 => 0,
            _ => self.context(self.shared.tlb.global_generation(), true),
        };
        self.head().enter_host = self.engine.enter_host();
    }

    /// The TLB table of the current space, from memory as long as it is valid: spaces change with every system call.
    pub(crate) fn table_of_space(&mut self) -> SpaceRef {
        let (tlb, space) = (&self.shared.tlb, self.space);
        let version = tlb.version();
        if self.entered.version != version || self.entered.asid != space.asid {
            self.entered = Entered {
                version,
                asid: space.asid,
                ..Entered::default()
            };
        }
        let mode = usize::from(space.data_mode);
        if let Some(known) = self.entered.tables[mode] {
            return known;
        }
        let entered = tlb.enter(space.asid, space.data_mode);
        // Entering may have evicted another space.
        self.entered.version = tlb.version();
        self.entered.tables[mode] = Some(entered);
        entered
    }

    /// Makes the frame use the TLB table of the current space; gives the space's generation.
    pub(crate) fn enter_table(&mut self) -> u64 {
        let space = self.table_of_space();
        let nowhere = self.rehearsal_table();
        let head = self.head();
        head.tlb = space.table.sets;
        head.tlb_mask = space.table.mask;
        head.tlb_byte_mask = space.table.mask * size_of::<TlbSet>() as u64;
        if let Some(nowhere) = nowhere {
            (head.tlb, head.tlb_mask, head.tlb_byte_mask) = (nowhere, 0, 0);
        }
        self.enter_recent();
        space.generation
    }

    /// Drops the frame's recent translations if they may be other ones than what the current table has now. (To keep those
    /// of the table before aside, for the way back from a system call, takes longer than looking them up again.)
    pub(super) fn enter_recent(&mut self) {
        let of = RecentOf {
            asid: self.space.asid,
            data_mode: self.space.data_mode,
            changes: self.shared.tlb.changes(),
        };
        if self.recent_of != of {
            self.recent_of = of;
            self.head().recent.clear();
        }
    }

    /// The number that stands for the current generation and mode.
    fn context(&mut self, generation: u64, global: bool) -> Context {
        let mode = self.mode;
        let known = |c: &&Known| c.generation == generation && c.mode == mode;
        if let Some(context) = self.contexts[usize::from(global)].iter().find(known) {
            return context.id;
        }
        self.next_context += 1;
        let contexts = &mut self.contexts[usize::from(global)];
        if contexts.len() == CONTEXTS {
            contexts.remove(0);
        }
        contexts.push(Known {
            generation,
            mode,
            id: self.next_context,
        });
        self.next_context
    }

    /// Lets the numbers of contexts start anew when fewer than two are left: nothing may be left that was noted under one,
    /// nor may the frame go on with one.
    fn renumber_contexts(&mut self) {
        if self.next_context > LAST_CONTEXT - 2 {
            self.contexts.iter_mut().for_each(Vec::clear);
            self.jumps.clear();
            self.fetch.fill(FetchLine::EMPTY);
            self.next_context = 0;
        }
    }

    /// Makes every pointer into translated code unreachable for this virtual CPU: no context number comes back.
    pub(super) fn drop_pointers(&mut self) {
        self.contexts.iter_mut().for_each(Vec::clear);
        self.stale = true;
        self.head().context = 0;
        self.head().global_context = 0;
    }

    /// Empties the lines of the jump cache that may lead to retired code.
    fn forget_retired(&mut self) {
        let mut pcs = std::mem::take(&mut self.retired_pcs);
        match self
            .engine
            .cache
            .retired
            .since(&mut self.retired_seen, &mut pcs)
        {
            News::Nothing => {}
            News::These if self.entered_pcs.len() < ENTERED => {
                for &pc in pcs.iter().chain(&self.entered_pcs) {
                    self.jumps.forget(pc);
                }
            }
            News::These | News::Everything => self.drop_pointers(),
        }
        self.entered_pcs.clear();
        self.retired_pcs = pcs;
    }

    pub(super) fn drop_pointers_if_retired(&mut self) {
        let mut retired = false;
        self.participant.quiescent(|| retired = true);
        if retired {
            self.forget_retired();
        }
        if retired || self.collecting {
            // The rest is for the next turns.
            self.collecting = self.engine.collector.collect(COLLECTED) == COLLECTED;
        }
    }

    pub(super) fn flush(&mut self, scope: FlushScope) {
        self.device_page = None;
        let tlb = &self.shared.tlb;
        match scope.page {
            None => {
                tlb.flush_all(scope.asid);
                if scope.asid.is_none() {
                    self.fetched.clear();
                }
            }
            Some(page) => tlb.flush_page(page, scope.asid, self.fetched.flush(page)),
        }
        self.stale = true;
        // The table in use may have been replaced, and the running block may go on.
        self.enter_table();
    }
}
