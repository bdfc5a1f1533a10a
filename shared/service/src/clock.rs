//! The system's clock and ids: the only place where the service layer meets real time and randomness.

use snowpack_domain::{JobId, Timestamp};
use uuid::{ContextV7, Uuid};

use crate::ports::{Clock, Ids};

/// The operating system's clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since_epoch = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap_or_default();
        Timestamp::from_micros(i64::try_from(since_epoch.as_micros()).unwrap_or(i64::MAX))
    }
}

/// UUIDv7 ids, ordered also within one millisecond of one process.
#[derive(Debug, Default)]
pub struct TimeSortedIds {
    context: std::sync::Mutex<Option<ContextV7>>,
}

impl Ids for TimeSortedIds {
    fn job_id(&self, now: Timestamp) -> JobId {
        let micros = u64::try_from(now.as_micros()).unwrap_or(0);
        let nanos = u32::try_from(micros % 1_000_000 * 1000).expect("below one second");
        let mut slot = self
            .context
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        let context = slot.get_or_insert_with(ContextV7::new);
        let time = uuid::Timestamp::from_unix(&*context, micros / 1_000_000, nanos);
        JobId::from_u128(Uuid::new_v7(time).as_u128())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_by_time() {
        let ids = TimeSortedIds::default();
        let early = Timestamp::from_micros(1_700_000_000_000_000);
        let late = Timestamp::from_micros(1_700_000_000_001_000);
        let made: Vec<_> = [early, early, late]
            .into_iter()
            .map(|time| ids.job_id(time))
            .collect();
        assert!(made[0] < made[1] && made[1] < made[2], "{made:?}");
    }
}
