//! A device whose place on a bus the guest chooses.

use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::{Bus, BusDevice};

type Make = dyn Fn() -> Option<Arc<dyn BusDevice>> + Send + Sync;

/// A range of a bus that comes and goes as a base address register says.
pub struct Movable {
    bus: Weak<Bus>,
    name: &'static str,
    make: Box<Make>,
    /// (first address, bytes) while it is placed.
    at: Mutex<Option<(u64, u64)>>,
}

impl Movable {
    /// A range for `device`, not placed yet.
    pub fn new(bus: &Arc<Bus>, name: &'static str, device: Arc<dyn BusDevice>) -> Arc<Self> {
        Self::made(bus, name, move || Some(device.clone()))
    }

    /// A range for what `make` makes whenever it is placed: for a device that owns whoever moves it.
    pub fn made(
        bus: &Arc<Bus>,
        name: &'static str,
        make: impl Fn() -> Option<Arc<dyn BusDevice>> + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            bus: Arc::downgrade(bus),
            name,
            make: Box::new(make),
            at: Mutex::new(None),
        })
    }

    /// Puts it at (first address, bytes), or nowhere. A place that is taken is nowhere: the guest's mistake.
    pub fn place(&self, to: Option<(u64, u64)>) {
        let mut at = self.at.lock();
        let Some(bus) = self.bus.upgrade().filter(|_| *at != to) else {
            return;
        };
        if let Some((base, _)) = at.take() {
            bus.remove(base);
        }
        if let Some((base, bytes)) = to
            && let Some(device) = (self.make)()
            && bus.insert(self.name, base, bytes, device).is_ok()
        {
            *at = to;
        }
    }

    /// Where it is.
    pub fn placed(&self) -> Option<(u64, u64)> {
        *self.at.lock()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::power::port92::Port92;
    use vm_core::AccessWidth::Byte;

    #[test]
    fn range_moves_and_gives_way_to_what_is_there() {
        let bus = Arc::new(Bus::new());
        let device = || Arc::new(Port92::new(Arc::new(|_| ())));
        bus.insert("fixed", 0x100, 8, device()).unwrap();
        let range = Movable::new(&bus, "movable", device());
        assert_eq!(bus.read(0x200, Byte), None);
        range.place(Some((0x200, 4)));
        assert_eq!(bus.read(0x203, Byte), Some(2));
        range.place(Some((0x104, 8)));
        assert_eq!((range.placed(), bus.read(0x203, Byte)), (None, None));
        range.place(Some((0x108, 8)));
        assert_eq!(bus.read(0x108, Byte), Some(2));
        range.place(None);
        assert_eq!(bus.read(0x108, Byte), None);
        assert_eq!(bus.read(0x100, Byte), Some(2));
    }
}
