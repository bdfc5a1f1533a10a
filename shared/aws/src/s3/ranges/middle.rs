//! A key that has about as many keys before it as after it, of those between two keys.

use std::ops::Range;

/// The printable characters of ASCII, which keys are mostly made of.
const ASCII: Range<u32> = 0x20..0x7f;

/// Nearly all others that names are written in: up to where UTF-16 has its surrogates.
const OTHERS: Range<u32> = 0xa0..0xd800;

/// How many characters two keys have in common at their start.
pub(super) fn shared(a: &str, b: &str) -> usize {
    a.chars().zip(b.chars()).take_while(|(a, b)| a == b).count()
}

/// What lies between two keys. Places count characters: UTF-8 sorts like the characters it encodes.
pub(super) struct Gap {
    low: Vec<char>,
    /// Where the two keys part, and the character that the higher one has there.
    parts: usize,
    high: char,
    opens: usize,
}

impl Gap {
    /// `None` where they leave no room for a key of usual characters.
    pub(super) fn between(low: &str, high: &str) -> Option<Self> {
        let parts = shared(low, high);
        let mut gap = Self {
            low: low.chars().collect(),
            parts,
            high: high.chars().nth(parts).filter(|_| low < high)?,
            opens: parts,
        };
        gap.opens = gap.place_from(parts)?;
        Some(gap)
    }

    /// The first place where a key between the two can differ from the lower one: up to there all are like it.
    pub(super) fn opens(&self) -> usize {
        self.opens
    }

    /// A key strictly between the two: the start of the lower one, and a character more.
    ///
    /// Below a folder lies everything, and what there is may share a long name. Halving characters from the first
    /// on takes some probes for each of that name's. Instead the key differs from the lower one halfway to where
    /// keys are known to vary, `varies` characters from their start: if nothing comes after it, all keys share
    /// that much, and if something does, it can be listed beside.
    pub(super) fn middle(&self, varies: usize) -> Option<String> {
        let halfway = self.opens + varies.saturating_sub(self.opens).div_ceil(2);
        let place = self.place_from(halfway)?;
        let start = self.low[..place].iter().copied();
        Some(start.chain(self.character(place)).collect())
    }

    fn place_from(&self, place: usize) -> Option<usize> {
        (place..=self.low.len()).find(|place| self.character(*place).is_some())
    }

    /// The character halfway between what the two keys have at a place, of the kind that the lower one has.
    fn character(&self, place: usize) -> Option<char> {
        let low = self.low.get(place).map_or(0, |low| u32::from(*low));
        let kind = if low < OTHERS.start { ASCII } else { OTHERS };
        let first = kind.start.max(low + 1);
        let end = if place == self.parts {
            kind.end.min(self.high.into())
        } else {
            kind.end
        };
        (first < end)
            .then(|| first.midpoint(end))
            .and_then(char::from_u32)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn middle(low: &str, high: &str, varies: usize) -> Option<String> {
        Gap::between(low, high)?.middle(varies)
    }

    #[test]
    fn the_middle_halves_characters_where_keys_vary() {
        let cases = [
            ("t/data/3", "t/data/9", 7, Some("t/data/6")),
            // Nothing but names that begin with "t/data/000" were seen: is there anything else?
            ("t/data/000-3f", "t0", 10, Some("t/dataW")),
            ("t/data/000-3f", "t/dataW", 10, Some("t/data/0X")),
            ("t/data/000-3f", "t/data/0X", 10, Some("t/data/00X")),
            ("t/data/000-3f", "t/data/000-~", 10, Some("t/data/000-Y")),
            // No character is between those where the keys part.
            ("t/data/3", "t/data/4", 7, Some("t/data/3O")),
            ("t/a~", "t/b", 0, Some("t/a~O")),
            ("t/a", "t/a!", 0, Some("t/a ")),
            ("t/a", "t/a ", 0, None),
            ("t/京", "t0", 2, Some("t/鍖")),
            ("t/b", "t/a", 0, None),
            ("t/a", "t/a", 0, None),
        ];
        for (low, high, varies, expected) in cases {
            let found = middle(low, high, varies);
            assert_eq!(found.as_deref(), expected, "{low} {high} {varies}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Strictly between, and to be found below the folder.
        #[test]
        fn the_middle_lies_between(
            low in "[ -~]{0,3}.{0,3}",
            high in prop::option::of("[ -~]{0,3}.{0,3}"),
            varies in 0usize..12,
        ) {
            let low = format!("t/{low}");
            let high = high.map_or_else(|| "t0".to_owned(), |high| format!("t/{high}"));
            let varies = varies.min(low.chars().count());
            let found = middle(&low, &high, varies);
            if let Some(found) = &found {
                prop_assert!(low < *found && *found < high, "{low:?} {found:?} {high:?}");
                prop_assert!(found.starts_with("t/"), "{found:?}");
            }
            prop_assert!(found.is_some() || high != "t0", "{low:?}");
        }
    }
}
