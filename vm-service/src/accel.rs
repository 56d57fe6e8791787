//! What runs the guest's instructions.

use std::fmt;

use vm_core::GuestArch;
use vm_core::config::Accel;

/// What was chosen, and why it is not something better.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AccelChoice {
    /// What runs the guest.
    pub engine: &'static str,
    /// Why, when the user left the choice open.
    pub reason: Option<String>,
}

impl AccelChoice {
    /// Chooses for a guest on this host.
    pub fn of(wanted: Accel, guest: GuestArch) -> Self {
        let host = std::env::consts::ARCH;
        let reason = match wanted {
            Accel::Interp => None,
            Accel::Auto if host == guest.name() => {
                Some("hardware acceleration is not built in".to_owned())
            }
            Accel::Auto => Some(format!("a {host} host has no hardware for {guest} guests")),
        };
        Self {
            engine: "interpreter",
            reason,
        }
    }
}

impl fmt::Display for AccelChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.engine)?;
        match &self.reason {
            Some(reason) => write!(f, " ({reason})"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choice_auto_gives_a_reason_and_interp_none() {
        let auto = AccelChoice::of(Accel::Auto, GuestArch::Riscv64).to_string();
        assert!(auto.starts_with("interpreter ("), "{auto}");
        let asked = AccelChoice::of(Accel::Interp, GuestArch::Riscv64).to_string();
        assert_eq!(asked, "interpreter");
    }
}
