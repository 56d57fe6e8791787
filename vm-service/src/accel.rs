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
    /// Chooses for a guest on this host. `translate` makes the machine translate, or says why it cannot; then the
    /// interpreter runs the guest.
    pub fn of<E: fmt::Display>(
        wanted: Accel,
        guest: GuestArch,
        translate: impl FnOnce() -> Result<(), E>,
    ) -> Self {
        let host = std::env::consts::ARCH;
        let interpreter = |reason| Self {
            engine: "interpreter",
            reason,
        };
        if wanted == Accel::Interp {
            return interpreter(None);
        }
        if let Err(error) = translate() {
            return interpreter(Some(format!("cannot translate to host code: {error}")));
        }
        let reason = match wanted {
            Accel::Auto if host == guest.name() => {
                "it makes no use of hardware acceleration".into()
            }
            Accel::Auto => format!("{guest} code becomes {host} code"),
            Accel::Jit | Accel::Interp => String::new(),
        };
        Self {
            engine: "translator",
            reason: Some(reason).filter(|reason| !reason.is_empty()),
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

    fn choice(wanted: Accel, host_refuses: bool) -> String {
        let translate = || match host_refuses {
            true => Err("no executable memory"),
            false => Ok(()),
        };
        AccelChoice::of(wanted, GuestArch::Riscv64, translate).to_string()
    }

    #[test]
    fn choice_auto_gives_a_reason_and_others_none() {
        let auto = choice(Accel::Auto, false);
        assert!(auto.starts_with("translator ("), "{auto}");
        assert_eq!(choice(Accel::Jit, false), "translator");
        assert_eq!(choice(Accel::Interp, true), "interpreter");
    }

    #[test]
    fn choice_falls_back_to_the_interpreter_and_says_why() {
        for wanted in [Accel::Auto, Accel::Jit] {
            let said = choice(wanted, true);
            assert!(said.starts_with("interpreter ("), "{said}");
            assert!(said.contains("no executable memory"), "{said}");
        }
    }
}
