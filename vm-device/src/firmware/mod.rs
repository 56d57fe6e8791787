//! What firmware boots from and is told by.
