//! Images of the machine's flash banks.

use std::ffi::OsStr;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::ConfigError;
use super::options::{self, FromOsStr, from_str_as_os_str};

/// What the two flash banks hold: `code=FILE[,readonly]` and `vars=FILE`, in one option or in two.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FlashConfig {
    /// Image of the first bank, which holds the firmware's code. The file is only read: what the guest programs there
    /// is lost when the machine ends.
    pub code: Option<PathBuf>,
    /// File of the second bank, which holds the firmware's variables. It keeps what the guest programs; it is made when
    /// it does not exist.
    pub vars: Option<PathBuf>,
    /// Whether the guest cannot program the first bank.
    pub readonly: bool,
}

const KEYS: [&str; 3] = ["code=FILE", "readonly", "vars=FILE"];

impl FlashConfig {
    /// Takes over what another option says.
    pub fn merge(&mut self, other: &Self) {
        if other.code.is_some() {
            self.code.clone_from(&other.code);
            self.readonly = other.readonly;
        }
        if other.vars.is_some() {
            self.vars.clone_from(&other.vars);
        }
    }

    pub(super) fn check(&self) -> Result<(), ConfigError> {
        if self.readonly && self.code.is_none() {
            return Err(ConfigError::Missing(
                "flash is readonly without code: write code=FILE,readonly",
            ));
        }
        Ok(())
    }
}

impl FromOsStr for FlashConfig {
    fn from_os_str(text: &OsStr) -> Result<Self, ConfigError> {
        let mut flash = Self::default();
        for (key, value) in options::items(text) {
            match key.to_str().unwrap_or_default() {
                "code" => flash.code = Some(options::value("code", value)?.into()),
                "vars" => flash.vars = Some(options::value("vars", value)?.into()),
                "readonly" => flash.readonly = options::switch("readonly", value.as_deref())?,
                _ => return Err(options::unknown("flash option", &key, &KEYS)),
            }
        }
        if flash == Self::default() {
            return Err(ConfigError::Missing(
                "flash without an image: write code=FILE or vars=FILE",
            ));
        }
        flash.check()?;
        Ok(flash)
    }
}

from_str_as_os_str!(FlashConfig);
