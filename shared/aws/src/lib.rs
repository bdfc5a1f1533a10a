//! Snowpack on AWS: the job store over DynamoDB, the queue over SQS, table files in S3, runs of Spark on EMR Serverless.

mod clients;
mod dynamo;
mod emr;
mod s3;
mod service_error;
mod sqs;

pub use clients::AwsClients;
pub use dynamo::{DynamoStore, table_definition};
pub use emr::{EmrServerless, SparkApplication};
pub use s3::S3StorageFactory;
pub use sqs::{SqsDeadLetters, SqsQueue};
