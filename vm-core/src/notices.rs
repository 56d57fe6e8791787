//! What a running machine has to say to its user.

use std::fmt;
use std::sync::Arc;

/// Who gets the lines.
type Receiver = dyn Fn(&str) + Send + Sync;

/// Where single lines for the user go: a limit that was reached, a service that cannot be had. `default()` says nothing.
///
/// A line has no prefix and no line end; the receiver may be called on any thread and must not block for long.
#[derive(Clone, Default)]
pub struct Notices(Option<Arc<Receiver>>);

impl Notices {
    /// Gives each line to `receiver`.
    pub fn to(receiver: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(receiver)))
    }

    /// Says one line.
    pub fn say(&self, line: &str) {
        if let Some(receiver) = &self.0 {
            receiver(line);
        }
    }
}

impl fmt::Debug for Notices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() {
            "Notices(heard)"
        } else {
            "Notices(unheard)"
        })
    }
}
