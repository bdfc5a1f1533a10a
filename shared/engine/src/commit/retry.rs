//! When a commit is tried again: after a lost race as the table's `commit.retry.*` properties say, after an outage of
//! the catalog with a patience of our own. Exponential backoff, full jitter, and never beyond the time given.

use std::collections::HashMap;
use std::time::Duration;

use rand::Rng;
use snowpack_service::ports::{ActionStop, Supervisor};
use tokio::time::Instant;

use crate::watch::POLL_INTERVAL;

/// `commit.retry.num-retries` of Iceberg's `TableProperties`.
const RETRIES: u32 = 4;
/// `commit.retry.min-wait-ms`.
const MIN_WAIT_MS: u64 = 100;
/// `commit.retry.max-wait-ms`: one minute.
const MAX_WAIT_MS: u64 = 60_000;
/// `commit.retry.total-timeout-ms`: half an hour.
const TOTAL_MS: u64 = 1_800_000;
/// The longest first wait for a catalog that is not available. A throttle passes in seconds.
const OUTAGE_FIRST: Duration = Duration::from_secs(1);
/// The longest of its waits: the outage may be over long before the next look otherwise.
const OUTAGE_LONGEST: Duration = Duration::from_secs(30);
/// All of its waits in one commit: a database that fails over takes two minutes.
const OUTAGE_TOTAL: Duration = Duration::from_secs(240);
/// All waits of one commit after the deadline: finished work is worth a few, and little of the time that is kept
/// for committing it.
const GRACE: Duration = Duration::from_secs(10);

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
        doubled(self.min_wait, retry).min(self.max_wait)
    }
}

fn number(properties: &HashMap<String, String>, name: &str) -> Option<u64> {
    properties.get(name)?.trim().parse().ok()
}

/// The tries of one commit, and what it has waited.
pub(crate) struct Retries<'a, S> {
    supervisor: &'a S,
    policy: RetryPolicy,
    started: Instant,
    used: u32,
    outages: u32,
    waited_for_catalog: Duration,
    grace: Duration,
}

impl<'a, S: Supervisor> Retries<'a, S> {
    /// None used yet; the total time runs from now.
    pub(crate) fn new(supervisor: &'a S, policy: RetryPolicy) -> Self {
        Self {
            supervisor,
            policy,
            started: Instant::now(),
            used: 0,
            outages: 0,
            waited_for_catalog: Duration::ZERO,
            grace: GRACE,
        }
    }

    /// Takes up the table's policy once it is known; what was used stays used.
    pub(crate) fn follow(&mut self, policy: RetryPolicy) {
        self.policy = policy;
    }

    /// Races that were lost and tried again.
    pub(crate) fn used(&self) -> u32 {
        self.used
    }

    /// Waits after a lost race; `false` when there is no other try.
    ///
    /// # Errors
    /// The supervisor says stop.
    pub(crate) async fn after_conflict(&mut self) -> Result<bool, ActionStop> {
        if self.used >= self.policy.retries || self.started.elapsed() >= self.policy.total {
            return Ok(false);
        }
        let ceiling = self.policy.ceiling(self.used);
        self.used += 1;
        self.pause(jittered(ceiling)).await
    }

    /// Waits for a catalog that is not available; `false` when there is no other try.
    ///
    /// # Errors
    /// The supervisor says stop.
    pub(crate) async fn after_outage(&mut self) -> Result<bool, ActionStop> {
        let left = OUTAGE_TOTAL.saturating_sub(self.waited_for_catalog);
        if left.is_zero() {
            return Ok(false);
        }
        let ceiling = doubled(OUTAGE_FIRST, self.outages).min(OUTAGE_LONGEST);
        self.outages += 1;
        let wait = jittered(ceiling).min(left);
        self.waited_for_catalog += wait;
        self.pause(wait).await
    }

    /// Waits, as long as there is time. `false` when there was none.
    ///
    /// # Errors
    /// The supervisor says stop for another reason than the time.
    pub(crate) async fn pause(&mut self, wait: Duration) -> Result<bool, ActionStop> {
        let mut left = wait;
        loop {
            let mut piece = left.min(POLL_INTERVAL);
            match self.supervisor.poll() {
                Ok(()) => {}
                Err(ActionStop::OutOfTime) if self.grace.is_zero() => return Ok(left < wait),
                Err(ActionStop::OutOfTime) => {
                    piece = piece.min(self.grace);
                    self.grace -= piece;
                }
                Err(stop) => return Err(stop),
            }
            if left.is_zero() {
                return Ok(true);
            }
            tokio::time::sleep(piece).await;
            left -= piece;
        }
    }
}

/// Full jitter: workers that lost together must not come back together.
fn jittered(ceiling: Duration) -> Duration {
    rand::rng().random_range(Duration::ZERO..=ceiling)
}

fn doubled(first: Duration, times: u32) -> Duration {
    first.saturating_mul(2u32.saturating_pow(times.min(31)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::FakeSupervisor;

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
        let supervisor = FakeSupervisor::default();
        let mut few = Retries::new(&supervisor, RetryPolicy::of(&HashMap::new()));
        let mut granted = 0;
        while few.after_conflict().await.unwrap() {
            granted += 1;
        }
        assert_eq!(granted, RETRIES);

        let short = HashMap::from([("commit.retry.total-timeout-ms".to_owned(), "0".to_owned())]);
        let mut none = Retries::new(&supervisor, RetryPolicy::of(&short));
        assert!(!none.after_conflict().await.unwrap());
    }

    /// As many retries as anybody may ask for, each a minute long.
    fn stubborn() -> RetryPolicy {
        RetryPolicy {
            retries: u32::MAX,
            min_wait: Duration::from_secs(60),
            ..RetryPolicy::of(&HashMap::new())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn no_wait_goes_on_for_long_after_the_deadline() {
        let supervisor = FakeSupervisor::with_time(Duration::from_secs(100));
        let started = Instant::now();
        let mut retries = Retries::new(&supervisor, stubborn());
        while retries.after_conflict().await.unwrap() {}
        assert!(!retries.after_outage().await.unwrap());
        let took = started.elapsed();
        assert!(
            took >= Duration::from_secs(100),
            "the time given is used: {took:?}"
        );
        assert!(took <= Duration::from_secs(101) + GRACE, "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_ends_within_a_second_once_the_job_is_cancelled() {
        let supervisor = FakeSupervisor {
            cancelled_at: Some(Instant::now() + Duration::from_secs(5)),
            ..FakeSupervisor::default()
        };
        let mut retries = Retries::new(&supervisor, stubborn());
        let started = Instant::now();
        let stopped = retries.pause(Duration::from_secs(60)).await;
        assert!(matches!(stopped, Err(ActionStop::Revoked)), "{stopped:?}");
        assert!(started.elapsed() <= Duration::from_secs(6));
    }

    #[tokio::test(start_paused = true)]
    async fn an_outage_is_waited_for_longer_than_a_failover_takes_and_not_for_ever() {
        let supervisor = FakeSupervisor::default();
        let mut retries = Retries::new(&supervisor, RetryPolicy::of(&HashMap::new()));
        let started = Instant::now();
        while retries.after_outage().await.unwrap() {}
        assert_eq!(started.elapsed().as_secs(), OUTAGE_TOTAL.as_secs());
        assert!(retries.after_conflict().await.unwrap(), "it is no lost race");
    }
}
