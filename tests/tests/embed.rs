//! The example that embeds a machine in a Rust program.

use std::process::{Command, Stdio};

use vm_tests::{Console, boot_limit, example, guests_or_skip, limit};

#[test]
fn embed_example_reads_the_kernel_s_console() {
    let Some(cache) = guests_or_skip(&["riscv64/Image", "riscv64/initramfs.cpio.gz"]) else {
        return;
    };
    let program = example("embed");
    assert!(
        program.exists(),
        "{} is missing: build it with `cargo build -p vm-service --example embed`",
        program.display()
    );
    let mut child = Command::new(&program)
        .arg(cache.file("riscv64/Image"))
        .arg(cache.file("riscv64/initramfs.cpio.gz"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("cannot start {}: {e}", program.display()));
    let mut said = Console::of(child.stdout.take().expect("invariant: asked for a pipe"));
    let seen = said
        .wait_for("the kernel has started", boot_limit())
        .and_then(|_| said.wait_for("the kernel is through", boot_limit()))
        .and_then(|_| said.wait_for("ended: Stopped", limit(30)));
    if let Err(timeout) = seen {
        // The machine must not outlive the test.
        let _ = child.kill();
        panic!("{timeout}");
    }
    let status = child.wait().expect("invariant: our own child");
    assert!(status.success(), "{status}");
}
