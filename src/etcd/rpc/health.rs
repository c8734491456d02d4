//! gRPC's own health service: whether calls may be sent here.

use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, StreamExt as _};
use tokio::time::sleep;
use tonic::{Request, Response, Status};

use crate::cluster::Consistency;
use crate::etcd::Front;
use crate::etcd::error::{Code, Failure};
use crate::etcd::proto::healthpb::health_check_response::ServingStatus;
use crate::etcd::proto::healthpb::health_server::Health;
use crate::etcd::proto::healthpb::{HealthCheckRequest, HealthCheckResponse};

use super::{Answers, Services, answers};

/// How often it is looked for who watches.
const LOOK: Duration = Duration::from_secs(1);

/// An agent that has a state answers. Only of the whole can be asked, as of etcd.
async fn serving(front: &Front, service: &str) -> ServingStatus {
    if !service.is_empty() {
        return ServingStatus::ServiceUnknown;
    }
    match front.cluster.read(Consistency::Local).await {
        Ok(_) => ServingStatus::Serving,
        Err(_) => ServingStatus::NotServing,
    }
}

fn told(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}

#[tonic::async_trait]
impl Health for Services {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        self.answered(match serving(&self.front, &request.get_ref().service).await {
            ServingStatus::ServiceUnknown => Err(Failure::new(Code::NotFound, "unknown service")),
            status => Ok(told(status)),
        })
    }

    type WatchStream = Answers<HealthCheckResponse>;

    /// As it is now, and then every change.
    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let (front, service) = (self.front.clone(), request.into_inner().service);
        let changes = stream::unfold((front, service, None), async |(front, service, last)| {
            let status = changed(&front, &service, last).await?;
            Some((Ok(told(status)), (front, service, Some(status))))
        });
        self.answered(Ok(answers(changes.boxed())))
    }
}

/// The status once it is another than the last; none when the agent stops.
async fn changed(
    front: &Arc<Front>,
    service: &str,
    last: Option<ServingStatus>,
) -> Option<ServingStatus> {
    loop {
        let status = serving(front, service).await;
        if Some(status) != last {
            return Some(status);
        }
        tokio::select! {
            () = sleep(LOOK) => {}
            () = front.life.shutdown.begun() => return None,
        }
    }
}
