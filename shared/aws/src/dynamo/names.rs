//! Tables by name: walks the index that lists cache entries and held locks.

use snowpack_domain::TableId;
use snowpack_service::ports::{ListError, Page, PageRequest, StoreError};
use snowpack_wire::stored::Cursor;

use super::keys::{self, Item, text};
use super::schema::BY_NAME;
use super::{DynamoStore, items};
use crate::service_error::store_error;

/// Sorts before every name.
const BEFORE_NAMES: &str = "!";
/// Sorts after every name.
const AFTER_NAMES: &str = "~";

/// A page of index entries of a partition, of one database if given.
pub(super) async fn page(
    store: &DynamoStore,
    partition: &str,
    database: Option<&str>,
    page: &PageRequest,
) -> Result<Page<Item>, ListError> {
    let after = match &page.cursor {
        Some(text) => Some(Cursor::decode_table(text).ok_or(ListError::BadCursor)?),
        None => None,
    };
    let mut found = entries(store, partition, database, after.as_ref(), page.limit + 1).await?;
    let more = found.len() > page.limit;
    found.truncate(page.limit);
    let next = match found.last().filter(|_| more) {
        Some(last) => Some(Cursor::Table(table_of(last)?).encode()),
        None => None,
    };
    Ok(Page { items: found, next })
}

/// The table an index entry is about.
pub(super) fn table_of(entry: &Item) -> Result<TableId, StoreError> {
    keys::parse_name_key(items::text_of(entry, BY_NAME.range)?)
}

/// Index entries of a partition by name, at most `limit`, of one database if given, behind `after`.
pub(super) async fn entries(
    store: &DynamoStore,
    partition: &str,
    database: Option<&str>,
    after: Option<&TableId>,
    limit: usize,
) -> Result<Vec<Item>, StoreError> {
    let (low, high) = bounds(database, after);
    if low > high {
        return Ok(Vec::new());
    }
    let (mut found, mut resume) = (Vec::new(), None);
    loop {
        let answer = store
            .client
            .query()
            .table_name(&store.table_name)
            .index_name(BY_NAME.name)
            .key_condition_expression("#hash = :hash AND #range BETWEEN :low AND :high")
            .expression_attribute_names("#hash", BY_NAME.hash)
            .expression_attribute_names("#range", BY_NAME.range)
            .expression_attribute_values(":hash", text(partition))
            .expression_attribute_values(":low", text(&low))
            .expression_attribute_values(":high", text(&high))
            .set_exclusive_start_key(resume)
            .limit(i32::try_from(limit - found.len()).unwrap_or(i32::MAX))
            .send()
            .await
            .map_err(|error| store_error("Query", &error))?;
        found.extend(answer.items.unwrap_or_default());
        match answer.last_evaluated_key.filter(|key| !key.is_empty()) {
            Some(next) if found.len() < limit => resume = Some(next),
            _ => return Ok(found),
        }
    }
}

/// The least and greatest key wanted. A space sorts before every character a name may continue with, and `$`
/// right behind the `#` between database and table.
fn bounds(database: Option<&str>, after: Option<&TableId>) -> (String, String) {
    let (first, high) = match database {
        Some(database) => (format!("{database}#"), format!("{database}$")),
        None => (BEFORE_NAMES.to_owned(), AFTER_NAMES.to_owned()),
    };
    let low = match after {
        Some(table) => first.max(format!("{} ", keys::name_key(table))),
        None => first,
    };
    (low, high)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_hold_one_database_and_nothing_else() {
        let within = |name: &str, (low, high): &(String, String)| {
            let key = keys::name_key(&TableId::parse(name).unwrap());
            low <= &key && &key <= high
        };
        let all_of_a = bounds(Some("a"), None);
        assert!(within("a.t", &all_of_a) && within("a.zz-9", &all_of_a));
        assert!(
            ["a-b.t", "a.b.t", "a0.t", "A.t"]
                .iter()
                .all(|name| !within(name, &all_of_a))
        );
        let rest = bounds(Some("a"), Some(&TableId::parse("a.t").unwrap()));
        assert!(!within("a.t", &rest) && within("a.t-1", &rest) && within("a.t0", &rest));
        let other = bounds(Some("a"), Some(&TableId::parse("b.t").unwrap()));
        assert!(other.0 > other.1, "a cursor past the database leaves nothing");
        assert!(within("_.t", &bounds(None, None)) && within("zz.t", &bounds(None, None)));
    }
}
