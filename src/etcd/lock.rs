//! etcd's Lock service.

use crate::state::{Command, DeleteRange};

use super::error::Failure;
use super::gate::Visit;
use super::kv::{header_now, propose, range_of};
use super::proto::{LockRequest, LockResponse, UnlockRequest, UnlockResponse};
use super::queue::{queue, without_code};

/// Returns once the lock is held: for as long as the lease lives, or until it is unlocked.
pub(super) async fn lock(visit: Visit, request: LockRequest) -> Result<LockResponse, Failure> {
    let turn = queue(&visit, &request.name, request.lease, &Default::default()).await;
    let turn = turn.map_err(without_code)?;
    Ok(LockResponse { header: Some(header_now(&visit.front)), key: turn.key })
}

/// One that nobody holds is no error.
pub(super) async fn unlock(
    visit: Visit,
    request: UnlockRequest,
) -> Result<UnlockResponse, Failure> {
    let range = range_of(&request.key, &Default::default()).map_err(without_code)?;
    let delete = Command::DeleteRange(DeleteRange { range, prev_kv: false });
    propose(&visit, delete).await.map_err(without_code)?;
    Ok(UnlockResponse { header: Some(header_now(&visit.front)) })
}
