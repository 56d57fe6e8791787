//! Programs of any bytes: whatever they do to the processor's registers, tables and devices, the host goes on.
//! `HOSTILE_RUNS` sets how many.

use vm_core::VmExit;

use super::machine::*;

/// Instructions of a program at most.
const STEPS: u32 = 60;

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.next() as usize % from.len()]
    }
}

/// What makes instructions of the system likely.
const SYSTEM: [&[u8]; 24] = [
    &[0x0f, 0x30],                   // wrmsr
    &[0x0f, 0x32],                   // rdmsr
    &[0x0f, 0x22, 0xc0],             // mov cr0, rax
    &[0x0f, 0x22, 0xd8],             // mov cr3, rax
    &[0x0f, 0x22, 0xe0],             // mov cr4, rax
    &[0x44, 0x0f, 0x22, 0xc0],       // mov cr8, rax
    &[0x0f, 0x23, 0xf8],             // mov dr7, rax
    &[0x0f, 0x23, 0xc0],             // mov dr0, rax
    &[0x0f, 0x01, 0x13],             // lgdt [rbx]
    &[0x0f, 0x01, 0x1b],             // lidt [rbx]
    &[0x0f, 0x00, 0xd8],             // ltr ax
    &[0x0f, 0x00, 0xd0],             // lldt ax
    &[0x8e, 0xd0],                   // mov ss, eax
    &[0x8e, 0xe8],                   // mov gs, eax
    &[0x48, 0xcf],                   // iretq
    &[0x48, 0xcb],                   // retfq
    &[0xff, 0x1b],                   // call far [rbx]
    &[0xcd, 0x80],                   // int 0x80
    &[0x0f, 0x05],                   // syscall
    &[0x0f, 0x34],                   // sysenter
    &[0xee],                         // out dx, al
    &[0x0f, 0x01, 0xd1],             // xsetbv
    &[0x0f, 0xae, 0x2b],             // xrstor [rbx]
    &[0x66, 0x0f, 0x38, 0x82, 0x03], // invpcid rax, [rbx]
];

/// Numbers of MSRs, ports and control bits, so that what is written means something.
const NUMBERS: [u64; 14] = [
    0x1b,
    0x10,
    0x277,
    0x2ff,
    0x6e0,
    0x800,
    0x830,
    0xc000_0080,
    0xc000_0082,
    0xc000_0101,
    0x400,
    0x8000_0011,
    0x6b0,
    0xf4,
];

#[test]
fn hostile_programs_never_panic() {
    let runs = std::env::var("HOSTILE_RUNS").map_or(3000, |n| n.parse().expect("a number"));
    let mut random = Random(0x5eed_1234_5678_9abd);
    let mut machine = Machine::long(|a| a.nop());
    let start = *machine.state();
    let mut told = 0;
    for _ in 0..runs {
        let mut code = Vec::new();
        while code.len() < 0x100 {
            if random.next() & 3 == 0 {
                code.extend(random.pick(&SYSTEM));
            } else {
                let value = random.next();
                let most = 1 + random.next() as usize % 4;
                code.extend(&value.to_le_bytes()[..most]);
            }
        }
        machine.write(CODE, &code);
        let mut state = start;
        for register in &mut state.gpr {
            *register = match random.next() & 7 {
                0 => random.next(),
                1 => DATA + (random.next() & 0xfff),
                _ => random.pick(&NUMBERS),
            };
        }
        state.gpr[3] = DATA + (random.next() & 0xff8);
        state.gpr[4] = STACK;
        machine.put(DATA + (random.next() & 0xff8), random.next());
        state.system_flags ^= random.next() & 0x100;
        if random.next() & 7 == 0 {
            state.cpl = 3;
        }
        machine.vcpu.state_mut().clone_from(&state);
        for _ in 0..STEPS {
            match machine.vcpu.step() {
                VmExit::Stepped | VmExit::Interrupted => {}
                VmExit::Shutdown(why) => {
                    told += why.last.to_string().len();
                    break;
                }
                other => panic!("{other:x?}"),
            }
        }
        // The tables are as they were.
        machine.restore();
    }
    assert_ne!(told, 0, "no program has shut its processor down");
}
