//! Displays: what the guest draws on, and the picture that the host takes of it.

pub mod ramfb;
pub mod vga;

/// One picture of a display.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Frame {
    /// Pixels in a line.
    pub width: usize,
    /// Lines.
    pub height: usize,
    /// Red, green and blue of every pixel, a byte each, line by line.
    pub rgb: Vec<u8>,
}

impl Frame {
    /// A black picture.
    pub fn black(width: usize, height: usize) -> Self {
        Self {
            width,
            height,
            rgb: vec![0; width * height * 3],
        }
    }

    /// Sets a pixel; one outside is ignored.
    pub fn put(&mut self, x: usize, y: usize, rgb: [u8; 3]) {
        let at = (y * self.width + x) * 3;
        if x < self.width
            && let Some(pixel) = self.rgb.get_mut(at..at + 3)
        {
            pixel.copy_from_slice(&rgb);
        }
    }
}

/// Something with a picture.
pub trait Display: Send + Sync {
    /// What it shows now; `None` while it shows nothing.
    fn frame(&self) -> Option<Frame>;

    /// What it says in text mode, a line each, without blanks at their ends; `None` in other modes.
    fn text(&self) -> Option<Vec<String>> {
        None
    }
}
