//! What time it is: the system's monotonic clock, or under test a clock that stands still until it is moved, so that deadlines pass
//! when a script says so and the same script always ends the same way.

#[cfg(not(any(test, feature = "racing")))]
pub(super) fn now() -> std::time::Instant {
    std::time::Instant::now()
}

#[cfg(any(test, feature = "racing"))]
pub(super) use hands::now;

#[cfg(any(test, feature = "racing"))]
pub(super) mod hands {
    use std::cell::Cell;
    use std::time::{Duration, Instant};

    thread_local! {
        /// Of this thread; `None` while the clock goes by itself.
        static STANDS_AT: Cell<Option<Instant>> = const { Cell::new(None) };
    }

    pub(crate) fn now() -> Instant {
        STANDS_AT.get().unwrap_or_else(Instant::now)
    }

    /// Stops this thread's clock.
    pub(crate) fn stop() {
        STANDS_AT.set(Some(Instant::now()));
    }

    /// Moves a stopped clock.
    pub(crate) fn advance(by: Duration) {
        STANDS_AT.set(Some(now() + by));
    }
}
