//! Virtual time: tokio's paused clock, seen by each actor through a clock of its own that is off; and ids.

use std::sync::Mutex;

use snowpack_domain::{Duration, JobId, Timestamp};
use snowpack_service::ports::{Clock, Ids};
use tokio::time::Instant;

/// What the true clock shows when a run starts.
const START: Timestamp = Timestamp::from_micros(1_777_127_400_000_000);

/// The clock of one actor.
#[derive(Clone, Debug)]
pub(crate) struct SkewedClock {
    pub(crate) start: Instant,
    pub(crate) skew: Duration,
}

impl Clock for SkewedClock {
    fn now(&self) -> Timestamp {
        let passed = i64::try_from(self.start.elapsed().as_micros()).expect("runs are short");
        Timestamp::from_micros(START.as_micros() + passed) + self.skew
    }
}

/// Ids that count up, and remember the last one handed out.
#[derive(Debug)]
pub(crate) struct RememberedIds {
    last: Mutex<u128>,
}

impl RememberedIds {
    /// Ids that no other client hands out.
    pub(crate) fn of_client(number: u32) -> Self {
        Self {
            last: Mutex::new(u128::from(number) << 64),
        }
    }

    pub(crate) fn last(&self) -> JobId {
        JobId::from_u128(*self.last.lock().unwrap())
    }
}

/// Shared with the client that looks at the last id.
#[derive(Clone, Debug)]
pub(crate) struct SharedIds(pub(crate) std::sync::Arc<RememberedIds>);

impl Ids for SharedIds {
    fn job_id(&self, _now: Timestamp) -> JobId {
        *self.0.last.lock().unwrap() += 1;
        self.0.last()
    }
}
