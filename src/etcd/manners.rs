//! What gRPC asks of every call, of whichever service: its deadline is kept, and what nobody serves
//! is said in the words that clients know.

use axum::Router;
use axum::body::Body;
use axum::middleware::{Next, from_fn};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Request, Response, Version};
use tokio::time::{Instant, timeout_at};
use tonic::Status;

use super::deadline;

/// Calls of gRPC are minded, whatever else the router serves.
pub fn mindful(router: Router) -> Router {
    router.layer(from_fn(mind))
}

fn is_rpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

async fn mind(request: Request<Body>, next: Next) -> Response<Body> {
    if request.version() != Version::HTTP_2 || !is_rpc(request.headers()) {
        return next.run(request).await;
    }
    let path = request.uri().path().to_owned();
    let Some((service, method)) = path.strip_prefix('/').and_then(|path| path.rsplit_once('/'))
    else {
        return said(Status::unimplemented(format!("malformed method name: {path:?}")));
    };
    let answer = match deadline::of(request.headers(), Instant::now()) {
        // gRPC itself says so, and calls it an error of its own.
        Err(failure) => return said(Status::internal(failure.message)),
        Ok(None) => next.run(request).await,
        Ok(Some(at)) => match timeout_at(at, next.run(request)).await {
            Ok(answer) => answer,
            Err(_) => return said(deadline::overdue().into()),
        },
    };
    let headers = answer.headers();
    if !is_rpc(headers) {
        return said(Status::unimplemented(format!("unknown service {service}")));
    }
    let code = headers.get("grpc-status").map(|code| code.as_bytes());
    if code == Some(b"12") && !headers.contains_key("grpc-message") {
        let text = format!("unknown method {method} for service {service}");
        return said(Status::unimplemented(text));
    }
    answer
}

fn said(status: Status) -> Response<Body> {
    status.into_http()
}

#[cfg(test)]
mod tests {
    use axum::routing::any;
    use tower::ServiceExt as _;

    use super::*;

    fn router() -> Router {
        let rpc = |status: &'static str| {
            any(async move || {
                Response::builder()
                    .header(CONTENT_TYPE, "application/grpc")
                    .header("grpc-status", status)
                    .body(Body::empty())
                    .unwrap()
            })
        };
        let never = any(async || std::future::pending::<()>().await);
        mindful(
            Router::new()
                .route("/a.Service/Known", rpc("0"))
                .route("/a.Service/{method}", rpc("12"))
                .route("/a.Slow/Call", never),
        )
    }

    async fn call(path: &str, timeout: Option<&str>) -> (String, String) {
        let mut request = Request::post(path).version(Version::HTTP_2);
        request = request.header(CONTENT_TYPE, "application/grpc+proto");
        if let Some(timeout) = timeout {
            request = request.header("grpc-timeout", timeout);
        }
        let answer = router().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!(answer.status(), 200);
        let header = |name| {
            let value = answer.headers().get(name).map(|value| value.to_str().unwrap());
            value.unwrap_or_default().replace("%20", " ").replace("%22", "\"")
        };
        (header("grpc-status"), header("grpc-message"))
    }

    #[tokio::test(start_paused = true)]
    async fn what_nobody_serves_is_named_and_deadlines_are_kept() {
        let said = |code: &str, text: &str| (code.to_owned(), text.to_owned());
        assert_eq!(call("/a.Service/Known", None).await, said("0", ""));
        let unknown = said("12", "unknown method Nope for service a.Service");
        assert_eq!(call("/a.Service/Nope", None).await, unknown);
        assert_eq!(call("/b.Service/Nope", None).await, said("12", "unknown service b.Service"));
        assert_eq!(call("/nope", None).await, said("12", "malformed method name: \"/nope\""));
        let late = said("4", "context deadline exceeded");
        assert_eq!(call("/a.Slow/Call", Some("3S")).await, late);
        let odd = said("13", "invalid grpc-timeout: soon");
        assert_eq!(call("/a.Slow/Call", Some("soon")).await, odd);
    }

    #[tokio::test]
    async fn other_requests_are_left_alone() {
        let request = Request::get("/b/c").body(Body::empty()).unwrap();
        assert_eq!(router().oneshot(request).await.unwrap().status(), 404);
    }
}
