//! What gdb's `monitor` command does.

use std::convert::Infallible;
use std::fmt::Write as _;

use gdbstub::target::ext::monitor_cmd::{ConsoleOutput, MonitorCmd};
use vm_core::VcpuId;

use super::target::DebuggedMachine;
use crate::report;

const HELP: &str = "\
stats        engine statistics of each CPU
regs         registers of the CPU that stopped last, system registers among them
phys on|off  take addresses of memory as physical ones, or as the CPU translates them
reset        reset the machine, which stays stopped
quit         end the machine
help         this list
";

const RESET: &str = "\
the machine is as after power-on; 'maintenance flush register-cache' has gdb read its registers anew
";

impl MonitorCmd for DebuggedMachine {
    fn handle_monitor_cmd(
        &mut self,
        command: &[u8],
        mut out: ConsoleOutput<'_>,
    ) -> Result<(), Infallible> {
        let command = String::from_utf8_lossy(command);
        let words: Vec<_> = command.split_whitespace().collect();
        let answer = match words[..] {
            ["stats"] => self.statistics(),
            ["regs"] => report::registers(self.target(), self.current),
            ["phys", "on"] => self.use_physical(true),
            ["phys", "off"] => self.use_physical(false),
            ["phys"] => phrase(self.physical).to_owned(),
            ["reset"] => {
                self.target().reset();
                RESET.to_owned()
            }
            ["quit"] => {
                self.quits = true;
                String::new()
            }
            [] | ["help"] => HELP.to_owned(),
            _ => format!("no command '{}'; there are:\n{HELP}", words.join(" ")),
        };
        out.write_raw(answer.as_bytes());
        Ok(())
    }
}

fn phrase(physical: bool) -> &'static str {
    match physical {
        true => "addresses of memory are physical\n",
        false => "addresses of memory are as the CPU translates them\n",
    }
}

impl DebuggedMachine {
    fn statistics(&self) -> String {
        let mut text = String::new();
        for vcpu in (0..self.target().vcpus()).map(VcpuId) {
            for (name, value) in self.target().statistics(vcpu) {
                writeln!(text, "CPU {} {name}: {value}", vcpu.0)
                    .expect("invariant: writing to a string succeeds");
            }
        }
        text
    }

    fn use_physical(&mut self, physical: bool) -> String {
        self.physical = physical;
        phrase(physical).to_owned()
    }
}
