//! The worker function: an SQS event in, one slice of each named job run, the messages to deliver again out.

mod spark;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use snowpack_service::Worker;
use snowpack_service::ports::{Clock, Engine, JobQueue, JobStore};
use snowpack_wire::message::decode_message;
use tokio_util::sync::CancellationToken;

pub use spark::spark_of;

/// Handles the messages of an event one after the other, as the batch size is 1 by default, and reports those
/// that must be delivered again.
///
/// A message that is not ours is reported too, so that it ends in the dead-letter queue where a person sees it.
pub async fn handle_event<S, Q, E, C>(
    worker: &Arc<Worker<S, Q, E, C>>,
    event: SqsEvent,
    deadline: SystemTime,
) -> SqsBatchResponse
where
    S: JobStore,
    Q: JobQueue,
    E: Engine,
    C: Clock + Clone,
{
    let mut response = SqsBatchResponse::default();
    for message in event.records {
        let id = message.message_id.clone().unwrap_or_default();
        if let Err(error) = handle_message(worker, &message, deadline).await {
            tracing::error!(message_id = %id, %error, "the message will be delivered again");
            response.add_failure(id);
        }
    }
    response
}

async fn handle_message<S, Q, E, C>(
    worker: &Worker<S, Q, E, C>,
    message: &SqsMessage,
    deadline: SystemTime,
) -> anyhow::Result<()>
where
    S: JobStore,
    Q: JobQueue,
    E: Engine,
    C: Clock + Clone,
{
    let job = decode_message(message.body.as_deref().unwrap_or_default())?;
    let time_limit = deadline
        .duration_since(SystemTime::now())
        .unwrap_or(Duration::ZERO);
    worker
        .handle(&job, Some(time_limit), CancellationToken::new())
        .await?;
    Ok(())
}
