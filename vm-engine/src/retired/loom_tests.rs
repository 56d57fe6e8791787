//! A jump cache of one line against somebody who throws its block away. Run with
//! `RUSTFLAGS="--cfg loom" cargo test -p vm-engine --release --lib loom`.

use std::sync::Arc;

use loom::thread;
use vm_core::GuestPhysAddr;
use vm_gc::{Collector, Participant};
use vm_ir::{BlockKey, Mode};

use super::*;
use crate::cache::{BlockCache, CachedBlock};
use crate::code::Code;

const KEY: BlockKey = BlockKey {
    phys_pc: GuestPhysAddr(0x8000_0000),
    mode: Mode(0),
};
const PC: u64 = 0x1000;

/// What a virtual CPU has of its jump cache and does with it.
struct VirtualCpu {
    participant: Participant,
    line: Option<&'static CachedBlock>,
    entered: bool,
    seen: u64,
}

impl VirtualCpu {
    fn new(cache: &BlockCache, collector: &Arc<Collector>) -> Self {
        let mut vcpu = Self {
            participant: collector.register(),
            line: None,
            entered: false,
            seen: 0,
        };
        vcpu.participant.online();
        vcpu.turn(cache, collector);
        vcpu
    }

    /// As `Vcpu::find`, then runs the block.
    fn run(&mut self, cache: &BlockCache, pc: u64) {
        if self.line.is_none()
            && let Some(block) = cache.find(KEY)
        {
            block.entered.enter(pc);
            self.entered = true;
            self.line = Some(block);
        }
        if let Some(block) = self.line {
            block.check_alive();
        }
    }

    /// As `Vcpu::drop_pointers_if_retired`.
    fn turn(&mut self, cache: &BlockCache, collector: &Collector) {
        let mut retired = false;
        self.participant.quiescent(|| retired = true);
        if retired {
            let mut pcs = Vec::new();
            let forget = match cache.retired.since(&mut self.seen, &mut pcs) {
                News::Nothing => false,
                News::These => self.entered || pcs.contains(&PC),
                News::Everything => true,
            };
            if forget {
                self.line = None;
            }
            self.entered = false;
            collector.collect(8);
        }
    }
}

/// Throws the block away while a virtual CPU runs it, which drops it when that is allowed. `before` prepares.
fn explore(before: fn(&CachedBlock)) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(move || {
        let collector = Arc::new(Collector::new());
        let cache = Arc::new(BlockCache::new(collector.clone(), 1 << 20));
        let block = CachedBlock::new(KEY, Code::numbered(0), None);
        let block = cache.insert(block, cache.invalidated());
        before(block.expect("nothing was written"));
        let mut vcpu = VirtualCpu::new(&cache, &collector);
        let (running, dropping) = (cache.clone(), collector.clone());
        let runner = thread::spawn(move || {
            for _ in 0..3 {
                vcpu.run(&running, PC);
                vcpu.turn(&running, &dropping);
            }
            vcpu.run(&running, PC);
            vcpu.participant
        });
        // As when other code goes: what was entered before is known by its note alone.
        collector.now();
        cache.forget(KEY);
        drop(runner.join().expect("the virtual CPU ends"));
    });
}

#[test]
fn loom_line_of_a_block_that_is_dropped_was_emptied() {
    explore(|_| ());
}

#[test]
fn loom_line_of_a_block_with_two_addresses_was_emptied() {
    explore(|block| block.entered.enter(PC + 0x1000));
}
