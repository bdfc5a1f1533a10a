//! The contract of a job queue: nothing sent is lost, nothing acknowledged comes again.

use std::collections::BTreeSet;
use std::future::Future;

use snowpack_domain::JobId;
use snowpack_service::ports::{DeadLetters, JobQueue, QueueDepth};

use crate::sample::job_id;

/// Seconds a received message or dead letter stays hidden in the suite: short, because the suite waits for its end.
const VISIBILITY_SECONDS: u32 = 2;

/// Deliveries after which a message is a dead letter.
const MAX_RECEIVES: u32 = 5;

/// A message as received.
#[derive(Debug)]
pub struct Delivery<R> {
    /// The job it names.
    pub job: JobId,
    /// What acknowledges it.
    pub receipt: R,
}

/// The receiving end of a queue under test, which in production may be a service outside the process.
pub trait Receiver {
    /// What acknowledges a delivery.
    type Receipt;

    /// Receives one message and hides it for `visibility_seconds`; `None` when none is visible now.
    fn receive(&self, visibility_seconds: u32) -> impl Future<Output = Option<Delivery<Self::Receipt>>>;

    /// Acknowledges a delivery.
    fn ack(&self, receipt: Self::Receipt) -> impl Future<Output = ()>;

    /// Lets that many seconds pass, on whatever clock the queue goes by.
    fn wait(&self, seconds: u32) -> impl Future<Output = ()>;
}

/// Runs every scenario; the queue must be empty at first.
///
/// # Panics
/// When the queue breaks its contract.
pub async fn job_queue_contract<Q: JobQueue, R: Receiver>(queue: &Q, receiver: &R) {
    everything_sent_arrives(queue, receiver).await;
    what_is_not_acknowledged_comes_again(queue, receiver).await;
    a_delay_is_kept(queue, receiver).await;
}

/// Runs every scenario of dead letters; both queues must be empty at first, and a message must become a dead
/// letter after 5 deliveries.
///
/// # Panics
/// When the queue or its dead letters break their contract.
pub async fn dead_letters_contract<Q, R, D>(queue: &Q, receiver: &R, dead_letters: &D)
where
    Q: JobQueue,
    R: Receiver,
    D: DeadLetters,
{
    queue.send(&job_id(3), 0).await.expect("send");
    for delivery in 1..=MAX_RECEIVES {
        assert_eq!(
            dead_letters.receive(VISIBILITY_SECONDS).await.expect("receive"),
            [],
            "before {delivery}"
        );
        receiver.receive(1).await.expect("a message");
        receiver.wait(2).await;
    }
    assert!(receiver.receive(1).await.is_none(), "set aside");
    let letters = dead_letters.receive(VISIBILITY_SECONDS).await.expect("receive");
    let [letter] = letters.as_slice() else {
        panic!("one dead letter: {letters:?}");
    };
    assert_eq!(letter.job, Some(job_id(3)));
    assert_eq!(
        dead_letters.receive(VISIBILITY_SECONDS).await.expect("receive"),
        [],
        "hidden"
    );
    dead_letters.remove(&letter.receipt).await.expect("remove");
    receiver.wait(VISIBILITY_SECONDS + 1).await;
    assert_eq!(
        dead_letters.receive(VISIBILITY_SECONDS).await.expect("receive"),
        [],
        "gone for good"
    );
}

async fn everything_sent_arrives<Q: JobQueue, R: Receiver>(queue: &Q, receiver: &R) {
    assert!(
        receiver.receive(VISIBILITY_SECONDS).await.is_none(),
        "the queue starts empty"
    );
    assert_eq!(queue.depth().await.expect("depth"), QueueDepth::default());
    let sent: BTreeSet<_> = (1..=12).map(job_id).collect();
    for job in &sent {
        queue.send(job, 0).await.expect("send");
    }
    let depth = |waiting, in_flight| QueueDepth { waiting, in_flight };
    assert_eq!(queue.depth().await.expect("depth"), depth(12, 0));
    let mut received = BTreeSet::new();
    while let Some(delivery) = receiver.receive(60).await {
        received.insert(delivery.job);
        let waiting = (sent.len() - received.len()) as u64;
        assert_eq!(queue.depth().await.expect("depth"), depth(waiting, 1));
        receiver.ack(delivery.receipt).await;
    }
    assert_eq!(received, sent);
}

async fn what_is_not_acknowledged_comes_again<Q: JobQueue, R: Receiver>(queue: &Q, receiver: &R) {
    queue.send(&job_id(1), 0).await.expect("send");
    let first = receiver
        .receive(VISIBILITY_SECONDS)
        .await
        .expect("a visible message");
    assert_eq!(first.job, job_id(1));
    assert!(
        receiver.receive(VISIBILITY_SECONDS).await.is_none(),
        "hidden while it is worked on"
    );
    receiver.wait(VISIBILITY_SECONDS + 1).await;
    let again = receiver.receive(60).await.expect("the message comes again");
    assert_eq!(again.job, job_id(1));
    receiver.ack(again.receipt).await;
    assert!(
        receiver.receive(VISIBILITY_SECONDS).await.is_none(),
        "gone for good"
    );
}

async fn a_delay_is_kept<Q: JobQueue, R: Receiver>(queue: &Q, receiver: &R) {
    queue.send(&job_id(2), 2).await.expect("send");
    let delayed = queue.depth().await.expect("depth");
    assert_eq!(
        (delayed.waiting, delayed.in_flight),
        (1, 0),
        "a delayed message waits"
    );
    assert!(
        receiver.receive(VISIBILITY_SECONDS).await.is_none(),
        "not before its delay"
    );
    receiver.wait(3).await;
    let delivery = receiver.receive(60).await.expect("after its delay");
    receiver.ack(delivery.receipt).await;
}
