//! Lets a supervisor interrupt any wait: for storage, or for another task.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use snowpack_service::ports::{ActionStop, Supervisor};

/// How long a wait goes on without asking the supervisor: far below the 10 seconds within which a cancelled
/// job has to stop.
pub(crate) const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Awaits `work`, asking the supervisor before it and every [`POLL_INTERVAL`]. On a stop the work is dropped.
///
/// # Errors
/// The supervisor says stop.
pub(crate) async fn watched<S: Supervisor, F: Future>(
    supervisor: &S,
    work: F,
) -> Result<F::Output, ActionStop> {
    let mut work = pin!(work);
    loop {
        supervisor.poll()?;
        if let Ok(output) = tokio::time::timeout(POLL_INTERVAL, &mut work).await {
            return Ok(output);
        }
    }
}
