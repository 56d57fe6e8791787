//! Which slot of the PCI bus a device has. Guests name network cards and disks after it, so it depends on the
//! device's kind and on its number among those of its kind, never on what else there is.

use vm_device::pci::SlotTaken;

/// Slots of the root bus: the host bridge has slot 0.
const SLOTS: usize = 32;

/// Kinds of devices, each with slots of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Disk,
    Net,
    Console,
    Entropy,
    Balloon,
    Nvme,
    Display,
    Watchdog,
}

/// What there is of a kind.
struct Row {
    kind: Kind,
    /// What threads of such devices are called.
    name: &'static str,
    /// The slots of the first, the second, ... device of the kind.
    slots: &'static [u8],
}

/// Slot 31 is left to chipsets.
const ROWS: [Row; 8] = [
    Row {
        kind: Kind::Disk,
        name: "virtio-blk",
        slots: &[
            1, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30,
        ],
    },
    Row {
        kind: Kind::Net,
        name: "virtio-net",
        slots: &[2, 8, 9, 10, 11, 12, 13, 14, 15],
    },
    Row {
        kind: Kind::Console,
        name: "virtio-console",
        slots: &[3],
    },
    Row {
        kind: Kind::Entropy,
        name: "virtio-rng",
        slots: &[4],
    },
    Row {
        kind: Kind::Balloon,
        name: "virtio-balloon",
        slots: &[5],
    },
    Row {
        kind: Kind::Nvme,
        name: "nvme",
        slots: &[6],
    },
    Row {
        kind: Kind::Display,
        name: "display",
        slots: &[7],
    },
    Row {
        kind: Kind::Watchdog,
        name: "watchdog",
        // It comes last, so that it takes none that another kind has.
        slots: &[],
    },
];

impl Kind {
    fn row(self) -> &'static Row {
        ROWS.iter()
            .find(|row| row.kind == self)
            .expect("invariant: every kind has a row")
    }

    /// What threads of such devices are called.
    pub(super) fn name(self) -> &'static str {
        self.row().name
    }
}

/// The slot of each device, given its kind and the slot that it is pinned to; the board's own devices have the `taken_slots`.
/// A device whose kind has no slot left gets the highest free one.
///
/// # Errors
/// When two devices are pinned to one slot, a pin is no slot for devices, or none is left.
pub(super) fn assign(
    devices: &[(Kind, Option<u8>)],
    taken_slots: &[u8],
) -> Result<Vec<u8>, SlotTaken> {
    let mut taken: [bool; SLOTS] = std::array::from_fn(|slot| taken_slots.contains(&(slot as u8)));
    taken[0] = true;
    for pin in devices.iter().filter_map(|(_, pin)| *pin) {
        match taken.get_mut(usize::from(pin)) {
            Some(slot @ false) => *slot = true,
            _ => return Err(SlotTaken(pin)),
        }
    }
    let place = |&(kind, pin): &(Kind, Option<u8>)| {
        if let Some(pin) = pin {
            return Ok(pin);
        }
        let own = kind.row().slots.iter().copied();
        let slot = own
            .chain((1..SLOTS as u8).rev())
            .find(|slot| !taken[usize::from(*slot)])
            .ok_or(SlotTaken(SLOTS as u8))?;
        taken[usize::from(slot)] = true;
        Ok(slot)
    };
    devices.iter().map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assign_further_devices_leave_the_others_in_their_slots() {
        let one = [
            (Kind::Disk, None),
            (Kind::Net, None),
            (Kind::Console, None),
            (Kind::Entropy, None),
            (Kind::Balloon, None),
        ];
        assert_eq!(assign(&one, &[]), Ok(vec![1, 2, 3, 4, 5]));
        let more = [
            (Kind::Disk, None),
            (Kind::Disk, None),
            (Kind::Net, None),
            (Kind::Net, None),
            (Kind::Entropy, None),
        ];
        assert_eq!(assign(&more, &[]), Ok(vec![1, 16, 2, 8, 4]));
        assert_eq!(assign(&[(Kind::Net, None)], &[]), Ok(vec![2]));
    }

    #[test]
    fn assign_pins_come_first() {
        let devices = [
            (Kind::Disk, None),
            (Kind::Net, None),
            (Kind::Net, Some(2)),
            (Kind::Net, Some(31)),
        ];
        assert_eq!(assign(&devices, &[]), Ok(vec![1, 8, 2, 31]));
        let twice = [(Kind::Disk, Some(5)), (Kind::Net, Some(5))];
        assert_eq!(assign(&twice, &[]), Err(SlotTaken(5)));
        assert_eq!(assign(&[(Kind::Net, Some(0))], &[]), Err(SlotTaken(0)));
        assert_eq!(assign(&[(Kind::Net, Some(32))], &[]), Err(SlotTaken(32)));
    }

    #[test]
    fn assign_more_than_a_kind_has_slots_for_fills_the_bus() {
        assert!(assign(&[(Kind::Net, None); 31], &[31]).is_err());
        let mut slots = assign(&[(Kind::Net, None); 31], &[]).unwrap();
        slots.sort_unstable();
        assert_eq!(slots, (1..32).collect::<Vec<_>>());
        assert!(assign(&[(Kind::Net, None); 32], &[]).is_err());
    }
}
