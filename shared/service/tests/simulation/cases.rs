//! Runs that failed once, shrunk, by what they showed. They run first, always.

use crate::config::Config;

pub(crate) fn cases() -> Vec<(&'static str, Config)> {
    vec![]
}
