//! BASE: versions, identification, probing (SBI, "Base Extension").

use super::{Reply, Request, SbiError, is_present};

pub(super) const EID: u64 = 0x10;

/// Version 2.0: major number in bits 24 to 30.
const SPEC_VERSION: u64 = 2 << 24;
/// Our implementation id: "vm" in ASCII, which the specification's list (0 to 11) leaves free.
const IMPLEMENTATION_ID: u64 = 0x766d;
/// Our version, of the services rather than of the project.
const IMPLEMENTATION_VERSION: u64 = 1;

const GET_SPEC_VERSION: u64 = 0;
const GET_IMPL_ID: u64 = 1;
const GET_IMPL_VERSION: u64 = 2;
const PROBE_EXTENSION: u64 = 3;
const GET_MVENDORID: u64 = 4;
const GET_MARCHID: u64 = 5;
const GET_MIMPID: u64 = 6;

pub(super) fn handle(request: &Request<'_>) -> Result<Reply, SbiError> {
    let ids = request.host.machine_ids();
    Ok(Reply::Value(match request.call.function {
        GET_SPEC_VERSION => SPEC_VERSION,
        GET_IMPL_ID => IMPLEMENTATION_ID,
        GET_IMPL_VERSION => IMPLEMENTATION_VERSION,
        PROBE_EXTENSION => u64::from(is_present(request.arg(0))),
        GET_MVENDORID => ids.mvendorid,
        GET_MARCHID => ids.marchid,
        GET_MIMPID => ids.mimpid,
        _ => return Err(SbiError::NotSupported),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sbi::testing::{NOT_SUPPORTED, Rig};

    #[test]
    fn versions_and_ids_are_told() {
        let rig = Rig::new(1);
        let get = |function| rig.call(0, EID, function, &[]);
        assert_eq!(get(0), (0, 0x0200_0000));
        assert_eq!(get(1), (0, 0x766d));
        assert_eq!(get(2), (0, 1));
        assert_eq!(
            [get(4), get(5), get(6)],
            [(0, 0xaaa), (0, 0xbbb), (0, 0xccc)]
        );
        assert_eq!(get(7), (NOT_SUPPORTED, 0));
    }

    #[test]
    fn probe_tells_present_from_absent() {
        let rig = Rig::new(1);
        let probe = |eid: u64| rig.call(0, EID, 3, &[eid]);
        let present = [
            0x10,
            0x5449_4d45,
            0x73_5049,
            0x5246_4e43,
            0x48_534d,
            0x5352_5354,
            0x4442_434e,
            0x5355_5350,
            0x50_4d55,
        ];
        for eid in present.into_iter().chain(0..=8) {
            assert_eq!(probe(eid), (0, 1), "{eid:#x}");
        }
        // CPPC, STA, NACL, FWFT, SSE, and the reserved legacy numbers.
        let absent = [0x4350_5043, 0x53_5441, 0x4e41_434c, 0x4657_4654, 0x53_5345];
        for eid in absent
            .into_iter()
            .chain(9..=15)
            .chain([1 << 32 | 0x10, u64::MAX])
        {
            assert_eq!(probe(eid), (0, 0), "{eid:#x}");
            assert_eq!(rig.call(0, eid, 0, &[]), (NOT_SUPPORTED, 0), "{eid:#x}");
        }
    }
}
