//! Numbers of the memory balloon (VIRTIO 1.3, 5.5).

/// Feature bits (5.5.3).
pub mod feature {
    /// The guest may take pages out of the balloon when it is short of memory.
    pub const DEFLATE_ON_OOM: u64 = 1 << 2;
    /// The guest tells what it fills free pages with.
    pub const PAGE_POISON: u64 = 1 << 4;
    /// The guest reports free pages by itself.
    pub const PAGE_REPORTING: u64 = 1 << 5;
}

/// Offsets of configuration fields (5.5.4), each of 32 bits.
pub mod config {
    /// Pages that the device wants in the balloon.
    pub const NUM_PAGES: u64 = 0;
    /// Pages that are in it; the driver writes it.
    pub const ACTUAL: u64 = 4;
    /// What free pages are filled with; the driver writes it.
    pub const POISON_VAL: u64 = 12;
    /// Bytes of the configuration.
    pub const BYTES: usize = 16;
}

/// Queues that the device can have (5.5.2): inflateq, deflateq, statsq, free_page_vq, reporting_vq.
pub const QUEUES: usize = 5;

/// Bits that a page's number lacks of its address, whatever the guest's own page size is (5.5.6).
pub const PAGE_NUMBER_SHIFT: u32 = 12;
