//! Snowpack's use cases over small ports: submit, cancel, execute, recover, sync and the queries.

pub mod ports;
