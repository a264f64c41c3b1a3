//! The table. One file for each group; a row's number is its place in the list, not in the file.

mod bombs;
mod broker;
mod endings;
mod files;
mod kernel;
mod memory;
mod namespaces;
mod powers;
mod processes;
mod sockets;

use crate::row::Row;

/// Every row that a program can try by itself.
pub const ROWS: &[&Row] = &[
    &files::CORE_PATTERN,
    &kernel::OLD_CALLS,
    &kernel::X32,
    &sockets::FAMILIES,
    &sockets::VSOCK,
    &sockets::ALG,
    &sockets::UNIX,
    &sockets::DATAGRAM,
    &kernel::IO_URING,
    &kernel::CLONE3,
    &namespaces::NEW,
    &namespaces::ENTER,
    &namespaces::MOUNT,
    &namespaces::ROOT,
    &files::ABOVE,
    &files::DESCRIPTORS,
    &files::FIRST_PROCESS,
    &files::PROGRAMS,
    &files::HOST_PATHS,
    &files::KERNEL_FILES,
    &namespaces::CGROUP_PATHS,
    &namespaces::RELEASE_AGENT,
    &namespaces::DEVICES,
    &powers::GAINING,
    &powers::CAPABILITIES,
    &powers::STATUS,
    &processes::TRACE,
    &processes::INSIDES,
    &processes::SIGNALS,
    &processes::SCHEDULING,
    &kernel::TERMINAL,
    &kernel::KEYS,
    &kernel::FACILITIES,
    &kernel::HANDLES,
    &kernel::INOTIFY,
    &memory::EXECUTE,
    &memory::EXECUTABLE_SLICE,
    &files::READ_ONLY,
    &files::OUT_OF_GRANTS,
    &broker::LEASES,
    &broker::FLAGS,
    &broker::FULL_BELL,
    &memory::RESIZE,
    &broker::UNDER_A_READER,
    &memory::REOPEN,
    &memory::NEIGHBOUR,
    &broker::DESCRIPTORS,
    &sockets::CREDENTIALS,
    &broker::HANDING_OVER,
    &broker::REUSED_PID,
    &bombs::PROCESSES,
    &bombs::MEMORY,
    &bombs::PROCESSOR,
    &bombs::DESCRIPTORS,
    &endings::SHUTDOWN,
    &endings::FIRST_PROCESS,
    &endings::KILLED_BROKER,
    &bombs::CRASH,
    &kernel::PERSONALITY,
    &broker::FRAMES,
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn rows_are_in_order_and_attempts_have_names_of_their_own() {
        assert!(ROWS.is_sorted_by(|one, other| one.number < other.number));
        for row in ROWS {
            let names: BTreeSet<_> = row.attempts.iter().map(|attempt| attempt.name).collect();
            assert_eq!(names.len(), row.attempts.len(), "row {}", row.number);
            assert!(!row.attempts.is_empty() && !row.held.contains(&crate::outcome::THROUGH), "row {}", row.number);
        }
    }
}
