//! Waiting between attempts that may collide with others: capped exponential, full jitter.

use std::time::Duration;

/// Attempts of one operation, the first included. With the waits below they last about 6 s at most, after
/// which the caller is better served by an error it can act on.
const ATTEMPTS: u32 = 10;
/// The longest first wait: a transaction takes about this long.
const FIRST_CAP: Duration = Duration::from_millis(25);
/// No wait is longer.
const LAST_CAP: Duration = Duration::from_secs(1);

/// Counts attempts and spaces them.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failed: u32,
}

impl Backoff {
    /// Waits before the next attempt; `false`, at once, when the attempts are spent.
    pub(super) async fn wait(&mut self) -> bool {
        self.failed += 1;
        if self.failed >= ATTEMPTS {
            return false;
        }
        let cap = FIRST_CAP.saturating_mul(1 << (self.failed - 1)).min(LAST_CAP);
        tokio::time::sleep(cap.mul_f64(rand::random_range(0.0..=1.0))).await;
        true
    }
}
