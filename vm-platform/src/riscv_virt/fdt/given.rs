//! A device tree that the user brought instead of the machine's own.

use dtoolkit::fdt::Fdt;
use dtoolkit::model::{DeviceTree, DeviceTreeNode, DeviceTreeProperty};

use super::{FdtConfig, FdtError};

/// The tree with what only this start of the machine knows in its `/chosen` node: the kernel's command line, unless it is
/// empty and the tree has one of its own, where the initial RAM disk is, and a seed (Devicetree Specification 0.4, 3.6;
/// Linux `Documentation/devicetree/bindings/chosen.txt`). Everything else stays, right or wrong.
///
/// # Errors
/// When it is no device tree.
pub fn completed(tree: &[u8], config: &FdtConfig) -> Result<Vec<u8>, FdtError> {
    config.check()?;
    let tree = Fdt::new(tree).map_err(|reason| FdtError::NoTree(reason.to_string()))?;
    let mut tree = DeviceTree::from_fdt(&tree);
    if tree.root.child_mut(CHOSEN).is_none() {
        tree.root.add_child(DeviceTreeNode::new_unchecked(CHOSEN));
    }
    let chosen = tree.root.child_mut(CHOSEN);
    let chosen = chosen.expect("invariant: it was added");
    let mut set = |name: &str, value: &[u8]| {
        chosen.remove_property(name);
        chosen.add_property(DeviceTreeProperty::new_unchecked(name, value));
    };
    if !config.bootargs.is_empty() {
        set("bootargs", &[config.bootargs.as_bytes(), &[0]].concat());
    }
    if let Some(initrd) = config.initrd {
        set("linux,initrd-start", &initrd.base.raw().to_be_bytes());
        set("linux,initrd-end", &initrd.end().raw().to_be_bytes());
    }
    if let Some(seed) = &config.rng_seed {
        set("rng-seed", seed);
    }
    Ok(tree.to_dtb())
}

const CHOSEN: &str = "chosen";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::riscv_virt::fdt::{MmuType, build};
    use dtoolkit::{Node as _, Property as _};

    fn config(bootargs: &str) -> FdtConfig {
        FdtConfig {
            cpus: 1,
            ram_bytes: 128 << 20,
            extensions: vec!["i".to_owned()],
            mmu: MmuType::Sv39,
            bootargs: bootargs.to_owned(),
            initrd: None,
            rng_seed: None,
            kaslr_seed: None,
        }
    }

    fn bootargs(tree: &[u8]) -> Vec<u8> {
        let tree = DeviceTree::from_fdt(&Fdt::new(tree).unwrap());
        let chosen = tree.find_node("/chosen").unwrap();
        chosen.property("bootargs").unwrap().value().to_vec()
    }

    #[test]
    fn completed_own_tree_gets_the_command_line_and_keeps_the_rest() {
        let own = build(&config("old")).unwrap();
        let new = completed(&own, &config("new")).unwrap();
        assert_eq!(bootargs(&new), b"new\0");
        assert_eq!(bootargs(&completed(&own, &config("")).unwrap()), b"old\0");
        let tree = DeviceTree::from_fdt(&Fdt::new(&new).unwrap());
        assert!(tree.find_node("/cpus/cpu@0").is_some());
        assert!(tree.find_node("/soc/serial@10000000").is_some());
    }

    #[test]
    fn completed_tree_without_chosen_gets_one() {
        let empty = DeviceTree::new().to_dtb();
        assert_eq!(
            bootargs(&completed(&empty, &config("a b")).unwrap()),
            b"a b\0"
        );
    }

    #[test]
    fn completed_something_else_is_refused() {
        for bytes in [&b""[..], b"no tree at all", &[0xd0, 0x0d, 0xfe, 0xed]] {
            let error = completed(bytes, &config("")).unwrap_err().to_string();
            assert!(error.contains("--dump-dtb"), "{error}");
        }
    }
}
