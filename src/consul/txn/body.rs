//! Turns the body of `/v1/txn` into operations.

use bytes::Bytes;
use http::StatusCode;

use crate::consul::decode::{self, DecodeError, Fields};
use crate::consul::entry;
use crate::consul::error::Failure;
use crate::consul::session;
use crate::model::{Folded, Revision, SessionId};
use crate::state::{CheckKey, CheckPut, InstanceKey, KeyOp, KeyPut, NodeDef, RowOp, SequenceOp};

/// An operation as it was asked for.
pub struct Wanted {
    pub op: Result<SequenceOp, Flaw>,
    /// What it does is a read by its verb; one that nobody knows counts as what its kind does then.
    reads: bool,
    /// The key, or the node, as it was written.
    pub name: String,
    /// The session, as it was written.
    pub session: String,
}

/// What makes an operation none.
#[derive(Debug, Clone)]
pub struct Flaw {
    pub what: String,
    /// It is seen before anything is tried.
    pub early: bool,
}

impl Flaw {
    fn early(what: impl Into<String>) -> Flaw {
        Flaw { what: what.into(), early: true }
    }

    fn late(what: impl Into<String>) -> Flaw {
        Flaw { what: what.into(), early: false }
    }
}

impl Wanted {
    pub fn is_read(&self) -> bool {
        self.reads
    }
}

/// At most so many operations, with values of at most so many bytes. Objects without an operation
/// are left out; of several in one object the first kind counts.
pub fn decode(body: &[u8], most: usize, value_limit: usize) -> Result<Vec<Wanted>, Failure> {
    let unread = |error: DecodeError| Failure::bad(format!("Failed to parse body: {error}"));
    let mut wanted = Vec::new();
    let objects = decode::objects(body, "api.TxnOp", "api.TxnOps").map_err(unread)?;
    let count = objects.len();
    for mut object in objects {
        wanted.extend(operation(&mut object).map_err(unread)?);
        object.finish().map_err(unread)?;
    }
    if count > most {
        let text = format!("Transaction contains too many operations ({count} > {most})");
        return Err(Failure::new(StatusCode::PAYLOAD_TOO_LARGE, text));
    }
    let long = wanted.iter().find_map(|wanted| {
        let len = put_of(wanted)?.value.len();
        (len > value_limit).then_some((&wanted.name, len))
    });
    match long {
        None => Ok(wanted),
        Some((key, len)) => Err(Failure::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("Value for key {key:?} is too large ({len} > {value_limit} bytes)"),
        )),
    }
}

fn put_of(wanted: &Wanted) -> Option<&KeyPut> {
    match &wanted.op {
        Ok(SequenceOp::Key(_, KeyOp::Set(put) | KeyOp::Cas(put, _))) => Some(put),
        Ok(SequenceOp::Key(_, KeyOp::Lock(put, _) | KeyOp::Unlock(put, _))) => Some(put),
        _ => None,
    }
}

fn operation(object: &mut Fields) -> Result<Option<Wanted>, DecodeError> {
    let key = object.object(&["KV"], "api.KVTxnOp")?.map(key).transpose()?;
    let node = object.object(&["Node"], "api.NodeTxnOp")?.map(node).transpose()?;
    let service = object.object(&["Service"], "api.ServiceTxnOp")?;
    let service = service.map(instance).transpose()?;
    let check = object.object(&["Check"], "api.CheckTxnOp")?.map(check).transpose()?;
    Ok(key.or(node).or(service).or(check))
}

fn key(mut fields: Fields) -> Result<Wanted, DecodeError> {
    let verb = fields.text_of(&["Verb"], "api.KVOp")?;
    let name = fields.string(&["Key"])?;
    let put = KeyPut {
        value: Bytes::from(fields.bytes(&["Value"])?),
        flags: fields.unsigned(&["Flags"])?,
    };
    let index = fields.unsigned(&["Index"])?;
    let session = fields.string(&["Session"])?;
    fields.skip(&["Namespace", "Partition"]);
    fields.finish()?;
    let op = match key_op(&verb, put, index, &session) {
        _ if name.is_empty() && verb != "delete-tree" => Err(Flaw::early("Must provide key")),
        op => op.map(|op| SequenceOp::Key(Bytes::from(name.clone().into_bytes()), op)),
    };
    const WRITES: [&str; 7] =
        ["set", "cas", "lock", "unlock", "delete", "delete-tree", "delete-cas"];
    Ok(Wanted { op, reads: !WRITES.contains(&verb.as_str()), name, session })
}

fn key_op(verb: &str, put: KeyPut, index: u64, session: &str) -> Result<KeyOp, Flaw> {
    // No revision is above what an i64 holds, so a larger one matches nothing, like the largest.
    let at = Revision::try_from(index).unwrap_or(Revision::MAX);
    // What cannot be a session's id is nobody's.
    let named = session::id(session);
    let or_nobody = named.unwrap_or(SessionId::NOBODY);
    Ok(match verb {
        "get" => KeyOp::Get,
        "get-or-empty" => KeyOp::GetOrEmpty,
        "get-tree" => KeyOp::GetTree,
        "set" => KeyOp::Set(put),
        "cas" => KeyOp::Cas(put, at),
        "lock" | "unlock" if session.is_empty() => return Err(Flaw::late("missing session")),
        "lock" => KeyOp::Lock(put, named.map_err(Flaw::late)?),
        "unlock" => KeyOp::Unlock(put, or_nobody),
        "delete" => KeyOp::Delete,
        "delete-tree" => KeyOp::DeleteTree,
        "delete-cas" => KeyOp::DeleteCas(at),
        "check-index" => KeyOp::CheckIndex(at),
        "check-session" => KeyOp::CheckSession((!session.is_empty()).then_some(or_nobody)),
        "check-not-exists" => KeyOp::CheckAbsent,
        other => return Err(Flaw::late(format!("unknown KV verb {other:?}"))),
    })
}

/// What is done to a row of the catalog, by its verb.
fn row_op<T>(kind: &str, verb: &str, def: T, index: u64) -> Result<RowOp<T>, Flaw> {
    Ok(match verb {
        "get" => RowOp::Get,
        "set" => RowOp::Set(def),
        "cas" => RowOp::Cas(def, index),
        "delete" => RowOp::Delete,
        "delete-cas" => RowOp::DeleteCas(index),
        other => return Err(Flaw::late(format!("unknown {kind} verb {other:?}"))),
    })
}

fn node(mut fields: Fields) -> Result<Wanted, DecodeError> {
    let verb = fields.text_of(&["Verb"], "api.NodeOp")?;
    let mut of = fields.object(&["Node"], "api.Node")?.unwrap_or_default();
    fields.finish()?;
    let def = NodeDef {
        name: of.string(&["Node"])?.into(),
        agent: None,
        uuid: of.string(&["ID"])?,
        address: of.string(&["Address"])?.into(),
        tagged_addresses: of.map(&["TaggedAddresses"])?,
        meta: of.map(&["Meta"])?,
        presence_ttl: Default::default(),
    };
    let index = of.unsigned(&["ModifyIndex"])?;
    of.skip(&["Datacenter", "CreateIndex", "Partition", "PeerName", "Locality"]);
    of.finish()?;
    let name = def.name.to_string();
    let flaw = match entry::node_id_flaw(&def.uuid) {
        _ if verb == "get" => None,
        _ if name.is_empty() => Some("Must provide node"),
        flaw => flaw,
    };
    let op = match flaw {
        Some(flaw) => Err(Flaw::early(flaw)),
        None => {
            row_op("Node", &verb, def, index).map(|op| SequenceOp::Node(Folded::new(&name), op))
        }
    };
    Ok(Wanted { op, reads: verb == "get", name, session: String::new() })
}

fn instance(mut fields: Fields) -> Result<Wanted, DecodeError> {
    let verb = fields.text_of(&["Verb"], "api.ServiceOp")?;
    let name = fields.string(&["Node"])?;
    let mut of = fields.object(&["Service"], "api.AgentService")?.unwrap_or_default();
    fields.skip(&["Partition"]);
    fields.finish()?;
    let index = of.unsigned(&["ModifyIndex"])?;
    of.skip(&["ContentHash", "Datacenter", "Namespace", "Partition"]);
    let (def, _) = entry::service(of)?;
    let flaw = match &*def.address {
        _ if verb == "get" => None,
        _ if def.name.is_empty() => Some("Must provide service name with ID"),
        "0.0.0.0" | "::" | "[::]" => Some("Invalid service address"),
        _ => None,
    };
    let key = InstanceKey::new(&Folded::new(&name), &def.id);
    let op = match flaw {
        Some(flaw) => Err(Flaw::early(flaw)),
        None => row_op("Service", &verb, def, index).map(|op| SequenceOp::Instance(key, op)),
    };
    Ok(Wanted { op, reads: verb == "get", name, session: String::new() })
}

fn check(mut fields: Fields) -> Result<Wanted, DecodeError> {
    let verb = fields.text_of(&["Verb"], "api.CheckOp")?;
    let mut of = fields.object(&["Check"], "api.HealthCheck")?.unwrap_or_default();
    fields.finish()?;
    let index = of.unsigned(&["ModifyIndex"])?;
    of.skip(&["Namespace", "Partition"]);
    let entry::Check { def, node, status, output } = entry::check(of)?;
    let key = CheckKey::new(&Folded::new(&node), &def.id);
    let op = row_op("Check", &verb, CheckPut { def, status, output }, index);
    let op = op.map(|op| SequenceOp::Check(key, op));
    Ok(Wanted { op, reads: verb == "get", name: node, session: String::new() })
}
