//! What the kernel has, asked without changing anything.

use std::io;

/// `LANDLOCK_CREATE_RULESET_VERSION` (`linux/landlock.h`).
const VERSION: u32 = 1;

/// The version of Landlock's interface (`landlock_create_ruleset(2)`). `EOPNOTSUPP`: built in, but not switched on at boot. `ENOSYS`: not built in.
pub fn landlock_abi() -> io::Result<u32> {
    let nothing = std::ptr::null::<libc::c_void>();
    // SAFETY: with no attributes, a size of 0 and this flag the call only returns a number.
    let version = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, nothing, 0, VERSION) };
    u32::try_from(version).map_err(|_| io::Error::last_os_error())
}
