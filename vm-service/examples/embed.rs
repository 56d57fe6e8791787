//! Boots a kernel from a Rust program and reads its console.
//!
//! `cargo run --release -p vm-service --example embed -- KERNEL INITRD`

use std::sync::{Arc, mpsc};
use std::time::Duration;

use vm_core::config::ByteSize;
use vm_service::{CharSink, Vm};

/// Passes on what the guest prints.
struct Console(mpsc::Sender<Vec<u8>>);

impl CharSink for Console {
    fn write(&self, bytes: &[u8]) {
        // The reader may have seen enough.
        let _ = self.0.send(bytes.to_vec());
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut files = std::env::args().skip(1);
    let (Some(kernel), Some(initrd)) = (files.next(), files.next()) else {
        return Err("usage: embed KERNEL INITRD".into());
    };
    let (sender, console) = mpsc::channel();
    let mut vm = Vm::builder()
        .cpus(2)
        .memory(ByteSize::mib(512))
        .kernel(kernel)
        .initrd(initrd)
        .append("console=ttyS0")
        .serial_sink(Arc::new(Console(sender)))
        .build()?;
    let handle = vm.handle();
    let reader = std::thread::spawn(move || {
        let mut text = Vec::new();
        while let Ok(bytes) = console.recv_timeout(Duration::from_secs(120)) {
            text.extend(bytes);
            if text.ends_with(b"Linux version ") {
                println!("the kernel has started");
            }
            if text.ends_with(b"Run /init as init process") {
                println!("the kernel is through: stopping");
                break;
            }
        }
        handle.stop();
        text
    });
    let outcome = vm.run()?;
    let text = reader.join().expect("the reader does not panic");
    println!("ended: {outcome:?}, {} bytes of console text", text.len());
    Ok(())
}
