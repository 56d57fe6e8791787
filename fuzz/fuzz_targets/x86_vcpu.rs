//! A processor of x86 that runs arbitrary bytes in an arbitrary state, among interrupt controllers, timers and ports: whatever
//! a guest writes to model-specific, control and debug registers, descriptors, page tables and devices, the host goes on. The
//! input: one byte for the mode, eight for control registers, then code and data from address 0x1000 on.
#![no_main]

use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use vm_core::{Clock, GuestPhysAddr, GuestVirtAddr, IrqLine, TimeBase, VcpuId, VmExit};
use vm_device::intc::i8259::I8259;
use vm_device::intc::ioapic::IoApic;
use vm_device::intc::lapic::{ApicBus, ApicIdentity, ApicLines, ApicTime, LocalApic};
use vm_device::timer::i8254::I8254;
use vm_device::{Bus, BusDevice};
use vm_engine::{Engine, EngineParts, Vcpu};
use vm_frontend::InstanceSpec;
use vm_frontend::x86::cpu::{CpuModel, PHYS_ADDR_BITS};
use vm_frontend::x86::state::{Segment, Table};
use vm_frontend::x86::sys::Entry;
use vm_frontend::x86::{X86, line};
use vm_mem::GuestMemory;
use vm_osal::{HostClock, TimerThread};

const RAM: u64 = 1 << 20;
/// Where the input goes.
const INPUT: u64 = 0x1000;
/// Instructions of a run.
const STEPS: u32 = 400;

static TIME: LazyLock<(Arc<dyn Clock>, Arc<TimerThread>)> = LazyLock::new(|| {
    let clock: Arc<dyn Clock> = Arc::new(HostClock::new());
    (
        clock.clone(),
        Arc::new(TimerThread::new(clock).expect("a thread")),
    )
});

struct Machine {
    vcpu: Vcpu<X86>,
    apic: Arc<LocalApic>,
    chips: Vec<Arc<dyn BusDevice>>,
}

thread_local! {
    /// Made once: host memory is dear.
    static MACHINE: std::cell::RefCell<Machine> = std::cell::RefCell::new(machine());
}

fn spec() -> InstanceSpec {
    InstanceSpec {
        vcpu: VcpuId(0),
        entry: GuestVirtAddr(0),
        builtin_firmware: false,
    }
}

fn machine() -> Machine {
    let (clock, timers) = &*TIME;
    let time = Arc::new(TimeBase::new(clock.clone(), 1_000_000_000));
    let (bus, ports) = (Arc::new(Bus::new()), Arc::new(Bus::new()));
    let engine = Engine::new(EngineParts {
        config: CpuModel::from_name("max").expect("a model").config(),
        memory: GuestMemory::new(&[(GuestPhysAddr(0), RAM)]).expect("host memory"),
        bus: bus.clone(),
        ports: ports.clone(),
        rom: Vec::new(),
        time: time.clone(),
        alarms: timers.clone(),
        code_budget_bytes: 4 << 20,
    });
    let mut vcpu = Vcpu::new(&engine, spec());
    let apics = ApicBus::new();
    let input = |number| -> Arc<dyn IrqLine> { vcpu.shared().line(number) };
    let apic = LocalApic::new(
        ApicIdentity {
            id: 0,
            bootstrap: true,
            physical_bits: PHYS_ADDR_BITS as u8,
            x2apic: true,
        },
        ApicLines {
            intr: input(line::INTR),
            nmi: input(line::NMI),
            init: input(line::INIT),
            startup: input(line::STARTUP),
        },
        &apics,
        &ApicTime {
            clock: clock.clone(),
            alarms: &**timers,
            tsc: time.clone(),
            timer: time,
        },
    );
    let pic = I8259::new(apics.lint(0));
    apics.set_external(Arc::downgrade(&pic) as _);
    let ioapic = IoApic::new(&apics);
    let pit = I8254::new(clock.clone(), timers, ioapic.input(2));
    let mut chips: Vec<Arc<dyn BusDevice>> = Vec::new();
    let mut put = |bus: &Bus, name: &'static str, at, bytes, chip: Arc<dyn BusDevice>| {
        bus.insert(name, at, bytes, chip.clone()).expect("free");
        chips.push(chip);
    };
    put(&bus, "ioapic", 0xfec0_0000, 0x1000, ioapic);
    put(&ports, "pic", 0x20, 2, pic.master());
    put(&ports, "pit", 0x40, 4, pit);
    put(&ports, "pic2", 0xa0, 2, pic.slave());
    vcpu.set_local_irq(apic.clone());
    Machine { vcpu, apic, chips }
}

/// Where the processor starts: in real, 32-bit protected or long mode at the input.
fn entry(mode: u8, control: [u8; 8]) -> Entry {
    let segment = |attributes| Segment::new(8, 0, u32::MAX, attributes);
    let word = u64::from_le_bytes(control);
    let mut gpr = [0; 16];
    for (n, register) in gpr.iter_mut().enumerate() {
        *register = word.rotate_left(5 * n as u32) & 0xf_ffff;
    }
    gpr[4] = 0x8_0000;
    let (cr0, efer, cr4, code) = match mode & 3 {
        0 => (0x10, 0, 0, 0x9b),
        1 => (0x11, 0, 0, 0xc9b),
        _ => (0x8000_0011, 0xd01, 0x20, 0xa9b),
    };
    Entry {
        gpr,
        rip: INPUT,
        rflags: word >> 32 & 0x3f_7fd5 | 2,
        cr0: cr0 | word & 0x5_002e,
        cr3: 0x10000,
        cr4: cr4 | word >> 20 & 0x700,
        efer,
        gdtr: Table {
            base: INPUT,
            limit: 0x7ff,
        },
        idtr: Table {
            base: INPUT + 0x800,
            limit: 0xfff,
        },
        code: segment(code),
        data: segment(0xc93),
        task: Segment::new(0x40, INPUT + 0x100, 0x67, 0x8b),
        local: Segment::new(0, 0, 0, 0),
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((&head, code)) = data.split_first_chunk::<9>() else {
        return;
    };
    let [mode, control @ ..] = head;
    MACHINE.with_borrow_mut(|machine| {
        let Machine { vcpu, apic, chips } = machine;
        let memory = vcpu.engine().memory();
        memory.clear().expect("host memory");
        let code = &code[..code.len().min(0x8000)];
        memory.write(GuestPhysAddr(INPUT), code).expect("within");
        // An identity map of the first gigabytes.
        let put = |at, value: u64| memory.write(GuestPhysAddr(at), &value.to_le_bytes());
        put(0x10000, 0x11007).expect("within");
        for n in 0..4 {
            put(0x11000 + 8 * n, n << 30 | 0x87).expect("within");
        }
        apic.reset();
        chips.iter().for_each(|chip| chip.reset());
        vcpu.reset(spec());
        vcpu.shared().set_lines(0, u64::MAX);
        entry(mode, control).apply(vcpu.state_mut());
        if mode & 0x80 != 0 {
            vcpu.state_mut().cpl = 3;
        }
        for n in 0..STEPS {
            // Interrupts come between; nobody waits for any.
            if n.is_multiple_of(64) {
                vcpu.shared().stop();
            }
            match vcpu.step_traced(&mut |_| {}) {
                VmExit::Shutdown(_) | VmExit::Wedged { .. } => break,
                _ => {}
            }
            if vcpu.state().activity != 0 {
                break;
            }
        }
    });
});
