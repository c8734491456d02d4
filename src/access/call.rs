//! The calls of etcd's API, whichever protocol carries them, and what each of them takes.

/// What a call takes while accounts count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// Nothing.
    Open,
    /// To be a user.
    User,
    /// The role root.
    Root,
    /// By the message: the keys that it touches, or whom it is about.
    Message,
}

/// The calls with their rights: one table, so that none comes without.
macro_rules! calls {
    ($($call:ident: $right:ident,)*) => {
        /// One call of one of etcd's services.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Call {
            $($call,)*
        }

        impl Call {
            pub const ALL: &[Call] = &[$(Call::$call,)*];

            pub fn right(self) -> Right {
                match self {
                    $(Call::$call => Right::$right,)*
                }
            }
        }
    };
}

calls! {
    Range: Message,
    Put: Message,
    DeleteRange: Message,
    Txn: Message,
    Compact: Root,
    Watch: Message,
    LeaseGrant: Message,
    LeaseRevoke: Message,
    LeaseKeepAlive: Message,
    LeaseTimeToLive: Message,
    LeaseLeases: Message,
    MemberAdd: Root,
    MemberRemove: Root,
    MemberUpdate: Root,
    MemberList: User,
    MemberPromote: Root,
    // To look at alarms takes a user, to raise or clear one takes root.
    Alarm: Message,
    Status: Root,
    Defragment: Root,
    Hash: Root,
    HashKv: Root,
    Snapshot: Root,
    MoveLeader: Root,
    Downgrade: Root,
    AuthEnable: Root,
    AuthDisable: Root,
    AuthStatus: User,
    Authenticate: Open,
    UserAdd: Root,
    // Of oneself, or anybody's.
    UserGet: Message,
    UserList: Root,
    UserDelete: Root,
    UserChangePassword: Root,
    UserGrantRole: Root,
    UserRevokeRole: Root,
    RoleAdd: Root,
    // Of a role that one has, or any.
    RoleGet: Message,
    RoleList: Root,
    RoleDelete: Root,
    RoleGrantPermission: Root,
    RoleRevokePermission: Root,
    Lock: Message,
    Unlock: Message,
    Campaign: Message,
    Proclaim: Message,
    Leader: Message,
    Observe: Message,
    Resign: Message,
}
