//! The queue: at least once, in any order, hidden while worked on, set aside after five deliveries; and the
//! queue as one process meets it, which loses and doubles what is sent.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use snowpack_domain::JobId;
use snowpack_service::ports::{DeadLetter, DeadLetters, JobQueue, QueueDepth, StoreError};
use tokio::time::Instant;

use crate::config::Fault;
use crate::dice::Dice;
use crate::process::Process;

/// Deliveries after which a message is a dead letter, as on AWS.
const MAX_RECEIVES: u32 = 5;
/// How long a dead letter stays hidden while it is looked at.
const LETTER_HIDDEN: Duration = Duration::from_secs(50);

#[derive(Debug)]
struct Message {
    job: JobId,
    visible_at: Instant,
    receives: u32,
}

/// Stands for one delivery.
#[derive(Debug)]
pub(crate) struct Receipt {
    message: u64,
    receives: u32,
}

#[derive(Debug, Default)]
struct Messages {
    sent: u64,
    kept: BTreeMap<u64, Message>,
}

#[derive(Debug, Default)]
pub(crate) struct Queue(Mutex<Messages>);

impl Queue {
    fn put(&self, job: &JobId, delay: Duration) {
        let mut messages = self.0.lock().unwrap();
        messages.sent += 1;
        let number = messages.sent;
        let message = Message {
            job: job.clone(),
            visible_at: Instant::now() + delay,
            receives: 0,
        };
        messages.kept.insert(number, message);
    }

    /// Takes any of the visible messages and hides it.
    pub(crate) fn receive(&self, visibility: Duration, dice: &Dice) -> Option<(JobId, Receipt)> {
        let now = Instant::now();
        let mut messages = self.0.lock().unwrap();
        let visible = messages.kept.iter();
        let visible =
            visible.filter(|(_, message)| message.visible_at <= now && message.receives < MAX_RECEIVES);
        let numbers: Vec<u64> = visible.map(|(number, _)| *number).collect();
        if numbers.is_empty() {
            return None;
        }
        let number = numbers[dice.below(numbers.len())];
        let message = messages.kept.get_mut(&number).expect("it was just seen");
        message.receives += 1;
        message.visible_at = now + visibility;
        let receipt = Receipt {
            message: number,
            receives: message.receives,
        };
        Some((message.job.clone(), receipt))
    }

    /// Removes a message, unless it was delivered again since.
    pub(crate) fn ack(&self, receipt: &Receipt) {
        let mut messages = self.0.lock().unwrap();
        let message = messages.kept.get(&receipt.message);
        if message.is_some_and(|message| message.receives == receipt.receives) {
            messages.kept.remove(&receipt.message);
        }
    }

    /// Makes a message visible again at once, as a failed invocation may.
    pub(crate) fn give_back(&self, receipt: &Receipt) {
        let mut messages = self.0.lock().unwrap();
        if let Some(message) = messages.kept.get_mut(&receipt.message)
            && message.receives == receipt.receives
        {
            message.visible_at = Instant::now();
        }
    }

    /// The jobs of all messages and dead letters.
    pub(crate) fn jobs(&self) -> Vec<JobId> {
        let messages = self.0.lock().unwrap();
        messages
            .kept
            .values()
            .map(|message| message.job.clone())
            .collect()
    }

    fn letters(&self) -> Vec<DeadLetter> {
        let now = Instant::now();
        let mut messages = self.0.lock().unwrap();
        let visible = messages.kept.iter_mut();
        visible
            .filter(|(_, message)| message.visible_at <= now && message.receives >= MAX_RECEIVES)
            .map(|(number, message)| {
                message.visible_at = now + LETTER_HIDDEN;
                DeadLetter {
                    job: Some(message.job.clone()),
                    receipt: number.to_string(),
                }
            })
            .collect()
    }
}

/// The queue as one process meets it.
pub(crate) struct FaultyQueue(pub(crate) Arc<Process>);

impl FaultyQueue {
    async fn travel(&self, place: &'static str) {
        let Self(process) = self;
        process.pause(place, process.dice.millis(1..40)).await;
    }

    fn fails(&self) -> Result<(), StoreError> {
        let Self(process) = self;
        if process.dice.happens(Fault::SendFails) {
            process.world.trace.note("queue fails", || process.name.clone());
            return Err(StoreError::Unavailable("no answer of the queue".to_owned()));
        }
        Ok(())
    }
}

impl JobQueue for FaultyQueue {
    async fn send(&self, job: &JobId, delay_seconds: u32) -> Result<(), StoreError> {
        let Self(process) = self;
        let (world, dice) = (&process.world, &process.dice);
        self.travel("before a message is sent").await;
        self.fails()?;
        if dice.happens(Fault::MessageLost) {
            world.trace.note("message lost", || job.to_string());
        } else {
            let asked = Duration::from_secs(u64::from(delay_seconds));
            let late = if dice.happens(Fault::MessageDelayed) {
                dice.seconds(1..600)
            } else {
                Duration::ZERO
            };
            world.trace.note("message sent", || {
                format!("{job} by {} {asked:?} {late:?}", process.name)
            });
            world.queue.put(job, asked + late);
        }
        if dice.happens(Fault::MessageDoubled) {
            world.queue.put(job, dice.seconds(0..120));
        }
        self.travel("after a message was sent").await;
        self.fails()
    }

    async fn depth(&self) -> Result<QueueDepth, StoreError> {
        let Self(process) = self;
        let waiting = process.world.queue.jobs().len() as u64;
        Ok(QueueDepth {
            waiting,
            in_flight: 0,
        })
    }
}

impl DeadLetters for FaultyQueue {
    async fn receive(&self, _hidden_seconds: u32) -> Result<Vec<DeadLetter>, StoreError> {
        self.travel("before dead letters are received").await;
        self.fails()?;
        let letters = self.0.world.queue.letters();
        self.travel("after dead letters were received").await;
        self.fails().map(|()| letters)
    }

    async fn remove(&self, receipt: &str) -> Result<(), StoreError> {
        self.travel("before a dead letter is removed").await;
        self.fails()?;
        let number = receipt.parse().expect("it is one of ours");
        self.0.world.queue.0.lock().unwrap().kept.remove(&number);
        self.fails()
    }
}
