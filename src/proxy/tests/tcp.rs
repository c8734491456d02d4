//! TCP upstreams: spread, half-close, instances that cannot be reached, idle connections.

use super::*;
use crate::balance::Policy;

/// An app that says its name, then what it was sent, once its peer has closed.
async fn echo(name: &'static str) -> App {
    App::tcp(name, move |mut stream| async move {
        stream.write_all(name.as_bytes()).await.unwrap();
        let mut all = Vec::new();
        stream.read_to_end(&mut all).await.unwrap();
        stream.write_all(&all).await.unwrap();
    })
    .await
}

async fn ask(house: &House, text: &str) -> std::io::Result<String> {
    let mut client = TcpStream::connect(house.addr).await?;
    client.write_all(text.as_bytes()).await?;
    client.shutdown().await?;
    let mut answer = String::new();
    soon(client.read_to_string(&mut answer)).await?;
    Ok(answer)
}

#[tokio::test]
async fn one_end_may_close_before_the_other() {
    let app = echo("one").await;
    let house = House::with(upstream(Protocol::Tcp), &[&app]).await;
    let long = "x".repeat(3 * 1024 * 1024);
    assert_eq!(ask(&house, &long).await.unwrap(), format!("one{long}"));
}

#[tokio::test]
async fn connections_spread_and_avoid_the_dead() {
    let apps = [echo("one").await, echo("two").await, echo("six").await];
    let house = House::with(upstream(Protocol::Tcp), &[&apps[0], &apps[1], &apps[2]]).await;
    eventually("three instances", async || house.metric("remora_proxy_endpoints", "api") == 3.0)
        .await;
    eventually("all are asked", async || {
        ask(&house, "").await.unwrap();
        apps.iter().all(|app| app.connections() > 5)
    })
    .await;
    apps[0].kill();
    apps[1].kill();
    for _ in 0..20 {
        assert_eq!(ask(&house, "hello").await.unwrap(), "sixhello");
    }
}

#[tokio::test]
async fn without_an_instance_the_client_is_reset() {
    let house = House::of(upstream(Protocol::Tcp)).await;
    let mut client = TcpStream::connect(house.addr).await.unwrap();
    let error = soon(client.read_u8()).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[tokio::test]
async fn an_idle_connection_is_closed() {
    let app = App::tcp("one", |stream| async move {
        let _held = stream;
        std::future::pending().await
    })
    .await;
    let mut upstream = upstream(Protocol::Tcp);
    upstream.timeouts.idle = Duration::from_millis(50);
    let house = House::with(upstream, &[&app]).await;
    let mut client = TcpStream::connect(house.addr).await.unwrap();
    let mut rest = Vec::new();
    assert_eq!(soon(client.read_to_end(&mut rest)).await.unwrap(), 0);
}

#[tokio::test]
async fn open_connections_count_for_the_balance() {
    let apps = [echo("one").await, echo("two").await];
    let mut upstream = upstream(Protocol::Tcp);
    upstream.balance = Policy::LeastRequest;
    let house = House::with(upstream, &[&apps[0], &apps[1]]).await;
    eventually("two instances", async || house.metric("remora_proxy_endpoints", "api") == 2.0)
        .await;
    let mut held = Vec::new();
    for _ in 0..40 {
        let mut client = TcpStream::connect(house.addr).await.unwrap();
        soon(client.read_u8()).await.unwrap();
        held.push(client);
    }
    assert_eq!((apps[0].connections(), apps[1].connections()), (20, 20));
    assert_eq!(house.metric("remora_proxy_active", "api"), 40.0);
}
