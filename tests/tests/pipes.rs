//! Pipes where files are named: what `--initrd <(command)` of a shell is.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use vm_tests::{Guest, Launch, boot_limit, exit_code, guests_or_skip};

const LINUX: &[&str] = &["riscv64/Image", "riscv64/initramfs.cpio.gz"];

fn pipe(dir: &Path, name: &str) -> PathBuf {
    let path = dir.join(name);
    let made = Command::new("mkfifo").arg(&path).status();
    assert!(made.expect("mkfifo").success());
    path
}

#[test]
fn kernel_and_initrd_come_out_of_pipes_and_the_console_goes_into_one() {
    let Some(cache) = guests_or_skip(LINUX) else {
        return;
    };
    let dir = tempfile::tempdir().expect("a temporary directory");
    let [kernel, initrd, console] = ["k", "i", "c"].map(|name| pipe(dir.path(), name));
    let whole = Launch::riscv64_linux(&cache).with_words("order=poweroff");
    for (file, pipe) in [(&whole.kernel, &kernel), (&whole.initrd, &initrd)] {
        let (file, pipe) = (file.clone().expect("Linux has both"), pipe.clone());
        // Ends with its reader: an error means that the program has gone, which is seen below.
        std::thread::spawn(move || {
            let copied = File::open(file).and_then(|mut file| {
                let mut pipe = File::create(pipe)?;
                std::io::copy(&mut file, &mut pipe)
            });
            drop(copied);
        });
    }
    let output = console.clone();
    let reader = std::thread::spawn(move || std::fs::read_to_string(output));
    let launch = Launch {
        kernel: Some(kernel),
        initrd: Some(initrd),
        serial: Some(format!("file:{}", console.display())),
        ..whole
    };
    let mut guest = Guest::start(&launch, &cache);
    assert_eq!(guest.exit_code(boot_limit()), exit_code::POWER_OFF);
    let text = reader.join().expect("no panic").expect("text");
    assert!(text.contains("guest: poweroff"), "{text}");
}
