//! The cache's links, and code that is written while it is translated. The table has four slots here. Run with
//! `RUSTFLAGS="--cfg loom" cargo test -p vm-engine --release --lib loom`.

use loom::sync::atomic::AtomicU64 as Cell;
use loom::thread;
use vm_core::GuestVirtAddr;
use vm_gc::Participant;
use vm_ir::Mode;
use vm_mem::{GuestMemory, Tlb, TlbFill};

use super::*;

const PAGE: GuestPhysAddr = GuestPhysAddr(0x8000_0000);
/// In another granule of the page.
const OTHER: GuestPhysAddr = GuestPhysAddr(0x8000_0800);
const NEXT_PAGE: GuestPhysAddr = GuestPhysAddr(0x8000_1000);
/// The one virtual page of the TLB.
const VIRTUAL: GuestVirtAddr = GuestVirtAddr(0x1000);

fn key(phys_pc: GuestPhysAddr) -> BlockKey {
    BlockKey {
        phys_pc,
        mode: Mode(0),
    }
}

/// What the block at an address was made from, while the caller is online.
fn found(cache: &BlockCache, addr: GuestPhysAddr) -> Option<u64> {
    let block = cache.find(key(addr))?;
    let number = block.guest_insns();
    block.check_alive();
    Some(number)
}

fn cache() -> Arc<BlockCache> {
    Arc::new(BlockCache::new(Arc::new(Collector::new()), 1 << 20))
}

fn insert(cache: &BlockCache, addr: GuestPhysAddr, number: u64) -> Option<u64> {
    let block = CachedBlock::new(key(addr), Code::numbered(number), None);
    let before = cache.invalidated();
    cache.insert(block, before).map(|block| block.guest_insns())
}

/// Explores interleavings with at most `preemptions` of them forced.
fn explore(preemptions: usize, test: impl Fn() + Sync + Send + 'static) {
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(preemptions);
    model.check(test);
}

/// Looks for the block at `PAGE`, which is there all the time, and for the one at `NEXT_PAGE`, which may be.
///
/// Readers are spawned, and whoever changes the list is the first thread: loom remembers only the last access to an
/// atomic, so a change behind a look of its own thread's would hide other threads' looks before it.
fn spawn_reader(cache: &Arc<BlockCache>) -> thread::JoinHandle<Participant> {
    let participant = cache.collector.register();
    let cache = cache.clone();
    thread::spawn(move || {
        participant.online();
        assert_eq!(found(&cache, PAGE), Some(1));
        assert!(matches!(found(&cache, NEXT_PAGE), None | Some(2)));
        participant.offline();
        participant
    })
}

#[test]
fn loom_block_is_found_while_others_are_put_before_it() {
    explore(3, || {
        let cache = cache();
        insert(&cache, PAGE, 1);
        let reader = spawn_reader(&cache);
        assert_eq!(insert(&cache, NEXT_PAGE, 2), Some(2));
        drop(reader.join().expect("the reader ends"));
        assert_eq!(found(&cache, NEXT_PAGE), Some(2));
    });
}

#[test]
fn loom_two_that_insert_one_block_get_the_same() {
    explore(3, || {
        let cache = cache();
        let adding = cache.clone();
        let adder = thread::spawn(move || insert(&adding, PAGE, 1));
        let here = insert(&cache, PAGE, 2);
        let there = adder.join().expect("it ends");
        assert!(here.is_some() && here == there);
        assert_eq!(found(&cache, PAGE), here);
        assert_eq!(cache.stats().blocks, 1);
    });
}

#[test]
fn loom_block_is_found_while_the_one_before_it_is_removed_and_dropped() {
    explore(3, || {
        let cache = cache();
        insert(&cache, PAGE, 1);
        insert(&cache, NEXT_PAGE, 2);
        let reader = spawn_reader(&cache);
        cache.forget(key(NEXT_PAGE));
        cache.collector.collect(8);
        drop(reader.join().expect("the reader ends"));
        assert_eq!(found(&cache, NEXT_PAGE), None);
        assert_eq!(found(&cache, PAGE), Some(1));
    });
}

#[test]
fn loom_block_that_is_evicted_is_found_whole_or_not_at_all() {
    explore(3, || {
        let cache = Arc::new(BlockCache::new(Arc::new(Collector::new()), 1));
        insert(&cache, PAGE, 1);
        let participant = cache.collector.register();
        let reading = cache.clone();
        let reader = thread::spawn(move || {
            participant.online();
            assert!(matches!(found(&reading, PAGE), None | Some(1)));
            participant.offline();
            participant
        });
        assert_eq!(insert(&cache, NEXT_PAGE, 2), Some(2));
        cache.collector.collect(8);
        drop(reader.join().expect("the reader ends"));
        assert_eq!(found(&cache, PAGE), None);
        assert_eq!(found(&cache, NEXT_PAGE), Some(2));
    });
}

#[test]
fn loom_block_is_found_while_the_table_is_made_anew() {
    explore(3, || {
        let cache = cache();
        insert(&cache, PAGE, 1);
        insert(&cache, OTHER, 3);
        let reader = spawn_reader(&cache);
        // Half of the four slots are used.
        assert_eq!(insert(&cache, NEXT_PAGE, 2), Some(2));
        cache.collector.collect(8);
        drop(reader.join().expect("the reader ends"));
        assert_eq!(found(&cache, NEXT_PAGE), Some(2));
    });
}

/// A page of code with one word that is written and one virtual CPU's TLB.
struct Machine {
    cache: Arc<BlockCache>,
    memory: GuestMemory,
    word: Cell,
    tlb: Tlb,
}

impl Machine {
    fn new() -> Arc<Self> {
        let cache = cache();
        let memory = GuestMemory::new(&[(PAGE, PAGE_BYTES)]).expect("host memory");
        let observer: Arc<dyn CodeWriteObserver> = cache.clone();
        assert!(memory.set_code_observer(&observer));
        Arc::new(Self {
            cache,
            memory,
            word: Cell::new(0),
            tlb: Tlb::new(),
        })
    }

    fn code(&self) -> &CodePages {
        self.memory.find(PAGE).expect("the page is there").1
    }

    /// As a virtual CPU does it in `fetch`.
    fn translate(&self, addr: GuestPhysAddr) {
        let before = self.cache.invalidated();
        if self.cache.mark(self.code(), addr) {
            self.tlb.protect(PAGE);
            self.cache.note_protected(PAGE);
        }
        let read = self.word.load(Ordering::Relaxed);
        let block = CachedBlock::new(key(addr), Code::numbered(read), None);
        self.cache.insert(block, before);
    }

    /// A store that the TLB does not take.
    fn store_slowly(&self, addr: GuestPhysAddr) {
        self.word.store(1, Ordering::Relaxed);
        self.code().written(addr, 1);
    }

    /// No block is of what the word was before it was written.
    fn check(&self, addr: GuestPhysAddr) {
        assert!(matches!(found(&self.cache, addr), None | Some(1)));
    }
}

#[test]
fn loom_code_written_while_it_is_translated_is_not_kept() {
    explore(3, || {
        let machine = Machine::new();
        // The page has code elsewhere, and has had it for long.
        machine.cache.mark(machine.code(), OTHER);
        machine.cache.note_protected(PAGE);
        machine.cache.sync();
        let translators = machine.clone();
        let translator = thread::spawn(move || translators.translate(PAGE));
        machine.store_slowly(PAGE);
        machine.cache.sync();
        translator.join().expect("the translator ends");
        machine.check(PAGE);
    });
}

#[test]
fn loom_code_written_elsewhere_on_its_page_is_not_kept_without_its_mark() {
    explore(3, || {
        let machine = Machine::new();
        machine.cache.mark(machine.code(), OTHER);
        machine.cache.note_protected(PAGE);
        machine.cache.sync();
        let translators = machine.clone();
        let translator = thread::spawn(move || translators.translate(PAGE));
        machine.code().written(OTHER, 1);
        translator.join().expect("the translator ends");
        let kept = found(&machine.cache, PAGE);
        machine.store_slowly(PAGE);
        machine.check(PAGE);
        assert!(kept.is_none_or(|number| number == 0));
    });
}

#[test]
fn loom_old_code_of_a_page_whose_marks_are_gone_is_gone() {
    explore(3, || {
        let machine = Machine::new();
        machine.translate(PAGE);
        machine.cache.sync();
        machine.translate(PAGE);
        assert_eq!(found(&machine.cache, PAGE), Some(0));
        let others = machine.clone();
        let other = thread::spawn(move || {
            if others.code().has_code(PAGE) {
                return others.store_slowly(PAGE);
            }
            // Stores hit the TLB again, so nobody looks for marks.
            others.word.store(1, Ordering::Relaxed);
            others.cache.sync();
            others.check(PAGE);
        });
        machine.store_slowly(PAGE);
        other.join().expect("the other ends");
        machine.check(PAGE);
    });
}

/// A store through the TLB's write tag, or slowly when there is none; then `fence.i`, and what it is for.
fn store_and_synchronise(machine: &Machine, participant: &Participant) {
    let table = machine.tlb.enter(0, 0).table;
    // SAFETY: the table is the only one, and nobody gives it another place.
    let set = unsafe { &*table.sets };
    let mut tags = set.ways.iter().map(|way| way.write.load(Ordering::Relaxed));
    if tags.any(|tag| tag == VIRTUAL.raw()) {
        machine.word.store(1, Ordering::Relaxed);
    } else {
        machine.store_slowly(PAGE);
    }
    participant.quiescent(|| ());
    machine.cache.sync();
    machine.check(PAGE);
}

#[test]
fn loom_store_by_an_old_write_tag_is_seen_after_synchronisation() {
    explore(3, || {
        let machine = Machine::new();
        machine.tlb.enter(0, 0);
        let fill = TlbFill {
            addr: VIRTUAL,
            phys: PAGE,
            host: 0,
            read: true,
            write: true,
            code: false,
            page_bytes: PAGE_BYTES,
        };
        machine.tlb.fill(0, 0, fill, || true);
        let participant = machine.cache.collector.register();
        participant.online();
        let owners = machine.clone();
        let owner = thread::spawn(move || {
            store_and_synchronise(&owners, &participant);
            participant
        });
        machine.translate(PAGE);
        drop(owner.join().expect("the owner ends"));
        machine.check(PAGE);
    });
}
