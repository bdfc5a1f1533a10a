//! The REST adapter against a server that takes signed requests only, as Glue's and S3 Tables' endpoints do.

use serde_json::json;
use snowpack_catalog::{Catalog, CatalogError, CommitError};

use crate::rest::{Rest, rest};
use crate::rest_server::Answer;
use crate::suite::{Harness, append};

const SIGNED: [(&str, &str); 5] = [
    ("rest.sigv4-enabled", "true"),
    ("rest.signing-name", "glue"),
    ("rest.signing-region", "eu-west-1"),
    ("rest.access-key-id", "AKID"),
    ("rest.secret-access-key", "hush"),
];

async fn signed() -> Rest {
    let rest = rest().await;
    {
        let mut server = rest.server.lock().unwrap();
        server.signed_for = Some(("glue", "eu-west-1"));
        // What S3 Tables answers: the table bucket's ARN, encoded.
        let prefix = "arn%3Aaws%3As3tables%3Aeu-west-1%3A1%3Abucket%2Fb";
        server.config = json!({"overrides": {"prefix": prefix}});
    }
    rest
}

#[tokio::test]
async fn reads_commits_and_lists_are_signed() {
    let rest = signed().await;
    let catalog = rest.open(&SIGNED).await;
    let base = catalog.load(&rest.table()).await.unwrap();
    catalog.commit(&base, append(&base).1).await.unwrap();
    // Namespaces of AWS have one level.
    assert_eq!(catalog.databases().await.unwrap(), ["db", "flat"]);
    assert_eq!(catalog.tables("db.nested").await.unwrap()[0].table, rest.table());
    assert!(!format!("{catalog:?}").contains("hush"));
}

#[tokio::test]
async fn what_glue_throttles_was_not_done_and_is_worth_another_try() {
    let rest = signed().await;
    let catalog = rest.open(&SIGNED).await;
    let base = catalog.load(&rest.table()).await.unwrap();
    rest.answer(Answer::Throttled);
    let error = catalog.commit(&base, append(&base).1).await.unwrap_err();
    assert!(
        matches!(error, CommitError::Failed(CatalogError::Unavailable(_))),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_token_moves_aside_for_the_signature() {
    let rest = signed().await;
    let properties: Vec<_> = SIGNED.into_iter().chain([("token", "sesame")]).collect();
    rest.open(&properties).await.load(&rest.table()).await.unwrap();
    let moved = rest.server.lock().unwrap().headers["original-authorization"].clone();
    assert_eq!(moved, "Bearer sesame");
}

#[tokio::test]
async fn a_signature_of_other_keys_or_for_another_service_is_denied() {
    let rest = signed().await;
    for (name, value) in [
        ("rest.secret-access-key", "wrong"),
        ("rest.signing-name", "s3tables"),
        ("rest.sigv4-enabled", "false"),
    ] {
        let properties = SIGNED.into_iter().filter(|(given, _)| *given != name);
        let properties: Vec<_> = properties.chain([(name, value)]).collect();
        let catalog = rest.open(&properties).await;
        let error = catalog.load(&rest.table()).await.unwrap_err();
        assert!(
            matches!(error, CatalogError::AccessDenied(_)),
            "{name}: {error:?}"
        );
    }
}
