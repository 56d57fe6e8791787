//! Registers of a VGA (IBM VGA Technical Reference, "Video Subsystem") and of Bochs' extensions (Bochs `vbe_display` and
//! QEMU `docs/specs/standard-vga.rst`).

/// Vendor and device of QEMU's standard VGA.
pub const ID: (u16, u16) = (0x1234, 0x1111);
/// Revision, which says that the memory-mapped registers are there.
pub const REVISION: u8 = 2;
/// Class of a VGA.
pub const CLASS: u32 = 0x03_0000;
/// Base address register of the framebuffer.
pub const FRAMEBUFFER_BAR: u8 = 0;
/// Bytes of video memory.
pub const MEMORY_BYTES: usize = 16 << 20;
/// Base address register of the memory-mapped registers.
pub const REGISTERS_BAR: u8 = 2;
/// Bytes behind it.
pub const REGISTERS_BAR_BYTES: u64 = 0x1000;
/// Where the ports from 3C0h on are behind it.
pub const REGISTERS_PORTS: u64 = 0x400;
/// Where the extensions' registers are behind it, two bytes each.
pub const REGISTERS_EXTENSIONS: u64 = 0x500;

/// First port of the VGA.
pub const PORT: u64 = 0x3b0;
/// Ports of the VGA.
pub const RANGE_BYTES: u64 = 0x30;
/// First port of the extensions: index, then data, two bytes each, the data one byte further.
pub const EXTENSION_PORT: u64 = 0x1ce;
/// Ports of the extensions.
pub const EXTENSION_RANGE_BYTES: u64 = 3;
/// First address of the memory below 1 MiB.
pub const WINDOW_BASE: u64 = 0xa_0000;
/// Bytes of it.
pub const WINDOW_BYTES: u64 = 0x2_0000;

/// Indices of the extensions.
pub mod extension {
    /// Who it is.
    pub const ID: usize = 0;
    /// Pixels in a line.
    pub const WIDTH: usize = 1;
    /// Lines.
    pub const HEIGHT: usize = 2;
    /// Bits of a pixel.
    pub const DEPTH: usize = 3;
    /// Enables.
    pub const ENABLE: usize = 4;
    /// The 64 KiB that the window shows.
    pub const BANK: usize = 5;
    /// Pixels in a line of memory.
    pub const VIRTUAL_WIDTH: usize = 6;
    /// Lines of memory, read-only.
    pub const VIRTUAL_HEIGHT: usize = 7;
    /// First pixel that is shown.
    pub const X: usize = 8;
    /// First line that is shown.
    pub const Y: usize = 9;
    /// Video memory in units of 64 KiB.
    pub const MEMORY: usize = 10;
    /// How many there are.
    pub const COUNT: usize = 11;
    /// The newest version.
    pub const ID_VALUE: u16 = 0xb0c5;
    /// Enable: on.
    pub const ON: u16 = 1 << 0;
    /// Enable: width, height and depth read as the most there can be.
    pub const CAPABILITIES: u16 = 1 << 1;
    /// Enable: colours of the palette have eight bits.
    pub const WIDE_PALETTE: u16 = 1 << 5;
    /// Enable: memory is not cleared.
    pub const KEEP_MEMORY: u16 = 1 << 7;
    /// The most there can be.
    pub const MOST: [u16; 3] = [2560, 1600, 32];
}

/// Indices of the sequencer.
pub mod sequencer {
    /// Planes that are written.
    pub const MAP_MASK: usize = 2;
    /// Fonts.
    pub const FONTS: usize = 3;
    /// Memory mode.
    pub const MODE: usize = 4;
    /// Mode: addresses go on from plane to plane.
    pub const CHAIN_4: u8 = 1 << 3;
    /// Mode: even and odd addresses are not of different planes.
    pub const NOT_ODD_EVEN: u8 = 1 << 2;
}
/// Indices of the graphics controller.
pub mod graphics {
    /// Colour that is set or reset.
    pub const SET_RESET: usize = 0;
    /// Planes in which it is.
    pub const ENABLE_SET_RESET: usize = 1;
    /// Colour that reads compare with.
    pub const COMPARE: usize = 2;
    /// Rotation and logical operation.
    pub const ROTATE: usize = 3;
    /// The plane that is read.
    pub const READ_PLANE: usize = 4;
    /// Write mode, read mode, shift mode.
    pub const MODE: usize = 5;
    /// Graphics, and where the window is.
    pub const MISCELLANEOUS: usize = 6;
    /// Planes that are compared.
    pub const DO_COMPARE: usize = 7;
    /// Bits that are written.
    pub const BIT_MASK: usize = 8;
}
/// Indices of the CRT controller.
pub mod crtc {
    /// Characters in a line, less one.
    pub const WIDTH: usize = 0x01;
    /// High bits of what has more than eight.
    pub const OVERFLOW: usize = 0x07;
    /// Lines of a character, less one; doubled lines.
    pub const CHARACTER: usize = 0x09;
    /// First line of the cursor, and whether there is none.
    pub const CURSOR_START: usize = 0x0a;
    /// Last line of the cursor.
    pub const CURSOR_END: usize = 0x0b;
    /// First address that is shown, high and low.
    pub const START: usize = 0x0c;
    /// Address of the cursor, high and low.
    pub const CURSOR: usize = 0x0e;
    /// The last line that is shown.
    pub const HEIGHT: usize = 0x12;
    /// Half of the words in a line of memory.
    pub const OFFSET: usize = 0x13;
    /// Protects the first eight registers, in bit 7.
    pub const PROTECT: usize = 0x11;
    /// How many there are.
    pub const COUNT: usize = 0x19;
}
/// Indices of the attribute controller.
pub mod attribute {
    /// Graphics, palette of 256.
    pub const MODE: usize = 0x10;
    /// High bits of colours.
    pub const COLOUR_SELECT: usize = 0x14;
    /// How many there are.
    pub const COUNT: usize = 0x15;
    /// Index: the palette is the display's, not the processor's.
    pub const PALETTE_ON: u8 = 1 << 5;
}
