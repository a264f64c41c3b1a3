//! Memory that changes between any two reads: a hook for tests and fuzzing, there only with the feature `racing`.
//!
//! A hostile world can write its outbox at any moment. What that can do to a reader is decided by what lies between two of the
//! reader's loads; so a test that wants every such moment runs its hostile world's writes in this hook, on the reader's own thread.
//! In any other build nothing is called and nothing is split.

/// How much of the `left` bytes of a payload is copied before the hook is called again.
#[inline(always)]
pub(crate) fn piece(left: usize) -> usize {
    if cfg!(feature = "racing") { left.min(64) } else { left }
}

/// Called before each read of a hostile mapping.
#[cfg(not(feature = "racing"))]
#[inline(always)]
pub(crate) fn before_read() {}

#[cfg(feature = "racing")]
pub(crate) use hook::before_read;
#[cfg(feature = "racing")]
pub use hook::during;

#[cfg(feature = "racing")]
mod hook {
    use std::cell::RefCell;

    type Hook = Box<dyn FnMut()>;

    thread_local! {
        static HOOK: RefCell<Option<Hook>> = const { RefCell::new(None) };
    }

    pub(crate) fn before_read() {
        // Taken out meanwhile: what the hook reads calls no hook.
        let hook = HOOK.take();
        if let Some(mut hook) = hook {
            hook();
            HOOK.set(Some(hook));
        }
    }

    /// Runs `body`, and `hook` before each of its reads of a hostile mapping, on this thread.
    pub fn during<R>(hook: impl FnMut() + 'static, body: impl FnOnce() -> R) -> R {
        HOOK.set(Some(Box::new(hook)));
        let result = body();
        HOOK.set(None);
        result
    }
}
