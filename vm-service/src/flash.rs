//! Files of the flash banks.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use vm_boot::{BootFile, Role};
use vm_core::GuestPhysAddr;
use vm_core::config::FlashConfig;
use vm_device::firmware::flash::{FileStore, FlashAccess, FlashError};
use vm_platform::machine::FlashBank;
use vm_platform::pc;
use vm_platform::riscv_virt::layout;

use crate::VmError;

/// What an erased cell holds.
const ERASED: u8 = 0xff;
const BANK_BYTES: u64 = layout::FLASH1.bytes;

/// Where firmware starts in flash, if the first bank is given and holds any.
pub(crate) fn code_base(config: &FlashConfig) -> Result<Option<GuestPhysAddr>, VmError> {
    let Some(path) = &config.code else {
        return Ok(None);
    };
    let file = code_file(path)?;
    let head = file.content().head(64);
    let head = head.map_err(|reason| failed(path, reason))?;
    let holds_code = head.iter().any(|&byte| byte != ERASED);
    Ok(holds_code.then_some(layout::FLASH0.base))
}

/// Checks that the files can be read, without making any.
pub(crate) fn check(config: &FlashConfig) -> Result<(), VmError> {
    code_base(config)?;
    match &config.vars {
        Some(path) if path.exists() => variables_file(path).map(drop),
        _ => Ok(()),
    }
}

/// Opens both banks. The variables' file is made when it does not exist.
pub(crate) fn open(config: &FlashConfig) -> Result<[FlashBank; 2], VmError> {
    let mut banks = [FlashBank::default(), FlashBank::default()];
    if let Some(path) = &config.code {
        banks[0].image = code_file(path)?.bytes()?;
        if config.readonly {
            banks[0].access = FlashAccess::ReadOnly;
        }
    }
    if let Some(path) = &config.vars {
        banks[1] = variables(path, config.code.as_deref())?;
    }
    Ok(banks)
}

/// A PC's firmware in flash, of which nothing is made: its code. Checks that the variables' file, if there is one, belongs to
/// it.
pub(crate) fn pc_code(config: &FlashConfig, path: &Path) -> Result<Vec<u8>, VmError> {
    let code = BootFile::read(Role::Flash, path, u64::MAX)?.bytes()?;
    let variables_bytes = match &config.vars {
        Some(vars) if vars.exists() => {
            let bytes = pc_variables_file(vars, path)?.metadata();
            bytes.map_err(|reason| failed(vars, reason))?.len()
        }
        vars => {
            let template = empty_variables(path);
            if let (Some(vars), None) = (vars, &template) {
                return Err(failed(vars, no_template(path)));
            }
            template.map_or(0, |path| std::fs::metadata(path).map_or(0, |it| it.len()))
        }
    };
    pc::check_firmware(code.len() as u64, variables_bytes)
        .map_err(|reason| failed(path, reason))?;
    Ok(code)
}

/// The bank of a PC's variables: in the file that keeps it, which is made when it does not exist, or else until the machine ends.
pub(crate) fn pc_variables(config: &FlashConfig) -> Result<Option<FlashBank>, VmError> {
    let Some(code) = &config.code else {
        return Ok(None);
    };
    let template = || -> Result<Option<Vec<u8>>, VmError> {
        let Some(path) = empty_variables(code) else {
            return Ok(None);
        };
        let bytes = std::fs::read(&path).map_err(|reason| failed(&path, reason))?;
        Ok(Some(bytes))
    };
    let Some(path) = &config.vars else {
        let bank = |image| FlashBank {
            image,
            access: FlashAccess::Volatile,
        };
        return Ok(template()?.map(bank));
    };
    let refused = |reason: io::Error| failed(path, reason);
    if !path.exists() {
        let new = template()?.ok_or_else(|| failed(path, no_template(code)))?;
        let mut file = File::create_new(path).map_err(refused)?;
        file.write_all(&new).map_err(refused)?;
    }
    let mut file = pc_variables_file(path, code)?;
    let mut image = Vec::new();
    file.read_to_end(&mut image).map_err(refused)?;
    Ok(Some(FlashBank {
        image,
        access: FlashAccess::Stored(Box::new(FileStore::new(file))),
    }))
}

/// Opens a PC's variables, which have to be as long as the empty ones beside the code.
fn pc_variables_file(path: &Path, code: &Path) -> Result<File, VmError> {
    let file = lock_variables(path)?;
    let bytes = file
        .metadata()
        .map_err(|reason| failed(path, reason))?
        .len();
    let template = empty_variables(code).and_then(|path| std::fs::metadata(path).ok());
    match template.map(|template| template.len()) {
        Some(wanted) if wanted != bytes => Err(failed(
            path,
            format!(
                "it has {bytes} bytes, but variables for {} have {wanted}: name another file, which is made",
                code.display()
            ),
        )),
        _ => Ok(file),
    }
}

fn no_template(code: &Path) -> String {
    format!(
        "it does not exist, and there are no empty variables beside {} to make it from: copy those that belong to this firmware \
         (a file such as OVMF_VARS.fd)",
        code.display()
    )
}

fn code_file(path: &Path) -> Result<BootFile, VmError> {
    let file = BootFile::read(Role::Flash, path, u64::MAX)?;
    check_length(path, file.content().len())?;
    Ok(file)
}

fn check_length(path: &Path, image_bytes: u64) -> Result<(), VmError> {
    if image_bytes <= BANK_BYTES {
        return Ok(());
    }
    let too_long = FlashError::ImageTooLong {
        image_bytes,
        bank_bytes: BANK_BYTES,
    };
    Err(failed(path, too_long))
}

/// The bank of a file that keeps it. A new file begins as the empty variables that lie beside the code, where
/// distributions put them, or else erased.
fn variables(path: &Path, code: Option<&Path>) -> Result<FlashBank, VmError> {
    let refused = |reason| failed(path, reason);
    if !path.exists() {
        let template = code.and_then(empty_variables);
        let new = match template {
            Some(template) => std::fs::read(template).map_err(refused)?,
            None => Vec::new(),
        };
        let mut file = File::create_new(path).map_err(refused)?;
        file.write_all(&new).map_err(refused)?;
    }
    let mut file = variables_file(path)?;
    let mut image = Vec::new();
    file.read_to_end(&mut image).map_err(refused)?;
    // A file grows by zeros where it is written behind its end, and zero is what programming makes of a cell.
    let missing = BANK_BYTES as usize - image.len();
    file.write_all(&vec![ERASED; missing]).map_err(refused)?;
    Ok(FlashBank {
        image,
        access: FlashAccess::Stored(Box::new(FileStore::new(file))),
    })
}

/// Opens the variables of one machine, and keeps others from using them.
fn variables_file(path: &Path) -> Result<File, VmError> {
    let file = lock_variables(path)?;
    let metadata = file.metadata().map_err(|reason| failed(path, reason))?;
    check_length(path, metadata.len())?;
    Ok(file)
}

fn lock_variables(path: &Path) -> Result<File, VmError> {
    let refused = |reason: io::Error| {
        let advice = match reason.kind() {
            io::ErrorKind::PermissionDenied => {
                "; each machine writes to its own: name another file, which is made"
            }
            _ => "",
        };
        failed(path, format!("{reason}{advice}"))
    };
    let file = OpenOptions::new().read(true).write(true).open(path);
    let file = file.map_err(refused)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => {
            let others = "another virtual machine uses it; give each its own file";
            Err(failed(path, others))
        }
        // A file system without locks: nothing to be had.
        Err(TryLockError::Error(e)) if e.kind() == io::ErrorKind::Unsupported => Ok(file),
        Err(TryLockError::Error(e)) => Err(refused(e)),
    }
}

/// The empty variables that belong to `.../NAME_CODE.fd`: `.../NAME_VARS.fd`.
fn empty_variables(code: &Path) -> Option<PathBuf> {
    let name = code.file_name()?.to_str()?;
    let other = name.replace("CODE", "VARS");
    let path = code.with_file_name(&other);
    (other != name && path.exists()).then_some(path)
}

fn failed(path: &Path, reason: impl ToString) -> VmError {
    VmError::Flash {
        path: path.to_owned(),
        reason: reason.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(code: &Path, vars: &Path) -> FlashConfig {
        FlashConfig {
            code: Some(code.to_owned()),
            vars: Some(vars.to_owned()),
            readonly: true,
        }
    }

    #[test]
    fn new_variables_begin_as_those_beside_the_code_and_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let (code, vars) = (dir.path().join("X_CODE.fd"), dir.path().join("mine.fd"));
        std::fs::write(&code, "code").unwrap();
        std::fs::write(dir.path().join("X_VARS.fd"), "empty").unwrap();
        let config = config(&code, &vars);
        check(&config).unwrap();
        assert!(!vars.exists(), "a check makes nothing");
        let [first, second] = open(&config).unwrap();
        assert!(matches!(first.access, FlashAccess::ReadOnly));
        assert_eq!(
            (&first.image[..], &second.image[..]),
            (&b"code"[..], &b"empty"[..])
        );
        let FlashAccess::Stored(store) = second.access else {
            panic!("the variables are not kept");
        };
        store.write(0x4_0000, &[7]).unwrap();
        let refused = open(&config).err().unwrap().to_string();
        assert!(refused.contains("another virtual machine"), "{refused}");
        drop(store);
        let [_, again] = open(&config).unwrap();
        assert_eq!(again.image.len() as u64, BANK_BYTES);
        assert_eq!((again.image[0x4_0000], again.image[0x3_ffff]), (7, ERASED));
        assert!(again.image.starts_with(b"empty"));
    }

    #[test]
    fn pc_variables_are_made_from_the_empty_ones_and_must_be_as_long() {
        let dir = tempfile::tempdir().unwrap();
        let (code, vars) = (dir.path().join("X_CODE.fd"), dir.path().join("mine.fd"));
        let config = config(&code, &vars);
        std::fs::write(&code, [1; 0x2000]).unwrap();
        let refused = pc_code(&config, &code).err().unwrap().to_string();
        assert!(refused.contains("no empty variables"), "{refused}");
        std::fs::write(dir.path().join("X_VARS.fd"), [2; 0x1000]).unwrap();
        assert_eq!(pc_code(&config, &code).unwrap(), [1; 0x2000]);
        assert!(!vars.exists(), "a check makes nothing");
        let bank = pc_variables(&config).unwrap().unwrap();
        assert_eq!(bank.image, [2; 0x1000]);
        let FlashAccess::Stored(store) = bank.access else {
            panic!("the variables are not kept");
        };
        store.write(0x10, &[7]).unwrap();
        drop(store);
        assert_eq!(pc_variables(&config).unwrap().unwrap().image[0x10], 7);
        std::fs::write(&vars, [2; 0x3000]).unwrap();
        let refused = pc_code(&config, &code).err().unwrap().to_string();
        assert!(refused.contains("4096"), "{refused}");
        std::fs::write(&code, [1; 0x2001]).unwrap();
        std::fs::remove_file(&vars).unwrap();
        let refused = pc_code(&config, &code).err().unwrap().to_string();
        assert!(refused.contains("multiple of 4 KiB"), "{refused}");
    }

    #[test]
    fn code_is_where_its_bank_is_unless_the_image_is_erased() {
        let dir = tempfile::tempdir().unwrap();
        let (code, vars) = (dir.path().join("code"), dir.path().join("new"));
        let config = config(&code, &vars);
        for (image, base) in [
            (b"\xff\xff", None),
            (b"\xff\x00", Some(layout::FLASH0.base)),
        ] {
            std::fs::write(&code, image).unwrap();
            assert_eq!(code_base(&config).unwrap(), base);
        }
        let [_, erased] = open(&config).unwrap();
        assert!(erased.image.is_empty());
        drop(erased);
        let written = std::fs::read(&vars).unwrap();
        assert!(written.iter().all(|&byte| byte == ERASED));
        File::create(&code)
            .unwrap()
            .set_len(BANK_BYTES + 1)
            .unwrap();
        let refused = check(&config).err().unwrap().to_string();
        assert!(refused.contains("does not fit"), "{refused}");
    }
}
