//! Files that take part in booting.

use std::fmt;
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use crate::{BootError, Content};

/// What a file is given for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// A kernel that is started without loaded firmware. It must have a header that we know.
    Kernel,
    /// What loaded firmware starts: a kernel or a boot loader. It may be a flat binary without a header.
    Payload,
    /// Firmware that runs first. It may be a flat binary without a header.
    Firmware,
    /// An image of a flash bank with firmware.
    Flash,
    /// An initial RAM disk; its content is the kernel's affair.
    Initrd,
}

impl Role {
    /// The command-line option that names such a file.
    pub const fn option(self) -> &'static str {
        match self {
            Self::Kernel | Self::Payload => "--kernel",
            Self::Firmware => "--bios",
            Self::Flash => "--flash code=",
            Self::Initrd => "--initrd",
        }
    }

    /// How messages call such a file.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kernel | Self::Payload => "kernel",
            Self::Firmware => "firmware",
            Self::Flash => "flash image",
            Self::Initrd => "initrd",
        }
    }

    /// Whether a file without any known header is taken as machine code for its load address.
    pub(crate) const fn takes_raw(self) -> bool {
        matches!(self, Self::Payload | Self::Firmware)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A file that takes part in booting; never empty.
#[derive(Clone, Debug)]
pub struct BootFile {
    role: Role,
    name: String,
    content: Content,
}

impl BootFile {
    /// Takes content that is already in memory; `name` is for messages.
    ///
    /// # Errors
    /// When there is no content.
    pub fn new(
        role: Role,
        name: impl Into<String>,
        content: impl Into<Content>,
    ) -> Result<Self, BootError> {
        let (name, content) = (name.into(), content.into());
        if content.is_empty() {
            return Err(BootError::Empty { role, name });
        }
        Ok(Self {
            role,
            name,
            content,
        })
    }

    /// Opens a file of at most `max_bytes` bytes (the machine's RAM). A regular file stays on disk and must not
    /// change as long as the machine may be reset; anything else (a pipe) is read now.
    ///
    /// # Errors
    /// When it is missing, not readable, empty, or larger.
    pub fn read(role: Role, path: &Path, max_bytes: u64) -> Result<Self, BootError> {
        let name = path.display().to_string();
        let refused = |reason: std::io::Error| BootError::Unreadable {
            role,
            name: name.clone(),
            reason: reason.to_string(),
        };
        let file = File::open(path).map_err(refused)?;
        let metadata = file.metadata().map_err(refused)?;
        let content = if metadata.is_file() && metadata.len() > 0 {
            Content::from_file(file, metadata.len())
        } else {
            let mut bytes = Vec::new();
            file.take(max_bytes.saturating_add(1))
                .read_to_end(&mut bytes)
                .map_err(refused)?;
            bytes.into()
        };
        if content.len() > max_bytes {
            return Err(BootError::TooLarge {
                role,
                name,
                needed: content.len(),
                free: max_bytes,
            });
        }
        Self::new(role, name, content)
    }

    /// What the file is given for.
    pub fn role(&self) -> Role {
        self.role
    }

    /// What messages call it: its path.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its content.
    pub fn content(&self) -> &Content {
        &self.content
    }

    /// All of its content.
    ///
    /// # Errors
    /// When it cannot be read any more.
    pub fn bytes(&self) -> Result<Vec<u8>, BootError> {
        let mut bytes = Vec::with_capacity(self.content.len() as usize);
        let read = self.content.reader().read_to_end(&mut bytes);
        read.map_err(|reason| self.unreadable(&reason))?;
        Ok(bytes)
    }

    pub(crate) fn unreadable(&self, reason: &std::io::Error) -> BootError {
        BootError::Unreadable {
            role: self.role,
            name: self.name.clone(),
            reason: reason.to_string(),
        }
    }

    pub(crate) fn damaged(&self, reason: impl Into<String>) -> BootError {
        BootError::Damaged {
            role: self.role,
            name: self.name.clone(),
            reason: reason.into(),
        }
    }

    pub(crate) fn unsupported(&self, reason: impl Into<String>) -> BootError {
        BootError::Unsupported {
            role: self.role,
            name: self.name.clone(),
            reason: reason.into(),
        }
    }

    pub(crate) fn too_large(&self, needed: u64, free: u64) -> BootError {
        BootError::TooLarge {
            role: self.role,
            name: self.name.clone(),
            needed,
            free,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[test]
    fn read_missing_file_names_path_and_option() {
        let error = BootFile::read(Role::Initrd, Path::new("/nonexistent/initrd.gz"), 1 << 20);
        let text = error.unwrap_err().to_string();
        assert!(text.contains("initrd '/nonexistent/initrd.gz'"), "{text}");
        assert!(text.ends_with("check the path after --initrd"), "{text}");
    }

    #[test]
    fn read_directory_is_unreadable() {
        let error = BootFile::read(Role::Kernel, &std::env::temp_dir(), u64::MAX).unwrap_err();
        assert!(
            matches!(
                error,
                BootError::Unreadable {
                    role: Role::Kernel,
                    ..
                }
            ),
            "{error}"
        );
    }

    #[test]
    fn read_empty_file_is_refused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = BootFile::read(Role::Kernel, file.path(), 1 << 20).unwrap_err();
        assert!(matches!(error, BootError::Empty { .. }), "{error}");
    }

    #[test]
    fn read_up_to_the_limit_and_not_beyond() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&[7; 100]).unwrap();
        assert_eq!(
            BootFile::read(Role::Initrd, file.path(), 100)
                .unwrap()
                .content()
                .head(200)
                .unwrap(),
            [7; 100]
        );
        let error = BootFile::read(Role::Initrd, file.path(), 99).unwrap_err();
        assert!(
            matches!(
                error,
                BootError::TooLarge {
                    needed: 100,
                    free: 99,
                    ..
                }
            ),
            "{error}"
        );
    }

    #[test]
    fn read_endless_device_stops_at_the_limit() {
        let error = BootFile::read(Role::Kernel, Path::new("/dev/zero"), 4096).unwrap_err();
        assert!(
            matches!(error, BootError::TooLarge { needed: 4097, .. }),
            "{error}"
        );
    }
}
