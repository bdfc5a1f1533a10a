//! The time a use case may take: what an invocation has left, less what it needs to end in order.

use std::time::Duration;

use tokio::time::Instant;

/// When to stop taking up new work.
#[derive(Clone, Copy, Debug, Default)]
pub struct TimeLimit(Option<Instant>);

impl TimeLimit {
    /// No limit.
    pub const fn none() -> Self {
        Self(None)
    }

    /// So long from now.
    pub fn after(duration: Duration) -> Self {
        Self(Some(Instant::now() + duration))
    }

    /// So much later.
    #[must_use]
    pub fn plus(self, duration: Duration) -> Self {
        Self(self.0.map(|limit| limit + duration))
    }

    /// Whether it has come.
    pub fn is_reached(self) -> bool {
        self.0.is_some_and(|limit| Instant::now() >= limit)
    }
}
