//! The table's definition: its keys and indexes. `infra/template.yaml` defines the same table.

use aws_sdk_dynamodb::operation::create_table::CreateTableInput;
use aws_sdk_dynamodb::operation::create_table::builders::CreateTableInputBuilder;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, GlobalSecondaryIndex, KeySchemaElement, KeyType, Projection,
    ProjectionType, ScalarAttributeType,
};

/// A global secondary index: its name and keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Index {
    pub(super) name: &'static str,
    pub(super) hash: &'static str,
    pub(super) range: &'static str,
    /// Whether it carries the members that lists filter by.
    filtered: bool,
}

/// Members that lists filter by, carried by the indexes of lists.
pub(super) const FILTERED_MEMBERS: [&str; 3] = ["status", "database", "table_name"];

/// All jobs by the day of their submission.
pub(super) const BY_SUBMISSION: Index = list_index("by-submission", "submitted_day", "submitted_key");
/// Jobs of one table by submission.
pub(super) const BY_TABLE: Index = list_index("by-table", "table_key", "submitted_key");
/// Terminal jobs by the day of their completion.
pub(super) const BY_COMPLETION: Index = list_index("by-completion", "finished_day", "completed_key");
/// Terminal jobs of one table by completion.
pub(super) const BY_TABLE_COMPLETION: Index =
    list_index("by-table-completion", "finished_table", "completed_key");
/// Active jobs by status and submission.
pub(super) const ACTIVE: Index = list_index("active", "active_status", "submitted_key");
/// Active jobs by when their message is due.
pub(super) const DUE: Index = key_index("due", "due", "due_key");
/// Cache entries, and locks that are held, by the name of their table.
pub(super) const BY_NAME: Index = key_index("by-name", "name_list", "name_key");

const INDEXES: [Index; 7] = [
    BY_SUBMISSION,
    BY_TABLE,
    BY_COMPLETION,
    BY_TABLE_COMPLETION,
    ACTIVE,
    DUE,
    BY_NAME,
];

const fn list_index(name: &'static str, hash: &'static str, range: &'static str) -> Index {
    Index {
        name,
        hash,
        range,
        filtered: true,
    }
}

const fn key_index(name: &'static str, hash: &'static str, range: &'static str) -> Index {
    Index {
        name,
        hash,
        range,
        filtered: false,
    }
}

/// The request that creates the table; `send_with(client)` sends it.
///
/// On demand; keys `pk` and `sk`, text like every key attribute of the indexes:
///
/// | index | hash key | range key | carries |
/// |---|---|---|---|
/// | `by-submission` | `submitted_day` | `submitted_key` | `status`, `database`, `table_name` |
/// | `by-table` | `table_key` | `submitted_key` | the same |
/// | `by-completion` | `finished_day` | `completed_key` | the same |
/// | `by-table-completion` | `finished_table` | `completed_key` | the same |
/// | `active` | `active_status` | `submitted_key` | the same |
/// | `due` | `due` | `due_key` | keys only |
/// | `by-name` | `name_list` | `name_key` | keys only |
///
/// An item is in an index only if it has that index's keys: terminal jobs are not in `active` and `due`,
/// active ones not in the two of completion, free locks not in `by-name`. A deployed table also has time to live on
/// `expires_at`, in seconds since the epoch: idempotency records, health reports and runs carry it.
pub fn table_definition(table_name: &str) -> CreateTableInputBuilder {
    let mut definition = CreateTableInput::builder()
        .table_name(table_name)
        .billing_mode(BillingMode::PayPerRequest)
        .set_key_schema(Some(key_schema("pk", "sk")));
    let mut attributes = vec!["pk", "sk"];
    for index in INDEXES {
        attributes.extend([index.hash, index.range]);
        definition = definition.global_secondary_indexes(
            GlobalSecondaryIndex::builder()
                .index_name(index.name)
                .set_key_schema(Some(key_schema(index.hash, index.range)))
                .projection(projection(index))
                .build()
                .expect("name, keys and projection are set"),
        );
    }
    attributes.sort_unstable();
    attributes.dedup();
    let define = |name: &str| {
        AttributeDefinition::builder()
            .attribute_name(name)
            .attribute_type(ScalarAttributeType::S)
            .build()
            .expect("name and type are set")
    };
    definition.set_attribute_definitions(Some(attributes.into_iter().map(define).collect()))
}

fn key_schema(hash: &str, range: &str) -> Vec<KeySchemaElement> {
    [(hash, KeyType::Hash), (range, KeyType::Range)]
        .into_iter()
        .map(|(name, kind)| {
            KeySchemaElement::builder()
                .attribute_name(name)
                .key_type(kind)
                .build()
                .expect("name and kind are set")
        })
        .collect()
}

fn projection(index: Index) -> Projection {
    if index.filtered {
        Projection::builder()
            .projection_type(ProjectionType::Include)
            .set_non_key_attributes(Some(FILTERED_MEMBERS.map(str::to_owned).to_vec()))
            .build()
    } else {
        Projection::builder()
            .projection_type(ProjectionType::KeysOnly)
            .build()
    }
}
