//! When a request is sent once more, decided and seen on the wire.

use ::http::Method;

use super::*;
use crate::proxy::retry::{Case, Stage, once_more, repeatable};

#[test]
fn only_what_cannot_have_happened_twice_is_sent_once_more() {
    let stages =
        [Stage::Unsent, Stage::Sent { heard: false }, Stage::Sent { heard: true }, Stage::Slow];
    let mut yes = Vec::new();
    for stage in stages {
        for bits in 0..8 {
            let (reused, again, repeatable) = (bits & 1 > 0, bits & 2 > 0, bits & 4 > 0);
            let case = Case { stage, reused, again, repeatable };
            if once_more(case) {
                yes.push((stage, reused, again, repeatable));
            }
        }
    }
    let expected = [
        (Stage::Unsent, false, false, false),
        (Stage::Unsent, true, false, false),
        (Stage::Unsent, false, false, true),
        (Stage::Unsent, true, false, true),
        (Stage::Sent { heard: false }, true, false, true),
    ];
    assert_eq!(yes, expected);
}

#[test]
fn methods_with_an_effect_are_not_repeatable() {
    assert!(repeatable(&Method::GET, true));
    assert!(repeatable(&Method::PUT, true));
    assert!(!repeatable(&Method::PUT, false));
    assert!(!repeatable(&Method::POST, true));
    assert!(!repeatable(&Method::PATCH, true));
}

/// Serves one request per connection, then closes at the second one without an answer.
async fn forgetful() -> App {
    let requests = Arc::new(AtomicUsize::new(0));
    let counted = requests.clone();
    let app = App::tcp("one", move |mut stream| {
        let counted = counted.clone();
        async move {
            for _ in 0..2 {
                let Some(_) = read_head(&mut stream).await else { return };
                if counted.fetch_add(1, Ordering::SeqCst).is_multiple_of(2) {
                    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\none";
                    stream.write_all(answer).await.unwrap();
                } else {
                    return;
                }
            }
        }
    })
    .await;
    App { requests, ..app }
}

#[tokio::test]
async fn a_get_on_a_connection_that_just_died_is_sent_once_more() {
    let app = forgetful().await;
    let house = House::with(upstream(Protocol::Http), &[&app]).await;
    assert_eq!(house.get("/").await.status, 200);
    assert_eq!(house.get("/").await.status, 200);
    assert_eq!((app.requests(), app.connections()), (3, 2));
}

#[tokio::test]
async fn a_post_on_a_connection_that_just_died_is_not() {
    let app = forgetful().await;
    let house = House::with(upstream(Protocol::Http), &[&app]).await;
    assert_eq!(house.get("/").await.status, 200);
    let post = b"POST / HTTP/1.1\r\nHost: api\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    let answer = house.raw(post).await;
    assert_eq!(answer.status, 502);
    assert!(answer.body.contains("no response from 127.0.0.1"), "{}", answer.body);
    assert_eq!((app.requests(), app.connections()), (2, 1));
}

#[tokio::test]
async fn a_get_that_dies_on_a_new_connection_is_not() {
    let app = App::serving("one", |_| String::new()).await;
    let house = House::with(upstream(Protocol::Http), &[&app]).await;
    assert_eq!(house.get("/").await.status, 502);
    assert_eq!(app.requests(), 1);
}

#[tokio::test]
async fn half_a_response_is_never_asked_for_again() {
    let app = App::tcp("one", |mut stream| async move {
        let Some(_) = read_head(&mut stream).await else { return };
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\none";
        stream.write_all(answer).await.unwrap();
        let Some(_) = read_head(&mut stream).await else { return };
        stream.write_all(b"HTTP/1.1 200 O").await.unwrap();
    })
    .await;
    let house = House::with(upstream(Protocol::Http), &[&app]).await;
    assert_eq!(house.get("/").await.status, 200);
    assert_eq!(house.get("/").await.status, 502);
    assert_eq!(app.connections(), 1);
}
