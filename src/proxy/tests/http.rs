//! HTTP upstreams: spread, keep-alive, streaming, failures that clients must not see.

use super::*;
use crate::lifecycle::Level;

#[tokio::test]
async fn requests_spread_over_the_healthy_instances_only() {
    let apps = [App::http("one").await, App::http("two").await, App::http("three").await];
    let house = House::with(upstream(Protocol::Http), &[&apps[0], &apps[1], &apps[2]]).await;
    house.report("three", Health::Critical).await;
    eventually("the set has two instances", async || {
        house.metric("remora_proxy_endpoints", "api") == 2.0
    })
    .await;
    // On a busy machine one of them may look slow for a while.
    eventually("both are asked", async || {
        assert_eq!(house.get("/").await.status, 200);
        apps[0].requests() > 5 && apps[1].requests() > 5
    })
    .await;
    assert_eq!(apps[2].requests(), 0);
    let all = apps[0].requests() + apps[1].requests();
    assert_eq!(house.metric("remora_proxy_requests_total", "2xx"), all as f64);
}

#[tokio::test]
async fn connections_to_instances_are_used_again() {
    let app = App::http("one").await;
    let house = House::with(upstream(Protocol::Http), &[&app]).await;
    eventually("it serves", async || house.get("/").await.status == 200).await;
    let before = app.requests();
    for _ in 0..50 {
        assert_eq!(house.get("/").await.status, 200);
    }
    assert_eq!(app.requests(), before + 50);
    assert_eq!(app.connections(), 1);
}

#[tokio::test]
async fn a_client_keeps_its_connection() {
    let app = App::http("one").await;
    let house = House::with(upstream(Protocol::Http), &[&app]).await;
    let mut client = TcpStream::connect(house.addr).await.unwrap();
    for _ in 0..10 {
        client.write_all(b"GET / HTTP/1.1\r\nHost: api\r\n\r\n").await.unwrap();
        let head = soon(read_head(&mut client)).await.unwrap().to_lowercase();
        assert!(head.starts_with("http/1.1 200"), "{head}");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        let mut body = vec![0; length.unwrap().parse().unwrap()];
        soon(client.read_exact(&mut body)).await.unwrap();
    }
    assert_eq!(app.requests(), 10);
    assert_eq!(house.metric("remora_proxy_connections_total", "api"), 1.0);
}

#[tokio::test]
async fn a_killed_instance_costs_no_request() {
    let apps = [App::http("one").await, App::http("two").await];
    let house = House::with(upstream(Protocol::Http), &[&apps[0], &apps[1]]).await;
    for _ in 0..20 {
        house.get("/").await;
    }
    apps[0].kill();
    // Its health has not changed yet: dead idle connections and refused ones are hidden.
    for _ in 0..40 {
        let answer = house.get("/").await;
        assert_eq!((answer.status, answer.body.lines().next()), (200, Some("two")));
    }
    house.report("one", Health::Critical).await;
    eventually("the set has one instance", async || {
        house.metric("remora_proxy_endpoints", "api") == 1.0
    })
    .await;
    assert_eq!(house.get("/").await.status, 200);
}

#[tokio::test]
async fn an_empty_set_says_so() {
    let app = App::http("one").await;
    let house = House::with(upstream(Protocol::Http), &[&app]).await;
    house.report("one", Health::Critical).await;
    eventually("503", async || house.get("/").await.status == 503).await;
    let answer = house.get("/").await;
    assert_eq!(answer.body, "remora: service api: no healthy instance\n");
    let board = house.life.board.entries();
    assert!(board.iter().any(|(subject, entry)| subject == "proxy/api"
        && entry.level == Level::Warning
        && entry.text == "no healthy instance of api"));
}

#[tokio::test]
async fn nobody_there_is_502_with_the_addresses() {
    let app = App::http("one").await;
    app.kill();
    let house = House::with(upstream(Protocol::Http), &[&app]).await;
    eventually("502", async || house.get("/").await.status == 502).await;
    let answer = house.get("/").await;
    let expected = format!("service api: no instance could be reached: {}", app.addr);
    assert!(answer.body.contains(&expected), "{}", answer.body);
    assert!(house.metric("remora_proxy_connect_failures_total", "api") >= 2.0);
    assert!(house.metric("remora_proxy_requests_total", "5xx") >= 2.0);
}

#[tokio::test]
async fn a_slow_instance_is_504() {
    let app = App::tcp("one", |stream| async move {
        let _held = stream;
        std::future::pending().await
    })
    .await;
    let mut upstream = upstream(Protocol::Http);
    upstream.timeouts.response = Duration::from_millis(50);
    let house = House::with(upstream, &[&app]).await;
    let answer = house.get("/").await;
    assert_eq!(answer.status, 504);
    assert!(answer.body.ends_with("within 50ms\n"), "{}", answer.body);
}

#[tokio::test]
async fn big_bodies_stream_both_ways() {
    const SIZE: usize = 24 * 1024 * 1024;
    let app = App::tcp("one", |mut stream| async move {
        let Some(_) = read_head(&mut stream).await else { return };
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.unwrap();
        // An echo that never holds more than a buffer: the proxy must not wait for the whole.
        let (mut read, mut write) = stream.split();
        let _ = tokio::io::copy(&mut read, &mut write).await;
    })
    .await;
    let house = House::with(upstream(Protocol::Http), &[&app]).await;
    let client = TcpStream::connect(house.addr).await.unwrap();
    let (mut read, mut write) = client.into_split();
    let sent: Vec<u8> = (0..SIZE).map(|position| (position % 251) as u8).collect();
    let expected = sent.clone();
    let sending = tokio::spawn(async move {
        let head = format!("POST / HTTP/1.1\r\nHost: api\r\nContent-Length: {SIZE}\r\n\r\n");
        write.write_all(head.as_bytes()).await.unwrap();
        write.write_all(&sent).await.unwrap();
        write
    });
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(soon(read.read_u8()).await.unwrap());
    }
    let mut got = vec![0; SIZE];
    soon(read.read_exact(&mut got)).await.unwrap();
    assert!(got == expected, "the echo differs");
    soon(sending).await.unwrap();
}

#[tokio::test]
async fn a_slow_upload_is_no_slow_instance() {
    let app = App::tcp("one", |mut stream| async move {
        let Some(_) = read_head(&mut stream).await else { return };
        stream.read_exact(&mut [0; 20]).await.unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await.unwrap();
    })
    .await;
    let mut upstream = upstream(Protocol::Http);
    upstream.timeouts.response = Duration::from_secs(1);
    let house = House::with(upstream, &[&app]).await;
    let mut client = TcpStream::connect(house.addr).await.unwrap();
    client.write_all(b"PUT / HTTP/1.1\r\nHost: api\r\nContent-Length: 20\r\n\r\n").await.unwrap();
    for _ in 0..20 {
        tokio::time::sleep(Duration::from_millis(70)).await;
        client.write_all(b"x").await.unwrap();
    }
    let head = soon(read_head(&mut client)).await.unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
}

#[tokio::test]
async fn chunked_bodies_arrive_whole() {
    let app = App::serving("one", |_| {
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1\r\n!\r\n0\r\n\r\n"
            .to_owned()
    })
    .await;
    let house = House::with(upstream(Protocol::Http), &[&app]).await;
    let answer = house.get("/").await;
    assert!(answer.head.contains("transfer-encoding: chunked"), "{}", answer.head);
    assert!(answer.body.contains("hello") && answer.body.ends_with("0\r\n\r\n"), "{answer:?}");
    assert_eq!(house.get("/").await.status, 200);
    assert_eq!(app.connections(), 1);
}

#[tokio::test]
async fn a_head_request_has_no_body() {
    let app = App::serving("one", |_| "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n".to_owned());
    let app = app.await;
    let house = House::with(upstream(Protocol::Http), &[&app]).await;
    let request = b"HEAD / HTTP/1.1\r\nHost: api\r\nConnection: close\r\n\r\n";
    for _ in 0..2 {
        let answer = house.raw(request).await;
        assert_eq!((answer.status, &*answer.body), (200, ""));
        assert!(answer.head.contains("content-length: 7"), "{}", answer.head);
    }
    assert_eq!(app.connections(), 1);
}

#[tokio::test]
async fn an_upgrade_becomes_a_tunnel() {
    let app = App::tcp("one", |mut stream| async move {
        let Some(head) = read_head(&mut stream).await else { return };
        assert!(head.to_lowercase().contains("upgrade: echo"), "{head}");
        let answer = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
                      Upgrade: echo\r\n\r\nearly";
        stream.write_all(answer.as_bytes()).await.unwrap();
        let (mut read, mut write) = stream.split();
        let _ = tokio::io::copy(&mut read, &mut write).await;
    })
    .await;
    let house = House::with(upstream(Protocol::Http), &[&app]).await;
    let mut client = TcpStream::connect(house.addr).await.unwrap();
    let request = b"GET / HTTP/1.1\r\nHost: api\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n";
    client.write_all(request).await.unwrap();
    let head = soon(read_head(&mut client)).await.unwrap().to_lowercase();
    assert!(head.starts_with("http/1.1 101"), "{head}");
    assert!(head.contains("upgrade: echo") && head.contains("connection: upgrade"), "{head}");
    client.write_all(b" and late").await.unwrap();
    let mut echoed = [0; 14];
    soon(client.read_exact(&mut echoed)).await.unwrap();
    assert_eq!(&echoed, b"early and late");
    assert_eq!(house.metric("remora_proxy_active", "api"), 1.0);
    drop(client);
    eventually("it is over", async || house.metric("remora_proxy_active", "api") == 0.0).await;
}
