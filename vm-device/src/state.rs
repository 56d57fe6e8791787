//! What the saved states of all devices share.

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
}
