//! What happened in a run, in order and with virtual times; kept only when somebody will read it.

use std::collections::BTreeMap;
use std::sync::Mutex;

use tokio::time::Instant;

#[derive(Debug)]
pub(crate) struct Trace {
    start: Instant,
    lines: Option<Mutex<Vec<String>>>,
    counts: Mutex<BTreeMap<&'static str, u64>>,
}

impl Trace {
    pub(crate) fn new(start: Instant, keep: bool) -> Self {
        Self {
            start,
            lines: keep.then(Mutex::default),
            counts: Mutex::default(),
        }
    }

    /// Counts an event; the details are asked for only when they are kept.
    pub(crate) fn note(&self, event: &'static str, details: impl FnOnce() -> String) {
        *self.counts.lock().unwrap().entry(event).or_default() += 1;
        self.detail(|| format!("{event}: {}", details()));
    }

    /// An event too frequent to count.
    pub(crate) fn detail(&self, line: impl FnOnce() -> String) {
        if let Some(lines) = &self.lines {
            let passed = self.start.elapsed().as_secs_f64();
            lines.lock().unwrap().push(format!("{passed:10.3} {}", line()));
        }
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        self.lines
            .as_ref()
            .map_or_else(Vec::new, |lines| lines.lock().unwrap().clone())
    }

    pub(crate) fn counts(&self) -> BTreeMap<&'static str, u64> {
        self.counts.lock().unwrap().clone()
    }
}
