//! What instances and clients see of each other's heads.

use super::*;

#[tokio::test]
async fn instances_see_the_client_and_no_hop_by_hop_header() {
    let app = App::http("one").await;
    let house = House::with(upstream(Protocol::Http), &[&app]).await;
    let request = "GET http://shop.example/a?b=c HTTP/1.1\r\nHost: other\r\n\
                   Connection: close, X-Mine\r\nX-Mine: 1\r\nKeep-Alive: 5\r\nTE: trailers\r\n\
                   Proxy-Connection: keep-alive\r\nX-Forwarded-For: 10.1.1.1\r\n\
                   Upgrade: h2c\r\nX-Kept: yes\r\n\r\n";
    let answer = house.raw(request.as_bytes()).await;
    assert_eq!(answer.status, 200, "{}", answer.head);
    let mut seen: Vec<String> = answer.body.lines().skip(1).map(str::to_lowercase).collect();
    seen.retain(|line| !line.is_empty());
    seen[1..].sort();
    assert_eq!(
        seen,
        [
            "get /a?b=c http/1.1",
            "host: shop.example",
            "x-forwarded-for: 10.1.1.1, 127.0.0.1",
            "x-forwarded-proto: http",
            "x-kept: yes",
        ]
    );
}

#[tokio::test]
async fn the_host_stays_as_sent() {
    let app = App::http("one").await;
    let house = House::with(upstream(Protocol::Http), &[&app]).await;
    let answer = house.get("/").await;
    assert!(answer.body.to_lowercase().contains("\r\nhost: api\r\n"), "{}", answer.body);
}

#[tokio::test]
async fn clients_see_no_hop_by_hop_header_of_an_instance() {
    let app = App::serving("one", |_| {
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: X-Mine\r\nX-Mine: 1\r\n\
         Keep-Alive: timeout=5\r\nX-Kept: yes\r\n\r\n"
            .to_owned()
    })
    .await;
    let house = House::with(upstream(Protocol::Http), &[&app]).await;
    let answer = house.get("/").await;
    assert!(answer.head.contains("x-kept: yes"), "{}", answer.head);
    assert!(!answer.head.contains("x-mine") && !answer.head.contains("keep-alive"), "{answer:?}");
}

#[tokio::test]
async fn old_clients_and_old_instances_are_served() {
    let app = App::tcp("one", |mut stream| async move {
        let Some(head) = read_head(&mut stream).await else { return };
        assert!(head.to_lowercase().contains("\r\nhost: api\r\n"), "{head}");
        stream.write_all(b"HTTP/1.0 200 OK\r\n\r\nuntil the end").await.unwrap();
    })
    .await;
    let house = House::with(upstream(Protocol::Http), &[&app]).await;
    let answer = house.raw(b"GET / HTTP/1.0\r\n\r\n").await;
    assert_eq!((answer.status, &*answer.body), (200, "until the end"));
}
