//! The figures as Markdown, to be read in a terminal and pasted into `docs/performance.md`.

use std::fmt::Write as _;

use super::program::{Class, Kernel, Outcome};
use super::session::Run;
use super::statistics::{Spread, geometric_mean};

/// One alternation: this VM's run and QEMU's, unless it was left out.
#[derive(Debug, Clone)]
pub(super) struct Pair {
    pub(super) ours: Run,
    pub(super) qemu: Option<Run>,
}

const MIB: f64 = 1_048_576.0;

/// The tables of one number of processors. `native` are the host's own runs.
pub(super) fn tables(cpus: u32, pairs: &[Pair], kernels: &[Kernel], native: &[Outcome]) -> String {
    let mut text = format!("### {cpus} CPU{}\n\n", if cpus == 1 { "" } else { "s" });
    machine_table(&mut text, pairs, kernels);
    // Others have a row each, with times and memory.
    let is_kernel = |kernel: &Kernel| !matches!(kernel.class, Class::Program | Class::Firmware);
    let (kernels, others): (Vec<_>, Vec<_>) = kernels.iter().cloned().partition(is_kernel);
    if !kernels.is_empty() {
        kernel_table(&mut text, cpus, pairs, &kernels, native);
        class_table(&mut text, pairs, &kernels);
    }
    if !others.is_empty() {
        program_table(&mut text, pairs, &others);
    }
    text
}

/// Programs, whose time and memory are given as shares of QEMU's.
fn program_table(text: &mut String, pairs: &[Pair], programs: &[Kernel]) {
    text.push_str(
        "| program | QEMU s | this VM s | this VM / QEMU (range) | QEMU peak RSS, MiB | \
         this VM peak RSS, MiB |\n|---|---|---|---|---|---|\n",
    );
    for program in programs {
        let of_ours = |value: &dyn Fn(&Outcome) -> Option<f64>| {
            let outcomes = pairs.iter().filter_map(|p| p.ours.outcome(&program.name));
            number(spread(outcomes.filter_map(value)).map(|s| s.median))
        };
        let of_qemu = |value: &dyn Fn(&Outcome) -> Option<f64>| {
            let outcomes = (pairs.iter()).filter_map(|p| p.qemu.as_ref()?.outcome(&program.name));
            number(spread(outcomes.filter_map(value)).map(|s| s.median))
        };
        let seconds = |outcome: &Outcome| Some(outcome.seconds);
        let resident = |outcome: &Outcome| Some(outcome.peak_bytes? as f64 / MIB);
        let shares = speeds(pairs, program).map(|speed| 1.0 / speed);
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} |",
            program.name,
            of_qemu(&seconds),
            of_ours(&seconds),
            with_range(spread(shares)),
            of_qemu(&resident),
            of_ours(&resident),
        );
    }
    text.push('\n');
}

fn machine_table(text: &mut String, pairs: &[Pair], kernels: &[Kernel]) {
    text.push_str("| measure | this VM | QEMU | this VM / QEMU (range) |\n|---|---|---|---|\n");
    let mut row = |name: &str, value: &dyn Fn(&Run) -> Option<f64>| {
        let ours = spread(pairs.iter().filter_map(|pair| value(&pair.ours)));
        let qemu = spread(pairs.iter().filter_map(|p| value(p.qemu.as_ref()?)));
        let ratio = spread(pairs.iter().filter_map(|pair| {
            let (ours, qemu) = (value(&pair.ours)?, value(pair.qemu.as_ref()?)?);
            (qemu > 0.0).then_some(ours / qemu)
        }));
        if let Some(ours) = ours {
            let (ours, qemu) = (with_range(Some(ours)), with_range(qemu));
            let _ = writeln!(text, "| {name} | {ours} | {qemu} | {} |", with_range(ratio));
        }
    };
    row("process start to userspace, s", &|run| {
        Some(run.boot_seconds)
    });
    row("peak RSS, MiB", &|run| {
        Some(run.footprint.peak_bytes as f64 / MIB)
    });
    row("of it guest RAM, MiB", &|run| {
        Some(run.footprint.guest_bytes as f64 / MIB)
    });
    row("VM overhead, MiB", &|run| {
        Some(run.footprint.overhead_bytes() as f64 / MIB)
    });
    row("idle guest, % of a core", &|run| {
        Some(run.idle_share? * 100.0)
    });
    let a_repeat = |run: &Run, name: &str| {
        let kernel = kernels.iter().find(|kernel| kernel.name == name)?;
        Some(run.outcome(name)?.seconds / kernel.repeats as f64)
    };
    row("code rewritten and called, us", &|run| {
        Some(a_repeat(run, "code_rewrite")? * 1e6)
    });
    row("aliased copy / unaliased copy, time", &|run| {
        Some(a_repeat(run, "copy_aliased")? / a_repeat(run, "copy_large")?)
    });
    text.push('\n');
}

fn kernel_table(
    text: &mut String,
    cpus: u32,
    pairs: &[Pair],
    kernels: &[Kernel],
    native: &[Outcome],
) {
    text.push_str(
        "| kernel | class | native s | QEMU s | this VM s | speed against QEMU (range) | \
         M instructions/s |\n|---|---|---|---|---|---|---|\n",
    );
    for kernel in kernels {
        let seconds = |run: &Run| run.outcome(&kernel.name).map(|outcome| outcome.seconds);
        let ours = spread(pairs.iter().filter_map(|pair| seconds(&pair.ours)));
        let qemu = spread(pairs.iter().filter_map(|p| seconds(p.qemu.as_ref()?)));
        let native = native.iter().find(|outcome| outcome.name == kernel.name);
        // A counter belongs to one hart; with several the kernel's process may move.
        let rate = spread(pairs.iter().filter_map(|pair| {
            let outcome = pair.ours.outcome(&kernel.name)?;
            let instructions = outcome.instructions.filter(|_| cpus == 1)?;
            Some(instructions as f64 / outcome.seconds / 1e6)
        }));
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} | {} |",
            kernel.name,
            kernel.class.name(),
            number(native.map(|outcome| outcome.seconds)),
            number(qemu.map(|s| s.median)),
            number(ours.map(|s| s.median)),
            with_range(spread(speeds(pairs, kernel))),
            number(rate.map(|s| s.median)),
        );
    }
    text.push('\n');
}

fn class_table(text: &mut String, pairs: &[Pair], kernels: &[Kernel]) {
    text.push_str(
        "| class | kernels | speed against QEMU, geometric mean of medians | of each alternation |\n\
         |---|---|---|---|\n",
    );
    for class in Class::ALL {
        let members: Vec<&Kernel> = kernels.iter().filter(|k| k.class == *class).collect();
        let medians: Vec<f64> = members
            .iter()
            .filter_map(|kernel| spread(speeds(pairs, kernel)))
            .map(|speed| speed.median)
            .collect();
        let of_each = pairs.iter().filter_map(|pair| {
            let speeds: Vec<f64> = members.iter().filter_map(|k| speed(pair, k)).collect();
            geometric_mean(&speeds)
        });
        if let Some(mean) = geometric_mean(&medians) {
            let range = spread(of_each).map_or_else(String::new, |spread| {
                format!(
                    "{}-{}",
                    number(Some(spread.least)),
                    number(Some(spread.most))
                )
            });
            let (name, count) = (class.name(), medians.len());
            let _ = writeln!(
                text,
                "| {name} | {count} | {} | {range} |",
                number(Some(mean))
            );
        }
    }
    text.push('\n');
}

fn speed(pair: &Pair, kernel: &Kernel) -> Option<f64> {
    let qemu = pair.qemu.as_ref()?.outcome(&kernel.name)?;
    let ours = pair.ours.outcome(&kernel.name)?;
    Some(qemu.seconds / ours.seconds)
}

fn speeds<'a>(pairs: &'a [Pair], kernel: &'a Kernel) -> impl Iterator<Item = f64> + 'a {
    pairs.iter().filter_map(move |pair| speed(pair, kernel))
}

fn spread(values: impl Iterator<Item = f64>) -> Option<Spread> {
    Spread::of(&values.collect::<Vec<_>>())
}

fn with_range(spread: Option<Spread>) -> String {
    match spread {
        None => "-".to_owned(),
        Some(s) if s.least == s.most => number(Some(s.median)),
        Some(s) => format!(
            "{} ({}-{})",
            number(Some(s.median)),
            number(Some(s.least)),
            number(Some(s.most))
        ),
    }
}

/// Three significant digits, as far as they are before or right after the point.
fn number(value: Option<f64>) -> String {
    let Some(value) = value else {
        return "-".to_owned();
    };
    let digits = match value.abs() {
        v if v >= 100.0 => 0,
        v if v >= 10.0 => 1,
        v if v >= 1.0 => 2,
        _ => 3,
    };
    format!("{value:.digits$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(boot_seconds: f64, kernel_seconds: f64) -> Run {
        Run {
            boot_seconds,
            outcomes: vec![Outcome {
                name: "sort".to_owned(),
                seconds: kernel_seconds,
                checksum: String::new(),
                instructions: Some(400_000_000),
                peak_bytes: Some(3 << 20),
            }],
            ..Run::default()
        }
    }

    fn kernels() -> Vec<Kernel> {
        vec![Kernel {
            name: "sort".to_owned(),
            class: Class::Integer,
            repeats: 1,
        }]
    }

    #[test]
    fn tables_pairs_show_median_ratio_and_range() {
        let pairs: Vec<Pair> = [(4.0, 1.0), (8.0, 2.0), (8.0, 4.0)]
            .map(|(ours, qemu)| Pair {
                ours: run(3.0, ours),
                qemu: Some(run(1.5, qemu)),
            })
            .into();
        let text = tables(1, &pairs, &kernels(), &[]);
        assert!(
            text.contains("| process start to userspace, s | 3.00 | 1.50 | 2.00 |"),
            "{text}"
        );
        let row = "| sort | integer | - | 2.00 | 8.00 | 0.250 (0.250-0.500) | 50.0 |";
        assert!(text.contains(row), "{text}");
        assert!(
            text.contains("| integer | 1 | 0.250 | 0.250-0.500 |"),
            "{text}"
        );
    }

    #[test]
    fn tables_programs_show_shares_of_time_and_memory() {
        let programs = [Kernel {
            class: Class::Program,
            ..kernels().remove(0)
        }];
        let pairs = [Pair {
            ours: run(3.0, 4.0),
            qemu: Some(run(1.5, 8.0)),
        }];
        let text = tables(1, &pairs, &programs, &[]);
        assert!(
            text.contains("| sort | 8.00 | 4.00 | 0.500 | 3.00 | 3.00 |"),
            "{text}"
        );
    }

    #[test]
    fn tables_without_qemu_leave_ratios_out() {
        let pairs = [Pair {
            ours: run(3.0, 4.0),
            qemu: None,
        }];
        let text = tables(2, &pairs, &kernels(), &[]);
        assert!(
            text.contains("| sort | integer | - | - | 4.00 | - | - |"),
            "{text}"
        );
    }
}
