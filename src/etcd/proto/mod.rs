//! etcd's messages, as protobuf and as JSON; made from the definitions beside them, which a test of
//! the house compares.

/// KV, Lease, Watch, Cluster, Maintenance and Auth.
#[allow(clippy::all, clippy::pedantic, unused_qualifications, reason = "generated code")]
#[rustfmt::skip]
pub mod etcdserverpb {
    include!("generated/etcdserverpb.rs");
    include!("generated/etcdserverpb.serde.rs");
}

/// Keys and what happened to them.
#[allow(clippy::all, clippy::pedantic, unused_qualifications, reason = "generated code")]
#[rustfmt::skip]
pub mod mvccpb {
    include!("generated/mvccpb.rs");
    include!("generated/mvccpb.serde.rs");
}

/// Users and roles.
#[allow(clippy::all, clippy::pedantic, unused_qualifications, reason = "generated code")]
#[rustfmt::skip]
pub mod authpb {
    include!("generated/authpb.rs");
    include!("generated/authpb.serde.rs");
}

/// Lock.
#[allow(clippy::all, clippy::pedantic, unused_qualifications, reason = "generated code")]
#[rustfmt::skip]
pub mod v3lockpb {
    include!("generated/v3lockpb.rs");
    include!("generated/v3lockpb.serde.rs");
}

/// Election.
#[allow(clippy::all, clippy::pedantic, unused_qualifications, reason = "generated code")]
#[rustfmt::skip]
pub mod v3electionpb {
    include!("generated/v3electionpb.rs");
    include!("generated/v3electionpb.serde.rs");
}

/// gRPC's own health service, which has no JSON.
#[allow(clippy::all, clippy::pedantic, unused_qualifications, reason = "generated code")]
#[rustfmt::skip]
pub mod healthpb {
    include!("generated/grpc.health.v1.rs");
}

pub use etcdserverpb::*;
pub use mvccpb::KeyValue;
pub use v3electionpb::*;
pub use v3lockpb::*;
