//! Capture files of Ethernet frames in the classic libpcap format (draft-ietf-opsawg-pcap), which every packet
//! analyser reads: a header, then each frame behind its time and length.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use vm_core::Notices;

/// Marks a little-endian file with times in nanoseconds.
const MAGIC_NANOSECONDS: u32 = 0xa1b2_3c4d;
const VERSION: (u16, u16) = (2, 4);
const LINKTYPE_ETHERNET: u32 = 1;
/// Longest frame that is kept whole, in bytes.
const SNAP_BYTES: u32 = 256 * 1024;

/// Writes frames to a capture file.
pub struct PcapWriter<W: Write = BufWriter<File>> {
    out: W,
}

impl PcapWriter {
    /// Creates or truncates the file at `path`.
    ///
    /// # Errors
    /// Those of the host's file system.
    pub fn create(path: &Path) -> io::Result<Self> {
        Self::new(BufWriter::with_capacity(256 * 1024, File::create(path)?))
    }
}

impl<W: Write> PcapWriter<W> {
    /// Starts a capture on `out`.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn new(mut out: W) -> io::Result<Self> {
        let mut header = Vec::with_capacity(24);
        header.extend(MAGIC_NANOSECONDS.to_le_bytes());
        header.extend(VERSION.0.to_le_bytes());
        header.extend(VERSION.1.to_le_bytes());
        header.extend([0; 8]);
        header.extend(SNAP_BYTES.to_le_bytes());
        header.extend(LINKTYPE_ETHERNET.to_le_bytes());
        out.write_all(&header)?;
        out.flush()?;
        Ok(Self { out })
    }

    /// Appends a frame that passed at `time`.
    ///
    /// # Errors
    /// Those of the file; the capture is then incomplete and should be given up.
    pub fn record(&mut self, time: SystemTime, frame: &[u8]) -> io::Result<()> {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
        let kept = frame.len().min(SNAP_BYTES as usize);
        let mut header = [0; 16];
        // The format's seconds are 32 bits and wrap in 2106.
        header[0..4].copy_from_slice(&(since.as_secs() as u32).to_le_bytes());
        header[4..8].copy_from_slice(&since.subsec_nanos().to_le_bytes());
        header[8..12].copy_from_slice(&(kept as u32).to_le_bytes());
        header[12..16].copy_from_slice(&(frame.len() as u32).to_le_bytes());
        self.out.write_all(&header)?;
        self.out.write_all(&frame[..kept])
    }

    /// Hands everything recorded so far to the file.
    ///
    /// # Errors
    /// Those of the file.
    pub fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// A capture of what passes by. When its file takes no more (full disk) it says so and ends; the network goes on.
pub struct Capture {
    writer: Option<PcapWriter>,
    path: PathBuf,
    notices: Notices,
}

impl Capture {
    /// Begins a capture in the file at `path`.
    ///
    /// # Errors
    /// Those of the host's file system.
    pub fn begin(path: PathBuf, notices: Notices) -> io::Result<Self> {
        Ok(Self {
            writer: Some(PcapWriter::create(&path)?),
            path,
            notices,
        })
    }

    /// Notes a frame that passes now.
    pub fn note(&mut self, frame: &[u8]) {
        self.write(|writer| writer.record(SystemTime::now(), frame));
    }

    /// Hands everything noted so far to the file.
    pub fn flush(&mut self) {
        self.write(PcapWriter::flush);
    }

    fn write(&mut self, write: impl FnOnce(&mut PcapWriter) -> io::Result<()>) {
        if let Some(writer) = &mut self.writer
            && let Err(error) = write(writer)
        {
            self.notices.say(&format!(
                "the capture in {} ends: {error}",
                self.path.display()
            ));
            self.writer = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn record_two_frames_yields_the_documented_bytes() {
        let mut bytes = Vec::new();
        let mut pcap = PcapWriter::new(&mut bytes).unwrap();
        let time = UNIX_EPOCH + Duration::new(0x0102_0304, 5);
        pcap.record(time, &[1, 2, 3]).unwrap();
        pcap.record(time, &[]).unwrap();
        let mut expected = vec![0x4d, 0x3c, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        expected.extend([0, 0, 4, 0, 1, 0, 0, 0]);
        expected.extend([4, 3, 2, 1, 5, 0, 0, 0, 3, 0, 0, 0, 3, 0, 0, 0, 1, 2, 3]);
        expected.extend([4, 3, 2, 1, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(bytes, expected);
    }

    #[test]
    fn capture_whose_file_takes_no_more_says_so_once_and_ends() {
        let said = std::sync::Arc::new(parking_lot::Mutex::new(Vec::new()));
        let hear = said.clone();
        let notices = Notices::to(move |line| hear.lock().push(line.to_owned()));
        let full = File::options().write(true).open("/dev/full").unwrap();
        let mut capture = Capture {
            writer: Some(PcapWriter {
                out: BufWriter::new(full),
            }),
            path: "net.pcap".into(),
            notices,
        };
        capture.note(&[1, 2, 3]);
        assert!(
            said.lock().is_empty(),
            "nothing has been handed to the file"
        );
        for _ in 0..3 {
            capture.note(&[1, 2, 3]);
            capture.flush();
        }
        let said = said.lock();
        assert!(
            said.len() == 1 && said[0].starts_with("the capture in net.pcap ends: "),
            "{said:?}"
        );
    }
}
