//! Which client serves a table: the process's own, changed by what the table's catalog says of its storage.

use std::fmt;
use std::sync::Arc;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{Credentials, Region};
use iceberg::io::{
    CLIENT_REGION, S3_ACCESS_KEY_ID, S3_ENDPOINT, S3_PATH_STYLE_ACCESS, S3_REGION, S3_SECRET_ACCESS_KEY,
    S3_SESSION_TOKEN, StorageConfig,
};
use serde::{Deserialize, Serialize};
use tokio::sync::OnceCell;

use crate::AwsClients;

/// Makes the client on first use and keeps it. Written out it holds only the catalog's properties; read back,
/// it starts from the process's surroundings.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(super) struct ClientSettings {
    config: StorageConfig,
    #[serde(skip)]
    base: Option<Client>,
    #[serde(skip)]
    client: Arc<OnceCell<Client>>,
}

/// Properties can be credentials: they are not shown.
impl fmt::Debug for ClientSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut names: Vec<_> = self.config.props().keys().collect();
        names.sort_unstable();
        f.debug_struct("ClientSettings")
            .field("properties", &names)
            .finish_non_exhaustive()
    }
}

impl ClientSettings {
    pub(super) fn new(base: Option<Client>, config: StorageConfig) -> Self {
        Self {
            config,
            base,
            client: Arc::default(),
        }
    }

    pub(super) async fn client(&self) -> &Client {
        let make = || async {
            let base = match &self.base {
                Some(client) => client.clone(),
                None => AwsClients::load().await.s3(),
            };
            changed_by(&base, &self.config)
        };
        self.client.get_or_init(make).await
    }
}

/// `base` with the endpoint, region, addressing and credentials that the properties of Iceberg's S3 FileIO
/// name. As with the process's own endpoint, one given here is addressed path-style unless it says otherwise.
fn changed_by(base: &Client, config: &StorageConfig) -> Client {
    let property = |name: &str| config.get(name).filter(|value| !value.is_empty()).cloned();
    let mut builder = base.config().to_builder();
    if let Some(endpoint) = property(S3_ENDPOINT) {
        builder = builder.endpoint_url(endpoint).force_path_style(true);
    }
    if let Some(path_style) = property(S3_PATH_STYLE_ACCESS) {
        builder = builder.force_path_style(path_style.eq_ignore_ascii_case("true"));
    }
    if let Some(region) = property(CLIENT_REGION).or_else(|| property(S3_REGION)) {
        builder = builder.region(Region::new(region));
    }
    if let (Some(id), Some(secret)) = (property(S3_ACCESS_KEY_ID), property(S3_SECRET_ACCESS_KEY)) {
        let token = property(S3_SESSION_TOKEN);
        builder = builder.credentials_provider(Credentials::new(id, secret, token, None, "catalog"));
    }
    Client::from_conf(builder.build())
}
