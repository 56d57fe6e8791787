//! Boots a kernel from a Rust program and reads its console.
//!
//! `cargo run --release -p vm-service --example embed -- KERNEL INITRD`

use std::time::Duration;

use vm_service::Vm;

const LONG: Duration = Duration::from_secs(120);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut files = std::env::args().skip(1);
    let (Some(kernel), Some(initrd)) = (files.next(), files.next()) else {
        return Err("usage: embed KERNEL INITRD".into());
    };
    let mut vm = Vm::builder()
        .cpus(2)
        .memory(512 << 20)
        .kernel(kernel)
        .initrd(initrd)
        .append("console=ttyS0")
        .build()?;
    let handle = vm.handle();
    let guest = std::thread::spawn(move || vm.run());
    handle.wait_for_text("Linux version ", LONG)?;
    println!("the kernel has started");
    let log = handle.wait_for_text("Run /init as init process", LONG)?;
    println!(
        "the kernel is through after {} bytes of console text: stopping",
        log.len()
    );
    handle.stop();
    let outcome = guest.join().expect("the guest's thread does not panic")?;
    println!("ended: {outcome:?}");
    Ok(())
}
