//! Snapshots over HTTP: taken away, spoilt, and put in the place of everything.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::Request;
use http_body_util::BodyExt as _;
use tokio::time::timeout;
use tower::ServiceExt as _;

use super::Api;

pub(super) async fn save(api: &Api, path: &str) -> Bytes {
    let request = Request::builder().uri(path).body(Body::empty()).expect("a request");
    let response = api.router.clone().oneshot(request).await.expect("an answer");
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.expect("a body").to_bytes();
    assert_eq!(parts.status, 200);
    assert_eq!(parts.headers["content-length"], bytes.len().to_string());
    assert_eq!(parts.headers["x-consul-knownleader"], "true");
    assert_ne!(parts.headers["x-consul-index"], "0");
    bytes
}

#[tokio::test]
async fn a_snapshot_is_put_in_the_place_of_everything_or_of_nothing() {
    let api = Api::new();
    api.put("/v1/kv/before", "x").await;
    let saved = save(&api, "/v1/snapshot").await;
    assert_eq!(save(&api, "/v1/snapshot?stale").await, saved);
    api.put("/v1/kv/after", "x").await;
    api.delete("/v1/kv/before").await;
    let index = api.get("/v1/kv/after").await.index();
    let mut damaged = saved.to_vec();
    let middle = damaged.len() / 2;
    damaged[middle] ^= 1;
    let half = saved.slice(..middle);
    let spoilt = [Bytes::new(), Bytes::from_static(b"nonsense"), half, damaged.into()];
    for body in spoilt {
        let answered = api.put("/v1/snapshot", body).await;
        assert_eq!(answered.status, 500, "{answered:?}");
        assert!(answered.body.contains("the backup"), "{answered:?}");
        assert_eq!(api.get("/v1/kv/after").await.index(), index);
        assert!(api.cluster.snapshot().staging().is_none(), "nothing is left of it");
    }
    let path = format!("/v1/kv/after?wait=60s&index={index}");
    let waiting = tokio::spawn({
        let api = api.clone();
        async move { api.get(&path).await }
    });
    let answered = api.put("/v1/snapshot", saved).await;
    assert_eq!((answered.status, answered.body.as_str()), (200, ""));
    let told = timeout(Duration::from_secs(10), waiting).await.expect("at once").expect("told");
    assert!(told.index() > index, "{told:?}");
    assert_eq!(api.get("/v1/kv/before").await.status, 200);
    assert_eq!(api.get("/v1/kv/after").await.status, 404);
}

#[tokio::test]
async fn only_so_many_are_restored_at_a_time() {
    let api = Api::new();
    let stalled = || Body::from_stream(futures::stream::pending::<Result<Bytes, String>>());
    let put = || {
        let api = api.clone();
        async move { api.put("/v1/snapshot", stalled()).await }
    };
    let mut under_way: Vec<_> =
        (0..crate::model::limits::RESTORES).map(|_| Box::pin(put())).collect();
    for one in &mut under_way {
        assert!(timeout(Duration::from_millis(1), one).await.is_err());
    }
    let refused = put().await;
    assert_eq!(refused.status, 429, "{refused:?}");
    drop(under_way);
    assert_eq!(api.put("/v1/snapshot", "nonsense").await.status, 500);
}
