//! A wire between client and server that can be cut after a commit went through, before its answer comes back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What the statement of a commit starts with.
const COMMIT: &[u8] = b"UPDATE iceberg_tables";

pub(crate) struct Proxy {
    pub(crate) port: u16,
    /// Cut the next connection that commits.
    pub(crate) cut: Arc<AtomicBool>,
}

impl Proxy {
    pub(crate) async fn start(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let cut = Arc::new(AtomicBool::new(false));
        let armed = Arc::clone(&cut);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&server).await.unwrap();
                tokio::spawn(pass(client, server, Arc::clone(&armed)));
            }
        });
        Self { port, cut }
    }
}

async fn pass(mut client: TcpStream, mut server: TcpStream, armed: Arc<AtomicBool>) {
    let (mut asked, mut answered) = (vec![0; 65_536], vec![0; 65_536]);
    let mut committing = false;
    loop {
        tokio::select! {
            read = client.read(&mut asked) => {
                let Ok(length @ 1..) = read else { return };
                committing |= asked[..length].windows(COMMIT.len()).any(|words| words == COMMIT);
                if server.write_all(&asked[..length]).await.is_err() { return }
            }
            read = server.read(&mut answered) => {
                let Ok(length @ 1..) = read else { return };
                // The server answers a statement outside a transaction once it is committed.
                if committing && armed.swap(false, Ordering::SeqCst) { return }
                if client.write_all(&answered[..length]).await.is_err() { return }
            }
        }
    }
}
