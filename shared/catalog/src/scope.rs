//! Which databases of a catalog a deployment knows of.

use wildmatch::WildMatch;

/// A selection of databases by name. What is outside of it is unknown to the deployment: neither listed nor found.
///
/// On AWS it says the same as the permissions of the functions, so that no list fails for what they may not see.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DatabaseScope {
    /// Empty: every database.
    patterns: Vec<String>,
}

impl DatabaseScope {
    /// The databases whose names match one of the patterns; all of them if there is no pattern. `*` stands for any
    /// characters, `?` for one, as in IAM.
    pub fn new<'a>(patterns: impl IntoIterator<Item = &'a str>) -> Self {
        Self {
            patterns: patterns.into_iter().map(str::to_owned).collect(),
        }
    }

    /// Whether the database is one of them.
    pub fn includes(&self, database: &str) -> bool {
        let matches = |pattern: &String| WildMatch::new(pattern).matches(database);
        self.patterns.is_empty() || self.patterns.iter().any(matches)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_patterns_select() {
        let scope = DatabaseScope::new(["sales", "eu_*", "d?"]);
        for inside in ["sales", "eu_", "eu_orders", "d1"] {
            assert!(scope.includes(inside), "{inside}");
        }
        for outside in ["Sales", "sales2", "eu", "d", "d12", ""] {
            assert!(!scope.includes(outside), "{outside}");
        }
    }

    #[test]
    fn without_patterns_all_are_inside() {
        assert!(DatabaseScope::default().includes("anything"));
        assert!(DatabaseScope::new([]).includes(""));
    }
}
