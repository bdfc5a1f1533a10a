//! Actions while the catalog is not available: waited for, and in the end no success.

use std::time::Duration;

use super::*;
use crate::fake::Fault;

/// A run during which the catalog is down for so long from the first commit on.
async fn rewrite_through(fixture: &Fixture, outage: Duration) -> Result<ActionResult, ActionStop> {
    fixture.table.catalog.will(Fault::Outage(outage));
    fixture.rewrite(FakeSupervisor::default()).await
}

#[tokio::test(start_paused = true)]
async fn finished_work_outlives_an_outage() {
    let fixture = Fixture::new(FormatVersion::V2).await;
    let result = rewrite_through(&fixture, Duration::from_secs(60)).await.unwrap();
    assert_eq!(result.metrics["conflicts"], Metric::Count(0));
    assert_eq!(message(Ok(result)), "Compacted 15 files into 3 files");
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_never_a_success() {
    let fixture = Fixture::new(FormatVersion::V2).await;
    let (head, files) = (fixture.head(), fixture.all_files());
    let failed = rewrite_through(&fixture, Duration::from_secs(3600)).await;
    let (cause, retry) = failure(failed);
    assert!(retry && cause.contains("not available"), "{cause}");
    assert_eq!((fixture.head(), fixture.all_files()), (head, files));
}
