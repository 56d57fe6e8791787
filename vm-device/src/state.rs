//! What the saved states of all devices share.

use serde::{Deserialize, Serialize};

/// Why a saved state was refused. The device is left as it was.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum RestoreError {
    /// The state was written by an incompatible build.
    #[error(
        "{device}: the saved state has version {found}, this build reads version {expected}; \
         restore it with the build that saved it"
    )]
    Version {
        /// The device's name.
        device: &'static str,
        /// Version in the saved state.
        found: u32,
        /// Version that this build writes and reads.
        expected: u32,
    },
    /// The state belongs to a device of another shape, or is damaged.
    #[error(
        "{device}: the saved state does not fit: {what}; restore it into a machine made with the \
         same configuration"
    )]
    Mismatch {
        /// The device's name.
        device: &'static str,
        /// What differs.
        what: &'static str,
    },
}

/// Checks the version field of a saved state.
///
/// # Errors
/// When `found` is not `expected`.
pub fn check_version(device: &'static str, found: u32, expected: u32) -> Result<(), RestoreError> {
    if found == expected {
        Ok(())
    } else {
        Err(RestoreError::Version {
            device,
            found,
            expected,
        })
    }
}

/// Checks that a saved state has the device's shape.
///
/// # Errors
/// When `fits` is false; `what` says which part differs.
pub fn check_shape(
    device: &'static str,
    what: &'static str,
    fits: bool,
) -> Result<(), RestoreError> {
    if fits {
        Ok(())
    } else {
        Err(RestoreError::Mismatch { device, what })
    }
}

/// The registers of a device whose saved state is just them. Whatever follows from them (levels of lines, alarms) is not
/// in it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Saved<R> {
    version: u32,
    /// Of the virtual clock when they were saved; times among the registers are of that clock.
    now_ns: u64,
    registers: R,
}

impl<R> Saved<R> {
    /// Registers in layout `version` at `now_ns` of the virtual clock (any, if no register is a time).
    pub fn new(version: u32, now_ns: u64, registers: R) -> Self {
        Self {
            version,
            now_ns,
            registers,
        }
    }

    /// The registers, and by how many ns times among them are to be moved, modulo 2^64, now that the clock shows `now_ns`.
    ///
    /// # Errors
    /// When they are in another layout than `version`.
    pub fn open(
        self,
        device: &'static str,
        version: u32,
        now_ns: u64,
    ) -> Result<(R, u64), RestoreError> {
        let Self {
            version: found,
            now_ns: then_ns,
            registers,
        } = self;
        check_version(device, found, version)?;
        Ok((registers, now_ns.wrapping_sub(then_ns)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_version_other_names_both_versions() {
        let error = check_version("chip", 3, 1).unwrap_err();
        assert_eq!(
            error,
            RestoreError::Version {
                device: "chip",
                found: 3,
                expected: 1
            }
        );
        assert!(check_version("chip", 1, 1).is_ok());
    }

    #[test]
    fn saved_opens_with_the_time_that_passed() {
        let saved = Saved::new(2, 1_000, [1, 2]);
        assert_eq!(saved.clone().open("chip", 2, 1_500), Ok(([1, 2], 500)));
        assert!(saved.open("chip", 3, 0).is_err());
    }
}
