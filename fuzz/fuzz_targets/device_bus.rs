//! Every chip of the platform under arbitrary accesses. The first byte chooses the chip, the rest is a script for
//! [`vm_device::fuzzing::drive`].
#![no_main]

use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use vm_core::{AccessWidth, Alarms, Clock, GuestPhysAddr, IrqLine, NoIrq, TimeBase};
use vm_device::BusDevice;
use vm_device::chardev::CharSink;
use vm_device::firmware::flash::{Flash, FlashAccess};
use vm_device::firmware::fw_cfg::{self, FwCfg};
use vm_device::fuzzing::drive;
use vm_device::intc::clint::{self, Clint, HartLines};
use vm_device::intc::plic::Plic;
use vm_device::pci::{PciRoot, Space};
use vm_device::power::sifive_test::{self, SifiveTest};
use vm_device::serial::ns16550::{self, Ns16550};
use vm_device::timer::goldfish::{self, GoldfishRtc};
use vm_device::virtio::VirtioPci;
use vm_device::virtio::console::VirtioConsole;
use vm_mem::GuestMemory;
use vm_osal::{HostClock, TimerThread};

struct Nowhere;

impl CharSink for Nowhere {
    fn write(&self, _: &[u8]) {}
}

static TIME: LazyLock<(Arc<dyn Clock>, TimerThread)> = LazyLock::new(|| {
    let clock: Arc<dyn Clock> = Arc::new(HostClock::new());
    (clock.clone(), TimerThread::new(clock).unwrap())
});

/// Made once, and written before use.
static MEMORY: LazyLock<GuestMemory> =
    LazyLock::new(|| GuestMemory::new(&[(GuestPhysAddr(0), 0x2000)]).expect("host memory"));

/// Where the window onto PCI memory begins.
const PCI_MEMORY: u64 = 0x1000_0000;
/// Configuration space of one function.
const FUNCTION_BYTES: u64 = 0x1000;
/// Of the root complex, what a script of short offsets reaches.
const PCI_BYTES: u64 = 2 * FUNCTION_BYTES + 0x8000;

/// Configuration space of the device in slot 1 and of the host bridge, then a window onto PCI memory.
struct Pci {
    ecam: Arc<dyn BusDevice>,
    window: Arc<dyn BusDevice>,
}

impl Pci {
    fn new() -> Self {
        let root = PciRoot::new([(); 4].map(|()| line()));
        let console = VirtioConsole::new(Arc::new(Nowhere));
        let function = VirtioPci::new("fuzz", console, MEMORY.clone(), root.intx(1));
        root.insert(1, function).expect("the slot is free");
        let pci = Self {
            ecam: root.ecam(),
            window: root.window(Space::Memory, PCI_MEMORY),
        };
        // The structures are behind the fifth base address; memory and bus mastering are on.
        pci.write(0x20, AccessWidth::Word, PCI_MEMORY);
        pci.write(0x04, AccessWidth::Half, 6);
        pci
    }

    fn place(&self, offset: u64) -> (&dyn BusDevice, u64) {
        match offset / FUNCTION_BYTES {
            0 => (&*self.ecam, 8 * FUNCTION_BYTES + offset),
            1 => (&*self.ecam, offset - FUNCTION_BYTES),
            _ => (&*self.window, offset - 2 * FUNCTION_BYTES),
        }
    }
}

impl BusDevice for Pci {
    fn read(&self, offset: u64, width: AccessWidth) -> u64 {
        let (device, at) = self.place(offset);
        device.read(at, width)
    }
    fn write(&self, offset: u64, width: AccessWidth, value: u64) {
        let (device, at) = self.place(offset);
        device.write(at, width, value);
    }
    fn reset(&self) {
        self.ecam.reset();
    }
}

fn line() -> Arc<dyn IrqLine> {
    Arc::new(NoIrq)
}

fuzz_target!(|data: &[u8]| {
    let Some((&which, script)) = data.split_first() else {
        return;
    };
    let (clock, timers) = &*TIME;
    let alarms: &dyn Alarms = timers;
    match which % 8 {
        0 => {
            let plic = Plic::new(95, (0..4).map(|_| line()).collect());
            drive(&plic, plic.range_bytes(), script);
        }
        1 => {
            let lines = || HartLines {
                software: line(),
                timer: line(),
            };
            let time = Arc::new(TimeBase::new(clock.clone(), 10_000_000));
            let clint = Clint::new(vec![lines(), lines()], time, alarms);
            drive(&clint, clint::spec::RANGE_BYTES, script);
        }
        2 => {
            let uart = Ns16550::new(line(), Arc::new(Nowhere));
            drive(&uart, ns16550::spec::RANGE_BYTES, script);
        }
        3 => {
            let rtc = GoldfishRtc::new(1 << 60, clock.clone(), alarms, line());
            drive(&rtc, goldfish::spec::RANGE_BYTES, script);
        }
        4 => {
            let finisher = SifiveTest::new(Box::new(|_| ()));
            drive(&finisher, sifive_test::spec::RANGE_BYTES, script);
        }
        5 => {
            let mut ram = script[..script.len().min(0x2000)].to_vec();
            ram.resize(0x2000, 0);
            MEMORY.write(GuestPhysAddr(0), &ram).expect("within memory");
            let device = FwCfg::new(MEMORY.clone());
            device.add_bytes(0x20, vec![7; 100]);
            drive(&device, fw_cfg::spec::RANGE_BYTES, script);
        }
        6 => {
            let (base, bytes) = (GuestPhysAddr(0x2000_0000), 0x4000);
            let flash = Flash::new(base, bytes, 0x1000, b"image", FlashAccess::Volatile);
            let flash = flash.expect("host memory");
            drive(&flash, bytes, script);
        }
        _ => {
            MEMORY
                .write(GuestPhysAddr(0), &[0; 0x2000])
                .expect("within memory");
            let pci = Pci::new();
            drive(&pci, PCI_BYTES, script);
            pci.reset();
        }
    }
});
