//! When to try a lost commit again: the table's `commit.retry.*` properties, exponential backoff, full jitter.

use std::collections::HashMap;
use std::time::Duration;

use rand::Rng;
use tokio::time::Instant;

/// `commit.retry.num-retries` of Iceberg's `TableProperties`.
const RETRIES: u32 = 4;
/// `commit.retry.min-wait-ms`.
const MIN_WAIT_MS: u64 = 100;
/// `commit.retry.max-wait-ms`: one minute.
const MAX_WAIT_MS: u64 = 60_000;
/// `commit.retry.total-timeout-ms`: half an hour.
const TOTAL_MS: u64 = 1_800_000;

/// How often and how long to try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RetryPolicy {
    retries: u32,
    min_wait: Duration,
    max_wait: Duration,
    total: Duration,
}

impl RetryPolicy {
    /// The table's policy; a property that cannot be read counts as absent.
    pub(crate) fn of(properties: &HashMap<String, String>) -> Self {
        let millis = |name, default| Duration::from_millis(number(properties, name).unwrap_or(default));
        Self {
            retries: number(properties, "commit.retry.num-retries")
                .map_or(RETRIES, |count| u32::try_from(count).unwrap_or(u32::MAX)),
            min_wait: millis("commit.retry.min-wait-ms", MIN_WAIT_MS),
            max_wait: millis("commit.retry.max-wait-ms", MAX_WAIT_MS),
            total: millis("commit.retry.total-timeout-ms", TOTAL_MS),
        }
    }

    /// The longest wait before retry number `retry`, counted from 0.
    fn ceiling(&self, retry: u32) -> Duration {
        let factor = 2u32.saturating_pow(retry.min(31));
        self.min_wait.saturating_mul(factor).min(self.max_wait)
    }
}

fn number(properties: &HashMap<String, String>, name: &str) -> Option<u64> {
    properties.get(name)?.trim().parse().ok()
}

/// The retries of one commit.
#[derive(Debug)]
pub(crate) struct Retries {
    policy: RetryPolicy,
    started: Instant,
    used: u32,
}

impl Retries {
    /// None used yet; the total time runs from now.
    pub(crate) fn new(policy: RetryPolicy) -> Self {
        Self {
            policy,
            started: Instant::now(),
            used: 0,
        }
    }

    /// Takes up the table's policy once it is known; what was used stays used.
    pub(crate) fn follow(&mut self, policy: RetryPolicy) {
        self.policy = policy;
    }

    /// Retries used.
    pub(crate) fn used(&self) -> u32 {
        self.used
    }

    /// Waits before the next retry; `false` when there is none left.
    pub(crate) async fn wait(&mut self) -> bool {
        if self.used >= self.policy.retries || self.started.elapsed() >= self.policy.total {
            return false;
        }
        let ceiling = self.policy.ceiling(self.used);
        self.used += 1;
        // Full jitter: workers that lost together must not come back together.
        let wait = rand::rng().random_range(Duration::ZERO..=ceiling);
        tokio::time::sleep(wait).await;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_the_maximum() {
        let policy = RetryPolicy::of(&HashMap::from([
            ("commit.retry.max-wait-ms".to_owned(), "350".to_owned()),
            ("commit.retry.num-retries".to_owned(), "no number".to_owned()),
        ]));
        let ceilings: Vec<_> = (0..4).map(|retry| policy.ceiling(retry).as_millis()).collect();
        assert_eq!(ceilings, [100, 200, 350, 350]);
        assert_eq!(policy.retries, RETRIES);
        assert_eq!(policy.ceiling(u32::MAX).as_millis(), 350);
    }

    #[tokio::test(start_paused = true)]
    async fn retries_end_by_count_and_by_time() {
        let mut few = Retries::new(RetryPolicy::of(&HashMap::new()));
        let mut granted = 0;
        while few.wait().await {
            granted += 1;
        }
        assert_eq!(granted, RETRIES);

        let short = HashMap::from([("commit.retry.total-timeout-ms".to_owned(), "0".to_owned())]);
        assert!(!Retries::new(RetryPolicy::of(&short)).wait().await);
    }
}
