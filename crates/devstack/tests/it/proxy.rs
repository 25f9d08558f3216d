//! The proxy does to connections what it is told.

use std::time::Duration;

use nuncio_devstack::testkit::Proxy;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// A server that sends back what it gets. Answers with its address.
async fn echo() -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("there are free ports");
    let address = listener.local_addr().expect("a listener has an address").to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = stream.split();
                tokio::io::copy(&mut from, &mut to).await
            });
        }
    });
    address
}

async fn round_trip(stream: &mut TcpStream) -> std::io::Result<[u8; 4]> {
    let mut answer = [0; 4];
    stream.write_all(b"ping").await?;
    stream.read_exact(&mut answer).await?;
    Ok(answer)
}

#[tokio::test]
async fn a_cut_ends_connections_and_lets_new_ones_in() {
    let proxy = Proxy::start(&echo().await).await.unwrap();
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(&round_trip(&mut stream).await.unwrap(), b"ping");
    proxy.cut();
    assert!(round_trip(&mut stream).await.is_err());
    let mut again = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(&round_trip(&mut again).await.unwrap(), b"ping");
}

#[tokio::test]
async fn a_stall_holds_bytes_back_until_it_is_over() {
    let proxy = Proxy::start(&echo().await).await.unwrap();
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    round_trip(&mut stream).await.unwrap();
    proxy.stall();
    stream.write_all(b"held").await.unwrap();
    let mut answer = [0; 4];
    assert!(timeout(Duration::from_millis(200), stream.read(&mut answer)).await.is_err());
    proxy.resume();
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"held");
}

#[tokio::test]
async fn refused_connections_come_through_again_on_the_same_port() {
    let mut proxy = Proxy::start(&echo().await).await.unwrap();
    let address = proxy.address();
    proxy.refuse().await;
    TcpStream::connect(&address).await.unwrap_err();
    proxy.accept().await.unwrap();
    let mut stream = TcpStream::connect(&address).await.unwrap();
    assert_eq!(&round_trip(&mut stream).await.unwrap(), b"ping");
}

#[tokio::test]
async fn a_url_is_rewritten() {
    let proxy = Proxy::start("127.0.0.1:5999").await.unwrap();
    let url = proxy.rewrite("postgres://u:p@127.0.0.1:5999/d");
    assert_eq!(url, format!("postgres://u:p@{}/d", proxy.address()));
}
