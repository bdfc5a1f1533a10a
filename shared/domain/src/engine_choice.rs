//! Which engine does an action: the native one, or Spark, where the deployment or the table allows that.

use std::fmt;
use std::str::FromStr;

use crate::options::{OptionError, Properties};
use crate::{Action, Duration};

/// Hours that the native engine may take, in all its slices, before `auto` hands a rewrite over.
const DEFAULT_MAX_NATIVE_HOURS: u32 = 4;

/// Who is to do the actions of a table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EngineChoice {
    /// The native engine, always.
    #[default]
    Native,
    /// Spark rewrites; what rewrites no rows stays native.
    Spark,
    /// The native engine, but Spark where that would take too long or refuses the table.
    Auto,
}

/// The text is none of the choices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownEngine;

impl EngineChoice {
    /// Every choice.
    pub const ALL: [Self; 3] = [Self::Native, Self::Spark, Self::Auto];

    /// The name used in settings and properties.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Spark => "spark",
            Self::Auto => "auto",
        }
    }
}

impl fmt::Display for EngineChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for EngineChoice {
    type Err = UnknownEngine;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let found = Self::ALL.into_iter().find(|choice| choice.as_str() == text);
        found.ok_or(UnknownEngine)
    }
}

/// When actions of a table are handed to Spark.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HandOver {
    /// Who is to do them.
    pub choice: EngineChoice,
    /// With [`EngineChoice::Auto`], what is estimated to take the native engine longer goes to Spark.
    pub max_native: Duration,
}

impl HandOver {
    /// The table's `snowpack.engine` and `snowpack.max_native_hours`, else the deployment's, else native and 4.
    ///
    /// # Errors
    /// [`OptionError`] when a property cannot be read.
    pub fn resolve(properties: Properties<'_>) -> Result<Self, OptionError> {
        let choice = properties.snowpack("engine").map_err(|error| OptionError {
            reason: format!("{}: use native, spark or auto", error.reason),
            ..error
        })?;
        let hours = properties.snowpack("max_native_hours")?;
        Ok(Self {
            choice: choice.unwrap_or_default(),
            max_native: hours_of(hours.unwrap_or(DEFAULT_MAX_NATIVE_HOURS)),
        })
    }
}

fn hours_of(hours: u32) -> Duration {
    Duration::from_seconds(i64::from(hours) * 3600)
}

/// What is known of an action on a table before it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineCase {
    /// The action.
    pub action: Action,
    /// Why the native engine refuses the table, if it does.
    pub refusal: Option<String>,
    /// What the action is estimated to take natively; absent where nobody can tell.
    pub native: Option<Duration>,
    /// What is asked for that only the native engine does, for example `verify content`.
    pub native_only: Option<String>,
    /// Whether this process can start Spark.
    pub has_spark: bool,
}

/// Who does an action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EngineDecision {
    /// The native engine, which may still refuse.
    Native,
    /// Spark.
    Spark {
        /// Why, for the log.
        why: String,
    },
    /// Nobody.
    Refuse {
        /// Why, and what to do.
        why: String,
    },
}

/// Decides who does an action. Orphans are never Spark's: what may be deleted is for the native guards to say.
pub fn choose_engine(settings: HandOver, case: &EngineCase) -> EngineDecision {
    let Some(why) = reason_to_hand_over(settings, case) else {
        return EngineDecision::Native;
    };
    let must = settings.choice == EngineChoice::Spark;
    let refused = case.refusal.is_some();
    match &case.native_only {
        Some(wish) if must || refused => {
            return EngineDecision::Refuse {
                why: format!(
                    "{} would go to Spark ({why}), which does not do {wish}: leave one of them out",
                    case.action
                ),
            };
        }
        Some(_) => return EngineDecision::Native,
        None => {}
    }
    if case.has_spark {
        EngineDecision::Spark { why }
    } else if must {
        EngineDecision::Refuse {
            why: format!(
                "{} is to be done by Spark ({why}), and there is none here: set snowpack.engine to native or auto, \
                 or use a deployment with SNOWPACK_SPARK_APPLICATION_ID",
                case.action
            ),
        }
    } else {
        // Its own words say why it refuses.
        EngineDecision::Native
    }
}

fn reason_to_hand_over(settings: HandOver, case: &EngineCase) -> Option<String> {
    if case.action == Action::RemoveOrphanFiles || settings.choice == EngineChoice::Native {
        return None;
    }
    if let Some(refusal) = &case.refusal {
        return Some(format!("the native engine refuses: {refusal}"));
    }
    if !rewrites_rows(case.action) {
        return None;
    }
    if settings.choice == EngineChoice::Spark {
        return Some("the engine is set to spark".to_owned());
    }
    let native = case.native.filter(|native| *native > settings.max_native)?;
    let hours = |duration: Duration| duration.as_micros() as f64 / 3.6e9;
    Some(format!(
        "it is estimated to take the native engine {:.1} hours, and {:.1} are allowed",
        hours(native),
        hours(settings.max_native)
    ))
}

/// What reads and writes rows takes time by the byte; the rest works on metadata.
const fn rewrites_rows(action: Action) -> bool {
    matches!(
        action,
        Action::RewriteDataFiles | Action::RewritePositionDeleteFiles
    )
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn settings(choice: EngineChoice) -> HandOver {
        HandOver {
            choice,
            max_native: hours_of(4),
        }
    }

    fn case(action: Action) -> EngineCase {
        EngineCase {
            action,
            refusal: None,
            native: Some(hours_of(1)),
            native_only: None,
            has_spark: true,
        }
    }

    fn goes_to_spark(choice: EngineChoice, case: &EngineCase) -> bool {
        matches!(
            choose_engine(settings(choice), case),
            EngineDecision::Spark { .. }
        )
    }

    fn refusal(choice: EngineChoice, case: &EngineCase) -> String {
        match choose_engine(settings(choice), case) {
            EngineDecision::Refuse { why } => why,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn native_never_hands_over() {
        for action in Action::ALL {
            let worst = EngineCase {
                refusal: Some("ORC".into()),
                native: Some(hours_of(99)),
                ..case(action)
            };
            let decision = choose_engine(settings(EngineChoice::Native), &worst);
            assert_eq!(decision, EngineDecision::Native);
        }
    }

    #[test]
    fn spark_rewrites_and_leaves_metadata_to_the_native_engine() {
        let by_spark: Vec<_> = Action::ALL
            .into_iter()
            .filter(|action| goes_to_spark(EngineChoice::Spark, &case(*action)))
            .collect();
        assert_eq!(
            by_spark,
            [Action::RewriteDataFiles, Action::RewritePositionDeleteFiles]
        );
    }

    #[test]
    fn auto_hands_over_what_takes_too_long_or_is_refused() {
        let rewrite = case(Action::RewriteDataFiles);
        assert!(!goes_to_spark(EngineChoice::Auto, &rewrite));
        let long = EngineCase {
            native: Some(Duration::from_seconds(4 * 3600 + 1)),
            ..rewrite.clone()
        };
        assert!(goes_to_spark(EngineChoice::Auto, &long));
        let unknown = EngineCase {
            native: None,
            ..rewrite
        };
        assert!(
            !goes_to_spark(EngineChoice::Auto, &unknown),
            "no estimate is no reason"
        );
        for action in Action::ALL {
            let refused = EngineCase {
                refusal: Some("it is encrypted".into()),
                ..case(action)
            };
            let expected = action != Action::RemoveOrphanFiles;
            assert_eq!(goes_to_spark(EngineChoice::Auto, &refused), expected, "{action}");
            assert_eq!(goes_to_spark(EngineChoice::Spark, &refused), expected, "{action}");
        }
    }

    #[test]
    fn without_spark_only_spark_is_refused() {
        let nowhere = EngineCase {
            has_spark: false,
            ..case(Action::RewriteDataFiles)
        };
        let why = refusal(EngineChoice::Spark, &nowhere);
        assert!(
            why.contains("SNOWPACK_SPARK_APPLICATION_ID") && why.contains("snowpack.engine"),
            "{why}"
        );
        let refused = EngineCase {
            refusal: Some("ORC".into()),
            ..nowhere
        };
        assert_eq!(
            choose_engine(settings(EngineChoice::Auto), &refused),
            EngineDecision::Native
        );
    }

    #[test]
    fn what_only_the_native_engine_does_is_not_dropped_in_silence() {
        let verified = EngineCase {
            native_only: Some("verify content".into()),
            native: Some(hours_of(9)),
            ..case(Action::RewriteDataFiles)
        };
        assert_eq!(
            choose_engine(settings(EngineChoice::Auto), &verified),
            EngineDecision::Native
        );
        assert!(refusal(EngineChoice::Spark, &verified).contains("verify content"));
        let refused = EngineCase {
            refusal: Some("ORC".into()),
            ..verified
        };
        assert!(refusal(EngineChoice::Auto, &refused).contains("verify content"));
    }

    #[test]
    fn the_table_wins_over_the_deployment_and_nonsense_is_named() {
        let resolve = |table: &[(&str, &str)], deployment: &[(&str, &str)]| {
            let map = |pairs: &[(&str, &str)]| -> HashMap<String, String> {
                let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
                pairs.iter().map(owned).collect()
            };
            HandOver::resolve(Properties {
                table: &map(table),
                deployment: &map(deployment),
            })
        };
        assert_eq!(resolve(&[], &[]).unwrap(), settings(EngineChoice::Native));
        let deployed = [("engine", "auto"), ("max_native_hours", "12")];
        let auto = resolve(&[], &deployed).unwrap();
        assert_eq!((auto.choice, auto.max_native), (EngineChoice::Auto, hours_of(12)));
        let table = resolve(&[("snowpack.engine", "spark")], &deployed).unwrap();
        assert_eq!(table.choice, EngineChoice::Spark);
        let wrong = resolve(&[("snowpack.engine", "flink")], &[]).unwrap_err();
        assert_eq!(wrong.option, "snowpack.engine");
        assert!(
            wrong.reason.contains("flink") && wrong.reason.contains("auto"),
            "{wrong}"
        );
    }
}
