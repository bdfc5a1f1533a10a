//! The embedded queue: messages in the store's own file, hidden while a worker has them, kept until acknowledged
//! or, when that never happens, set aside.

use std::sync::Arc;

use rusqlite::{OptionalExtension, params};
use snowpack_domain::{Duration, JobId, Timestamp};
use snowpack_service::ports::{Clock, DeadLetter, DeadLetters, JobQueue, QueueDepth, StoreError};
use tokio::sync::Notify;

use crate::database::Database;
use crate::error::DatabaseError;

/// Deliveries of one message; after them it is a dead letter. As often as on AWS (`infra/template.yaml`).
const MAX_RECEIVES: u32 = 5;
/// Dead letters in one call.
const LETTERS_PER_CALL: u32 = 100;

/// A queue of job messages, delivered at least once. Clones share the queue.
#[derive(Clone, Debug)]
pub struct EmbeddedQueue<C> {
    database: Arc<Database>,
    sent: Arc<Notify>,
    clock: C,
}

/// Stands for one delivery of a message. Once the message is delivered again, older receipts are void.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    message: i64,
    /// Deliveries of the message so far, this one included.
    pub receive_count: u32,
}

impl<C: Clock> EmbeddedQueue<C> {
    pub(crate) fn new(database: Arc<Database>, sent: Arc<Notify>, clock: C) -> Self {
        Self {
            database,
            sent,
            clock,
        }
    }

    /// Takes the message that has been visible longest and hides it for `visibility_seconds`. `None` when no
    /// message is visible at `now`.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be used.
    pub async fn receive(
        &self,
        now: Timestamp,
        visibility_seconds: u32,
    ) -> Result<Option<(JobId, Receipt)>, StoreError> {
        let hidden_until = now + Duration::from_seconds(i64::from(visibility_seconds));
        let taken: Option<(String, Receipt)> = self
            .database
            .write(move |transaction| {
                let taken = transaction
                    .prepare_cached(
                        "UPDATE messages SET visible_at = ?2, receive_count = receive_count + 1
                         WHERE id = (SELECT id FROM messages WHERE visible_at <= ?1 AND receive_count < ?3
                                     ORDER BY visible_at, id LIMIT 1)
                         RETURNING job, id, receive_count",
                    )?
                    .query_row(
                        params![now.as_micros(), hidden_until.as_micros(), MAX_RECEIVES],
                        |row| {
                            let receipt = Receipt {
                                message: row.get(1)?,
                                receive_count: row.get(2)?,
                            };
                            Ok((row.get(0)?, receipt))
                        },
                    )
                    .optional()?;
                Ok(taken)
            })
            .await?;
        let parse = |(job, receipt): (String, Receipt)| match JobId::parse(&job) {
            Ok(id) => Ok((id, receipt)),
            Err(_) => Err(DatabaseError::Unreadable(format!("a message for the job {job:?}")).into()),
        };
        taken.map(parse).transpose()
    }

    /// Removes a delivered message. A void receipt removes nothing: the newer delivery decides.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be used; the message will then be delivered again.
    pub async fn ack(&self, receipt: &Receipt) -> Result<(), StoreError> {
        let Receipt {
            message,
            receive_count,
        } = *receipt;
        self.database
            .write(move |transaction| {
                transaction.execute(
                    "DELETE FROM messages WHERE id = ?1 AND receive_count = ?2",
                    params![message, receive_count],
                )?;
                Ok(())
            })
            .await?;
        Ok(())
    }

    /// Makes every message visible that was delivered and not acknowledged: for a process that has just started and
    /// is the only one with this queue, so that whoever they were delivered to is dead.
    ///
    /// # Errors
    /// [`StoreError`] when the database cannot be used.
    pub async fn return_deliveries(&self) -> Result<(), StoreError> {
        let now = self.clock.now().as_micros();
        self.database
            .write(move |transaction| {
                transaction.execute(
                    "UPDATE messages SET visible_at = ?1 WHERE visible_at > ?1 AND receive_count > 0",
                    [now],
                )?;
                Ok(())
            })
            .await?;
        Ok(())
    }

    /// Waits until this process sends a message. A message sent since the last wait ends the wait at once.
    /// Delayed and hidden messages become visible without a notice: look again from time to time.
    pub async fn notified(&self) {
        self.sent.notified().await;
    }
}

impl<C: Clock> JobQueue for EmbeddedQueue<C> {
    async fn send(&self, job: &JobId, delay_seconds: u32) -> Result<(), StoreError> {
        let visible_at = self.clock.now() + Duration::from_seconds(i64::from(delay_seconds));
        let job = job.to_string();
        self.database
            .write(move |transaction| {
                transaction.execute(
                    "INSERT INTO messages (job, visible_at) VALUES (?1, ?2)",
                    params![job, visible_at.as_micros()],
                )?;
                Ok(())
            })
            .await?;
        self.sent.notify_one();
        Ok(())
    }

    async fn depth(&self) -> Result<QueueDepth, StoreError> {
        let now = self.clock.now().as_micros();
        let counted = self.database.read(move |transaction| {
            let mut statement = transaction.prepare_cached(
                "SELECT count(*) FILTER (WHERE receive_count < ?2 AND (receive_count = 0 OR visible_at <= ?1)),
                        count(*) FILTER (WHERE receive_count > 0 AND visible_at > ?1)
                 FROM messages",
            )?;
            let depth = statement.query_row(params![now, MAX_RECEIVES], |row| {
                Ok(QueueDepth {
                    waiting: row.get(0)?,
                    in_flight: row.get(1)?,
                })
            })?;
            Ok(depth)
        });
        Ok(counted.await?)
    }
}

impl<C: Clock> DeadLetters for EmbeddedQueue<C> {
    async fn receive(&self, hidden_seconds: u32) -> Result<Vec<DeadLetter>, StoreError> {
        let now = self.clock.now();
        let hidden_until = now + Duration::from_seconds(i64::from(hidden_seconds));
        let taken = self.database.write(move |transaction| {
            let mut statement = transaction.prepare_cached(
                "UPDATE messages SET visible_at = ?2
                 WHERE id IN (SELECT id FROM messages WHERE visible_at <= ?1 AND receive_count >= ?3
                              ORDER BY visible_at, id LIMIT ?4)
                 RETURNING job, id",
            )?;
            let limits = params![
                now.as_micros(),
                hidden_until.as_micros(),
                MAX_RECEIVES,
                LETTERS_PER_CALL
            ];
            let letters = statement.query_map(limits, |row| {
                let (job, message): (String, i64) = (row.get(0)?, row.get(1)?);
                Ok(DeadLetter {
                    job: JobId::parse(&job).ok(),
                    receipt: message.to_string(),
                })
            })?;
            Ok(letters.collect::<Result<_, _>>()?)
        });
        Ok(taken.await?)
    }

    async fn remove(&self, receipt: &str) -> Result<(), StoreError> {
        let receipt = receipt.to_owned();
        self.database
            .write(move |transaction| {
                transaction.execute(
                    "DELETE FROM messages WHERE id = CAST(?1 AS INTEGER) AND receive_count >= ?2",
                    params![receipt, MAX_RECEIVES],
                )?;
                Ok(())
            })
            .await?;
        Ok(())
    }
}
