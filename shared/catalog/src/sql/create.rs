//! Making a SQL catalog and tables in it: what demos and tests need, nothing more.

use std::path::Path;

use iceberg::TableCreation;
use iceberg::io::FileIO;
use iceberg::spec::TableMetadataBuilder;
use rusqlite::{Connection, OpenFlags};
use snowpack_domain::TableId;

use super::database::Database;
use crate::config::configuration;
use crate::metadata::write_first;
use crate::port::{CatalogError, LoadedTable};

/// Schema V1 of Java's `JdbcUtil`, which PyIceberg and Spark open as well.
const SCHEMA: &str = "
    CREATE TABLE iceberg_tables (
        catalog_name VARCHAR(255) NOT NULL,
        table_namespace VARCHAR(255) NOT NULL,
        table_name VARCHAR(255) NOT NULL,
        metadata_location VARCHAR(1000),
        previous_metadata_location VARCHAR(1000),
        iceberg_type VARCHAR(5),
        PRIMARY KEY (catalog_name, table_namespace, table_name)
    );
    CREATE TABLE iceberg_namespace_properties (
        catalog_name VARCHAR(255) NOT NULL,
        namespace VARCHAR(255) NOT NULL,
        property_key VARCHAR(255),
        property_value VARCHAR(1000),
        PRIMARY KEY (catalog_name, namespace, property_key)
    );";

/// Creates an empty SQL catalog, schema V1, in a new SQLite file.
///
/// # Errors
/// [`CatalogError::Configuration`] when the file exists or cannot be made.
pub fn create_sql_catalog(path: &Path) -> Result<(), CatalogError> {
    let fail = |reason: String| {
        configuration(format!(
            "cannot create the SQL catalog {}: {reason}",
            path.display()
        ))
    };
    if path.exists() {
        return Err(fail("the file exists".to_owned()));
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
    let connection = Connection::open_with_flags(path, flags).map_err(|error| fail(error.to_string()))?;
    connection
        .execute_batch(SCHEMA)
        .map_err(|error| fail(error.to_string()))
}

pub(super) async fn create_table(
    database: &Database,
    table: &TableId,
    creation: TableCreation,
    io: FileIO,
) -> Result<LoadedTable, CatalogError> {
    let built = TableMetadataBuilder::from_table_creation(creation).and_then(TableMetadataBuilder::build);
    let built = built
        .map_err(|error| CatalogError::Rejected(format!("cannot create {table}: {}", error.message())))?;
    let created = write_first(table.clone(), &built.metadata, io).await?;
    match database.insert(table, &created.metadata_location).await {
        Ok(()) => Ok(created),
        Err(error) => {
            // Nothing points at it; if it cannot be removed it harms nobody.
            let _ = created.io.delete(&created.metadata_location).await;
            Err(error)
        }
    }
}
