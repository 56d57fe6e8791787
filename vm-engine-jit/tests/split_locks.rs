//! Locked operations of x86 that cross a line of the caches or a page (Intel SDM 3A, 10.1.2.2), interpreted and translated.

use std::sync::Arc;
use std::thread;

use iced_x86::code_asm::*;
use vm_core::{Clock, GuestPhysAddr, GuestVirtAddr, TimeBase, VcpuId, VmExit};
use vm_device::Bus;
use vm_engine::{Engine, EngineParts, Vcpu};
use vm_engine_jit::Template;
use vm_frontend::x86::X86;
use vm_frontend::x86::cpu::CpuModel;
use vm_frontend::x86::state::{Segment, Table};
use vm_frontend::x86::sys::Entry;
use vm_frontend::{Guest as _, InstanceSpec};
use vm_mem::GuestMemory;
use vm_osal::{HostClock, TimerThread};

const RAM: u64 = 0x10_0000;
const CODE: u64 = 0x1_0000;
const PAGE_END: u32 = 0x2_1000;
const LINE_END: u32 = 0x2_0040;
const DONE: u32 = 0x3_0000;
const CODE_BYTES: usize = 16 << 20;

type Code = fn(&mut CodeAssembler) -> Result<(), IcedError>;

fn engine(translates: bool) -> Arc<Engine<X86>> {
    let clock: Arc<dyn Clock> = Arc::new(HostClock::new());
    let engine = Engine::new(EngineParts {
        config: CpuModel::from_name("max").expect("a model").config(),
        memory: GuestMemory::new(&[(GuestPhysAddr(0), RAM)])
            .expect("host memory")
            .into(),
        bus: Arc::new(Bus::new()),
        ports: Arc::new(Bus::new()),
        rom: Vec::new(),
        time: Arc::new(TimeBase::new(clock.clone(), 1_000_000_000)),
        alarms: Arc::new(TimerThread::new(clock).expect("a thread")),
        code_budget_bytes: CODE_BYTES,
    });
    if translates {
        let template = Template::new(X86::layout(), CODE_BYTES).expect("this host allows it");
        engine.set_translator(Arc::new(template));
    }
    engine
}

fn put_code(engine: &Engine<X86>, code: Code) {
    let mut assembler = CodeAssembler::new(32).expect("a width");
    code(&mut assembler).expect("code");
    assembler.ud2().expect("code");
    let bytes = assembler.assemble(CODE).expect("code");
    let memory = engine.memory();
    memory
        .write(GuestPhysAddr(CODE), &bytes)
        .expect("within RAM");
}

/// A processor in flat protected mode at [`CODE`], which any exception shuts down.
fn vcpu(engine: &Arc<Engine<X86>>, number: u32) -> Vcpu<X86> {
    let spec = InstanceSpec {
        vcpu: VcpuId(number),
        entry: GuestVirtAddr(0),
        builtin_firmware: false,
    };
    let mut vcpu = Vcpu::new(engine, spec);
    let segment = |attributes| Segment::new(8, 0, u32::MAX, attributes);
    let mut gpr = [0; 16];
    gpr[4] = 0x8000 + 0x1000 * u64::from(number);
    let entry = Entry {
        gpr,
        rip: CODE,
        rflags: 2,
        cr0: 0x11,
        cr3: 0,
        cr4: 0,
        efer: 0,
        gdtr: Table { base: 0, limit: 0 },
        idtr: Table { base: 0, limit: 0 },
        code: segment(0xc9b),
        data: segment(0xc93),
        task: Segment::new(0, 0, 0x67, 0x8b),
        local: Segment::new(0, 0, 0, 0),
    };
    entry.apply(vcpu.state_mut());
    vcpu
}

/// Runs to the instruction behind the code.
fn run_to_end(vcpu: &mut Vcpu<X86>) {
    let exit = vcpu.run();
    let at = vcpu.state().common.pc;
    let mut bytes = [0; 2];
    let memory = vcpu.engine().memory();
    memory
        .read(GuestPhysAddr(at), &mut bytes)
        .expect("within RAM");
    assert_eq!(bytes, [0x0f, 0x0b], "{exit:x?} at {at:#x}");
    assert!(matches!(exit, VmExit::Shutdown(_)));
}

fn word(engine: &Engine<X86>, at: u32) -> u64 {
    let mut bytes = [0; 8];
    let memory = engine.memory();
    memory
        .read(GuestPhysAddr(at.into()), &mut bytes)
        .expect("within RAM");
    u64::from_le_bytes(bytes)
}

#[test]
fn split_counters_lose_nothing() {
    const ROUNDS: u32 = 300;
    for translates in [false, true] {
        let engine = engine(translates);
        put_code(&engine, |a| {
            a.mov(ecx, ROUNDS)?;
            let mut again = a.create_label();
            a.set_label(&mut again)?;
            a.lock().inc(dword_ptr(PAGE_END - 1))?;
            a.lock().add(word_ptr(LINE_END - 1), 3)?;
            // A loop that only compare-and-swap keeps right.
            let mut retry = a.create_label();
            a.mov(eax, dword_ptr(LINE_END + 62))?;
            a.set_label(&mut retry)?;
            a.lea(edx, ptr(eax + 5))?;
            a.lock().cmpxchg(dword_ptr(LINE_END + 62), edx)?;
            a.jne(retry)?;
            a.dec(ecx)?;
            a.jne(again)?;
            // Each goes on until both are done: so they have run side by side.
            a.lock().inc(dword_ptr(DONE))?;
            let mut wait = a.create_label();
            a.set_label(&mut wait)?;
            a.pause()?;
            a.cmp(dword_ptr(DONE), 2)?;
            a.jne(wait)
        });
        let vcpus = [0, 1].map(|n| vcpu(&engine, n));
        thread::scope(|scope| {
            for mut vcpu in vcpus {
                scope.spawn(move || run_to_end(&mut vcpu));
            }
        });
        let both = 2 * u64::from(ROUNDS);
        assert_eq!(word(&engine, PAGE_END - 1) & 0xffff_ffff, both);
        assert_eq!(word(&engine, LINE_END - 1) & 0xffff, 3 * both);
        assert_eq!(word(&engine, LINE_END + 62) & 0xffff_ffff, 5 * both);
    }
}

/// Operations on what ESI points to; EDX:EAX and ECX:EBX are operands.
const OPERATIONS: [(&str, Code); 26] = [
    ("add8", |a| a.lock().add(byte_ptr(esi), al)),
    ("add16", |a| a.lock().add(word_ptr(esi), ax)),
    ("add32", |a| a.lock().add(dword_ptr(esi), eax)),
    ("adc32", |a| a.lock().adc(dword_ptr(esi), eax)),
    ("sub16", |a| a.lock().sub(word_ptr(esi), ax)),
    ("sbb32", |a| a.lock().sbb(dword_ptr(esi), edx)),
    ("and32", |a| a.lock().and(dword_ptr(esi), edx)),
    ("or16", |a| a.lock().or(word_ptr(esi), dx)),
    ("xor32", |a| a.lock().xor(dword_ptr(esi), edx)),
    ("inc16", |a| a.lock().inc(word_ptr(esi))),
    ("dec32", |a| a.lock().dec(dword_ptr(esi))),
    ("not32", |a| a.lock().not(dword_ptr(esi))),
    ("neg16", |a| a.lock().neg(word_ptr(esi))),
    ("neg32", |a| a.lock().neg(dword_ptr(esi))),
    ("bts16", |a| a.lock().bts(word_ptr(esi), 13)),
    ("btr32", |a| a.lock().btr(dword_ptr(esi), 30)),
    ("btc32", |a| a.lock().btc(dword_ptr(esi), 7)),
    ("xadd16", |a| a.lock().xadd(word_ptr(esi), ax)),
    ("xadd32", |a| a.lock().xadd(dword_ptr(esi), eax)),
    ("xchg16", |a| a.xchg(word_ptr(esi), dx)),
    ("xchg32", |a| a.xchg(dword_ptr(esi), edx)),
    ("cmpxchg16", |a| a.lock().cmpxchg(word_ptr(esi), bx)),
    ("cmpxchg32", |a| a.lock().cmpxchg(dword_ptr(esi), ebx)),
    ("cmpxchg32_differs", |a| {
        a.not(eax)?;
        a.lock().cmpxchg(dword_ptr(esi), ebx)
    }),
    ("cmpxchg8b", |a| a.lock().cmpxchg8b(qword_ptr(esi))),
    ("cmpxchg8b_differs", |a| {
        a.not(edx)?;
        a.lock().cmpxchg8b(qword_ptr(esi))
    }),
];

#[test]
fn split_operations_do_what_whole_ones_do() {
    const VALUE: u64 = 0x8899_aabb_7fff_ffff;
    for translates in [false, true] {
        for (name, operation) in OPERATIONS {
            let run = |at: u32| {
                let engine = engine(translates);
                let mut assembler = CodeAssembler::new(32).expect("a width");
                operation(&mut assembler).expect("code");
                assembler.pushfd().expect("code");
                assembler.pop(edi).expect("code");
                assembler.ud2().expect("code");
                let code = assembler.assemble(CODE).expect("code");
                let memory = engine.memory();
                memory
                    .write(GuestPhysAddr(CODE), &code)
                    .expect("within RAM");
                memory
                    .write(GuestPhysAddr(at.into()), &VALUE.to_le_bytes())
                    .expect("within RAM");
                let mut vcpu = vcpu(&engine, 0);
                let gpr = &mut vcpu.state_mut().gpr;
                (gpr[0], gpr[2]) = (VALUE & 0xffff_ffff, VALUE >> 32);
                (gpr[3], gpr[1], gpr[6]) = (0x1234_5678, 0x9abc_def0, at.into());
                run_to_end(&mut vcpu);
                let gpr = vcpu.state().gpr;
                (word(&engine, at), [gpr[0], gpr[1], gpr[2], gpr[3], gpr[7]])
            };
            let whole = run(LINE_END);
            for at in [LINE_END + 1, LINE_END - 1, PAGE_END - 1] {
                assert_eq!(run(at), whole, "{name} at {at:#x}, {translates}");
            }
        }
    }
}

#[test]
fn locked_operation_on_nothing_reads_ones() {
    for translates in [false, true] {
        let engine = engine(translates);
        put_code(&engine, |a| {
            a.mov(eax, 1)?;
            a.lock().xadd(dword_ptr(RAM as u32), eax)
        });
        let mut vcpu = vcpu(&engine, 0);
        run_to_end(&mut vcpu);
        assert_eq!(vcpu.state().gpr[0], 0xffff_ffff);
    }
}
