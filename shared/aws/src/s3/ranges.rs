//! Which ranges of keys a listing is divided into, to list them side by side.
//!
//! Pure: what was listed goes in, what to list next comes out. A listing begins as one range, all keys below the
//! folder. With pages of a range goes a *probe*: the first key after one in the middle of what is left. If there
//! is one, the range ends in the middle, and what comes after it is listed beside. So each key lies in one range,
//! whatever probes find and whichever range is faster.
//!
//! All of it relies on the order of S3's general purpose buckets: keys are listed by their UTF-8 bytes. A store
//! whose pages show another order is not divided, and it is an error if they show it only after it was.

mod middle;
#[cfg(test)]
mod tests;

use std::fmt;

use middle::{Gap, shared};

/// Most requests at a time: one for each range, and one for each probe, which may add a range. At tens of
/// milliseconds each they are some hundred requests a second. S3 answers 5,500 GET, HEAD and LIST requests a second
/// for one prefix, and the table's readers need most of them.
const CONCURRENCY: usize = 16;

/// So many pages of a range are read before it is divided, and before it is divided again. A folder of few pages
/// costs what it has to, and full pages pay for each page that two ranges read in part.
const PAGES_BEFORE_PROBE: usize = 4;

/// A range of keys, and how far it was listed.
#[derive(Clone, Debug)]
pub(super) struct Range {
    /// The last key listed, or else what all keys of the range come after; `None` at the start of the folder.
    pub(super) after: Option<String>,
    /// Beside the next page, the first key after this one is to be found.
    pub(super) probe: Option<String>,
    /// The last key the range may have, where the next range begins.
    end: Option<String>,
    /// Nothing of the range was found after this. It only says where the middle is: probes are answered at other
    /// times than pages.
    ceiling: String,
    /// A key listed earlier. Where the last one differs from it, keys vary.
    earlier: Option<String>,
    /// Pages since the range began or was divided.
    pages: usize,
}

/// What S3 answered about a range.
#[derive(Clone, Copy, Debug)]
pub(super) struct Page<'a> {
    /// Keys in S3's order.
    pub(super) keys: &'a [&'a str],
    /// S3 has more.
    pub(super) goes_on: bool,
    /// What the probe found.
    pub(super) beyond: Option<&'a str>,
}

/// What follows from a page.
#[derive(Debug)]
pub(super) struct Step {
    /// How many keys of the page are in the range. The others are in ranges listed beside it.
    pub(super) kept: usize,
    /// The range, unless it was listed to its end.
    pub(super) rest: Option<Range>,
    /// Another range, to be listed from its start.
    pub(super) beside: Option<Range>,
}

/// Keys were listed in another order than that of their bytes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Disorder {
    before: String,
    key: String,
}

impl fmt::Display for Disorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { before, key } = self;
        write!(
            f,
            "{key:?} came after {before:?}; out of order, a listing in parts may lack files"
        )
    }
}

impl std::error::Error for Disorder {}

/// Whether a listing is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Divided {
    Never,
    NotYet,
    Yes,
}

/// All ranges of a listing.
#[derive(Debug)]
pub(super) struct Ranges {
    divided: Divided,
    /// Ranges not listed to their end, and probes not answered.
    under_way: usize,
}

impl Ranges {
    /// Of the keys that begin with `prefix`, a folder's with its `/`, in a store that may be `ordered`. All are in
    /// one range, to start with.
    pub(super) fn below(prefix: &str, ordered: bool) -> (Self, Range) {
        let divided = if ordered { Divided::NotYet } else { Divided::Never };
        let ranges = Self {
            divided,
            under_way: 1,
        };
        let all = Range {
            after: None,
            probe: None,
            end: None,
            // '0' is the character after '/'.
            ceiling: format!("{}0", prefix.strip_suffix('/').unwrap_or(prefix)),
            earlier: None,
            pages: 0,
        };
        (ranges, all)
    }

    /// Goes on after a page of `range`.
    ///
    /// # Errors
    /// When keys are out of order and the listing was divided in trust of it.
    pub(super) fn step(&mut self, mut range: Range, page: Page<'_>) -> Result<Step, Disorder> {
        let probe = range.probe.take();
        self.under_way -= usize::from(probe.is_some());
        if let Some(disorder) = disorder(&range, probe.as_deref(), page) {
            if self.divided == Divided::Yes {
                return Err(disorder);
            }
            self.divided = Divided::Never;
        }
        range.read(page.keys);
        let beside = probe
            .filter(|_| self.divided != Divided::Never)
            .and_then(|middle| range.divide(middle, page.beyond));
        if beside.is_some() {
            self.divided = Divided::Yes;
            self.under_way += 1;
        }
        let kept = page.keys.partition_point(|key| range.may_have(key));
        let rest = (page.goes_on && kept == page.keys.len()).then(|| self.go_on(range, page.keys));
        self.under_way -= usize::from(rest.is_none());
        Ok(Step { kept, rest, beside })
    }

    /// The rest of a range, with a probe if another range may be listed.
    fn go_on(&mut self, mut range: Range, page: &[&str]) -> Range {
        let room = self.under_way < CONCURRENCY && self.divided != Divided::Never;
        if room && range.pages >= PAGES_BEFORE_PROBE {
            range.probe = range.middle(page);
            self.under_way += usize::from(range.probe.is_some());
        }
        range
    }
}

impl Range {
    fn may_have(&self, key: &str) -> bool {
        self.end.as_deref().is_none_or(|end| key <= end)
    }

    fn read(&mut self, page: &[&str]) {
        self.pages += 1;
        if let (Some(first), Some(last)) = (page.first(), page.last()) {
            self.earlier.get_or_insert_with(|| (*first).to_owned());
            self.after = Some((*last).to_owned());
        }
    }

    /// What `found`, the first key after the middle, makes a range of its own; unless pages have come that far.
    fn divide(&mut self, middle: String, found: Option<&str>) -> Option<Self> {
        let last = self.after.clone().filter(|last| *last <= middle)?;
        if !found.is_some_and(|found| self.may_have(found)) {
            self.ceiling = middle;
            return None;
        }
        self.pages = 0;
        Some(Self {
            after: Some(middle.clone()),
            probe: None,
            end: self.end.replace(middle.clone()),
            ceiling: std::mem::replace(&mut self.ceiling, middle),
            earlier: Some(last),
            pages: 0,
        })
    }

    /// A key that what is left may be divided at.
    fn middle(&mut self, page: &[&str]) -> Option<String> {
        let last = self.after.as_deref()?;
        let gap = Gap::between(last, &self.ceiling)?;
        let varies = self.earlier.as_deref().map_or(0, |earlier| shared(earlier, last));
        if varies >= gap.opens() {
            return gap.middle(varies);
        }
        // All that is left begins like the last key: how keys varied before they did tells nothing of it.
        let first = page.first()?;
        self.earlier = Some((*first).to_owned());
        gap.middle(shared(first, last))
    }
}

/// The first key that came too late, if any: of the page, or what the probe found.
fn disorder(range: &Range, probe: Option<&str>, page: Page<'_>) -> Option<Disorder> {
    let start = range.after.as_deref().zip(page.keys.first().copied());
    let inside = page.keys.windows(2).map(|keys| (keys[0], keys[1]));
    let mut pairs = start.into_iter().chain(inside).chain(probe.zip(page.beyond));
    let (before, key) = pairs.find(|(before, key)| before >= key)?;
    Some(Disorder {
        before: before.to_owned(),
        key: key.to_owned(),
    })
}
