//! The system calls that strait needs and that no library offers behind a safe interface.
//!
//! This is one of the two places of the workspace where unsafe code may live (the other is
//! `strait-memory`). Everything that [`rustix`] already wraps is called through it by those who
//! need it; what is left here is small, and each function says which check makes it sound.

pub mod checkpoint;
pub mod code;
pub mod kernel;
pub mod launch;
pub mod mount;
pub mod restorer;
pub mod socket;
pub mod wake;
