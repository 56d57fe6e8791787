//! Code and the definition, side by side.

use super::*;

/// An engine and the definition, side by side.
pub(crate) struct Bench<const RULE: u8> {
    given: Arc<Mutex<Option<Block>>>,
    pub(crate) vcpu: Vcpu<Given<RULE>>,
    pub(crate) random: Random,
    pub(crate) next: u64,
}

impl<const RULE: u8> Bench<RULE> {
    pub(crate) fn new(seed: u64) -> Self {
        let ranges = [
            (GuestPhysAddr(LOW_CODE), PAGE_BYTES),
            (GuestPhysAddr(DATA), DATA_END - DATA),
            (GuestPhysAddr(CODE), CODE_BYTES),
        ];
        let clock: Arc<dyn Clock> = Arc::new(HostClock::new());
        let given = Arc::new(Mutex::new(None));
        let engine: Arc<Engine<Given<RULE>>> = Engine::new(EngineParts {
            config: given.clone(),
            memory: GuestMemory::new(&ranges).expect("host memory").into(),
            bus: Arc::new(Bus::new()),
            ports: Arc::new(Bus::new()),
            rom: Vec::new(),
            time: Arc::new(TimeBase::new(clock.clone(), 1_000_000)),
            alarms: Arc::new(TimerThread::new(clock).unwrap()),
            code_budget_bytes: 16 << 20,
        });
        if let Some(translator) = translator() {
            engine.set_translator(translator);
        }
        let spec = InstanceSpec {
            vcpu: VcpuId(0),
            entry: GuestVirtAddr(CODE),
            builtin_firmware: false,
        };
        Self {
            given,
            vcpu: Vcpu::new(&engine, spec),
            random: Random(seed),
            next: CODE,
        }
    }

    /// An address for another block.
    pub(crate) fn place(&mut self) -> u64 {
        self.next += 8;
        if self.next.is_multiple_of(PAGE_BYTES) {
            self.next += 8;
        }
        assert!(
            self.next < CODE + CODE_BYTES,
            "the test makes too many blocks"
        );
        self.next
    }

    /// Random contents of slots and memory.
    pub(crate) fn machine(&mut self, page_base: u64) -> Machine {
        let random = &mut self.random;
        let mut machine = Machine::new(&LAYOUT);
        for page in (DATA..DATA_END).step_by(PAGE_BYTES as usize) {
            machine.memory.map(page, page != READ_ONLY);
        }
        for edge in [DATA, READ_ONLY, READ_ONLY + PAGE_BYTES, DATA_END] {
            for addr in edge.saturating_sub(256)..edge + 256 {
                machine.memory.set(addr, &[random.next() as u8]);
            }
        }
        for (number, declared) in LAYOUT.slots.iter().enumerate() {
            let mut value: Value = std::array::from_fn(|_| random.value());
            if declared.name.starts_with('p') {
                let edge = random.pick(&[DATA + 128, READ_ONLY, READ_ONLY + 0x1000, DATA_END]);
                let aligned = if random.one_in(2) { !15 } else { !0 };
                value[0] = (edge - 40 + random.next() % 80) & aligned;
            }
            if declared.name == "r0" {
                value[0] %= 8;
            }
            machine.set(&LAYOUT, Slot::state(number as u16), value);
        }
        machine.fp = FpControl {
            rounding: vm_softfloat::RoundingDirection::from_riscv(random.below(5) as u8)
                .expect("below 5"),
            flags: random.pick(&[0, 0, 1, 16, 31]),
            rules: fp_rules(RULE),
        };
        machine.page_base = page_base;
        machine
    }

    /// What the guest's code is from now on.
    #[allow(dead_code)]
    pub(crate) fn give(&self, block: Block) {
        *self.given.lock().expect("no panic") = Some(block);
    }

    pub(crate) fn memory(&self) -> &GuestMemory {
        self.vcpu.engine().memory()
    }

    /// Runs a block on a random state here and there.
    pub(crate) fn compare(&mut self, block: &Block) {
        let pc = block.key.phys_pc.raw();
        *self.given.lock().expect("no panic") = Some(block.clone());
        let mut machine = self.machine(pc & !(PAGE_BYTES - 1));
        let before = machine.clone();
        let rounding = machine.fp.rounding as u32;
        for page in (DATA..DATA_END).step_by(PAGE_BYTES as usize) {
            let mut bytes = vec![0; PAGE_BYTES as usize];
            machine.memory.read(page, &mut bytes).expect("mapped");
            let done = self.memory().write(GuestPhysAddr(page), &bytes);
            done.expect("within memory");
        }
        let state = self.vcpu.state_mut();
        for (n, bytes) in machine.state[offset_of!(State, words)..]
            .chunks(8)
            .take(WORDS)
            .enumerate()
        {
            state.words[n] = u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
        }
        state.common.pc = pc;
        state.common.retired = 0;
        state.common.reservation_addr = u64::MAX;
        state.common.fp_flags = machine.fp.flags;
        state.common.fp_rounding = rounding;
        state.raised = [0; 2];
        let exit = self.vcpu.run();
        let end = machine.run(block, &LAYOUT, &mut |number, args, _| {
            helper(number.0, args).map_err(|(code, value)| Fault::Exception {
                code: ExceptionCode(code),
                value,
            })
        });
        let (at, fault) = match end {
            End::Faults { pc, fault } => (pc, fault),
            End::Goes { pc, .. } => {
                // To the exception of another block's second instruction.
                machine.retired += 1;
                let value = machine.get(&LAYOUT, Slot::state(0))[0];
                let code = ExceptionCode(END);
                (pc + 4, Fault::Exception { code, value })
            }
            other => panic!("{other:?}: the block ends by an exception"),
        };
        let expected = match fault {
            Fault::Read { addr } => [READ_FAULT.into(), addr],
            Fault::Write { addr } => [WRITE_FAULT.into(), addr],
            Fault::Misaligned { addr } => [MISALIGNED.into(), addr],
            Fault::Exception { code, value } => [code.0.into(), value],
        };
        let text = || {
            let words: Vec<_> = before.state[offset_of!(State, words)..]
                .chunks(8)
                .take(WORDS)
                .map(|bytes| u64::from_le_bytes(bytes.try_into().expect("eight bytes")))
                .collect();
            format!("{:?}\nbefore: {words:x?} {:?}", block.insts, before.fp)
        };
        assert_eq!(
            exit,
            VmExit::Wedged {
                pc: GuestVirtAddr(at)
            },
            "{}",
            text()
        );
        let state = self.vcpu.state();
        assert_eq!(state.raised, expected, "exception of {}", text());
        for (number, declared) in LAYOUT.slots.iter().enumerate() {
            let mut expected = machine.get(&LAYOUT, Slot::state(number as u16));
            let words = declared.ty.slot_bytes() as usize / 8;
            let first = (declared.offset as usize - offset_of!(State, words)) / 8;
            let mut found = state.words;
            if declared.ty == Type::Flags {
                // Host code leaves what is above alone.
                found[first] &= 0xffff;
                expected[0] &= 0xffff;
            }
            assert_eq!(
                found[first..first + words],
                expected[..words],
                "{} after {}",
                declared.name,
                text()
            );
        }
        assert_eq!(
            state.common.fp_flags,
            machine.fp.flags,
            "flags of {}",
            text()
        );
        assert_eq!(
            state.common.retired,
            machine.retired,
            "retired by {}",
            text()
        );
        for page in (DATA..DATA_END).step_by(PAGE_BYTES as usize) {
            let (mut here, mut there) = ([0; PAGE_BYTES as usize], [0; PAGE_BYTES as usize]);
            machine.memory.read(page, &mut there).expect("mapped");
            let done = self.memory().read(GuestPhysAddr(page), &mut here);
            done.expect("within memory");
            assert!(here == there, "memory after {}", text());
        }
    }

    /// `kinds` instances of each operation, `states` times each.
    pub(crate) fn each_op(&mut self, kinds: usize, states: usize) {
        for row in Op::TABLE {
            if matches!(row.op, Op::Insn | Op::ExitIf) {
                continue;
            }
            let mut made = 0;
            for _ in 0..20_000 {
                if made == kinds {
                    break;
                }
                let inst = inst(&mut self.random, row.op, &[]);
                let block = block(&[inst], &[], self.next);
                if verify(&block, &LAYOUT).is_err() {
                    continue;
                }
                for _ in 0..states {
                    self.compare(&block);
                }
                self.place();
                made += 1;
            }
            assert!(made > 0, "{:?} is hard to make", row.op);
        }
    }
}
