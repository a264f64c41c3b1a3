//! The point where a process stops being one: registers go onto the stack, and the stack goes into the image.

use super::dump::Dump;
use super::error::CheckpointError;

/// Writes the image. False in the process that calls, true in a clone.
pub(super) fn capture(dump: &mut Dump<'_>) -> Result<bool, CheckpointError> {
    let argument = std::ptr::from_mut(dump).cast();
    // SAFETY: `write` gets the pointer that it expects, which nobody else uses meanwhile. A clone comes back here with the registers that a
    // function must keep, the stack as it was during the call, and the memory that `Dump::write` wrote down.
    match unsafe { save_and_call(write, argument) } {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(dump.take_error()),
    }
}

/// Runs on the stack that is written down, so it must not unwind through assembly: a panic ends the process (`extern "C"`).
///
/// # Safety
/// `dump` is what [`capture`] gave to `save_and_call`, which alone calls this.
unsafe extern "C" fn write(dump: *mut (), stack: u64, entry: u64) -> i64 {
    // SAFETY: `capture` gave it, and waits.
    let dump = unsafe { &mut *dump.cast::<Dump<'_>>() };
    dump.write(stack, entry)
}

/// Saves what a function must keep and what a thread has in registers (`fs` base, floating-point modes), and calls `write` with the stack
/// pointer and the address to go on at.
///
/// The restorer jumps there with that stack pointer, and the registers set for the `munmap` of itself: the first instruction does it. Then the
/// thread's own storage is put in place, and the function returns as if `write` had returned 1.
#[cfg(target_arch = "x86_64")]
#[unsafe(naked)]
unsafe extern "C" fn save_and_call(write: unsafe extern "C" fn(*mut (), u64, u64) -> i64, argument: *mut ()) -> i64 {
    std::arch::naked_asm!(
        "push rbp",
        "push rbx",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "sub rsp, 24",
        "mov r12, rdi",
        "mov r13, rsi",
        "mov eax, {arch_prctl}",
        "mov edi, {get_fs}",
        "lea rsi, [rsp + 8]",
        "syscall",
        "stmxcsr [rsp]",
        "fnstcw [rsp + 4]",
        "mov rdi, r13",
        "mov rsi, rsp",
        "lea rdx, [rip + 2f]",
        "call r12",
        "jmp 3f",
        "2:",
        "syscall",
        "mov eax, {arch_prctl}",
        "mov edi, {set_fs}",
        "mov rsi, [rsp + 8]",
        "syscall",
        "ldmxcsr [rsp]",
        "fldcw [rsp + 4]",
        "mov eax, 1",
        "3:",
        "add rsp, 24",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbx",
        "pop rbp",
        "ret",
        arch_prctl = const libc::SYS_arch_prctl,
        get_fs = const 0x1003,
        set_fs = const 0x1002,
    )
}

/// Never called: `checkpoint` refuses other architectures before.
///
/// # Safety
/// As on x86-64: `write` gets the pointer that it expects.
#[cfg(not(target_arch = "x86_64"))]
unsafe fn save_and_call(write: unsafe extern "C" fn(*mut (), u64, u64) -> i64, argument: *mut ()) -> i64 {
    // SAFETY: as on x86-64.
    unsafe { write(argument, 0, 0) }
}
