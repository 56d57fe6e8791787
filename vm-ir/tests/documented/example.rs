//! The examples in `docs/ir.md`.

use vm_ir::{Block, text, verify};

use crate::guest::Guest;

/// What a register holds besides random numbers.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Holds {
    /// An address near the edges of memory, some of it read-only or absent, of this alignment.
    Memory(u64),
    /// The same, now and then misaligned.
    MostlyAligned(u64),
    /// An address with 64 writable bytes behind it.
    Frame,
    /// A number below this.
    Below(u64),
}

/// One fenced block: ```` ```ir ISA ````, comments with what the test must know, and the IR.
pub(crate) struct Example {
    /// Instructions, for the assembler.
    pub(crate) asm: String,
    /// Registers with a meaning, by number.
    pub(crate) holds: Vec<(usize, Holds)>,
    /// Flags that the architecture leaves undefined, places of `FlagKind::Bits`.
    pub(crate) undefined: u64,
    /// Vectors that a fault leaves undefined, by number.
    pub(crate) undefined_on_fault: Vec<usize>,
    /// The block.
    pub(crate) block: Block,
}

/// Every example of one guest.
pub(crate) fn examples(document: &str, guest: &Guest) -> Vec<Example> {
    let fence = format!("```ir {}", guest.layout.isa);
    let mut found = Vec::new();
    let mut lines = document.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        if line == fence {
            let body: Vec<&str> = lines
                .by_ref()
                .map(|(_, line)| line)
                .take_while(|line| *line != "```")
                .collect();
            found.push(example(number + 1, &body, guest));
        }
    }
    found
}

fn example(at: usize, body: &[&str], guest: &Guest) -> Example {
    let layout = guest.layout;
    let source = body.join("\n");
    let block = text::parse(&source, layout)
        .unwrap_or_else(|error| panic!("block at line {at} of docs/ir.md: {error}"));
    verify(&block, layout)
        .unwrap_or_else(|error| panic!("block at line {at} of docs/ir.md: {error}"));
    let mut example = Example {
        asm: String::new(),
        holds: Vec::new(),
        undefined: 0,
        undefined_on_fault: Vec::new(),
        block,
    };
    let number = |name: &str| {
        let found = layout.slots.iter().position(|slot| slot.name == name);
        found.unwrap_or_else(|| panic!("line {at}: no slot {name}"))
    };
    for line in body {
        let Some((key, value)) = line
            .strip_prefix("; ")
            .and_then(|line| line.split_once(": "))
        else {
            continue;
        };
        let names = value.split(", ");
        match key {
            "asm" => example.asm = value.to_owned(),
            "undefined" => example.undefined = names.map(flag).sum(),
            "undefined on fault" => {
                example.undefined_on_fault = names.map(|name| number(name) - 8).collect()
            }
            "random" => {
                for rule in names {
                    let words: Vec<&str> = rule.split(' ').collect();
                    let holds = match words[1..] {
                        ["in", "memory"] => Holds::Memory(1),
                        ["in", "memory", "aligned", to] => {
                            Holds::Memory(to.parse().expect("a number"))
                        }
                        ["in", "memory", "mostly", "aligned", to] => {
                            Holds::MostlyAligned(to.parse().expect("a number"))
                        }
                        ["in", "a", "frame"] => Holds::Frame,
                        ["below", bound] => Holds::Below(bound.parse().expect("a number")),
                        _ => panic!("line {at}: `{rule}`"),
                    };
                    example.holds.push((number(words[0]), holds));
                }
            }
            _ => panic!("line {at}: `{key}`"),
        }
    }
    assert!(!example.asm.is_empty(), "line {at}: no `; asm:`");
    example
}

fn flag(name: &str) -> u64 {
    use vm_ir::eval::flags::{A, C, N, P, V, Z};
    match name {
        "C" => C,
        "P" => P,
        "A" => A,
        "Z" => Z,
        "N" => N,
        "V" => V,
        _ => panic!("no flag {name}"),
    }
}
