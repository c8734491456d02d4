//! Decides what is said to who would have an older etcd: there is none to go back to.

use crate::etcd::error::{Code, Failure};
use crate::etcd::gate::Visit;
use crate::etcd::proto::downgrade_request::DowngradeAction;
use crate::etcd::proto::{DowngradeRequest, DowngradeResponse};

pub(in crate::etcd) async fn downgrade(
    _: Visit,
    request: DowngradeRequest,
) -> Result<DowngradeResponse, Failure> {
    Err(refused(&request))
}

pub(super) fn refused(request: &DowngradeRequest) -> Failure {
    match DowngradeAction::try_from(request.action) {
        Ok(DowngradeAction::Validate | DowngradeAction::Enable) => {
            Failure::invalid(match is_version(&request.version) {
                true => "etcdserver: invalid downgrade target version",
                false => "etcdserver: wrong downgrade target version format",
            })
        }
        Ok(DowngradeAction::Cancel) => {
            Failure::new(Code::FailedPrecondition, "etcdserver: no inflight downgrade job")
        }
        Err(_) => unknown(),
    }
}

fn unknown() -> Failure {
    Failure::new(Code::Unknown, "etcdserver: unknown method")
}

/// The gateway cannot read a number that names no action.
pub(in crate::etcd) fn without_action(failure: Failure) -> Failure {
    if failure.message.contains("invalid value: integer") { unknown() } else { failure }
}

/// `X.Y` or `X.Y.Z`.
fn is_version(text: &str) -> bool {
    let parts: Vec<&str> = text.split('.').collect();
    let number = |part: &&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    matches!(parts.len(), 2 | 3) && parts.iter().all(number)
}
