//! The engine tried on a whole table in memory: among other writers, dying processes, and damaged files.

#![allow(clippy::unwrap_used, reason = "a panic is how a test reports")]

mod action;
mod catalog;
mod check;
mod commit;
mod damage;
mod files;
mod lake;
mod model;
mod mutation;
mod reader;
mod scheduler;
mod schedules;
mod world;
mod writers;

use std::alloc::System;

use cap::Cap;

/// Counts memory, so that a length in a damaged file that asks for too much of it is noticed.
#[global_allocator]
static MEMORY: Cap<System> = Cap::new(System, usize::MAX);
