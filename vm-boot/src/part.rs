//! What a plan puts in RAM.

use vm_mem::GuestMemory;

use crate::image::Program;
use crate::{BootError, BootFile, Content, Extent, Role};

/// Bytes that are copied to guest memory at once.
const COPY_BYTES: usize = 256 << 10;
/// Bytes written to guest memory at once where it is set to zero.
const ZEROS: [u8; 4096] = [0; 4096];

/// A piece of RAM with its content.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    pub(crate) owner: &'static str,
    role: Role,
    name: String,
    pub(crate) extent: Extent,
    content: Content,
}

impl Part {
    /// A part of `program` that fills `extent`; `owner` is what messages call it.
    pub(crate) fn of(
        program: &Program,
        owner: &'static str,
        extent: Extent,
        content: &Content,
    ) -> Self {
        let (role, name) = (program.role(), program.name().to_owned());
        Self {
            owner,
            role,
            name,
            extent,
            content: content.clone(),
        }
    }

    /// All of `file` at `extent`.
    pub(crate) fn of_file(file: &BootFile, owner: &'static str, extent: Extent) -> Self {
        Self {
            owner,
            role: file.role(),
            name: file.name().to_owned(),
            extent,
            content: file.content().clone(),
        }
    }

    /// Writes the content, and zero behind it, to guest memory.
    pub(crate) fn load(&self, memory: &GuestMemory) -> Result<(), BootError> {
        let mut chunk = vec![0; COPY_BYTES];
        let mut done = 0;
        while done < self.content.len() {
            let count = self.content.read_at(done, &mut chunk).map_err(|reason| {
                let name = self.name.clone();
                BootError::Unreadable {
                    role: self.role,
                    name,
                    reason: reason.to_string(),
                }
            })?;
            memory.write(self.extent.base + done, &chunk[..count])?;
            done += count as u64;
        }
        let mut at = self.extent.base + done;
        while at < self.extent.end() {
            let chunk = (self.extent.end() - at).min(ZEROS.len() as u64);
            memory.write(at, &ZEROS[..chunk as usize])?;
            at = at + chunk;
        }
        Ok(())
    }
}

/// Refuses parts, and other ranges with their names, of different owners that share RAM.
pub(crate) fn check_apart(
    parts: &[Part],
    others: &[(Extent, &'static str)],
) -> Result<(), BootError> {
    let mut all: Vec<(Extent, &'static str)> = parts
        .iter()
        .map(|part| (part.extent, part.owner))
        .chain(others.iter().copied())
        .collect();
    all.sort_by_key(|(extent, _)| extent.base);
    for (i, (second, second_owner)) in all.iter().enumerate() {
        let earlier = all[..i]
            .iter()
            .find(|(first, first_owner)| first_owner != second_owner && first.end() > second.base);
        if let Some((_, first_owner)) = earlier {
            return Err(BootError::Overlap {
                first: first_owner,
                second: second_owner,
                addr: second.base,
            });
        }
    }
    Ok(())
}
