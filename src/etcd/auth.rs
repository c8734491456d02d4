//! etcd's Auth service: users, roles, permissions, and tokens for passwords.

use std::sync::Arc;

use zeroize::Zeroizing;

use crate::access::{AccountCommand, AccountError, Kind, Need, Permission, Role, User};
use crate::cluster::Consistency;
use crate::model::KeyRange;
use crate::state::{Command, State};

use super::error::Failure;
use super::gate::Visit;
use super::kv::{header, header_now, propose};
use super::proto::*;

/// Has the leader change accounts.
async fn change(visit: &Visit, command: AccountCommand) -> Result<ResponseHeader, Failure> {
    propose(visit, Command::Account(command)).await?;
    Ok(header_now(&visit.front))
}

async fn read(visit: &Visit) -> Result<Arc<State>, Failure> {
    Ok(visit.front.cluster.read(Consistency::Linearizable).await?)
}

pub(super) async fn enable(
    visit: Visit,
    _: AuthEnableRequest,
) -> Result<AuthEnableResponse, Failure> {
    let header = change(&visit, AccountCommand::Enable).await?;
    Ok(AuthEnableResponse { header: Some(header) })
}

pub(super) async fn disable(
    visit: Visit,
    _: AuthDisableRequest,
) -> Result<AuthDisableResponse, Failure> {
    let header = change(&visit, AccountCommand::Disable).await?;
    Ok(AuthDisableResponse { header: Some(header) })
}

pub(super) async fn status(
    visit: Visit,
    _: AuthStatusRequest,
) -> Result<AuthStatusResponse, Failure> {
    let state = read(&visit).await?;
    visit.may(&state, Need::User)?;
    let accounts = state.accounts();
    Ok(AuthStatusResponse {
        header: Some(header(&visit.front, &state)),
        enabled: accounts.enabled(),
        auth_revision: accounts.revision(),
    })
}

/// A token for who knows the password.
pub(super) async fn authenticate(
    visit: Visit,
    request: AuthenticateRequest,
) -> Result<AuthenticateResponse, Failure> {
    let password = Zeroizing::new(request.password);
    let token = visit.front.cluster.login(&request.name, password).await?;
    Ok(AuthenticateResponse { header: Some(header_now(&visit.front)), token })
}

/// The hash that a request brings is etcd's own affair: here the password is hashed.
pub(super) async fn add_user(
    visit: Visit,
    request: AuthUserAddRequest,
) -> Result<AuthUserAddResponse, Failure> {
    let has_none = request.options.is_some_and(|options| options.no_password);
    let hash = match has_none {
        true => None,
        false => {
            let password = Zeroizing::new(request.password);
            Some(visit.front.cluster.hash_password(password).await?)
        }
    };
    let command = AccountCommand::UserAdd { name: request.name.into(), hash };
    let header = change(&visit, command).await?;
    Ok(AuthUserAddResponse { header: Some(header) })
}

pub(super) async fn delete_user(
    visit: Visit,
    request: AuthUserDeleteRequest,
) -> Result<AuthUserDeleteResponse, Failure> {
    let header = change(&visit, AccountCommand::UserDelete(request.name.into())).await?;
    Ok(AuthUserDeleteResponse { header: Some(header) })
}

pub(super) async fn change_password(
    visit: Visit,
    request: AuthUserChangePasswordRequest,
) -> Result<AuthUserChangePasswordResponse, Failure> {
    let password = Zeroizing::new(request.password);
    let hash = visit.front.cluster.hash_password(password).await?;
    let command = AccountCommand::ChangePassword { name: request.name.into(), hash };
    let header = change(&visit, command).await?;
    Ok(AuthUserChangePasswordResponse { header: Some(header) })
}

pub(super) async fn grant_role(
    visit: Visit,
    request: AuthUserGrantRoleRequest,
) -> Result<AuthUserGrantRoleResponse, Failure> {
    let (user, role) = (request.user.into(), request.role.into());
    let header = change(&visit, AccountCommand::GrantRole { user, role }).await?;
    Ok(AuthUserGrantRoleResponse { header: Some(header) })
}

pub(super) async fn revoke_role(
    visit: Visit,
    request: AuthUserRevokeRoleRequest,
) -> Result<AuthUserRevokeRoleResponse, Failure> {
    let (user, role) = (request.name.into(), request.role.into());
    let header = change(&visit, AccountCommand::RevokeRole { user, role }).await?;
    Ok(AuthUserRevokeRoleResponse { header: Some(header) })
}

/// Users may look at themselves.
pub(super) async fn user(
    visit: Visit,
    request: AuthUserGetRequest,
) -> Result<AuthUserGetResponse, Failure> {
    let state = read(&visit).await?;
    visit.may(&state, Need::Oneself(&request.name))?;
    let user = state.accounts().user(&request.name);
    let User { roles, .. } = user.ok_or(AccountError::NoUser)?.as_ref();
    let roles = roles.iter().map(ToString::to_string).collect();
    Ok(AuthUserGetResponse { header: Some(header(&visit.front, &state)), roles })
}

pub(super) async fn users(
    visit: Visit,
    _: AuthUserListRequest,
) -> Result<AuthUserListResponse, Failure> {
    let state = read(&visit).await?;
    visit.may(&state, Need::Root)?;
    let users = state.accounts().users().map(|(name, _)| name.to_string()).collect();
    Ok(AuthUserListResponse { header: Some(header(&visit.front, &state)), users })
}

pub(super) async fn add_role(
    visit: Visit,
    request: AuthRoleAddRequest,
) -> Result<AuthRoleAddResponse, Failure> {
    let header = change(&visit, AccountCommand::RoleAdd(request.name.into())).await?;
    Ok(AuthRoleAddResponse { header: Some(header) })
}

pub(super) async fn delete_role(
    visit: Visit,
    request: AuthRoleDeleteRequest,
) -> Result<AuthRoleDeleteResponse, Failure> {
    let header = change(&visit, AccountCommand::RoleDelete(request.role.into())).await?;
    Ok(AuthRoleDeleteResponse { header: Some(header) })
}

/// Users may look at the roles that they have.
pub(super) async fn role(
    visit: Visit,
    request: AuthRoleGetRequest,
) -> Result<AuthRoleGetResponse, Failure> {
    let state = read(&visit).await?;
    visit.may(&state, Need::RoleOf(&request.role))?;
    let role = state.accounts().role(&request.role);
    let Role { permissions } = role.ok_or(AccountError::NoRole)?.as_ref();
    let perm = permissions.iter().map(|permission| authpb::Permission {
        perm_type: match permission.kind {
            Kind::Read => 0,
            Kind::Write => 1,
            Kind::ReadWrite => 2,
        },
        key: permission.range.key.clone(),
        range_end: permission.range.end.clone(),
    });
    let perm = perm.collect();
    Ok(AuthRoleGetResponse { header: Some(header(&visit.front, &state)), perm })
}

pub(super) async fn roles(
    visit: Visit,
    _: AuthRoleListRequest,
) -> Result<AuthRoleListResponse, Failure> {
    let state = read(&visit).await?;
    visit.may(&state, Need::Root)?;
    let roles = state.accounts().roles().map(|(name, _)| name.to_string()).collect();
    Ok(AuthRoleListResponse { header: Some(header(&visit.front, &state)), roles })
}

pub(super) async fn grant_permission(
    visit: Visit,
    request: AuthRoleGrantPermissionRequest,
) -> Result<AuthRoleGrantPermissionResponse, Failure> {
    let Some(perm) = request.perm else {
        return Err(Failure::invalid("etcdserver: permission not given"));
    };
    let kind = match perm.perm_type {
        0 => Kind::Read,
        1 => Kind::Write,
        2 => Kind::ReadWrite,
        _ => return Err(AccountError::Invalid.into()),
    };
    let permission = Permission { kind, range: KeyRange { key: perm.key, end: perm.range_end } };
    let command = AccountCommand::GrantPermission { role: request.name.into(), permission };
    let header = change(&visit, command).await?;
    Ok(AuthRoleGrantPermissionResponse { header: Some(header) })
}

pub(super) async fn revoke_permission(
    visit: Visit,
    request: AuthRoleRevokePermissionRequest,
) -> Result<AuthRoleRevokePermissionResponse, Failure> {
    let range = KeyRange { key: request.key, end: request.range_end };
    let command = AccountCommand::RevokePermission { role: request.role.into(), range };
    let header = change(&visit, command).await?;
    Ok(AuthRoleRevokePermissionResponse { header: Some(header) })
}
