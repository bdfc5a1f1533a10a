//! The arithmetic of file sizes: which are wrong, and how many files some bytes should become
//! (Java's `SizeBasedFileRewritePlanner` of Iceberg 1.10).

use snowpack_domain::FileSizes;

/// The sizes a file may have to be left alone, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Band {
    min: u64,
    max: u64,
}

impl Band {
    /// `min-file-size-bytes` to `max-file-size-bytes`.
    pub(crate) fn wanted(sizes: FileSizes) -> Self {
        Self {
            min: sizes.min_bytes,
            max: sizes.max_bytes,
        }
    }

    /// What files of our own rewrite with the same target may end up as: planned between 0.55 and 1.1 times
    /// the target unless alone, they come out up to 30 % smaller or larger. Rewriting them again would give
    /// the same sizes again.
    pub(crate) fn of_own_output(sizes: FileSizes) -> Self {
        let target = sizes.target_bytes;
        Self {
            min: sizes.min_bytes.min(target / 3),
            max: sizes.max_bytes.max(target.saturating_add(target / 2)),
        }
    }

    pub(crate) fn contains(self, bytes: u64) -> bool {
        (self.min..=self.max).contains(&bytes)
    }
}

/// Files that `bytes` should become: the remainder gets a file of its own when it is large enough for one,
/// or when spreading it would make the others more than a tenth larger than the target.
pub(crate) fn expected_output_files(bytes: u64, sizes: FileSizes) -> usize {
    let target = sizes.target_bytes;
    if bytes < target {
        return 1;
    }
    let without_remainder = bytes / target;
    let with_remainder = bytes.div_ceil(target);
    let spread = (bytes / without_remainder) as f64;
    let limit = (1.1 * target as f64).min(write_max_file_bytes(sizes) as f64);
    let keeps_remainder = bytes % target > sizes.min_bytes || spread >= limit;
    let files = if keeps_remainder {
        with_remainder
    } else {
        without_remainder
    };
    usize::try_from(files).unwrap_or(usize::MAX)
}

/// Where an output file must end: halfway between the target and the largest size left alone.
pub(crate) fn write_max_file_bytes(sizes: FileSizes) -> u64 {
    let target = sizes.target_bytes;
    target + sizes.max_bytes.saturating_sub(target) / 2
}

/// Cuts weighted items into runs of at most `limit`; an item above it gets a run of its own
/// (`BinPacking.ListPacker` with a look-back of 1).
pub(crate) fn pack<T>(items: Vec<T>, limit: u64, weight: impl Fn(&T) -> u64) -> Vec<Vec<T>> {
    let mut runs: Vec<Vec<T>> = Vec::new();
    let mut filled = 0_u64;
    for item in items {
        let total = filled.saturating_add(weight(&item));
        match runs.last_mut() {
            Some(run) if total <= limit => {
                filled = total;
                run.push(item);
            }
            _ => {
                filled = weight(&item);
                runs.push(vec![item]);
            }
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixture::settings;

    #[test]
    fn output_counts_follow_java() {
        let sizes = settings(100).sizes();
        let counts = [
            (0, 1),
            (99, 1),
            (100, 1),
            (109, 1),
            (111, 2),
            (117, 2),
            (175, 2),
            (176, 2),
            (210, 2),
            (220, 2),
            (230, 3),
            (500, 5),
            (549, 5),
            (560, 6),
            (1_050, 10),
        ];
        for (bytes, files) in counts {
            assert_eq!(expected_output_files(bytes, sizes), files, "{bytes}");
        }
        assert_eq!(write_max_file_bytes(sizes), 140);
    }

    #[test]
    fn packing_cuts_in_order_and_lets_large_items_through() {
        let runs = pack(vec![40, 50, 20, 300, 10, 90, 1], 100, |size| *size);
        assert_eq!(runs, [vec![40, 50], vec![20], vec![300], vec![10, 90], vec![1]]);
        assert!(pack(Vec::<u64>::new(), 100, |size| *size).is_empty());
    }
}
