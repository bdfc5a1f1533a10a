//! Cuts a group's rows into the planned number of files of about the same input size.

/// Follows how much of a group was read, and says where the next file begins.
///
/// Every input row weighs its file's bytes over its rows. The rows that carry the reading past `i / files` of
/// the group's bytes begin file `i`, so there are exactly `files` files unless one would have no rows.
#[derive(Debug)]
pub(crate) struct Splitter {
    total: f64,
    files: usize,
    read: f64,
    /// Files begun.
    begun: usize,
}

impl Splitter {
    /// `total` is the weight of all rows.
    pub(crate) fn new(total: u64, files: usize) -> Self {
        Self {
            total: total as f64,
            files: files.max(1),
            read: 0.0,
            begun: 1,
        }
    }

    /// The rows, among `rows` that are left of a stretch of input of this weight, at which new files begin, in
    /// order; each is between 0 and `rows`.
    pub(crate) fn cuts(&mut self, weight: f64, rows: usize) -> Vec<usize> {
        let start = self.read;
        self.read += weight;
        let mut cuts = Vec::new();
        while self.begun < self.files {
            let boundary = self.total * self.begun as f64 / self.files as f64;
            if self.read <= boundary {
                break;
            }
            let share = if weight > 0.0 {
                ((boundary - start) / weight).clamp(0.0, 1.0)
            } else {
                0.0
            };
            cuts.push((share * rows as f64) as usize);
            self.begun += 1;
        }
        cuts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_cut_where_the_weight_passes_each_share() {
        let mut splitter = Splitter::new(100, 4);
        assert_eq!(splitter.cuts(20.0, 20), Vec::<usize>::new());
        assert_eq!(splitter.cuts(60.0, 60), vec![5, 30, 55]);
        assert_eq!(splitter.cuts(20.0, 20), Vec::<usize>::new());
    }

    #[test]
    fn one_file_is_never_cut_and_nothing_is_cut_of_nothing() {
        assert!(Splitter::new(10, 1).cuts(10.0, 10).is_empty());
        assert!(Splitter::new(0, 3).cuts(0.0, 10).is_empty());
    }

    #[test]
    fn deleted_rows_count_as_read() {
        let mut splitter = Splitter::new(100, 2);
        assert_eq!(splitter.cuts(80.0, 0), vec![0]);
        assert!(splitter.cuts(20.0, 20).is_empty());
    }
}
