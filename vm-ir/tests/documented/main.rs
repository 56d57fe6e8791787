//! Every block of `docs/ir.md` is parsed, verified and executed on 10,000 random states, faults included, and compared
//! with the instructions it stands for: on the host's processor (x86-64) and under `qemu-aarch64`.

mod example;
mod guest;

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::LazyLock;

use example::{Example, Holds, examples};
use guest::{GUESTS, Guest, WIRE_BYTES};
use vm_core::PAGE_BYTES;
use vm_ir::eval::block::{End, Fault, Machine, TestMemory};
use vm_ir::eval::{FpControl, flags};
use vm_ir::{JumpKind, Op, Slot, Type};
use vm_testing::Random;

const STATES: usize = 10_000;
/// Where the memory of the cases is: a read-only page, a writable one, nothing.
const MEMORY: u64 = 0x1000_0000;

/// What states are made from.
trait Addresses {
    fn address(&mut self, align: u64) -> u64;
}

impl Addresses for Random {
    fn address(&mut self, align: u64) -> u64 {
        let addr = match self.below(10) {
            0 => MEMORY + PAGE_BYTES - 40 + self.below(60),
            1 => MEMORY + 2 * PAGE_BYTES - 40 + self.below(60),
            n if n < 6 => MEMORY + PAGE_BYTES + self.below(64),
            _ => MEMORY + 2 * PAGE_BYTES - 96 + self.below(64),
        };
        addr & !(align - 1)
    }
}

/// One state on its way to or from the program.
#[derive(Clone)]
struct Wire(Vec<u8>);

impl Wire {
    fn word(&self, n: usize) -> u64 {
        u64::from_le_bytes(self.0[8 * n..8 * n + 8].try_into().expect("eight bytes"))
    }

    fn set(&mut self, n: usize, value: u64) {
        self.0[8 * n..8 * n + 8].copy_from_slice(&value.to_le_bytes());
    }

    const FLAGS: usize = 8;
    const VECTORS: usize = 9;
    const CONTROL: usize = 15;
    const FAULT: usize = 16;
    const CASE: usize = 17;
    const MEMORY: usize = 144;

    fn random(random: &mut Random, guest: &Guest, case: usize, example: &Example) -> Self {
        let mut wire = Self(vec![0; WIRE_BYTES]);
        (0..8).for_each(|n| wire.set(n, random.value()));
        let bits = random.next();
        let chosen = guest
            .flag_bits
            .iter()
            .enumerate()
            .filter(|(n, bit)| **bit < 64 && bits >> n & 1 != 0);
        wire.set(Self::FLAGS, chosen.fold(0, |all, (_, bit)| all | 1 << bit));
        (0..6).for_each(|n| wire.set(Self::VECTORS + n, random.value()));
        if random.below(2) == 0 {
            // Small numbers in every byte, for table lookups.
            (0..6).for_each(|n| wire.set(Self::VECTORS + n, random.next() & 0x1f1f_9f1f_8f0f_1f0f));
        }
        wire.set(Self::CONTROL, (guest.control)(random.next()));
        wire.set(Self::CASE, case as u64);
        wire.0[Self::MEMORY..]
            .iter_mut()
            .for_each(|byte| *byte = random.next() as u8);
        for &(register, holds) in &example.holds {
            let value = match holds {
                Holds::Memory(align) => random.address(align),
                Holds::MostlyAligned(align) if random.below(50) != 0 => random.address(align),
                Holds::MostlyAligned(_) => random.address(1),
                Holds::Frame => MEMORY + PAGE_BYTES + random.below(64),
                Holds::Below(bound) => random.below(bound),
            };
            wire.set(register, value);
        }
        if example.asm == "cmpxchg16b [rdi]" && random.below(2) == 0 {
            // As expected.
            wire.read_memory(wire.word(5), 0)
                .into_iter()
                .for_each(|value| wire.set(0, value));
            wire.read_memory(wire.word(5), 8)
                .into_iter()
                .for_each(|value| wire.set(3, value));
        }
        if example.asm == "iretq" {
            let at = Self::MEMORY + (wire.word(7) - MEMORY - PAGE_BYTES) as usize;
            let flags = random.next() & flags::ALL | 0x202;
            wire.0[at + 16..at + 24].copy_from_slice(&flags.to_le_bytes());
            wire.0[at + 24..at + 32].copy_from_slice(&random.address(1).to_le_bytes());
        }
        wire
    }

    /// The word at an address that the wire's memory has.
    fn read_memory(&self, addr: u64, offset: u64) -> Option<u64> {
        let at = addr.checked_sub(MEMORY + PAGE_BYTES)? + offset;
        let at = if at < PAGE_BYTES / 2 {
            at
        } else {
            at.checked_sub(PAGE_BYTES - 256)?
        } as usize;
        let bytes = self.0[Self::MEMORY..].get(at..at + 8)?;
        Some(u64::from_le_bytes(bytes.try_into().ok()?))
    }

    /// Flags in the places of `FlagKind::Bits`.
    fn flags(&self, guest: &Guest) -> u64 {
        let places = [flags::C, flags::P, flags::A, flags::Z, flags::N, flags::V];
        let set = |bit: u32| bit < 64 && self.word(Self::FLAGS) >> bit & 1 != 0;
        let pairs = guest.flag_bits.iter().zip(places);
        pairs
            .filter(|(bit, _)| set(**bit))
            .fold(0, |all, (_, place)| all | place)
    }

    fn machine(&self, guest: &Guest) -> Machine {
        let layout = guest.layout;
        let mut machine = Machine::new(layout);
        for (number, declared) in layout.slots.iter().enumerate() {
            let from = declared.offset as usize / 8;
            let value = match declared.ty {
                Type::Flags => [flags::word(self.flags(guest)), 0],
                Type::V128 => [self.word(from), self.word(from + 1)],
                _ => [self.word(from), 0],
            };
            machine.set(layout, Slot::state(number as u16), value);
        }
        let (rules, accrued) = (guest.fp)(self.word(Self::CONTROL));
        machine.fp = FpControl {
            rounding: rules.rounding,
            flags: accrued,
            rules,
        };
        machine.page_base = 0x40_0000;
        machine.memory = initial_memory().clone();
        machine.memory.set(
            MEMORY + PAGE_BYTES,
            &self.0[Self::MEMORY..Self::MEMORY + 128],
        );
        machine
            .memory
            .set(MEMORY + 2 * PAGE_BYTES - 128, &self.0[Self::MEMORY + 128..]);
        machine
    }
}

/// Memory before the wire's part of it is put in.
fn initial_memory() -> &'static TestMemory {
    static MEMORY_AT_START: LazyLock<TestMemory> = LazyLock::new(|| {
        let mut memory = TestMemory::default();
        memory.map(MEMORY, false);
        memory.map(MEMORY + PAGE_BYTES, true);
        let pattern: Vec<u8> = (0..PAGE_BYTES).map(|n| (n * 7) as u8).collect();
        memory.set(MEMORY, &pattern);
        memory
    });
    &MEMORY_AT_START
}

/// `iretq` of a frame that stays on the same privilege level (Intel SDM 2, IRET): rip, cs, rflags, rsp, ss.
fn iret(rsp: u64, memory: &TestMemory, state: &mut [u8]) -> Result<u64, Fault> {
    let mut frame = [0; 40];
    memory.read(rsp, &mut frame)?;
    let word =
        |n: usize| u64::from_le_bytes(frame[8 * n..8 * n + 8].try_into().expect("eight bytes"));
    state[56..64].copy_from_slice(&word(3).to_le_bytes());
    state[120..128].copy_from_slice(&flags::word(word(2)).to_le_bytes());
    Ok(0)
}

/// Runs the block until it leaves its instructions; 0, or what the program reports as the fault.
fn execute(machine: &mut Machine, guest: &Guest, example: &Example) -> u64 {
    loop {
        let helps = example.block.insts.iter().any(|inst| inst.op == Op::Call);
        let memory = if helps {
            machine.memory.clone()
        } else {
            TestMemory::default()
        };
        let mut helpers = |_, args: [u64; 3], state: &mut [u8]| iret(args[0], &memory, state);
        match machine.run(&example.block, guest.layout, &mut helpers) {
            End::Faults {
                fault: Fault::Exception { .. },
                ..
            } => return 2,
            End::Faults { .. } => return 1,
            End::Exits { pc: None } => return 0,
            End::Goes {
                pc,
                kind: JumpKind::Plain,
            } if pc == machine.page_base => {}
            End::Goes {
                pc,
                kind: JumpKind::Plain,
            } => {
                let end = machine.page_base + u64::from(example.block.guest_bytes);
                assert_eq!(pc, end, "{}: goes on behind it", example.asm);
                return 0;
            }
            end => panic!("{}: {end:?}", example.asm),
        }
    }
}

/// Compares what the block made of `before` with what the instructions made of it.
fn compare(guest: &Guest, example: &Example, before: &Wire, after: &Wire) -> u64 {
    let layout = guest.layout;
    let mut before = before.clone();
    if example.asm == "iretq" {
        // The program put its own code address and selectors into the frame.
        let at = Wire::MEMORY + (before.word(7) - MEMORY - PAGE_BYTES) as usize;
        for word in [0, 8, 32] {
            before.0[at + word..at + word + 8].copy_from_slice(&after.0[at + word..at + word + 8]);
        }
    }
    let mut machine = before.machine(guest);
    let fault = execute(&mut machine, guest, example);
    let expected = after.machine(guest);
    let context = || {
        let show = |machine: &Machine| {
            let slots = layout.slots.iter().enumerate();
            let lines = slots.map(|(n, declared)| {
                format!(
                    "{} {:x?}",
                    declared.name,
                    machine.get(layout, Slot::state(n as u16))
                )
            });
            lines.collect::<Vec<_>>().join("\n")
        };
        let start = show(&before.machine(guest));
        format!(
            "{}\nbefore:\n{start}\nblock:\n{}\ninstruction:\n{}",
            example.asm,
            show(&machine),
            show(&expected)
        )
    };
    assert_eq!(fault, after.word(Wire::FAULT), "fault of {}", context());
    for (number, declared) in layout.slots.iter().enumerate() {
        let slot = Slot::state(number as u16);
        let (got, wanted) = (machine.get(layout, slot), expected.get(layout, slot));
        if declared.ty == Type::Flags {
            let known = guest.flag_bits.iter().zip([
                flags::C,
                flags::P,
                flags::A,
                flags::Z,
                flags::N,
                flags::V,
            ]);
            let known = known
                .filter(|(bit, _)| **bit < 64)
                .fold(0, |all, (_, place)| all | place);
            let mask = if fault == 0 {
                known & !example.undefined
            } else {
                known
            };
            assert_eq!(
                flags::bits(got[0]) & mask,
                flags::bits(wanted[0]) & mask,
                "flags of {}",
                context()
            );
        } else if fault == 0 || number < 8 || !example.undefined_on_fault.contains(&(number - 8)) {
            assert_eq!(got, wanted, "{} of {}", declared.name, context());
        }
    }
    assert_eq!(machine.memory, expected.memory, "memory of {}", context());
    assert_eq!(
        machine.fp.flags,
        expected.fp.flags,
        "floating-point flags of {}",
        context()
    );
    fault
}

/// Builds the program for a guest's examples; why not, if that cannot be.
fn build(
    dir: &Path,
    guest: &Guest,
    examples: &[Example],
    compiler: &str,
) -> Result<std::path::PathBuf, String> {
    let asm: Vec<String> = examples.iter().map(|example| example.asm.clone()).collect();
    std::fs::write(dir.join("program.c"), guest.program).expect("a writable temporary directory");
    std::fs::write(dir.join("cases.S"), (guest.cases)(&asm))
        .expect("a writable temporary directory");
    let mut command = Command::new(compiler);
    command.current_dir(dir).args([
        "-O1",
        "-static",
        "-no-pie",
        "-o",
        "program",
        "program.c",
        "cases.S",
    ]);
    let output = command
        .output()
        .map_err(|error| format!("{compiler}: {error}"))?;
    let messages = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "{compiler} refuses the examples:\n{messages}"
    );
    Ok(dir.join("program"))
}

/// Feeds states to the program; the states it gives back.
fn run(mut command: Command, states: &[Wire]) -> Result<Vec<Wire>, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("{name}: {error}"))?;
    let mut stdin = child.stdin.take().expect("a pipe");
    let mut bytes = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for state in states {
                if stdin.write_all(&state.0).is_err() {
                    return;
                }
            }
        });
        child
            .stdout
            .take()
            .expect("a pipe")
            .read_to_end(&mut bytes)
            .expect("a readable pipe");
    });
    let status = child.wait().expect("a child");
    assert!(status.success(), "{name}: {status}");
    Ok(bytes
        .chunks(WIRE_BYTES)
        .map(|chunk| Wire(chunk.to_vec()))
        .collect())
}

/// Compares every example of a guest; gives their number, or says why it cannot.
fn check(guest: &Guest, compiler: &str, runner: Option<&str>) -> Result<usize, String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/ir.md");
    let document = std::fs::read_to_string(path).expect("docs/ir.md");
    let examples = examples(&document, guest);
    let dir = tempfile::tempdir().expect("a temporary directory");
    let program = build(dir.path(), guest, &examples, compiler)?;
    let mut random = Random(7);
    let states: Vec<Wire> = (0..STATES * examples.len())
        .map(|n| Wire::random(&mut random, guest, n / STATES, &examples[n / STATES]))
        .collect();
    let command = match runner {
        Some(runner) => {
            let mut command = Command::new(runner);
            command.arg(program);
            command
        }
        None => Command::new(program),
    };
    let results = run(command, &states)?;
    assert_eq!(results.len(), states.len());
    let mut faults = vec![0; examples.len()];
    for (n, (before, after)) in states.iter().zip(&results).enumerate() {
        let example = n / STATES;
        faults[example] += usize::from(compare(guest, &examples[example], before, after) != 0);
    }
    for (example, faults) in examples.iter().zip(faults) {
        let may_fault = example
            .holds
            .iter()
            .any(|(_, holds)| matches!(holds, Holds::Memory(_) | Holds::MostlyAligned(_)));
        assert!(
            !may_fault || faults > 100,
            "{}: only {faults} faults",
            example.asm
        );
    }
    Ok(examples.len())
}

#[test]
fn documented_x86_64_blocks_do_what_the_host_does() {
    if !cfg!(all(target_arch = "x86_64", target_os = "linux")) {
        println!("skipped: the host is not x86-64 Linux");
        return;
    }
    match check(&GUESTS[0], "gcc", None) {
        Ok(examples) => assert!(examples >= 15, "{examples}"),
        Err(why) => println!("skipped: {why}"),
    }
}

#[test]
fn documented_aarch64_blocks_do_what_qemu_does() {
    match check(
        &GUESTS[1],
        "aarch64-linux-gnu-gcc",
        Some("qemu-aarch64-static"),
    ) {
        Ok(examples) => assert!(examples >= 10, "{examples}"),
        Err(why) => println!("skipped: {why}"),
    }
}
