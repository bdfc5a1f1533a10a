//! The DynamoDB store keeps the contract of job stores.

use snowpack_aws::{DynamoStore, table_definition};
use snowpack_testkit::{job_store_contract, reports_contract};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_store_keeps_its_contract() {
    let client = aws_sdk_dynamodb::Client::new(&crate::emulator().await);
    let fresh = async || {
        let name = crate::unique("state");
        table_definition(&name).send_with(&client).await.unwrap();
        DynamoStore::new(client.clone(), name)
    };
    job_store_contract(fresh).await;
    reports_contract(fresh).await;
}
