//! What a processor can do.

/// Features of a processor.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CpuConfig {}
