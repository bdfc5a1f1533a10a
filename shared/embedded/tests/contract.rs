//! The SQLite store and its queue keep the ports' contracts.

#![allow(clippy::unwrap_used, reason = "helpers of tests may fail as tests do")]

use snowpack_domain::Duration;
use snowpack_embedded::{EmbeddedQueue, Receipt, SqliteStore};
use snowpack_service::ports::{Clock, JobQueue as _};
use snowpack_testkit::{
    Delivery, ManualClock, Receiver, dead_letters_contract, job_id, job_queue_contract, job_store_contract,
    reports_contract, time,
};
use tempfile::TempDir;

/// A store that takes its file with it.
fn open(directory: &TempDir) -> SqliteStore {
    SqliteStore::open(&directory.path().join("state.db")).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_store_keeps_its_contract() {
    let root = TempDir::new().unwrap();
    let fresh = async || {
        let directory = TempDir::new_in(root.path()).unwrap().keep();
        SqliteStore::open(&directory.join("state.db")).unwrap()
    };
    job_store_contract(fresh).await;
    reports_contract(fresh).await;
}

struct EmbeddedReceiver {
    queue: EmbeddedQueue<ManualClock>,
    clock: ManualClock,
}

impl Receiver for EmbeddedReceiver {
    type Receipt = Receipt;

    async fn receive(&self, visibility_seconds: u32) -> Option<Delivery<Receipt>> {
        let taken = self
            .queue
            .receive(self.clock.now(), visibility_seconds)
            .await
            .unwrap();
        taken.map(|(job, receipt)| Delivery { job, receipt })
    }

    async fn ack(&self, receipt: Receipt) {
        self.queue.ack(&receipt).await.unwrap();
    }

    async fn wait(&self, seconds: u32) {
        self.clock.advance(Duration::from_seconds(i64::from(seconds)));
    }
}

#[tokio::test]
async fn the_queue_keeps_its_contract() {
    let directory = TempDir::new().unwrap();
    let clock = ManualClock::new(time(0));
    let queue = open(&directory).queue(clock.clone());
    let receiver = EmbeddedReceiver {
        queue: queue.clone(),
        clock,
    };
    job_queue_contract(&queue, &receiver).await;
    dead_letters_contract(&queue, &receiver, &queue).await;
}

#[tokio::test]
async fn a_restart_brings_back_what_was_delivered_and_keeps_delays() {
    let directory = TempDir::new().unwrap();
    let clock = ManualClock::new(time(0));
    let queue = open(&directory).queue(clock.clone());
    queue.send(&job_id(1), 0).await.unwrap();
    queue.send(&job_id(2), 60).await.unwrap();
    let taken = queue.receive(clock.now(), 900).await.unwrap();
    assert_eq!(taken.unwrap().0, job_id(1));
    let restarted = open(&directory).queue(clock.clone());
    assert!(restarted.receive(clock.now(), 900).await.unwrap().is_none());
    restarted.return_deliveries().await.unwrap();
    let (job, receipt) = restarted.receive(clock.now(), 900).await.unwrap().unwrap();
    assert_eq!((job, receipt.receive_count), (job_id(1), 2));
    assert!(restarted.receive(clock.now(), 900).await.unwrap().is_none());
}
