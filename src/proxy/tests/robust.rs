//! What must hold when clients misbehave, instances vanish, or the cluster is gone.

use super::*;
use crate::balance::Policy;
use crate::proxy::follow::seen;
use crate::state::{Part, State};

#[tokio::test]
async fn garbage_is_400() {
    let app = App::http("one").await;
    let house = House::with(upstream(Protocol::Http), &[&app]).await;
    for garbage in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 no http\r\n\r\n"[..],
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: x\r\n\r\n",
    ] {
        assert_eq!(house.raw(garbage).await.status, 400, "{}", String::from_utf8_lossy(garbage));
    }
    let answer = house.raw(b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n").await;
    assert_eq!(answer.status, 501);
    assert_eq!(house.get("/").await.status, 200);
    assert_eq!(app.requests(), 1);
}

#[tokio::test]
async fn endless_headers_are_refused() {
    let app = App::http("one").await;
    let house = House::with(upstream(Protocol::Http), &[&app]).await;
    let mut request = b"GET / HTTP/1.1\r\nHost: a\r\nX-Long: ".to_vec();
    request.resize(request.len() + 2 * crate::model::limits::HTTP_HEADERS, b'a');
    assert_eq!(house.raw(&request).await.status, 431);
    assert_eq!(app.requests(), 0);
}

#[tokio::test]
async fn a_client_that_never_ends_its_head_is_closed() {
    let app = App::http("one").await;
    let mut upstream = upstream(Protocol::Http);
    upstream.timeouts.head = Duration::from_millis(100);
    let house = House::with(upstream, &[&app]).await;
    let mut silent = TcpStream::connect(house.addr).await.unwrap();
    let mut slow = TcpStream::connect(house.addr).await.unwrap();
    slow.write_all(b"GET / HTTP/1.1\r\nHost: api\r\n\r\n").await.unwrap();
    soon(read_head(&mut slow)).await.unwrap();
    let mut rest = Vec::new();
    assert_eq!(soon(silent.read_to_end(&mut rest)).await.unwrap(), 0);
    // A byte now and then does not help, on a connection that has been of use before either.
    let dripping = async {
        while slow.write_all(b"G").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    soon(dripping).await;
    assert_eq!(app.requests(), 1);
    eventually("all are closed", async || house.metric("remora_proxy_active", "api") == 0.0).await;
}

#[tokio::test]
async fn an_idle_keep_alive_connection_is_closed() {
    let app = App::http("one").await;
    let mut upstream = upstream(Protocol::Http);
    upstream.timeouts.keep_alive = Duration::from_millis(100);
    let house = House::with(upstream, &[&app]).await;
    let mut client = TcpStream::connect(house.addr).await.unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nHost: api\r\n\r\n").await.unwrap();
    let mut all = Vec::new();
    soon(client.read_to_end(&mut all)).await.unwrap();
    assert!(all.starts_with(b"HTTP/1.1 200"));
}

#[tokio::test]
async fn a_vanished_instance_loses_its_idle_connections_but_not_its_requests() {
    let (release, held) = watch::channel(false);
    let (closed, mut closes) = watch::channel(0);
    let app = App::tcp("one", move |mut stream| {
        let (mut held, closed) = (held.clone(), closed.clone());
        async move {
            while let Some(head) = read_head(&mut stream).await {
                if head.starts_with("GET /slow") {
                    let _ = held.wait_for(|released| *released).await;
                } else if head.starts_with("GET /endless") {
                    let () = std::future::pending().await;
                }
                let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\none";
                stream.write_all(answer).await.unwrap();
            }
            closed.send_modify(|count| *count += 1);
        }
    })
    .await;
    let house = House::with(upstream(Protocol::Http), &[&app]).await;
    let mut clients = Vec::new();
    for path in ["/slow", "/endless"] {
        let mut client = TcpStream::connect(house.addr).await.unwrap();
        let head = format!("GET {path} HTTP/1.1\r\nHost: api\r\nConnection: close\r\n\r\n");
        client.write_all(head.as_bytes()).await.unwrap();
        clients.push(client);
        eventually("it is under way", async || app.connections() == clients.len()).await;
    }
    assert_eq!(house.get("/").await.status, 200);
    assert_eq!(app.connections(), 3);
    house.remove("one").await;
    eventually("503", async || house.get("/").await.status == 503).await;
    soon(closes.wait_for(|count| *count == 1)).await.unwrap();
    release.send_replace(true);
    let mut answer = Vec::new();
    soon(clients[0].read_to_end(&mut answer)).await.unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200") && answer.ends_with(b"one"));
    soon(closes.wait_for(|count| *count == 2)).await.unwrap();
}

#[tokio::test]
async fn a_client_that_goes_takes_its_request_along() {
    let (closed, mut closes) = watch::channel(false);
    let app = App::tcp("one", move |mut stream| {
        let closed = closed.clone();
        async move {
            let Some(_) = read_head(&mut stream).await else { return };
            let _ = stream.read_u8().await;
            closed.send_replace(true);
        }
    })
    .await;
    let house = House::with(upstream(Protocol::Http), &[&app]).await;
    let mut client = TcpStream::connect(house.addr).await.unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nHost: api\r\n\r\n").await.unwrap();
    eventually("it is under way", async || app.connections() == 1).await;
    drop(client);
    soon(closes.wait_for(|closed| *closed)).await.unwrap();
}

#[tokio::test]
async fn clients_beyond_the_limit_are_told_so() {
    let app = App::http("one").await;
    let mut upstream = upstream(Protocol::Http);
    upstream.connections = 1;
    let house = House::with(upstream, &[&app]).await;
    let mut first = TcpStream::connect(house.addr).await.unwrap();
    first.write_all(b"GET / HTTP/1.1\r\nHost: api\r\n\r\n").await.unwrap();
    soon(read_head(&mut first)).await.unwrap();
    let mut second = TcpStream::connect(house.addr).await.unwrap();
    let mut answer = String::new();
    soon(second.read_to_string(&mut answer)).await.unwrap();
    let answer = Answer::parse(&answer);
    assert_eq!((answer.status, &*answer.body), (503, "remora: too many connections, try later\n"));
    assert_eq!(house.metric("remora_proxy_refused_total", "api"), 1.0);
    drop(first);
    eventually("room again", async || house.get("/").await.status == 200).await;
}

#[tokio::test]
async fn idle_connections_to_instances_do_not_wait_for_ever() {
    let (closed, mut closes) = watch::channel(0);
    let app = App::tcp("one", move |mut stream| {
        let closed = closed.clone();
        async move {
            while read_head(&mut stream).await.is_some() {
                let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\none";
                stream.write_all(answer).await.unwrap();
            }
            closed.send_modify(|count| *count += 1);
        }
    })
    .await;
    let mut upstream = upstream(Protocol::Http);
    upstream.timeouts.pool_idle = Duration::from_millis(50);
    let house = House::with(upstream, &[&app]).await;
    assert_eq!(house.get("/").await.status, 200);
    soon(closes.wait_for(|count| *count == 1)).await.unwrap();
}

#[tokio::test]
async fn the_last_set_stays_when_the_state_is_not_synced() {
    let app = App::http("one").await;
    let house = House::with(upstream(Protocol::Http), &[&app]).await;
    let config = upstream(Protocol::Http);
    let now = house.cluster.snapshot();
    assert_eq!(seen(true, &now, &config).map(|set| set.len()), Some(1));
    assert_eq!(seen(false, &State::new(Part::Shared), &config), None);
}

#[tokio::test]
async fn a_request_before_the_first_sync_is_told_so() {
    let meter = meters::Meters::new(&Metrics::default()).upstream("api");
    let unsynced = upstream::Upstream::new(upstream(Protocol::Http), meter);
    let failure = unsynced.pick(&[]).err().unwrap();
    assert_eq!(failure.status(), 503);
    assert!(failure.text("api").contains("has not synced"), "{failure}");
}

#[tokio::test]
async fn weights_and_policies_reach_the_set() {
    let apps = [App::http("one").await, App::http("two").await];
    let mut upstream = upstream(Protocol::Http);
    upstream.balance = Policy::RoundRobin;
    let house = House::of(upstream).await;
    house.register("one", "127.0.0.1", apps[0].addr.port(), 1).await;
    house.register("two", "127.0.0.1", apps[1].addr.port(), 3).await;
    eventually("two instances", async || house.metric("remora_proxy_endpoints", "api") == 2.0)
        .await;
    for _ in 0..80 {
        assert_eq!(house.get("/").await.status, 200);
    }
    assert!((17..=23).contains(&apps[0].requests()), "{}", apps[0].requests());
}

#[tokio::test]
async fn an_instance_may_have_a_host_name() {
    let app = App::http("one").await;
    let house = House::of(upstream(Protocol::Http)).await;
    house.register("one", "localhost", app.addr.port(), 1).await;
    eventually("it serves", async || house.get("/").await.status == 200).await;
}

#[tokio::test]
async fn a_listener_beyond_loopback_must_be_wanted() {
    let cluster = Cluster::solo(NodeName::new("here").unwrap());
    let life = Life::default();
    let mut wide = Upstream::new("api", ([0, 0, 0, 0], 0).into(), Protocol::Http);
    let begin = async |upstream: &Upstream| {
        let config = Config { upstreams: vec![upstream.clone()] };
        start(config, cluster.clone(), life.clone(), &Metrics::default()).await
    };
    let error = begin(&wide).await.unwrap_err().to_string();
    assert!(error.starts_with("upstreams[0].listen: 0.0.0.0:0"), "{error}");
    wide.insecure = true;
    begin(&wide).await.unwrap();
    life.shutdown.begin();
}

#[tokio::test]
async fn a_taken_port_is_named() {
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut upstream = upstream(Protocol::Tcp);
    upstream.listen = taken.local_addr().unwrap();
    let config = Config { upstreams: vec![upstream] };
    let cluster = Cluster::solo(NodeName::new("here").unwrap());
    let error = start(config, cluster, Life::default(), &Metrics::default()).await.unwrap_err();
    assert!(error.to_string().starts_with("upstreams[0].listen: cannot listen on"), "{error}");
}

#[tokio::test]
async fn a_stop_lets_requests_end() {
    let (release, held) = watch::channel(false);
    let app = App::tcp("one", move |mut stream| {
        let mut held = held.clone();
        async move {
            let Some(_) = read_head(&mut stream).await else { return };
            let _ = held.wait_for(|released| *released).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\none").await;
        }
    })
    .await;
    let house = House::with(upstream(Protocol::Http), &[&app]).await;
    let mut client = TcpStream::connect(house.addr).await.unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nHost: api\r\n\r\n").await.unwrap();
    eventually("it is under way", async || app.connections() == 1).await;
    house.life.shutdown.begin();
    eventually("no new clients", async || TcpStream::connect(house.addr).await.is_err()).await;
    release.send_replace(true);
    let mut answer = Vec::new();
    soon(client.read_to_end(&mut answer)).await.unwrap();
    assert!(answer.ends_with(b"one"), "{}", String::from_utf8_lossy(&answer));
    assert!(house.life.tasks.join(DEADLINE).await);
}
