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

/// What a path of the HTTP APIs is about, and so who may ask for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Area {
    /// Whether there is an agent at all, and who leads.
    Open,
    /// By the keys that it touches.
    Keys,
    /// Takes to be a user. What holds keys is judged by those where it is ended or kept.
    Users,
    /// Nodes, services, checks: nothing that users and roles know of.
    Catalog,
    /// Members, snapshots, settings: takes the role root.
    Operator,
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
