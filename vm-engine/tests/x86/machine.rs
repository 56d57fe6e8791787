//! One processor over bare memory, with a port that ends the run and an interrupt controller that a test fills.
//!
//! | physical | what |
//! |---|---|
//! | 0x1000 | global descriptors |
//! | 0x2000 | interrupt table of long mode: each gate leads to its stub |
//! | 0x3000 | task-state segment |
//! | 0x4000 | page tables: an identity map of the first GiB, for user mode too |
//! | 0x8000 | stubs, which note what was delivered and end the run |
//! | 0x10000 | code |
//! | 0x20000 | data |
//! | 0x30000 | top of the stack; of the stack for privilege changes: 0x38000; of IST 1: 0x3c000 |

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use iced_x86::code_asm::*;
use vm_core::{
    AccessWidth, Clock, GuestPhysAddr, GuestVirtAddr, LocalIrq, TASK_PRIORITY, TimeBase, VcpuId,
    VmExit,
};
use vm_device::{Bus, BusDevice};
use vm_engine::{Engine, EngineParts, Vcpu, VcpuShared};
use vm_frontend::InstanceSpec;
use vm_frontend::x86::cpu::{CpuConfig, CpuModel};
use vm_frontend::x86::state::{CpuState, Segment, Table};
use vm_frontend::x86::sys::Entry;
use vm_frontend::x86::{X86, line};
use vm_mem::GuestMemory;
use vm_osal::{HostClock, TimerThread};

pub(crate) const GDT: u64 = 0x1000;
pub(crate) const IDT: u64 = 0x2000;
pub(crate) const TSS: u64 = 0x3000;
pub(crate) const PML4: u64 = 0x4000;
/// The page table of the first 2 MiB.
pub(crate) const PT: u64 = 0x7000;
pub(crate) const STUBS: u64 = 0x8000;
pub(crate) const CODE: u64 = 0x1_0000;
pub(crate) const DATA: u64 = 0x2_0000;
pub(crate) const STACK: u64 = 0x3_0000;
pub(crate) const KERNEL_STACK: u64 = 0x3_8000;
pub(crate) const IST1: u64 = 0x3_c000;
pub(crate) const RAM: u64 = 4 << 20;

/// Selectors.
pub(crate) const CODE64: u16 = 0x08;
pub(crate) const DATA0: u16 = 0x10;
pub(crate) const CODE32: u16 = 0x18;
pub(crate) const USER_DATA: u16 = 0x2b;
pub(crate) const USER_CODE: u16 = 0x33;
pub(crate) const TASK: u16 = 0x40;
pub(crate) const CODE16: u16 = 0x50;
pub(crate) const DATA16: u16 = 0x58;

/// Descriptors by [`GDT`] index.
pub(crate) const DESCRIPTORS: [u64; 12] = [
    0,
    0x00af_9b00_0000_ffff,
    0x00cf_9300_0000_ffff,
    0x00cf_9b00_0000_ffff,
    // User: 32-bit code, data, 64-bit code.
    0x00cf_fb00_0000_ffff,
    0x00cf_f300_0000_ffff,
    0x00af_fb00_0000_ffff,
    0,
    0x0000_8900_0000_0067 | TSS << 16,
    0,
    0x0000_9b00_0000_ffff,
    0x0000_9300_0000_ffff,
];

/// The port that ends the run, and the one whose bytes are kept.
pub(crate) const END: u16 = 0xf4;
pub(crate) const NOTE: u16 = 0xe9;

/// What the stubs have noted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Delivered {
    pub(crate) vector: u64,
    /// All ones where none was pushed.
    pub(crate) error: u64,
    pub(crate) rip: u64,
    pub(crate) cs: u64,
    pub(crate) rflags: u64,
    pub(crate) rsp: u64,
    pub(crate) ss: u64,
}

const NO_ERROR: u64 = u64::MAX;

/// Where the stubs leave what they note.
pub(crate) const NOTED: u64 = 0xf000;

struct End(Mutex<Option<Arc<VcpuShared>>>);

impl BusDevice for End {
    fn read(&self, _: u64, _: AccessWidth) -> u64 {
        0
    }
    fn write(&self, _: u64, _: AccessWidth, _: u64) {
        if let Some(vcpu) = &*self.0.lock().expect("no panic") {
            vcpu.stop();
        }
    }
    fn reset(&self) {}
}

#[derive(Default)]
pub(crate) struct Notes(pub(crate) Mutex<Vec<u8>>);

impl BusDevice for Notes {
    fn read(&self, _: u64, _: AccessWidth) -> u64 {
        0x5a
    }
    fn write(&self, _: u64, _: AccessWidth, value: u64) {
        self.0.lock().expect("no panic").push(value as u8);
    }
    fn reset(&self) {}
}

/// An interrupt controller with one pending vector.
#[derive(Default)]
pub(crate) struct Controller {
    pub(crate) vector: AtomicU32,
    pub(crate) taken: AtomicU32,
    pub(crate) startup: AtomicU32,
    pub(crate) inits: AtomicU32,
    pub(crate) base: AtomicU64,
    shared: Mutex<Option<Arc<VcpuShared>>>,
    written: AtomicBool,
}

impl LocalIrq for Controller {
    fn acknowledge(&self) -> Option<u32> {
        self.taken.fetch_add(1, Ordering::SeqCst);
        if let Some(vcpu) = &*self.shared.lock().expect("no panic") {
            vcpu.set_lines(0, 1 << line::INTR);
        }
        Some(self.vector.load(Ordering::SeqCst))
    }
    fn take_startup(&self) -> Option<u32> {
        Some(self.startup.load(Ordering::SeqCst))
    }
    fn init(&self) {
        self.inits.fetch_add(1, Ordering::SeqCst);
    }
    fn window(&self) -> Option<(u64, u64)> {
        Some((0xfee0_0000, 0x1000))
    }
    fn read(&self, offset: u64, _: AccessWidth) -> u64 {
        if offset == 0x80 {
            self.base.load(Ordering::SeqCst)
        } else {
            0
        }
    }
    fn write(&self, offset: u64, _: AccessWidth, value: u64) {
        self.written.store(true, Ordering::SeqCst);
        if offset == 0x80 {
            self.base.store(value, Ordering::SeqCst);
        }
    }
    fn register_read(&self, register: u32) -> Option<u64> {
        match register {
            0x1b => Some(0xfee0_0900),
            TASK_PRIORITY => Some(self.base.load(Ordering::SeqCst) >> 4),
            _ => None,
        }
    }
    fn register_write(&self, register: u32, value: u64) -> bool {
        if register == TASK_PRIORITY {
            self.base.store(value << 4, Ordering::SeqCst);
        }
        matches!(register, 0x1b | TASK_PRIORITY)
    }
}

/// A machine of one processor.
pub(crate) struct Machine {
    pub(crate) vcpu: Vcpu<X86>,
    pub(crate) notes: Arc<Notes>,
    pub(crate) controller: Arc<Controller>,
}

impl Machine {
    /// A processor after power-on: number 0 starts, others wait.
    pub(crate) fn after_reset(number: u32) -> Self {
        let config = CpuModel::from_name("max").expect("a model").config();
        Self::of(config, number)
    }

    /// A processor of a model, the same.
    fn of(config: CpuConfig, number: u32) -> Self {
        let ranges = [
            (GuestPhysAddr(0), RAM),
            (GuestPhysAddr(0xffff_0000), 0x1_0000),
        ];
        let memory = GuestMemory::new(&ranges).expect("host memory");
        let clock: Arc<dyn Clock> = Arc::new(HostClock::new());
        let (notes, end) = (Arc::new(Notes::default()), Arc::new(End(Mutex::default())));
        let ports = Bus::new();
        ports
            .insert("end", END.into(), 1, end.clone())
            .expect("free");
        ports
            .insert("notes", NOTE.into(), 1, notes.clone())
            .expect("free");
        let engine = Engine::new(EngineParts {
            config,
            memory: memory.into(),
            bus: Arc::new(Bus::new()),
            ports: Arc::new(ports),
            rom: vec![],
            time: Arc::new(TimeBase::new(clock.clone(), 1_000_000_000)),
            alarms: Arc::new(TimerThread::new(clock).expect("a thread")),
            code_budget_bytes: 32 << 20,
        });
        let spec = InstanceSpec {
            vcpu: VcpuId(number),
            entry: GuestVirtAddr(0),
            builtin_firmware: false,
        };
        let mut vcpu = Vcpu::new(&engine, spec);
        let controller = Arc::new(Controller::default());
        vcpu.set_local_irq(controller.clone());
        *controller.shared.lock().expect("no panic") = Some(vcpu.shared().clone());
        *end.0.lock().expect("no panic") = Some(vcpu.shared().clone());
        Self {
            vcpu,
            notes,
            controller,
        }
    }

    /// A processor in 64-bit mode at [`CODE`], with everything above in place.
    pub(crate) fn long(code: impl FnOnce(&mut CodeAssembler) -> Result<(), IcedError>) -> Self {
        let config = CpuModel::from_name("max").expect("a model").config();
        Self::long_with(config, code)
    }

    /// The same of another model.
    pub(crate) fn long_with(
        config: CpuConfig,
        code: impl FnOnce(&mut CodeAssembler) -> Result<(), IcedError>,
    ) -> Self {
        let mut machine = Self::of(config, 0);
        machine.put_tables();
        machine.assemble(64, CODE, code);
        let segment = |selector, attributes| Segment::new(selector, 0, u32::MAX, attributes);
        let mut gpr = [0; 16];
        gpr[4] = STACK;
        let entry = Entry {
            gpr,
            rip: CODE,
            rflags: 2,
            cr0: 0x8005_0033,
            cr3: PML4,
            cr4: 0x6b0,
            efer: 0xd01,
            gdtr: Table {
                base: GDT,
                limit: 8 * DESCRIPTORS.len() as u64 - 1,
            },
            idtr: Table {
                base: IDT,
                limit: 0xfff,
            },
            code: segment(CODE64, 0xa9b),
            data: segment(DATA0, 0xc93),
            task: Segment::new(TASK, TSS, 0x67, 0x8b),
            local: Segment::new(0, 0, 0, 0),
        };
        entry.apply(machine.vcpu.state_mut());
        machine
    }

    /// Puts tables and stubs back that a program has written over, and forgets translations.
    pub(crate) fn restore(&mut self) {
        let state = *self.vcpu.state();
        let spec = InstanceSpec {
            vcpu: self.vcpu.id(),
            entry: GuestVirtAddr(0),
            builtin_firmware: false,
        };
        self.vcpu.reset(spec);
        self.vcpu.state_mut().clone_from(&state);
        self.put_tables();
    }

    fn put_tables(&mut self) {
        for (n, descriptor) in DESCRIPTORS.iter().enumerate() {
            self.put(GDT + 8 * n as u64, *descriptor);
        }
        self.put(TSS + 4, KERNEL_STACK);
        self.put(TSS + 0x24, IST1);
        // The permission map begins behind the limit.
        self.write(TSS + 0x66, &0x68_u16.to_le_bytes());
        self.put(PML4, 0x5000 | 7);
        self.put(0x5000, 0x6000 | 7);
        for n in 0..512 {
            self.put(0x6000 + 8 * n, n << 21 | 0x87);
            self.put(PT + 8 * n, n << 12 | 7);
        }
        self.put(0x6000, PT | 7);
        for vector in 0..256 {
            self.gate(vector, STUBS + 16 * vector, CODE64, 0xee);
        }
        for vector in 0..256_u64 {
            self.assemble(64, STUBS + 16 * vector, |a| {
                if !matches!(vector, 8 | 10..=14 | 17) {
                    a.push(-1)?;
                }
                a.push(vector as i32)?;
                a.jmp(STUBS + 0x1000)
            });
        }
        self.assemble(64, STUBS + 0x1000, |a| {
            for n in 0..7_u64 {
                a.pop(qword_ptr(NOTED + 8 * n))?;
            }
            a.out(END as u32, al)?;
            a.hlt()
        });
    }

    /// Puts a gate of long mode into the table.
    pub(crate) fn gate(&mut self, vector: u64, target: u64, selector: u16, access: u64) {
        let low = target & 0xffff
            | u64::from(selector) << 16
            | access << 40
            | (target >> 16 & 0xffff) << 48;
        self.put(IDT + 16 * vector, low);
        self.put(IDT + 16 * vector + 8, target >> 32);
    }

    /// Assembles code to an address; a test that does not assemble is wrong.
    pub(crate) fn assemble(
        &mut self,
        bits: u32,
        at: u64,
        code: impl FnOnce(&mut CodeAssembler) -> Result<(), IcedError>,
    ) {
        let mut assembler = CodeAssembler::new(bits).expect("a width");
        code(&mut assembler).expect("code");
        let bytes = assembler.assemble(at).expect("code");
        self.write(at, &bytes);
    }

    pub(crate) fn write(&mut self, at: u64, bytes: &[u8]) {
        let memory = self.vcpu.engine().memory();
        memory.write(GuestPhysAddr(at), bytes).expect("within RAM");
    }

    pub(crate) fn put(&mut self, at: u64, value: u64) {
        self.write(at, &value.to_le_bytes());
    }

    pub(crate) fn get(&self, at: u64) -> u64 {
        let mut bytes = [0; 8];
        let memory = self.vcpu.engine().memory();
        memory
            .read(GuestPhysAddr(at), &mut bytes)
            .expect("within RAM");
        u64::from_le_bytes(bytes)
    }

    pub(crate) fn state(&self) -> &CpuState {
        self.vcpu.state()
    }

    /// Runs until the guest writes to [`END`].
    pub(crate) fn run(&mut self) -> &mut Self {
        let exit = self.vcpu.run();
        let pc = self.vcpu.state().common.pc;
        assert_eq!(exit, VmExit::Interrupted, "at {pc:#x}");
        self
    }

    /// Runs until a stub has been reached, and gives what it noted.
    pub(crate) fn run_to_stub(&mut self) -> Delivered {
        self.put(NOTED, 0xdead);
        self.run();
        let word = |n: u64| self.get(NOTED + 8 * n);
        assert_ne!(word(0), 0xdead, "nothing was delivered");
        Delivered {
            vector: word(0),
            error: word(1),
            rip: word(2),
            cs: word(3),
            rflags: word(4),
            rsp: word(5),
            ss: word(6),
        }
    }
}

impl Delivered {
    /// Vector and error code.
    pub(crate) fn what(&self) -> (u64, Option<u64>) {
        (self.vector, (self.error != NO_ERROR).then_some(self.error))
    }
}
