//! A machine that runs a program of a few instructions, and what a test does with it.

use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use vm_boot::image::Program;
use vm_boot::riscv::{BootRequest, Firmware};
use vm_boot::{BootFile, Role};
use vm_core::{DebugTarget, GuestArch, GuestPhysAddr, GuestVirtAddr, StopCause, VcpuId};
use vm_device::chardev::{CharInput, CharSink};
use vm_frontend::riscv::isa::CpuModel;
use vm_platform::machine::{MachineConfig, Outcome};
use vm_platform::riscv_virt::{self, VirtConfig};

const RAM_BYTES: u64 = 16 << 20;
/// For what takes milliseconds on an idle host.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);
pub(crate) const PATIENCE_MS: u64 = 60_000;

/// A RISC-V Image (Linux `Documentation/arch/riscv/boot-image-header.rst`) with the program behind its header.
fn image(program: &[u32]) -> Vec<u8> {
    let mut image = vec![0; 64];
    image[0..4].copy_from_slice(&0x0400_006f_u32.to_le_bytes()); // jal zero, 64
    image[8..16].copy_from_slice(&0x20_0000_u64.to_le_bytes());
    image[16..24].copy_from_slice(&4096_u64.to_le_bytes());
    image[32..36].copy_from_slice(&2_u32.to_le_bytes());
    image[48..56].copy_from_slice(b"RISCV\0\0\0");
    image[56..60].copy_from_slice(b"RSC\x05");
    image.extend(program.iter().flat_map(|word| word.to_le_bytes()));
    image.resize(4096, 0);
    image
}

/// What the guest has shown.
#[derive(Default)]
pub(crate) struct Screen(Mutex<Vec<u8>>, Condvar);

impl CharSink for Screen {
    fn write(&self, bytes: &[u8]) {
        self.0.lock().unwrap().extend(bytes);
        self.1.notify_all();
    }
}

impl Screen {
    /// The next `count` characters.
    pub(crate) fn take(&self, count: usize) -> String {
        let shown = self.0.lock().unwrap();
        let few = |shown: &mut Vec<u8>| shown.len() < count;
        let (mut shown, _) = self.1.wait_timeout_while(shown, PATIENCE, few).unwrap();
        assert!(shown.len() >= count, "the guest shows {shown:?} only");
        String::from_utf8(shown.drain(..count).collect()).unwrap()
    }
}

/// A machine of two harts that runs on a thread of its own. It starts anew when the program asks for it.
pub(crate) struct Running {
    pub(crate) screen: Arc<Screen>,
    keyboard: Arc<dyn CharInput>,
    pub(crate) debugger: Arc<dyn DebugTarget>,
    pub(crate) peers: Box<dyn Fn() -> Vec<String>>,
    stop: Box<dyn Fn()>,
    thread: Option<std::thread::JoinHandle<Outcome>>,
}

impl Running {
    pub(crate) fn start(program: &[u32], cpu: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("Image");
        std::fs::write(&path, image(program)).unwrap();
        let file = BootFile::read(Role::Kernel, &path, RAM_BYTES).unwrap();
        let screen = Arc::new(Screen::default());
        let mut machine = riscv_virt::build(
            MachineConfig {
                code_budget_bytes: 16 << 20,
                ..MachineConfig::new(2, RAM_BYTES, screen.clone())
            },
            VirtConfig {
                isa: CpuModel::from_name(cpu).expect("a model").config(),
                boot: BootRequest {
                    firmware: Firmware::BuiltIn,
                    kernel: Some(Program::from_file(&file, GuestArch::Riscv64, RAM_BYTES).unwrap()),
                    initrd: None,
                    code_flash: None,
                    reset_address: GuestPhysAddr(0),
                    boot_hart: 0,
                },
                offered: None,
                builtin_sbi: true,
                bootargs: String::new(),
                device_tree: None,
                flash: Default::default(),
                virtio: Default::default(),
            },
        )
        .unwrap();
        let vcpus = machine.vcpus();
        Self {
            screen,
            keyboard: machine.serial_input(),
            debugger: machine.debugger(),
            peers: Box::new(move || {
                let shown = vcpus.iter().map(|vcpu| format!("{vcpu:?}"));
                shown.collect()
            }),
            stop: Box::new(machine.stopper()),
            thread: Some(std::thread::spawn(move || machine.run().unwrap())),
        }
    }

    /// What the guest answers to a key.
    pub(crate) fn answer(&self, key: u8, count: usize) -> String {
        let started = Instant::now();
        // Until the guest listens.
        while self.keyboard.offer(&[key]) == 0 {
            assert!(started.elapsed() < PATIENCE, "the guest is deaf");
        }
        self.screen.take(count)
    }

    /// Asks until hart 1 is suspended; how often it has gone on.
    pub(crate) fn suspended(&self) -> String {
        let started = Instant::now();
        loop {
            let state = self.answer(b'?', 2);
            if let Some(count) = state.strip_prefix('4') {
                return count.to_owned();
            }
            assert!(started.elapsed() < PATIENCE, "hart 1 is in state {state}");
        }
    }

    pub(crate) fn pause(&self) {
        self.debugger.pause();
        assert_eq!(self.debugger.wait(PATIENCE_MS), Some(StopCause::Paused));
    }

    pub(crate) fn word(&self, addr: u64) -> u32 {
        let mut bytes = [0; 4];
        let read = self
            .debugger
            .read_memory(VcpuId(0), GuestVirtAddr(addr), &mut bytes);
        read.unwrap();
        u32::from_le_bytes(bytes)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        (self.stop)();
        let outcome = self.thread.take().unwrap().join();
        if !std::thread::panicking() {
            assert_eq!(outcome.unwrap(), Outcome::Stopped);
        }
    }
}
