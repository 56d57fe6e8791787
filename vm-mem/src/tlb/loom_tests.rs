//! The owner's changes against [`Tlb::protect`] of another thread. Tables have one set here. Run with
//! `RUSTFLAGS="--cfg loom" cargo test -p vm-mem --release --lib loom`.

use std::sync::Arc;

use loom::thread;
use vm_core::PAGE_BYTES;

use super::*;
use crate::code::CodePages;

const RAM: GuestPhysAddr = GuestPhysAddr(0x8000_0000);

struct Machine {
    tlb: Tlb,
    code: CodePages,
}

impl Machine {
    fn new() -> Arc<Self> {
        let machine = Self {
            tlb: Tlb::new(),
            code: CodePages::new(RAM, 8 * PAGE_BYTES).unwrap(),
        };
        machine.tlb.enter(1, 0);
        Arc::new(machine)
    }

    /// The owner's way to a page's translation, each at its own virtual address.
    fn fill(&self, page: u64) {
        let phys = RAM + page * PAGE_BYTES;
        let fill = TlbFill {
            addr: GuestVirtAddr(page * PAGE_BYTES),
            phys,
            host: 0x7000_0000_0000,
            read: true,
            write: true,
            code: self.code.has_code(phys),
            page_bytes: PAGE_BYTES,
        };
        self.tlb.fill(1, 0, fill, || !self.code.has_code(phys));
    }

    /// What a translator does before it reads code.
    fn get_code(&self, page: u64) {
        let phys = RAM + page * PAGE_BYTES;
        if self.code.mark(phys, 2) {
            self.tlb.protect(phys);
        }
    }

    /// Whether stores to a page hit, in any way of its set.
    fn hits(&self, page: u64) -> bool {
        let spaces = self.tlb.lock();
        let table = spaces[0].tables[0].as_ref().expect("it was entered");
        let addr = GuestVirtAddr(page * PAGE_BYTES);
        let ways = table.ways(addr).iter();
        let tags = ways.map(|way| way.write.load(Ordering::SeqCst));
        tags.into_iter().any(|tag| tag == addr.raw())
    }

    /// No page with code has a write tag.
    fn check(&self) {
        for page in 0..8 {
            let code = self.code.has_code(RAM + page * PAGE_BYTES);
            assert!(!(code && self.hits(page)), "page {page} is written unseen");
        }
    }
}

/// Runs `owner` on the machine that `prepare` leaves, while another thread gets code from page 0.
fn explore(prepare: fn(&Machine), owner: fn(&Machine)) {
    loom::model(move || {
        let machine = Machine::new();
        prepare(&machine);
        let owners = machine.clone();
        let thread = thread::spawn(move || owner(&owners));
        machine.get_code(0);
        thread.join().expect("the owner ends");
        machine.check();
    });
}

#[test]
fn loom_fill_of_a_page_that_gets_code_leaves_no_write_tag() {
    explore(|_| (), |machine| machine.fill(0));
}

#[test]
fn loom_page_that_gets_code_while_it_moves_to_the_second_way_keeps_no_write_tag() {
    explore(|machine| machine.fill(0), |machine| machine.fill(1));
}

#[test]
fn loom_page_that_gets_code_while_its_table_grows_keeps_no_write_tag() {
    explore(
        |machine| {
            for page in [1, 2, 3, 4] {
                machine.fill(page);
            }
            machine.fill(0);
        },
        |machine| {
            let before = machine.tlb.stats().resizes;
            machine.fill(6);
            assert_ne!(machine.tlb.stats().resizes, before, "it grows");
        },
    );
}

#[test]
fn loom_write_tag_given_back_while_the_page_gets_code_anew_is_taken() {
    explore(
        |machine| {
            machine.fill(0);
            machine.get_code(0);
        },
        |machine| {
            // A store to the code, and the owner's way back to writing without a slow path.
            machine.code.written(RAM, 1);
            if !machine.code.has_code(RAM) {
                let writable = || !machine.code.has_code(RAM);
                machine.tlb.unprotect(1, 0, GuestVirtAddr(0), writable);
            }
        },
    );
}

#[test]
fn loom_flush_and_fill_of_a_page_that_gets_code_leave_no_write_tag() {
    explore(
        |machine| machine.fill(0),
        |machine| {
            machine.tlb.flush_all(None);
            machine.fill(0);
        },
    );
}
