//! Memory-deny-write-execute: what a process may ever execute (`PR_SET_MDWE` in `prctl(2)`, Linux 6.3).

use std::io;

// Newer than the C library's list (`linux/prctl.h`).
const PR_SET_MDWE: i32 = 65;
const PR_GET_MDWE: i32 = 66;
const PR_MDWE_REFUSE_EXEC_GAIN: libc::c_ulong = 1;
const NONE: libc::c_ulong = 0;

/// From here on this process and all that it starts, across `execve` too, can map nothing as writable and executable, and make nothing
/// executable that wasn't mapped so: both fail with `EACCES`. There is no way back.
///
/// It doesn't stop a file from being mapped as code, not even one that the process has just written, nor a memory file.
pub fn refuse_new_code() -> io::Result<()> {
    // SAFETY: this prctl takes a number and touches no memory of ours; it only makes later mappings fail.
    match unsafe { libc::prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, NONE, NONE, NONE) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Whether that is in force for this process.
pub fn refuses_new_code() -> io::Result<bool> {
    // SAFETY: this prctl takes nothing and returns a number.
    match unsafe { libc::prctl(PR_GET_MDWE, NONE, NONE, NONE, NONE) } {
        -1 => Err(io::Error::last_os_error()),
        bits => Ok(bits & PR_MDWE_REFUSE_EXEC_GAIN as i32 != 0),
    }
}
