//! Kernel modules of an unpacked kernel package: found by name, decompressed and put in the order in
//! which `insmod` can load them. Packages carry no `modules.dep`, so the order comes from each module's
//! `.modinfo` section (`depends=`).

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::Error;

/// A module ready for `insmod`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Module {
    /// Its name with underscores, as `lsmod` shows it.
    pub name: String,
    /// The decompressed object file.
    pub contents: Vec<u8>,
}

/// All modules of one kernel.
#[derive(Debug)]
pub struct ModuleTree {
    files: BTreeMap<String, PathBuf>,
}

impl ModuleTree {
    /// Indexes the modules below `root`, the directory of an unpacked kernel package.
    pub fn open(root: &Path) -> Result<Self, Error> {
        let mut files = BTreeMap::new();
        for place in ["usr/lib/modules", "lib/modules"] {
            let dir = root.join(place);
            if dir.is_dir() {
                collect(&dir, &mut files)?;
            }
        }
        if files.is_empty() {
            return Err(Error::Layout {
                what: "lib/modules/**/*.ko".into(),
                place: root.into(),
            });
        }
        Ok(Self { files })
    }

    /// The named modules and all they depend on, dependencies first, each once. `-` and `_` in names are
    /// the same.
    pub fn in_load_order(&self, names: &[&str]) -> Result<Vec<Module>, Error> {
        let mut order = Vec::new();
        for name in names {
            self.visit(&canonical(name), &mut Vec::new(), &mut order)?;
        }
        Ok(order)
    }

    fn visit(
        &self,
        name: &str,
        path: &mut Vec<String>,
        order: &mut Vec<Module>,
    ) -> Result<(), Error> {
        if order.iter().any(|module| module.name == name) {
            return Ok(());
        }
        let error = |reason: String| Error::Module {
            name: name.to_owned(),
            reason,
        };
        if path.iter().any(|above| above == name) {
            return Err(error(format!(
                "depends on itself through {}",
                path.join(", ")
            )));
        }
        let file = self.files.get(name).ok_or_else(|| {
            let wanted_by = path
                .last()
                .map(|by| format!(" (wanted by {by})"))
                .unwrap_or_default();
            error(format!("not in the kernel package{wanted_by}"))
        })?;
        let contents = decompressed(file)?;
        let depends = depends(&contents)
            .ok_or_else(|| error("has no depends= entry: not a kernel module".to_owned()))?;
        path.push(name.to_owned());
        for dependency in depends {
            self.visit(&canonical(&dependency), path, order)?;
        }
        path.pop();
        order.push(Module {
            name: name.to_owned(),
            contents,
        });
        Ok(())
    }
}

fn collect(dir: &Path, files: &mut BTreeMap<String, PathBuf>) -> Result<(), Error> {
    for entry in fs::read_dir(dir).map_err(Error::io(dir))? {
        let entry = entry.map_err(Error::io(dir))?;
        let path = entry.path();
        if entry.file_type().map_err(Error::io(&path))?.is_dir() {
            collect(&path, files)?;
        } else if let Some((stem, _)) = entry.file_name().to_string_lossy().split_once(".ko") {
            files.insert(canonical(stem), path);
        }
    }
    Ok(())
}

fn canonical(name: &str) -> String {
    name.replace('-', "_")
}

fn decompressed(file: &Path) -> Result<Vec<u8>, Error> {
    let packed = fs::read(file).map_err(Error::io(file))?;
    if file.extension().is_none_or(|extension| extension != "xz") {
        return Ok(packed);
    }
    let mut contents = Vec::new();
    xz2::read::XzDecoder::new(packed.as_slice())
        .read_to_end(&mut contents)
        .map_err(Error::io(file))?;
    Ok(contents)
}

/// The `depends=a,b` string of `.modinfo`. Its strings are NUL-terminated and no other section of a
/// module holds one that starts like this, so the file is searched as a whole.
fn depends(contents: &[u8]) -> Option<Vec<String>> {
    const KEY: &[u8] = b"\0depends=";
    let at = contents
        .windows(KEY.len())
        .position(|window| window == KEY)?
        + KEY.len();
    let end = at + contents[at..].iter().position(|byte| *byte == 0)?;
    let list = std::str::from_utf8(&contents[at..end]).ok()?;
    Some(
        list.split(',')
            .filter(|name| !name.is_empty())
            .map(str::to_owned)
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(modules: &[(&str, &str)]) -> (tempfile::TempDir, ModuleTree) {
        let dir = tempfile::tempdir().unwrap();
        let kernel = dir.path().join("lib/modules/6.0/kernel/drivers");
        fs::create_dir_all(&kernel).unwrap();
        for (name, depends) in modules {
            let text = format!("\x7fELF\0license=GPL\0depends={depends}\0name={name}\0");
            fs::write(kernel.join(format!("{name}.ko")), text).unwrap();
        }
        let tree = ModuleTree::open(dir.path()).unwrap();
        (dir, tree)
    }

    fn names(modules: &[Module]) -> Vec<&str> {
        modules.iter().map(|module| module.name.as_str()).collect()
    }

    #[test]
    fn in_load_order_shared_dependency_comes_first_and_once() {
        let (_dir, tree) = tree(&[
            ("ext4", "jbd2,crc-16"),
            ("jbd2", "crc-16"),
            ("crc-16", ""),
            ("blk", ""),
        ]);
        let modules = tree.in_load_order(&["ext4", "blk", "jbd2"]).unwrap();
        assert_eq!(names(&modules), ["crc_16", "jbd2", "ext4", "blk"]);
    }

    #[test]
    fn in_load_order_missing_dependency_names_both() {
        let (_dir, tree) = tree(&[("net", "failover")]);
        let error = tree.in_load_order(&["net"]).unwrap_err().to_string();
        assert!(
            error.contains("failover") && error.contains("wanted by net"),
            "{error}"
        );
    }

    #[test]
    fn in_load_order_cycle_is_an_error() {
        let (_dir, tree) = tree(&[("a", "b"), ("b", "a")]);
        assert!(matches!(
            tree.in_load_order(&["a"]),
            Err(Error::Module { .. })
        ));
    }

    #[test]
    fn in_load_order_xz_module_is_decompressed() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("usr/lib/modules");
        fs::create_dir_all(&place).unwrap();
        let contents = b"\x7fELF\0depends=\0".to_vec();
        let mut packed = Vec::new();
        xz2::read::XzEncoder::new(contents.as_slice(), 1)
            .read_to_end(&mut packed)
            .unwrap();
        fs::write(place.join("virtio-rng.ko.xz"), packed).unwrap();
        let modules = ModuleTree::open(dir.path())
            .unwrap()
            .in_load_order(&["virtio_rng"])
            .unwrap();
        assert_eq!(modules[0].contents, contents);
    }
}
