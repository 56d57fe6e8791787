//! Run with `RUSTFLAGS="--cfg loom" cargo test -p vm-mem --release --lib loom`.

use std::sync::atomic::Ordering;

use loom::sync::atomic::{AtomicBool, AtomicU64};
use loom::thread;

use super::*;

const PAGE: GuestPhysAddr = GuestPhysAddr(0x8000_0000);

/// Remembers that it was told, and clears marks as the block cache does.
struct Told(AtomicBool);

impl CodeWriteObserver for Told {
    fn code_written(&self, page: GuestPhysAddr) {
        assert_eq!(page, PAGE);
        self.0.store(true, Ordering::Relaxed);
    }
}

fn watched() -> (Arc<CodePages>, Arc<Told>) {
    let pages = Arc::new(CodePages::new(PAGE, PAGE_BYTES).unwrap());
    let told = Arc::new(Told(AtomicBool::new(false)));
    assert!(pages.set_observer(told.clone()));
    (pages, told)
}

#[test]
fn loom_store_is_read_behind_the_mark_or_its_writer_sees_the_mark() {
    loom::model(|| {
        let (pages, told) = watched();
        let byte = Arc::new(AtomicU64::new(0));
        let (writers_pages, writers_byte) = (pages.clone(), byte.clone());
        let writer = thread::spawn(move || {
            writers_byte.store(1, Ordering::Relaxed);
            writers_pages.written(PAGE, 1);
        });
        pages.mark(PAGE, 2);
        let read = byte.load(Ordering::Relaxed);
        writer.join().expect("the writer ends");
        let told = told.0.load(Ordering::Relaxed);
        assert!(read == 1 || told, "old code, and nobody knows");
    });
}

#[test]
fn loom_first_mark_of_a_page_is_one_threads_alone() {
    loom::model(|| {
        let (pages, _) = watched();
        let others = pages.clone();
        let other = thread::spawn(move || others.mark(PAGE + GRANULE_BYTES, 2));
        let here = pages.mark(PAGE, 2);
        let there = other.join().expect("the other ends");
        assert!(here != there);
    });
}

#[test]
fn loom_mark_that_is_gone_was_told_of() {
    loom::model(|| {
        let (pages, told) = watched();
        pages.mark(PAGE, 2);
        let writers = pages.clone();
        let writer = thread::spawn(move || writers.written(PAGE, 1));
        pages.mark(PAGE + GRANULE_BYTES, 2);
        writer.join().expect("the writer ends");
        // The writer saw the first granule's mark: it cleared the page's, or those before the second mark.
        assert!(told.0.load(Ordering::Relaxed));
        pages.written(PAGE, 1);
        assert_eq!(pages.has_code(PAGE), pages.hits(PAGE + GRANULE_BYTES));
    });
}

impl CodePages {
    /// Whether the granule at `addr` is marked.
    fn hits(&self, addr: GuestPhysAddr) -> bool {
        let word = self.word(addr).expect("the page is there");
        word.load(Ordering::SeqCst) & granules(addr.page_offset(), 1) != 0
    }
}
