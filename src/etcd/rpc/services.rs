//! Which call each of the services' methods is, and who answers it.

use tonic::{Request, Response, Status, Streaming};

use crate::access::Call;
use crate::etcd::proto::auth_server::Auth;
use crate::etcd::proto::cluster_server::Cluster;
use crate::etcd::proto::election_server::Election;
use crate::etcd::proto::kv_server::Kv;
use crate::etcd::proto::lease_server::Lease;
use crate::etcd::proto::lock_server::Lock;
use crate::etcd::proto::maintenance_server::Maintenance;
use crate::etcd::proto::watch_server::Watch;
use crate::etcd::proto::{
    LeaderRequest, LeaderResponse, LeaseKeepAliveRequest, LeaseKeepAliveResponse, SnapshotRequest,
    SnapshotResponse, WatchRequest, WatchResponse,
};
use crate::etcd::{auth, election, kv, lease, lock, maintenance, members, proto, watch};

use super::{Answers, Services};

/// A service: its calls of one question and one answer, each with its handler, and then the others.
macro_rules! service {
    ($service:ident:
     $($method:ident($asked:ident) -> $answer:ident: $call:ident, $handler:path;)*
     $({ $($streams:tt)* })?
    ) => {
        #[tonic::async_trait]
        impl $service for Services {
            $(async fn $method(
                &self,
                request: Request<proto::$asked>,
            ) -> Result<Response<proto::$answer>, Status> {
                self.unary(Call::$call, request, $handler).await
            })*
            $($($streams)*)?
        }
    };
}

service! { Kv:
    range(RangeRequest) -> RangeResponse: Range, kv::range;
    put(PutRequest) -> PutResponse: Put, kv::put;
    delete_range(DeleteRangeRequest) -> DeleteRangeResponse: DeleteRange, kv::delete_range;
    txn(TxnRequest) -> TxnResponse: Txn, kv::txn;
    compact(CompactionRequest) -> CompactionResponse: Compact, kv::compact;
}

service! { Lease:
    lease_grant(LeaseGrantRequest) -> LeaseGrantResponse: LeaseGrant, lease::grant;
    lease_revoke(LeaseRevokeRequest) -> LeaseRevokeResponse: LeaseRevoke, lease::revoke;
    lease_time_to_live(LeaseTimeToLiveRequest) -> LeaseTimeToLiveResponse: LeaseTimeToLive,
        lease::time_to_live;
    lease_leases(LeaseLeasesRequest) -> LeaseLeasesResponse: LeaseLeases, lease::leases;
    {
        type LeaseKeepAliveStream = Answers<LeaseKeepAliveResponse>;

        async fn lease_keep_alive(
            &self,
            request: Request<Streaming<LeaseKeepAliveRequest>>,
        ) -> Result<Response<Self::LeaseKeepAliveStream>, Status> {
            self.both_ways(Call::LeaseKeepAlive, request, lease::answers).await
        }
    }
}

service! { Watch:
    {
        type WatchStream = Answers<WatchResponse>;

        async fn watch(
            &self,
            request: Request<Streaming<WatchRequest>>,
        ) -> Result<Response<Self::WatchStream>, Status> {
            self.both_ways(Call::Watch, request, watch::answers).await
        }
    }
}

service! { Cluster:
    member_list(MemberListRequest) -> MemberListResponse: MemberList, members::list;
    member_add(MemberAddRequest) -> MemberAddResponse: MemberAdd, members::add;
    member_remove(MemberRemoveRequest) -> MemberRemoveResponse: MemberRemove,
        members::remove;
    member_update(MemberUpdateRequest) -> MemberUpdateResponse: MemberUpdate,
        members::update;
    member_promote(MemberPromoteRequest) -> MemberPromoteResponse: MemberPromote,
        members::promote;
}

service! { Auth:
    auth_enable(AuthEnableRequest) -> AuthEnableResponse: AuthEnable, auth::enable;
    auth_disable(AuthDisableRequest) -> AuthDisableResponse: AuthDisable, auth::disable;
    auth_status(AuthStatusRequest) -> AuthStatusResponse: AuthStatus, auth::status;
    authenticate(AuthenticateRequest) -> AuthenticateResponse: Authenticate, auth::authenticate;
    user_add(AuthUserAddRequest) -> AuthUserAddResponse: UserAdd, auth::add_user;
    user_get(AuthUserGetRequest) -> AuthUserGetResponse: UserGet, auth::user;
    user_list(AuthUserListRequest) -> AuthUserListResponse: UserList, auth::users;
    user_delete(AuthUserDeleteRequest) -> AuthUserDeleteResponse: UserDelete, auth::delete_user;
    user_change_password(AuthUserChangePasswordRequest) -> AuthUserChangePasswordResponse:
        UserChangePassword, auth::change_password;
    user_grant_role(AuthUserGrantRoleRequest) -> AuthUserGrantRoleResponse: UserGrantRole,
        auth::grant_role;
    user_revoke_role(AuthUserRevokeRoleRequest) -> AuthUserRevokeRoleResponse: UserRevokeRole,
        auth::revoke_role;
    role_add(AuthRoleAddRequest) -> AuthRoleAddResponse: RoleAdd, auth::add_role;
    role_get(AuthRoleGetRequest) -> AuthRoleGetResponse: RoleGet, auth::role;
    role_list(AuthRoleListRequest) -> AuthRoleListResponse: RoleList, auth::roles;
    role_delete(AuthRoleDeleteRequest) -> AuthRoleDeleteResponse: RoleDelete, auth::delete_role;
    role_grant_permission(AuthRoleGrantPermissionRequest) -> AuthRoleGrantPermissionResponse:
        RoleGrantPermission, auth::grant_permission;
    role_revoke_permission(AuthRoleRevokePermissionRequest) -> AuthRoleRevokePermissionResponse:
        RoleRevokePermission, auth::revoke_permission;
}

service! { Lock:
    lock(LockRequest) -> LockResponse: Lock, lock::lock;
    unlock(UnlockRequest) -> UnlockResponse: Unlock, lock::unlock;
}

service! { Election:
    campaign(CampaignRequest) -> CampaignResponse: Campaign, election::campaign;
    proclaim(ProclaimRequest) -> ProclaimResponse: Proclaim, election::proclaim;
    leader(LeaderRequest) -> LeaderResponse: Leader, election::leader;
    resign(ResignRequest) -> ResignResponse: Resign, election::resign;
    {
        type ObserveStream = Answers<LeaderResponse>;

        async fn observe(
            &self,
            request: Request<LeaderRequest>,
        ) -> Result<Response<Self::ObserveStream>, Status> {
            self.told(Call::Observe, request, election::observe).await
        }
    }
}

service! { Maintenance:
    alarm(AlarmRequest) -> AlarmResponse: Alarm, maintenance::alarm;
    status(StatusRequest) -> StatusResponse: Status, maintenance::status;
    defragment(DefragmentRequest) -> DefragmentResponse: Defragment, maintenance::defragment;
    hash(HashRequest) -> HashResponse: Hash, maintenance::hash;
    hash_kv(HashKvRequest) -> HashKvResponse: HashKv, maintenance::hash_kv;
    move_leader(MoveLeaderRequest) -> MoveLeaderResponse: MoveLeader, maintenance::move_leader;
    downgrade(DowngradeRequest) -> DowngradeResponse: Downgrade, maintenance::downgrade;
    {
        type SnapshotStream = Answers<SnapshotResponse>;

        async fn snapshot(
            &self,
            request: Request<SnapshotRequest>,
        ) -> Result<Response<Self::SnapshotStream>, Status> {
            self.told(Call::Snapshot, request, maintenance::snapshot).await
        }
    }
}
