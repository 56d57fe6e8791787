//! The newc cpio format of initramfs archives (Linux `driver-api/early-userspace/buffer-format`):
//! each entry is a 110-byte header of hexadecimal fields, a name and the contents, padded to 4 bytes.

/// File type bits of a mode (stat(2)).
const TYPE_FILE: u32 = 0o100_000;
const TYPE_DIRECTORY: u32 = 0o040_000;
const TYPE_LINK: u32 = 0o120_000;
const TYPE_CHARACTER_DEVICE: u32 = 0o020_000;

const TRAILER: &str = "TRAILER!!!";
const MAGIC: &str = "070701";

/// Writes an archive in memory. Entries appear in the order of the calls, so a directory has to come
/// before what it holds; every file belongs to root and has time 0.
#[derive(Debug, Default)]
pub struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

impl Archive {
    /// Adds a directory; `path` has no leading slash, here and below.
    pub fn directory(&mut self, path: &str, permissions: u32) {
        self.entry(path, TYPE_DIRECTORY | permissions, (0, 0), &[]);
    }

    /// Adds a regular file.
    pub fn file(&mut self, path: &str, permissions: u32, contents: &[u8]) {
        self.entry(path, TYPE_FILE | permissions, (0, 0), contents);
    }

    /// Adds a symbolic link to `target`.
    pub fn link(&mut self, path: &str, target: &str) {
        self.entry(path, TYPE_LINK | 0o777, (0, 0), target.as_bytes());
    }

    /// Adds a character device node.
    pub fn character_device(&mut self, path: &str, permissions: u32, major: u32, minor: u32) {
        self.entry(
            path,
            TYPE_CHARACTER_DEVICE | permissions,
            (major, minor),
            &[],
        );
    }

    /// Ends the archive and returns it, uncompressed.
    pub fn finish(mut self) -> Vec<u8> {
        self.entry(TRAILER, 0, (0, 0), &[]);
        self.bytes
    }

    fn entry(&mut self, path: &str, mode: u32, device: (u32, u32), contents: &[u8]) {
        self.entries += 1;
        let links = 1;
        let fields = [
            self.entries,
            mode,
            0,
            0,
            links,
            0,
            u32::try_from(contents.len()).expect("invariant: initramfs files are below 4 GiB"),
            0,
            0,
            device.0,
            device.1,
            path.len() as u32 + 1,
            0,
        ];
        self.bytes.extend_from_slice(MAGIC.as_bytes());
        for field in fields {
            self.bytes
                .extend_from_slice(format!("{field:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(path.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(contents);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finish_archive_lists_back_with_types_and_contents() {
        let mut archive = Archive::default();
        archive.directory("dev", 0o755);
        archive.character_device("dev/console", 0o600, 5, 1);
        archive.file("init", 0o755, b"#!/bin/sh\n");
        archive.link("sh", "busybox");
        let bytes = archive.finish();

        let field = |at: usize, index: usize| {
            let from = at + 6 + 8 * index;
            u32::from_str_radix(std::str::from_utf8(&bytes[from..from + 8]).unwrap(), 16).unwrap()
        };
        let mut at = 0;
        let mut seen = Vec::new();
        while at < bytes.len() {
            assert_eq!(&bytes[at..at + 6], MAGIC.as_bytes());
            let (mode, size, name_bytes) = (field(at, 1), field(at, 6), field(at, 11));
            let name_at = at + 110;
            let name = &bytes[name_at..name_at + name_bytes as usize - 1];
            let data_at = (name_at + name_bytes as usize).next_multiple_of(4);
            let data = &bytes[data_at..data_at + size as usize];
            seen.push((
                String::from_utf8_lossy(name).into_owned(),
                mode,
                data.to_vec(),
                (field(at, 9), field(at, 10)),
            ));
            at = (data_at + size as usize).next_multiple_of(4);
        }
        type Entry = (&'static str, u32, &'static [u8], (u32, u32));
        let expected: [Entry; 5] = [
            ("dev", 0o040_755, b"", (0, 0)),
            ("dev/console", 0o020_600, b"", (5, 1)),
            ("init", 0o100_755, b"#!/bin/sh\n", (0, 0)),
            ("sh", 0o120_777, b"busybox", (0, 0)),
            (TRAILER, 0, b"", (0, 0)),
        ];
        assert_eq!(seen.len(), expected.len());
        for (got, want) in seen.iter().zip(expected) {
            assert_eq!((got.0.as_str(), got.1, got.2.as_slice(), got.3), want);
        }
    }
}
