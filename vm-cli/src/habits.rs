//! What hands know from other programs, mostly from QEMU: `-m 512`, `-smp 4`, `-nographic`.
//!
//! A word with one counterpart here stands for it; for any other there is a hint. The table is looked at before the
//! command line is parsed, as an option of one dash and many letters is several options to the parser.

use std::ffi::{OsStr, OsString};

use clap::CommandFactory as _;

use crate::args::Cli;

/// What a word of another program means here.
enum Meaning {
    /// An option of ours with the same value.
    Option(&'static str),
    /// The number of CPUs, which may be followed by how they are arranged.
    Cpus,
    /// A disk, whose value is the file alone.
    Disk,
    /// An option of ours without a value.
    Switch(&'static str),
    /// What is so here anyway.
    Given,
    /// Given where the value begins so; anything else there is not.
    GivenIf(&'static str),
    /// Something else; what to write.
    Hint(&'static str),
}
use Meaning::{Cpus, Disk, Given, GivenIf, Hint, Option as Same, Switch};

/// Words without their dashes.
const HABITS: &[(&str, Meaning)] = &[
    ("kernel", Same("--kernel")),
    ("initrd", Same("--initrd")),
    ("append", Same("--append")),
    ("cmdline", Same("--append")),
    ("bios", Same("--bios")),
    ("cpu", Same("--cpu")),
    ("ram", Same("--memory")),
    ("mem", Same("--memory")),
    ("serial", Same("--serial")),
    ("dtb", Same("--dtb")),
    (
        "rtc",
        Hint("write --rtc utc, --rtc local or --rtc 2027-01-31T12:00:00"),
    ),
    ("smp", Cpus),
    ("hda", Disk),
    ("hdb", Disk),
    ("hdc", Disk),
    ("hdd", Disk),
    ("no-reboot", Switch("--no-reboot")),
    ("nographic", Given),
    ("machine", GivenIf("virt")),
    ("M", GivenIf("virt")),
    ("drive", Hint("write --disk file=FILE")),
    ("cdrom", Same("--cdrom")),
    ("snapshot", Hint("write --disk file=FILE,snapshot=on")),
    (
        "device",
        Hint(
            "disks are --disk file=FILE, network cards --net user, named ports --port name=NAME,to=unix:PATH; \
             isa-debug-exit is --debug-exit, pc-testdev --test-device, i6300esb --watchdog on, ramfb --display ramfb",
        ),
    ),
    ("netdev", Hint("write --net user,hostfwd=tcp::2222-:22")),
    ("nic", Hint("write --net user,hostfwd=tcp::2222-:22")),
    ("net", Hint("write --net user with two dashes")),
    ("redir", Hint("write --net user,hostfwd=tcp::2222-:22")),
    ("chardev", Hint("write --serial, --console or --port")),
    ("monitor", Hint("Ctrl-A c opens the monitor")),
    ("qmp", Hint("Ctrl-A c opens the monitor")),
    (
        "display",
        Hint(
            "there is no window: leave it out, or write --display with two dashes for what the guest has",
        ),
    ),
    (
        "vga",
        Hint("a PC that firmware starts has one; write --display vga for others"),
    ),
    ("watchdog", Hint("write --watchdog on")),
    ("vnc", Hint("the guest has no screen: leave it out")),
    ("accel", Hint("write --accel auto with two dashes")),
    (
        "enable-kvm",
        Hint("what is fastest is chosen by itself: leave it out"),
    ),
    (
        "kvm",
        Hint("what is fastest is chosen by itself: leave it out"),
    ),
    ("s", Hint("write --gdb 127.0.0.1:1234,wait=off")),
    (
        "S",
        Hint("write --gdb, which waits before the first instruction"),
    ),
    ("gdb", Hint("write --gdb 127.0.0.1:1234")),
    ("d", Hint("write --trace exec=FILE, or --dump ir,asm")),
    ("D", Hint("write --trace exec=FILE")),
    (
        "pflash",
        Hint("write --flash code=FILE or --flash vars=FILE"),
    ),
    ("firmware", Hint("write --bios FILE")),
    (
        "boot",
        Hint("a kernel is --kernel FILE, a disk --disk file=FILE"),
    ),
    (
        "image",
        Hint("a kernel is --kernel FILE, a disk --disk file=FILE"),
    ),
    (
        "daemonize",
        Hint("write --serial null and let the shell do it: vm-cli run ... &"),
    ),
    ("name", Hint("machines have no names: leave it out")),
    ("object", Hint("leave it out; --help lists all there are")),
    ("global", Hint("leave it out; --help lists all there are")),
];

/// The meaning of a word with its dashes.
fn meaning(word: &str) -> Option<&'static Meaning> {
    let name = word.strip_prefix('-')?;
    let name = name.strip_prefix('-').unwrap_or(name);
    let found = HABITS.iter().find(|(known, _)| *known == name);
    found.map(|(_, meaning)| meaning)
}

/// What to write instead of an option that there is not.
pub(crate) fn hint(option: &str) -> Option<String> {
    Some(match meaning(option)? {
        Same(ours) | Switch(ours) => format!("write {ours}"),
        Cpus => "write --cpus N".to_owned(),
        Disk => "write --disk file=FILE".to_owned(),
        Given => "leave it out".to_owned(),
        GivenIf(only) => format!("the machine is {only}: leave it out"),
        Hint(hint) => (*hint).to_owned(),
    })
}

/// The command line with our words in the place of others'.
///
/// # Errors
/// A word that has no counterpart, and a hint.
pub(crate) fn translated(
    line: impl IntoIterator<Item = OsString>,
) -> Result<Vec<OsString>, String> {
    let mut words = line.into_iter();
    let mut ours: Vec<OsString> = words.by_ref().take(2).collect();
    if ours.get(1).is_none_or(|command| command != "run") {
        ours.extend(words);
        return Ok(ours);
    }
    let known = OwnOptions::of_run();
    while let Some(word) = words.next() {
        let text = word.to_str().unwrap_or_default();
        if text == "--" {
            ours.push(word);
            ours.extend(words);
            break;
        }
        if let Some(has_value) = known.has_value(text) {
            ours.push(word);
            if has_value {
                ours.extend(words.next());
            }
            continue;
        }
        let Some(meaning) = meaning(text) else {
            ours.push(word);
            continue;
        };
        let mut value = || {
            let value = words.next();
            value.ok_or_else(|| format!("{text} needs a value"))
        };
        match meaning {
            Same(option) => ours.extend([option.into(), value()?]),
            Cpus => ours.extend(["--cpus".into(), cpus(&value()?)]),
            Disk => ours.extend(["--disk".into(), disk(&value()?)]),
            Switch(option) => ours.push(option.into()),
            Given => {}
            GivenIf(only) => {
                let value = value()?;
                let first = value.to_string_lossy();
                if first.split(',').next() != Some(only) {
                    return Err(format!(
                        "{text} {first}: the machine is {only}: leave it out"
                    ));
                }
            }
            Hint(hint) => return Err(format!("there is no {text}: {hint}")),
        }
    }
    Ok(ours)
}

/// `4`, `cpus=4` or `4,sockets=1`.
fn cpus(value: &OsStr) -> OsString {
    let value = value.to_string_lossy();
    let first = value.split(',').next().unwrap_or_default();
    first.strip_prefix("cpus=").unwrap_or(first).into()
}

/// A file as [`vm_core::config::DiskConfig`] reads it.
fn disk(file: &OsStr) -> OsString {
    use clap_lex::OsStrExt as _;
    let mut disk = OsString::from("file=");
    for (number, piece) in file.split(",").enumerate() {
        if number > 0 {
            disk.push(",,");
        }
        disk.push(piece);
    }
    disk
}

/// The options of `run` that are ours, as they are typed, and whether the next word is their value.
struct OwnOptions(Vec<(String, bool)>);

impl OwnOptions {
    fn of_run() -> Self {
        let mut program = Cli::command();
        program.build();
        let run = program.find_subcommand("run");
        let commands = run.into_iter().flat_map(|run| {
            let below = run.get_subcommands();
            std::iter::once(run).chain(below)
        });
        let options = commands.flat_map(clap::Command::get_arguments);
        let typed = options.flat_map(|option| {
            let has_value = option.get_action().takes_values()
                && option
                    .get_num_args()
                    .is_none_or(|count| count.min_values() > 0);
            let long = option.get_long().map(|long| format!("--{long}"));
            let short = option.get_short().map(|short| format!("-{short}"));
            [long, short]
                .into_iter()
                .flatten()
                .map(move |typed| (typed, has_value))
        });
        Self(typed.collect())
    }

    fn has_value(&self, word: &str) -> Option<bool> {
        let found = self.0.iter().find(|(typed, _)| typed == word);
        found.map(|(_, has_value)| *has_value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ours(line: &str) -> Result<String, String> {
        let words = ["vm-cli", "run"].into_iter().chain(line.split(' '));
        let words = translated(words.map(OsString::from))?;
        let words: Vec<_> = words.iter().map(|word| word.to_str().unwrap()).collect();
        Ok(words[2..].join(" "))
    }

    #[test]
    fn words_with_a_counterpart_stand_for_it() {
        for (line, expected) in [
            ("-m 512 --kernel Image", "-m 512 --kernel Image"),
            ("-smp 4 -nographic", "--cpus 4"),
            ("--smp cpus=2,cores=2", "--cpus 2"),
            ("-smp 3,sockets=1", "--cpus 3"),
            (
                "-kernel K -initrd I -append quiet",
                "--kernel K --initrd I --append quiet",
            ),
            ("-hda a,b.img", "--disk file=a,,b.img"),
            ("-M virt -no-reboot", "--no-reboot"),
            ("-machine virt,aclint=on", ""),
            ("--ram 1G", "--memory 1G"),
            ("debian -m 2G", "debian -m 2G"),
        ] {
            assert_eq!(ours(line), Ok(expected.to_owned()), "{line}");
        }
    }

    #[test]
    fn values_of_our_options_are_left_alone() {
        for line in [
            "--append -smp --kernel K",
            "--cpu -smp",
            "--append=-smp",
            "--kernel -hda",
            "--mirror -s",
            "-- -smp 4",
            "--gdb",
        ] {
            assert_eq!(ours(line), Ok(line.to_owned()));
        }
        let other = ["vm-cli", "symbols", "-smp"].map(OsString::from);
        assert_eq!(translated(other.clone()), Ok(other.to_vec()));
    }

    #[test]
    fn words_without_a_counterpart_say_what_to_write() {
        for (line, hint) in [
            ("-drive file=a", "--disk file=FILE"),
            ("-netdev user,id=n", "--net user"),
            ("-s", "--gdb"),
            ("-M q35", "the machine is virt"),
            ("-enable-kvm", "leave it out"),
            ("-smp", "needs a value"),
        ] {
            let error = ours(line).unwrap_err();
            assert!(error.contains(hint), "{line}: {error}");
        }
    }

    /// A counterpart that does not exist would send the user from one error to the next.
    #[test]
    fn counterparts_exist() {
        let known = OwnOptions::of_run();
        for (word, meaning) in HABITS {
            if let Same(ours) | Switch(ours) = meaning {
                let has_value = known.has_value(ours);
                assert_eq!(has_value, Some(matches!(meaning, Same(_))), "{word}");
            }
            if let Hint(hint) = meaning {
                for option in hint.split(' ').filter(|word| word.starts_with("--")) {
                    let option = option.trim_end_matches(',');
                    assert!(
                        option == "--help" || known.has_value(option).is_some(),
                        "{hint}"
                    );
                }
            }
        }
    }
}
