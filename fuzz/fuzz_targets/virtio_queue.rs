//! A virtio device whose rings are arbitrary bytes. The first two bytes choose size and feature bits of the queue, the
//! next 4 KiB at most become its rings and buffers; what follows is a script of register accesses.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use vm_core::{AccessWidth, GuestPhysAddr, NoIrq};
use vm_device::BusDevice;
use vm_device::fuzzing::drive;
use vm_device::virtio::VirtioMmio;
use vm_device::virtio::entropy::{HostEntropy, VirtioEntropy};
use vm_mem::GuestMemory;

const RAM: u64 = 0x8000_0000;
const RAM_BYTES: u64 = 0x8000;

fuzz_target!(|data: &[u8]| {
    let Some((&head, rest)) = data.split_first_chunk::<2>() else {
        return;
    };
    let (rings, script) = rest.split_at(rest.len().min(0x1000));
    let memory = GuestMemory::new(&[(GuestPhysAddr(RAM), RAM_BYTES)]).expect("host memory");
    memory
        .write(GuestPhysAddr(RAM), rings)
        .expect("within memory");
    let device = VirtioEntropy::new(Arc::new(HostEntropy));
    let device = VirtioMmio::new("fuzz", device, memory, Arc::new(NoIrq));
    // Registers of the memory-mapped transport (VIRTIO 1.3, 4.2.2).
    let write = |at, value| device.write(at, AccessWidth::Word, value);
    write(0x70, 3);
    for (word, features) in [(0, u64::from(head[1]) << 24), (1, 1)] {
        write(0x24, word);
        write(0x20, features & 0x3000_0000 | word);
    }
    write(0x70, 11);
    write(0x30, 0);
    write(0x38, 1 << (head[0] & 7));
    for (at, place) in [(0x80, RAM), (0x90, RAM + 0x800), (0xa0, RAM + 0xc00)] {
        write(at, place);
    }
    write(0x44, 1);
    write(0x70, 15);
    write(0x50, 0);
    drive(&*device, VirtioMmio::BYTES, script);
    // Reset waits for the device's thread, so that what it does with the rings happens in this run.
    device.reset();
});
