//! Real HTTP with full control of the bytes sent, and what only shows there: chunked bodies, broken
//! requests, oversize headers.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::world::{Answer, Transport, World, check_conventions};

/// Longest any exchange may take.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Serves the router on a free port until the test's runtime ends.
pub(crate) async fn serve(router: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

/// The head of a request whose connection closes after the answer.
pub(crate) fn head(method: &Method, path: &str, headers: &[(&str, &str)], body_bytes: usize) -> String {
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n");
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    head + &format!("content-length: {body_bytes}\r\n\r\n")
}

/// Sends pieces and reads the answer; `None` when the server closed without one.
pub(crate) async fn exchange(address: SocketAddr, pieces: &[&[u8]]) -> Option<Answer> {
    let talk = async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        for piece in pieces {
            // The server may answer and close before it has read everything.
            if stream.write_all(piece).await.is_err() {
                break;
            }
        }
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        answer
    };
    let bytes = tokio::time::timeout(TIMEOUT, talk)
        .await
        .expect("an answer in time");
    parse(&String::from_utf8(bytes).unwrap())
}

fn parse(answer: &str) -> Option<Answer> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let mut lines = head.lines();
    let status = lines.next()?.split(' ').nth(1)?.parse::<StatusCode>().ok()?;
    let mut headers = HeaderMap::new();
    for line in lines {
        let (name, value) = line.split_once(": ")?;
        headers.append(
            HeaderName::try_from(name).unwrap(),
            HeaderValue::try_from(value).unwrap(),
        );
    }
    Some(Answer {
        status,
        headers,
        text: body.to_owned(),
    })
}

const SUBMIT: &str = "/tables/offers/items/maintenance";

async fn raw_submit(headers: &[(&str, &str)], pieces: &[&[u8]]) -> Answer {
    let world = World::new(Transport::Socket);
    let address = serve(world.router.clone()).await;
    let mut head = format!("POST {SUBMIT} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n");
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    head += "\r\n";
    let all: Vec<&[u8]> = std::iter::once(head.as_bytes())
        .chain(pieces.iter().copied())
        .collect();
    let answer = exchange(address, &all).await.expect("an answer");
    check_conventions(&Method::POST, SUBMIT, &answer);
    answer
}

const JSON: (&str, &str) = ("content-type", "application/json");
const CHUNKED: (&str, &str) = ("transfer-encoding", "chunked");

#[tokio::test]
async fn an_announced_oversize_body_is_refused_unread() {
    let answer = raw_submit(&[JSON, ("content-length", "10000000")], &[]).await;
    assert_eq!(answer.error().0, 413);
}

#[tokio::test]
async fn a_chunked_oversize_body_is_refused_at_the_limit() {
    let chunk = format!("8000\r\n{}\r\n", " ".repeat(0x8000));
    let pieces = [chunk.as_bytes(), chunk.as_bytes(), b"1\r\n \r\n"];
    let answer = raw_submit(&[JSON, CHUNKED], &pieces).await;
    assert_eq!(answer.error().1, "payload_too_large");
}

#[tokio::test]
async fn a_chunked_body_at_the_limit_is_read() {
    let body = r#"{"actions": ["expire_snapshots"]}"#;
    let chunk = format!(
        "{:x}\r\n{}{body}\r\n0\r\n\r\n",
        65_536,
        " ".repeat(65_536 - body.len())
    );
    let answer = raw_submit(&[JSON, CHUNKED], &[chunk.as_bytes()]).await;
    assert_eq!(answer.status, 202);
}

#[tokio::test]
async fn a_chunk_that_is_no_chunk_is_400() {
    let answer = raw_submit(&[JSON, CHUNKED], &[b"zz\r\n"]).await;
    assert_eq!(answer.error().1, "invalid_request");
}

#[tokio::test]
async fn what_is_no_http_request_never_gets_a_5xx_and_the_server_goes_on() {
    let world = World::new(Transport::Socket);
    let address = serve(world.router.clone()).await;
    let huge_header = format!(
        "GET /jobs HTTP/1.1\r\nhost: test\r\nx: {}\r\n\r\n",
        "x".repeat(1_000_000)
    );
    let many_headers = format!(
        "GET /jobs HTTP/1.1\r\nhost: test\r\n{}\r\n",
        "x: y\r\n".repeat(500)
    );
    let long_path = format!("GET /{} HTTP/1.1\r\nhost: test\r\n\r\n", "x".repeat(70_000));
    let odd: [&[u8]; 8] = [
        b"\0\0\0\0\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET /jobs\xff HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n",
        b"GET /jobs HTTP/9.9\r\n\r\n",
        b"POST /tables/offers/items/maintenance HTTP/1.1\r\nhost: test\r\ncontent-length: -1\r\n\r\n",
        huge_header.as_bytes(),
        many_headers.as_bytes(),
        long_path.as_bytes(),
    ];
    for request in odd {
        let start = String::from_utf8_lossy(&request[..request.len().min(60)]).into_owned();
        if let Some(answer) = exchange(address, &[request]).await {
            assert!(answer.status.is_client_error(), "{start}: {answer:?}");
        }
    }
    assert_eq!(world.get("/jobs").await.status, 200);
}
