//! What tests of several crates share: a clock and ids under the test's control, sample jobs, and one
//! contract suite per port, run against every implementation of it.

mod clock;
mod job_queue;
mod job_store;
mod model;
mod reports;
mod sample;

pub use clock::{ManualClock, SequentialIds};
pub use job_queue::{Delivery, Receiver, dead_letters_contract, job_queue_contract};
pub use job_store::job_store_contract;
pub use model::{naive_counts, naive_list};
pub use reports::reports_contract;
pub use sample::{any_jobs, job_id, new_job, table, time};
