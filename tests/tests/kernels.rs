//! Debian's kernel in other containers than the one that it comes in.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use vm_tests::{Emulator, Guest, Launch, boot_limit, exit_code, guests_or_skip, limit};

const LINUX: &[&str] = &["riscv64/Image", "riscv64/initramfs.cpio.gz"];
/// Where the payload is; real ones are behind the PE headers, too.
const PAYLOAD_OFFSET: u32 = 0x1000;

/// An EFI zboot file (Linux `drivers/firmware/efi/libstub/zboot-header.S`) around a kernel.
fn zboot(kernel: &[u8]) -> Vec<u8> {
    let mut payload = GzEncoder::new(Vec::new(), Compression::fast());
    payload.write_all(kernel).expect("memory");
    let payload = payload.finish().expect("memory");
    let mut file = vec![0; PAYLOAD_OFFSET as usize];
    file[0..2].copy_from_slice(b"MZ");
    file[4..8].copy_from_slice(b"zimg");
    file[8..12].copy_from_slice(&PAYLOAD_OFFSET.to_le_bytes());
    file[12..16].copy_from_slice(&(payload.len() as u32).to_le_bytes());
    file[24..28].copy_from_slice(b"gzip");
    file.extend(payload);
    // The section is padded behind the payload.
    file.resize(file.len().next_multiple_of(0x200), 0);
    file
}

#[test]
fn zboot_kernel_boots_to_userspace() {
    let Some(cache) = guests_or_skip(LINUX) else {
        return;
    };
    let dir = tempfile::tempdir().expect("a temporary directory");
    let kernel = dir.path().join("vmlinuz.efi");
    let image = std::fs::read(cache.file("riscv64/Image")).expect("the kernel");
    std::fs::write(&kernel, zboot(&image)).expect("a writable temporary directory");
    let launch = Launch {
        kernel: Some(kernel),
        ..Launch::riscv64_linux(&cache).with_words("order=poweroff")
    };
    let mut guest = Guest::start_on(Emulator::VmCli, &launch, &cache);
    guest.wait_for("guest: userspace", boot_limit());
    guest.wait_for("guest: poweroff", boot_limit());
    assert_eq!(guest.exit_code(limit(60)), exit_code::POWER_OFF);
}
