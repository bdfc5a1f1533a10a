//! What crosses a process border: the HTTP bodies, the queue message and the stored form of jobs.
//! Every form is versioned or fixed by the contract, and kept by golden tests.

pub mod http;
pub mod message;
pub mod stored;
pub mod time;
