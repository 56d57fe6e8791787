//! `docs/vm-toml.md` against the program: every key there is, and no other, with its default; examples that are read.

use std::collections::BTreeSet;
use std::path::Path;

use vm_service::{VmConfig, read_config};

fn page() -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/vm-toml.md");
    std::fs::read_to_string(file).unwrap()
}

fn read(text: &str) -> Result<VmConfig, String> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("vm.toml");
    std::fs::write(&file, text).unwrap();
    read_config(&file).map_err(|error| error.to_string())
}

/// The keys that may stand behind `begin`: the program lists them when it finds one that it does not know.
fn known(begin: &str) -> BTreeSet<String> {
    let error = read(&format!("{begin}zzzzzzzz = 1\n")).unwrap_err();
    let (_, keys) = error.split_once("there are ").expect("a list of keys");
    keys.split(", ").map(str::to_owned).collect()
}

/// The rows of the table in a section, without their backticks: key and default.
fn documented(heading: &str) -> Vec<(String, String)> {
    let page = page();
    let section = page.split("\n## ").find(|part| part.starts_with(heading));
    let rows = section.expect("the section").lines();
    let rows = rows.filter(|line| line.starts_with("| `"));
    rows.map(|row| {
        let cells: Vec<_> = row.split(" | ").collect();
        let plain = |cell: &str| cell.trim_start_matches("| ").trim_matches('`').to_owned();
        (plain(cells[0]), plain(cells[2]))
    })
    .collect()
}

#[test]
fn page_has_every_key_and_no_other() {
    for (heading, begin) in [
        ("The machine", ""),
        ("Disks", "[[disk]]\n"),
        ("Networks", "[[net]]\n"),
        ("Ports", "[[port]]\n"),
    ] {
        let rows = documented(heading);
        let keys: BTreeSet<_> = rows.iter().map(|(key, _)| key.clone()).collect();
        assert_eq!(keys, known(begin), "{heading}");
    }
}

#[test]
fn page_has_the_programs_defaults() {
    let own = toml::Table::try_from(VmConfig::default()).unwrap();
    let mut compared = 0;
    for (key, said) in documented("The machine") {
        let value = own.get(&key).map(ToString::to_string);
        match (value, said.as_str()) {
            // Tables have pages or sections of their own.
            (_, "see below") => {}
            (value, said) => assert_eq!(value.as_deref().unwrap_or("none"), said, "{key}"),
        }
        compared += 1;
    }
    assert!(compared > 20);
}

#[test]
fn examples_of_the_page_are_read() {
    let page = page();
    let mut examples = 0;
    for block in page.split("```toml\n").skip(1) {
        let (text, _) = block.split_once("```").unwrap();
        read(text).unwrap();
        examples += 1;
    }
    assert!(examples > 0);
}
