//! Images of UEFI firmware for flash, which are recognised to say where they belong.

/// Signature of a firmware volume, behind its zero vector, file system and length (UEFI PI 1.8, volume 3, 3.2.1).
const VOLUME_SIGNATURE: &[u8; 4] = b"_FVH";
const SIGNATURE_OFFSET: usize = 40;

/// Whether the file begins with a firmware volume.
pub(super) fn is_flash_image(head: &[u8]) -> bool {
    head.get(SIGNATURE_OFFSET..)
        .is_some_and(|rest| rest.starts_with(VOLUME_SIGNATURE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flash_image_is_known_by_its_first_volume() {
        let mut image = vec![0; 64];
        assert!(!is_flash_image(&image));
        image[40..44].copy_from_slice(VOLUME_SIGNATURE);
        assert!(is_flash_image(&image));
        assert!(!is_flash_image(&image[..42]));
    }
}
