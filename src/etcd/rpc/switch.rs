//! Where requests part: gRPC's calls go to their service, straight, and all others to the router.
//! What gRPC asks of every call is done here: its deadline is kept, what nobody serves is said in
//! the words that clients know, and a refusal comes through.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::routing::future::RouteFuture;
use futures::future::{BoxFuture, Either, FutureExt as _};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, Request, Response, Uri, Version};
use tokio::time::{Instant, timeout_at};
use tonic::Status;
use tower::{BoxError, Service};

use crate::etcd::proto::auth_server::AuthServer;
use crate::etcd::proto::cluster_server::ClusterServer;
use crate::etcd::proto::election_server::ElectionServer;
use crate::etcd::proto::healthpb::health_server::HealthServer;
use crate::etcd::proto::kv_server::KvServer;
use crate::etcd::proto::lease_server::LeaseServer;
use crate::etcd::proto::lock_server::LockServer;
use crate::etcd::proto::maintenance_server::MaintenanceServer;
use crate::etcd::proto::watch_server::WatchServer;
use crate::etcd::wording::reworded;
use crate::etcd::{Front, deadline};
use crate::model::limits;

use super::Services;

/// All services, each with what hands a request on to it.
macro_rules! services {
    ($($name:literal => $server:ident,)*) => {
        /// As they are called in a path.
        pub(in crate::etcd) const SERVICES: &[&str] = &[$($name),*];

        /// None: nobody serves it.
        fn call<B>(
            services: Arc<Services>,
            service: &str,
            request: Request<B>,
        ) -> Option<tonic::codegen::BoxFuture<Response<tonic::body::Body>, Infallible>>
        where
            B: HttpBody<Data = Bytes, Error: Into<BoxError> + Send> + Send + 'static,
        {
            Some(match service {
                // etcd's bound of a message lies above its bound of a request, and so it is
                // answered by the texts that clients know.
                $($name => $server::from_arc(services)
                    .max_decoding_message_size(limits::ETCD_MESSAGE)
                    .call(request),)*
                _ => return None,
            })
        }
    };
}

services! {
    "etcdserverpb.KV" => KvServer,
    "etcdserverpb.Watch" => WatchServer,
    "etcdserverpb.Lease" => LeaseServer,
    "etcdserverpb.Cluster" => ClusterServer,
    "etcdserverpb.Auth" => AuthServer,
    "etcdserverpb.Maintenance" => MaintenanceServer,
    "v3lockpb.Lock" => LockServer,
    "v3electionpb.Election" => ElectionServer,
    "grpc.health.v1.Health" => HealthServer,
}

/// The calls over gRPC; other requests are not its own.
#[derive(Clone)]
pub struct Rpc {
    services: Arc<Services>,
}

impl Rpc {
    pub(in crate::etcd) fn new(front: Arc<Front>) -> Rpc {
        Rpc { services: Arc::new(Services { front }) }
    }

    /// Answers what is gRPC; `rest` answers everything else.
    pub fn before(self, rest: Router) -> Switch {
        Switch { rpc: self, rest }
    }

    async fn answer<B>(self, request: Request<B>) -> Response<Body>
    where
        B: HttpBody<Data = Bytes, Error: Into<BoxError> + Send> + Send + 'static,
    {
        let uri = request.uri().clone();
        let Some((service, method)) = called(&uri) else {
            let path = uri.path();
            return said(Status::unimplemented(format!("malformed method name: {path:?}")));
        };
        let deadline = match deadline::of(request.headers(), Instant::now()) {
            Ok(deadline) => deadline,
            // gRPC itself says so, and calls it an error of its own.
            Err(failure) => return said(Status::internal(failure.message)),
        };
        let Some(call) = call(self.services, service, request) else {
            return said(Status::unimplemented(format!("unknown service {service}")));
        };
        let Some(answer) = in_time(deadline, call).await else {
            return said(deadline::overdue().into());
        };
        let answer = answer.unwrap_or_else(|never| match never {});
        let headers = answer.headers();
        let code = headers.get(Status::GRPC_STATUS).map(|code| code.as_bytes());
        if code == Some(b"12") && !headers.contains_key(Status::GRPC_MESSAGE) {
            let text = format!("unknown method {method} for service {service}");
            return said(Status::unimplemented(text));
        }
        reworded(answer.map(Body::new))
    }
}

/// The service and the method.
fn called(uri: &Uri) -> Option<(&str, &str)> {
    uri.path().strip_prefix('/')?.rsplit_once('/')
}

/// None: it is over.
async fn in_time<T>(deadline: Option<Instant>, answer: impl Future<Output = T>) -> Option<T> {
    match deadline {
        Some(at) => timeout_at(at, answer).await.ok(),
        None => Some(answer.await),
    }
}

fn said(status: Status) -> Response<Body> {
    status.into_http()
}

/// gRPC is HTTP/2 with a content type of its own.
fn is_rpc(version: Version, headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE);
    version == Version::HTTP_2
        && kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

/// What answers all requests of a listener.
#[derive(Clone)]
pub struct Switch {
    rpc: Rpc,
    rest: Router,
}

impl<B> Service<Request<B>> for Switch
where
    B: HttpBody<Data = Bytes, Error: Into<BoxError> + Send> + Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future =
        Either<BoxFuture<'static, Result<Response<Body>, Infallible>>, RouteFuture<Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        if is_rpc(request.version(), request.headers()) {
            Either::Left(self.rpc.clone().answer(request).map(Ok).boxed())
        } else {
            Either::Right(self.rest.call(request))
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use futures::stream::pending;
    use tower::ServiceExt as _;

    use crate::cluster::Cluster;
    use crate::etcd::{Config, Counts};
    use crate::lifecycle::Life;
    use crate::model::NodeName;
    use crate::net::http::Requests;
    use crate::telemetry::Metrics;

    use super::*;

    fn switch() -> Switch {
        let cluster = Cluster::solo(NodeName::new("n1").unwrap());
        let requests = Requests::new(&Metrics::default());
        let front =
            Front::new(Config::default(), cluster, requests, Counts::default(), Life::default());
        Rpc::new(front).before(Router::new().route("/b/c", get(async || "the rest")))
    }

    async fn call(path: &str, timeout: Option<&str>, message: Body) -> (String, String) {
        let mut request = Request::post(path).version(Version::HTTP_2);
        request = request.header(CONTENT_TYPE, "application/grpc+proto");
        if let Some(timeout) = timeout {
            request = request.header("grpc-timeout", timeout);
        }
        let answer = switch().oneshot(request.body(message).unwrap()).await.unwrap();
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
        // The status of what succeeds comes after the message.
        let empty = || Body::from("\0\0\0\0\0");
        assert_eq!(call("/etcdserverpb.Maintenance/Status", None, empty()).await, said("", ""));
        let unknown = said("12", "unknown method Nope for service etcdserverpb.KV");
        assert_eq!(call("/etcdserverpb.KV/Nope", None, empty()).await, unknown);
        let service = said("12", "unknown service b.Service");
        assert_eq!(call("/b.Service/Nope", None, empty()).await, service);
        let malformed = said("12", "malformed method name: \"/nope\"");
        assert_eq!(call("/nope", None, empty()).await, malformed);
        let odd = said("13", "invalid grpc-timeout: soon");
        assert_eq!(call("/etcdserverpb.KV/Range", Some("soon"), empty()).await, odd);
        let late = said("4", "context deadline exceeded");
        let never = Body::from_stream(pending::<Result<Bytes, Infallible>>());
        assert_eq!(call("/etcdserverpb.KV/Range", Some("3S"), never).await, late);
    }

    #[tokio::test]
    async fn other_requests_go_to_the_rest() {
        for (path, version, status) in [
            ("/b/c", Version::HTTP_11, 200),
            ("/b/c", Version::HTTP_2, 200),
            ("/etcdserverpb.KV/Range", Version::HTTP_2, 404),
        ] {
            let request = Request::get(path).version(version).body(Body::empty()).unwrap();
            assert_eq!(switch().oneshot(request).await.unwrap().status(), status, "{path}");
        }
    }
}
