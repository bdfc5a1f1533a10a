//! A wire between client and server that remembers what was asked, and that can be cut after a statement went
//! through, before its answer comes back.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

#[derive(Clone, Default)]
pub(crate) struct Wire {
    /// Cut the next connection that asks for this, when the server answers.
    pub(crate) cut: Arc<Mutex<Option<&'static str>>>,
    /// Everything that was asked, as it was sent.
    pub(crate) asked: Arc<Mutex<String>>,
}

pub(crate) struct Proxy {
    pub(crate) port: u16,
    pub(crate) wire: Wire,
}

impl Proxy {
    pub(crate) async fn start(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let wire = Wire::default();
        let shared = wire.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&server).await.unwrap();
                tokio::spawn(pass(client, server, shared.clone()));
            }
        });
        Self { port, wire }
    }
}

async fn pass(mut client: TcpStream, mut server: TcpStream, wire: Wire) {
    let (mut asked, mut answered) = (vec![0; 65_536], vec![0; 65_536]);
    let mut is_cut = false;
    loop {
        tokio::select! {
            read = client.read(&mut asked) => {
                let Ok(length @ 1..) = read else { return };
                let text = String::from_utf8_lossy(&asked[..length]);
                let cut = *wire.cut.lock().unwrap();
                is_cut |= cut.is_some_and(|statement| text.contains(statement));
                wire.asked.lock().unwrap().push_str(&text);
                if server.write_all(&asked[..length]).await.is_err() { return }
            }
            read = server.read(&mut answered) => {
                let Ok(length @ 1..) = read else { return };
                // The server answers a statement once it is done.
                if is_cut && wire.cut.lock().unwrap().take().is_some() { return }
                if client.write_all(&answered[..length]).await.is_err() { return }
            }
        }
    }
}
