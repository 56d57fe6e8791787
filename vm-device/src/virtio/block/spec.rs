//! Numbers of the block device (VIRTIO 1.3, 5.2).

use virtio_bindings::virtio_blk as blk;

/// Feature bits (5.2.3).
pub mod feature {
    use super::blk;
    /// `seg_max` is valid.
    pub const SEG_MAX: u64 = 1 << blk::VIRTIO_BLK_F_SEG_MAX;
    /// `geometry` is valid.
    pub const GEOMETRY: u64 = 1 << blk::VIRTIO_BLK_F_GEOMETRY;
    /// The disk is read-only.
    pub const RO: u64 = 1 << blk::VIRTIO_BLK_F_RO;
    /// `blk_size` is valid.
    pub const BLK_SIZE: u64 = 1 << blk::VIRTIO_BLK_F_BLK_SIZE;
    /// Flush requests are understood.
    pub const FLUSH: u64 = 1 << blk::VIRTIO_BLK_F_FLUSH;
    /// The fields from `physical_block_exp` to `opt_io_size` are valid.
    pub const TOPOLOGY: u64 = 1 << blk::VIRTIO_BLK_F_TOPOLOGY;
    /// The driver may switch between write-back and write-through.
    pub const CONFIG_WCE: u64 = 1 << blk::VIRTIO_BLK_F_CONFIG_WCE;
    /// Discard requests are understood.
    pub const DISCARD: u64 = 1 << blk::VIRTIO_BLK_F_DISCARD;
    /// Write-zeroes requests are understood.
    pub const WRITE_ZEROES: u64 = 1 << blk::VIRTIO_BLK_F_WRITE_ZEROES;
}

/// Offsets of configuration fields (5.2.4).
pub mod config {
    /// Disk size in sectors, 64 bits.
    pub const CAPACITY: usize = 0;
    /// Data segments in a request, at most.
    pub const SEG_MAX: usize = 12;
    /// Cylinders, 16 bits.
    pub const CYLINDERS: usize = 16;
    /// Heads, one byte.
    pub const HEADS: usize = 18;
    /// Sectors in a track, one byte.
    pub const TRACK_SECTORS: usize = 19;
    /// Block size in bytes.
    pub const BLK_SIZE: usize = 20;
    /// One byte: 2 to the power of it is the number of blocks in a physical one.
    pub const PHYSICAL_BLOCK_EXP: usize = 24;
    /// Blocks of a good smallest access, 16 bits.
    pub const MIN_IO_SIZE: usize = 26;
    /// One byte: 1 for write-back, 0 for write-through.
    pub const WRITEBACK: usize = 32;
    /// Sectors in a discard segment, at most.
    pub const MAX_DISCARD_SECTORS: usize = 36;
    /// Segments in a discard request, at most.
    pub const MAX_DISCARD_SEG: usize = 40;
    /// What discarded ranges are best aligned to, in sectors.
    pub const DISCARD_SECTOR_ALIGNMENT: usize = 44;
    /// Sectors in a write-zeroes segment, at most.
    pub const MAX_WRITE_ZEROES_SECTORS: usize = 48;
    /// Segments in a write-zeroes request, at most.
    pub const MAX_WRITE_ZEROES_SEG: usize = 52;
    /// One byte: whether a write-zeroes request may give storage back.
    pub const WRITE_ZEROES_MAY_UNMAP: usize = 56;
    /// Bytes of the configuration.
    pub const BYTES: usize = 60;
}

/// Request types (5.2.6).
pub mod request {
    use super::blk;
    /// Read.
    pub const IN: u32 = blk::VIRTIO_BLK_T_IN;
    /// Write.
    pub const OUT: u32 = blk::VIRTIO_BLK_T_OUT;
    /// Make writes durable.
    pub const FLUSH: u32 = blk::VIRTIO_BLK_T_FLUSH;
    /// Read the serial number.
    pub const GET_ID: u32 = blk::VIRTIO_BLK_T_GET_ID;
    /// Forget what ranges hold.
    pub const DISCARD: u32 = blk::VIRTIO_BLK_T_DISCARD;
    /// Make ranges read as zero.
    pub const WRITE_ZEROES: u32 = blk::VIRTIO_BLK_T_WRITE_ZEROES;
    /// Bytes of a request's header.
    pub const HEADER_BYTES: usize = 16;
    /// Bytes of a discard or write-zeroes segment.
    pub const SEGMENT_BYTES: usize = 16;
    /// Flag of a write-zeroes segment: the device may deallocate the range.
    pub const SEGMENT_UNMAP: u32 = 1 << 0;
}

/// Bytes of a serial number (5.2.6.1).
pub const ID_BYTES: usize = 20;

/// Outcome of a request, its last byte (5.2.6).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Status {
    /// Done.
    Ok = blk::VIRTIO_BLK_S_OK as u8,
    /// Failed.
    IoError = blk::VIRTIO_BLK_S_IOERR as u8,
    /// Not understood.
    Unsupported = blk::VIRTIO_BLK_S_UNSUPP as u8,
}
