//! A virtio device whose rings are arbitrary bytes. The first four bytes choose the device, size and feature bits of its
//! queues, and how many of the next bytes are a script of register accesses; the rest becomes rings and buffers.
#![no_main]

use std::io;
use std::sync::{Arc, LazyLock};

use libfuzzer_sys::fuzz_target;
use parking_lot::Mutex;
use vm_core::{AccessWidth, GuestPhysAddr, NoIrq};
use vm_device::BusDevice;
use vm_device::block::BlockBackend;
use vm_device::chardev::{CharInput, NoSink};
use vm_device::fuzzing::drive;
use vm_device::host_room::HostRoom;
use vm_device::net::{FrameSink, NetBackend};
use vm_device::virtio::balloon::VirtioBalloon;
use vm_device::virtio::block::VirtioBlock;
use vm_device::virtio::console::VirtioConsole;
use vm_device::virtio::entropy::{EntropySource, VirtioEntropy};
use vm_device::virtio::net::VirtioNet;
use vm_device::virtio::{VirtioDevice, VirtioMmio};
use vm_mem::GuestMemory;

const RAM: u64 = 0x8000_0000;
const RAM_BYTES: usize = 0x2000;
/// Bytes of a queue's rings: 16 descriptors, then room for both rings of as many.
const QUEUE_BYTES: u64 = 0x200;
/// The largest queue, as a power of two.
const LARGEST: u8 = 4;

/// Made once; each run writes all of it.
static MEMORY: LazyLock<GuestMemory> = LazyLock::new(|| {
    GuestMemory::new(&[(GuestPhysAddr(RAM), RAM_BYTES as u64)]).expect("host memory")
});

struct Sevens;
impl EntropySource for Sevens {
    fn fill(&self, into: &mut [u8]) -> io::Result<()> {
        into.fill(7);
        Ok(())
    }
}

/// A disk that forgets what is written and checks that requests stay inside it.
struct Disk(bool);
impl Disk {
    fn check(&self, offset: u64, bytes: usize) {
        let end = offset.checked_add(bytes as u64);
        assert!(end.is_some_and(|end| end <= self.len()), "past the end");
    }
}
impl BlockBackend for Disk {
    fn len(&self) -> u64 {
        0x10_0000
    }
    fn read_only(&self) -> bool {
        self.0
    }
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.check(offset, into.len());
        into.fill(offset as u8);
        Ok(())
    }
    fn write_at(&self, offset: u64, from: &[u8]) -> io::Result<()> {
        assert!(!self.0, "read-only");
        self.check(offset, from.len());
        Ok(())
    }
    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}

/// The other end of the cable: it checks what is sent and delivers what the fuzzer says.
#[derive(Default)]
struct Cable(Mutex<Option<Arc<dyn FrameSink>>>);
impl NetBackend for Cable {
    fn transmit(&self, frame: &[u8]) {
        assert!((14..=65_550).contains(&frame.len()), "no Ethernet frame");
    }
    fn connect(&self, card: Arc<dyn FrameSink>) {
        *self.0.lock() = Some(card);
    }
    fn resume(&self) {}
}

/// A device, and what puts data into its receive queue.
fn device(which: u8) -> (Arc<dyn VirtioDevice>, Box<dyn Fn(&[u8])>) {
    match which & 7 {
        0 => (VirtioEntropy::new(Arc::new(Sevens)), Box::new(|_| ())),
        1 | 2 => {
            let disk = Arc::new(Disk(which & 7 == 2));
            (
                VirtioBlock::new(disk, "serial", HostRoom::unwatched()),
                Box::new(|_| ()),
            )
        }
        5 => (VirtioBalloon::new(MEMORY.clone()), Box::new(|_| ())),
        3 | 4 => {
            let console = VirtioConsole::new(Arc::new(NoSink));
            let offer = console.clone();
            let input = move |bytes: &[u8]| {
                assert!(offer.offer(bytes) <= bytes.len());
            };
            (console, Box::new(input))
        }
        _ => {
            let cable = Arc::new(Cable::default());
            let card = VirtioNet::new(cable.clone(), [2, 0, 0, 0, 0, 1]);
            let input = move |frame: &[u8]| {
                if let Some(card) = &*cable.0.lock() {
                    card.receive(frame);
                }
            };
            (card, Box::new(input))
        }
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((&head, rest)) = data.split_first_chunk::<4>() else {
        return;
    };
    let (script, rings) = rest.split_at(rest.len().min(usize::from(head[2])));
    let mut ram = vec![0; RAM_BYTES];
    let used = rings.len().min(RAM_BYTES);
    ram[..used].copy_from_slice(&rings[..used]);
    MEMORY.write(GuestPhysAddr(RAM), &ram).expect("memory");
    let (model, input) = device(head[0]);
    let queues = model.queue_sizes().len() as u64;
    let device = VirtioMmio::new("fuzz", model, MEMORY.clone(), Arc::new(NoIrq));
    // Registers of the memory-mapped transport (VIRTIO 1.3, 4.2.2).
    let write = |at, value| device.write(at, AccessWidth::Word, value);
    write(0x70, 3);
    // Rings' features, the device's own as the fuzzer likes, and VIRTIO_F_VERSION_1.
    let low = u64::from(head[1] & 0x30) << 24 | u64::from(head[3]);
    for (word, mut features) in [(0, low), (1, 1)] {
        write(0x14, word);
        features &= device.read(0x10, AccessWidth::Word);
        write(0x24, word);
        write(0x20, features);
    }
    write(0x70, 11);
    for queue in 0..queues {
        write(0x30, queue);
        write(0x38, 1 << ((head[0] >> 3) % (LARGEST + 1)));
        let rings = RAM + queue * QUEUE_BYTES;
        for (at, place) in [(0x80, rings), (0x90, rings + 0x100), (0xa0, rings + 0x140)] {
            write(at, place);
        }
        write(0x44, u64::from(head[1] >> queue & 1 == 0));
    }
    write(0x70, 15);
    input(&rings[..rings.len().min(100)]);
    (0..queues).for_each(|queue| write(0x50, queue));
    drive(&*device, VirtioMmio::BYTES, script);
    input(script);
    // Reset waits for the device's thread, so that what it does with the rings happens in this run.
    device.reset();
});
