//! Every chip of the platform under arbitrary accesses. The first byte chooses the chip, the rest is a script for
//! [`vm_device::fuzzing::drive`].
#![no_main]

use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use vm_core::{Alarms, Clock, GuestPhysAddr, IrqLine, NoIrq};
use vm_device::chardev::CharSink;
use vm_device::firmware::fw_cfg::{self, FwCfg};
use vm_device::fuzzing::drive;
use vm_device::intc::clint::{self, Clint, HartLines};
use vm_device::intc::plic::Plic;
use vm_device::power::sifive_test::{self, SifiveTest};
use vm_device::serial::ns16550::{self, Ns16550};
use vm_device::timer::goldfish::{self, GoldfishRtc};
use vm_mem::GuestMemory;
use vm_osal::{HostClock, TimerThread};

struct Nowhere;

impl CharSink for Nowhere {
    fn write(&self, _: &[u8]) {}
}

static TIME: LazyLock<(Arc<dyn Clock>, TimerThread)> = LazyLock::new(|| {
    let clock: Arc<dyn Clock> = Arc::new(HostClock::new());
    (clock.clone(), TimerThread::new(clock))
});

fn line() -> Arc<dyn IrqLine> {
    Arc::new(NoIrq)
}

fuzz_target!(|data: &[u8]| {
    let Some((&which, script)) = data.split_first() else {
        return;
    };
    let (clock, timers) = &*TIME;
    let alarms: &dyn Alarms = timers;
    match which % 6 {
        0 => {
            let plic = Plic::new(95, (0..4).map(|_| line()).collect());
            drive(&plic, plic.range_bytes(), script);
        }
        1 => {
            let lines = || HartLines {
                software: line(),
                timer: line(),
            };
            let clint = Clint::new(vec![lines(), lines()], clock.clone(), alarms);
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
        _ => {
            let ram = GuestMemory::new(&[(GuestPhysAddr(0), 0x2000)]).expect("host memory");
            ram.write(GuestPhysAddr(0), &script[..script.len().min(0x2000)])
                .expect("within memory");
            let device = FwCfg::new(ram);
            device.add_bytes(0x20, vec![7; 100]);
            drive(&device, fw_cfg::spec::RANGE_BYTES, script);
        }
    }
});
