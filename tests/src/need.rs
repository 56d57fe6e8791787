//! Guests that a test needs, and what happens without them.

use xtask::guests::Cache;

/// The cache of guests if all `files` (names as in `riscv64/Image`) are in it. Otherwise says on the
/// test's output that and why it is skipped and returns `None`; with `VM_TESTS_REQUIRE_GUESTS=1` fails.
///
/// # Panics
/// When a file is missing and guests are required.
pub fn guests_or_skip(files: &[&str]) -> Option<Cache> {
    let cache = Cache::locate();
    let required = std::env::var_os("VM_TESTS_REQUIRE_GUESTS").is_some_and(|value| value == "1");
    match missing(&cache, files) {
        None => Some(cache),
        Some(why) if required => panic!("guests are required: {why}"),
        Some(why) => {
            println!("skipped: {why}");
            None
        }
    }
}

fn missing(cache: &Cache, files: &[&str]) -> Option<String> {
    files
        .iter()
        .find_map(|name| cache.require(name).err())
        .map(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_file_is_reported_with_its_part() {
        let dir = tempfile::tempdir().unwrap();
        let cache = Cache::at(dir.path());
        let why = missing(&cache, &["riscv64/Image"]).unwrap();
        assert!(
            why.contains("cargo xtask guests --only riscv64-linux"),
            "{why}"
        );
        std::fs::create_dir(dir.path().join("riscv64")).unwrap();
        std::fs::write(cache.file("riscv64/Image"), "x").unwrap();
        assert_eq!(missing(&cache, &["riscv64/Image"]), None);
    }
}
