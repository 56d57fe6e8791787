//! DBCN: the debug console (SBI, "Debug Console Extension").

use vm_core::GuestPhysAddr;

use super::{Reply, Request, SbiError};

pub(super) const EID: u64 = 0x4442_434e;

const CONSOLE_WRITE: u64 = 0;
const CONSOLE_READ: u64 = 1;
const CONSOLE_WRITE_BYTE: u64 = 2;

/// Most bytes that one call moves; the caller sees a partial transfer. It bounds the time that a hart spends
/// in here, and is larger than any message of a kernel.
const MAX_BYTES: u64 = 64 << 10;
/// Bytes that are copied at once.
const CHUNK_BYTES: usize = 4096;

pub(super) fn handle(request: &Request<'_>) -> Result<Reply, SbiError> {
    let moved = match request.call.function {
        CONSOLE_WRITE => write(request, shared_memory(request)?)?,
        CONSOLE_READ => read(request, shared_memory(request)?)?,
        CONSOLE_WRITE_BYTE => {
            let byte = [request.arg(0) as u8];
            if request.host.console_write(&byte) == 0 {
                return Err(SbiError::Failed);
            }
            0
        }
        _ => return Err(SbiError::NotSupported),
    };
    Ok(Reply::Value(moved))
}

/// RAM that the caller shares: all of it must be RAM (SBI, "Shared memory physical address range parameter").
struct Shared {
    base: GuestPhysAddr,
    bytes: u64,
}

fn shared_memory(request: &Request<'_>) -> Result<Shared, SbiError> {
    let (bytes, low, high) = (request.arg(0), request.arg(1), request.arg(2));
    let base = GuestPhysAddr(low);
    let in_ram = bytes == 0 || request.host.memory().host_range(base, bytes).is_some();
    if high != 0 || !in_ram {
        return Err(SbiError::InvalidParam);
    }
    Ok(Shared {
        base,
        bytes: bytes.min(MAX_BYTES),
    })
}

fn write(request: &Request<'_>, shared: Shared) -> Result<u64, SbiError> {
    let mut chunk = [0; CHUNK_BYTES];
    let mut done = 0;
    while done < shared.bytes {
        let piece = &mut chunk[..(shared.bytes - done).min(CHUNK_BYTES as u64) as usize];
        request
            .host
            .memory()
            .read(shared.base + done, piece)
            .map_err(|_| SbiError::Failed)?;
        let taken = request.host.console_write(piece).min(piece.len());
        done += taken as u64;
        if taken < piece.len() {
            break;
        }
    }
    Ok(done)
}

fn read(request: &Request<'_>, shared: Shared) -> Result<u64, SbiError> {
    let mut chunk = [0; CHUNK_BYTES];
    let mut done = 0;
    while done < shared.bytes {
        let piece = &mut chunk[..(shared.bytes - done).min(CHUNK_BYTES as u64) as usize];
        let got = request.host.console_read(piece).min(piece.len());
        request
            .host
            .memory()
            .write(shared.base + done, &piece[..got])
            .map_err(|_| SbiError::Failed)?;
        done += got as u64;
        if got < piece.len() {
            break;
        }
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sbi::testing::{FAILED, INVALID_PARAM, NOT_SUPPORTED, RAM_BASE, RAM_BYTES, Rig};

    #[test]
    fn console_write_shows_memory_and_counts() {
        let rig = Rig::new(1);
        let text: Vec<u8> = (0..10_000_u32).map(|i| i as u8).collect();
        rig.memory()
            .write(GuestPhysAddr(RAM_BASE + 0x1234), &text)
            .unwrap();
        assert_eq!(
            rig.call(0, EID, 0, &[10_000, RAM_BASE + 0x1234, 0]),
            (0, 10_000)
        );
        assert_eq!(rig.console_output(), text);
    }

    #[test]
    fn console_write_reports_what_a_slow_console_took() {
        let rig = Rig::new(1);
        rig.limit_console(5000);
        assert_eq!(rig.call(0, EID, 0, &[9000, RAM_BASE, 0]), (0, 5000));
        assert_eq!(rig.call(0, EID, 0, &[9000, RAM_BASE, 0]), (0, 0));
        assert_eq!(rig.call(0, EID, 2, &[65]), (FAILED, 0));
    }

    #[test]
    fn console_write_is_bounded_per_call() {
        let rig = Rig::new(1);
        assert_eq!(
            rig.call(0, EID, 0, &[RAM_BYTES, RAM_BASE, 0]),
            (0, MAX_BYTES)
        );
    }

    #[test]
    fn console_read_fills_memory_with_what_was_typed() {
        let rig = Rig::new(1);
        rig.type_in(b"root\n");
        assert_eq!(rig.call(0, EID, 1, &[3, RAM_BASE, 0]), (0, 3));
        assert_eq!(rig.call(0, EID, 1, &[100, RAM_BASE + 3, 0]), (0, 2));
        assert_eq!(rig.call(0, EID, 1, &[100, RAM_BASE + 3, 0]), (0, 0));
        let mut bytes = [0; 8];
        rig.memory()
            .read(GuestPhysAddr(RAM_BASE), &mut bytes)
            .unwrap();
        assert_eq!(&bytes, b"root\n\0\0\0");
    }

    #[test]
    fn memory_outside_ram_is_invalid_and_untouched() {
        let rig = Rig::new(1);
        rig.type_in(b"x");
        let end = RAM_BASE + RAM_BYTES;
        let bad = [
            [1, end, 0],
            [2, end - 1, 0],
            [1, RAM_BASE - 1, 0],
            [u64::MAX, RAM_BASE, 0],
            [1, u64::MAX, 0],
            [1, RAM_BASE, 1],
        ];
        for args in bad {
            for function in [0, 1] {
                assert_eq!(
                    rig.call(0, EID, function, &args),
                    (INVALID_PARAM, 0),
                    "{args:x?}"
                );
            }
        }
        assert_eq!(rig.console_output(), b"");
        assert_eq!(rig.call(0, EID, 0, &[1, end - 1, 0]), (0, 1));
        assert_eq!(rig.call(0, EID, 0, &[0, 0, 0]), (0, 0));
    }

    #[test]
    fn console_write_byte_uses_the_low_byte() {
        let rig = Rig::new(1);
        assert_eq!(rig.call(0, EID, 2, &[0xffff_ff41]), (0, 0));
        assert_eq!(rig.console_output(), b"A");
        assert_eq!(rig.call(0, EID, 3, &[0x41]), (NOT_SUPPORTED, 0));
    }
}
