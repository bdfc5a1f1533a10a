//! Small objects outside of tables: what is handed to another engine, and what it leaves.

use aws_sdk_s3::Client;
use iceberg::Result;

use super::location::Location;
use super::{read, write};

/// Puts an object, replacing one that is there.
pub(crate) async fn put_text(client: &Client, path: &str, text: String) -> Result<()> {
    write::put(client, &Location::parse(path)?, text.into()).await
}

/// What an object says, byte sequences that are no UTF-8 replaced; `None` when there is no such object.
pub(crate) async fn get_text(client: &Client, path: &str) -> Result<Option<String>> {
    let location = Location::parse(path)?;
    if read::size(client, &location).await?.is_none() {
        return Ok(None);
    }
    let bytes = read::get(client, &location, None).await?;
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}
