//! The gate that every call goes through, over gRPC and through the gateway: which call it is, and
//! who asks.

use std::sync::Arc;

use http::{Extensions, HeaderMap};

use crate::access::{Call, Denied, Need, Right, Rights};
use crate::cluster::{Asker, Consistency, Credential};
use crate::net::http::ClientName;
use crate::state::State;

use super::Front;
use super::error::{Code, Failure};

/// gRPC: metadata `token`, else `authorization`, else the certificate.
pub(super) fn credential_of_rpc(headers: &HeaderMap, extensions: &Extensions) -> Credential {
    let token = token(headers, "token").or_else(|| token(headers, "authorization"));
    let name = || extensions.get::<ClientName>().map(|name| Credential::Name(name.0.clone()));
    token.or_else(name).unwrap_or(Credential::Nothing)
}

/// The gateway, which takes no names from certificates.
pub(super) fn credential_of_gateway(headers: &HeaderMap) -> Credential {
    let token = token(headers, "grpc-metadata-token").or_else(|| token(headers, "authorization"));
    token.unwrap_or(Credential::Nothing)
}

/// With `Bearer` in front of it or without. What is no text is no token that was ever given out.
fn token(headers: &HeaderMap, name: &str) -> Option<Credential> {
    let value = headers.get(name)?;
    let token = String::from_utf8_lossy(value.as_bytes());
    Some(Credential::Token(token.strip_prefix("Bearer ").unwrap_or(&token).into()))
}

/// One call of one caller, past the gate.
#[derive(Clone)]
pub(super) struct Visit {
    pub front: Arc<Front>,
    pub asker: Asker,
}

impl Visit {
    /// Lets a call in, or says why not. What depends on the message is judged by who reads it.
    pub async fn begin(
        front: &Arc<Front>,
        call: Call,
        credential: Credential,
    ) -> Result<Visit, Failure> {
        let asker = front.cluster.asker(&credential).await?;
        let visit = Visit { front: front.clone(), asker };
        let need = match call.right() {
            Right::Open | Right::Message => return Ok(visit),
            Right::User => Need::User,
            Right::Root => Need::Root,
        };
        // What has not been heard of yet may forbid it.
        let state = visit.front.cluster.read(Consistency::Local).await?;
        match state.judge(&visit.asker.caller, need) {
            Ok(()) => Ok(visit),
            Err(denied) => Err(refused(call, denied)),
        }
    }

    /// What the caller may do, as the state knows it that its question is answered from.
    pub fn rights<'a>(&'a self, state: &'a State) -> Result<Rights<'a>, Failure> {
        Ok(state.rights(&self.asker.caller)?)
    }

    /// Whether it may do one thing.
    pub fn may(&self, state: &State, need: Need<'_>) -> Result<(), Failure> {
        Ok(state.judge(&self.asker.caller, need)?)
    }
}

/// Four of the calls to maintain a server have words of their own (as of etcd 3.5).
fn refused(call: Call, denied: Denied) -> Failure {
    let failure = Failure::from(denied);
    match call {
        Call::Hash | Call::HashKv | Call::Defragment | Call::Snapshot => {
            let text = failure.message.replacen("etcdserver: ", "auth: ", 1);
            Failure::new(Code::Unknown, text)
        }
        _ => failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Pairs = &'static [(&'static str, &'static str)];

    fn headers(pairs: Pairs) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| ((*name).parse().unwrap(), value.parse().unwrap()))
            .collect()
    }

    #[test]
    fn each_protocol_has_its_places_for_who_asks() {
        let token = |token: &str| Credential::Token(token.into());
        let nobody = Extensions::new();
        let mut known = Extensions::new();
        known.insert(ClientName("web".into()));
        let table: [(Pairs, Credential, Credential); 6] = [
            (&[], Credential::Nothing, Credential::Nothing),
            (&[("token", "a")], token("a"), Credential::Nothing),
            (&[("authorization", "b")], token("b"), token("b")),
            (&[("authorization", "Bearer b")], token("b"), token("b")),
            (&[("token", "a"), ("authorization", "b")], token("a"), token("b")),
            (&[("grpc-metadata-token", "c"), ("authorization", "b")], token("b"), token("c")),
        ];
        for (pairs, rpc, gateway) in table {
            let headers = headers(pairs);
            assert_eq!(credential_of_rpc(&headers, &nobody), rpc, "{pairs:?}");
            assert_eq!(credential_of_gateway(&headers), gateway, "{pairs:?}");
            // A token says more than the certificate, of which the gateway takes no notice.
            let named =
                if rpc == Credential::Nothing { Credential::Name("web".into()) } else { rpc };
            assert_eq!(credential_of_rpc(&headers, &known), named, "{pairs:?}");
        }
    }
}
