//! Events as they go to any number of watches: each of their forms is made once, whoever asks for
//! it first, and copied from there.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use bytes::{Buf, BufMut, Bytes};
use prost::Message;
use prost::encoding::{DecodeContext, WireType};
use serde::de::Error as _;
use serde::ser::{Error as _, SerializeStruct as _};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};

use crate::model::{Revision, limits};
use crate::state::{Key, KeyEvent, PastEvent};

use super::kv::key_value;
use super::proto::KeyValue;

/// etcd's event. In the place of the generated one, which is encoded anew for every watch.
#[derive(Clone, Default)]
pub struct Event(Arc<Forms>);

#[derive(Default)]
struct Forms {
    body: Body,
    protobuf: OnceLock<Bytes>,
    json: OnceLock<Option<Box<RawValue>>>,
}

/// The fields of the message.
#[derive(Clone, PartialEq, Eq, Hash, Message)]
struct Body {
    /// 0: put, 1: deleted.
    #[prost(int32, tag = "1")]
    kind: i32,
    #[prost(message, optional, tag = "2")]
    kv: Option<KeyValue>,
    #[prost(message, optional, tag = "3")]
    prev_kv: Option<KeyValue>,
}

const PUT: i32 = 0;
const DELETE: i32 = 1;

impl Event {
    fn of(past: &PastEvent) -> Event {
        let PastEvent { revision, event: KeyEvent { key, row }, prev } = past;
        let (kind, kv) = match row {
            Some(row) => (PUT, key_value(key, row, false)),
            None => {
                let (key, mod_revision) = (key.clone(), *revision);
                (DELETE, KeyValue { key, mod_revision, ..KeyValue::default() })
            }
        };
        let prev_kv = prev.as_ref().map(|row| key_value(key, row, false));
        Event(Arc::new(Forms { body: Body { kind, kv: Some(kv), prev_kv }, ..Forms::default() }))
    }

    #[cfg(test)]
    pub fn is_put(&self) -> bool {
        self.0.body.kind == PUT
    }

    #[cfg(test)]
    pub fn kv(&self) -> &KeyValue {
        self.0.body.kv.as_ref().expect("an event of a key")
    }

    #[cfg(test)]
    pub fn prev_kv(&self) -> Option<&KeyValue> {
        self.0.body.prev_kv.as_ref()
    }

    fn protobuf(&self) -> &Bytes {
        self.0.protobuf.get_or_init(|| self.0.body.encode_to_vec().into())
    }

    /// Bytes that it keeps alive in all its forms, roughly.
    fn weight(&self) -> usize {
        let Body { kv, prev_kv, .. } = &self.0.body;
        let rows: usize = kv.iter().chain(prev_kv).map(|kv| kv.key.len() + kv.value.len()).sum();
        size_of::<Forms>() + 4 * rows
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.body.fmt(f)
    }
}

impl PartialEq for Event {
    fn eq(&self, other: &Event) -> bool {
        self.0.body == other.0.body
    }
}

impl Eq for Event {}

impl Hash for Event {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.body.hash(state);
    }
}

impl Message for Event {
    fn encode_raw(&self, buf: &mut impl BufMut) {
        buf.put_slice(self.protobuf());
    }

    fn merge_field(
        &mut self,
        tag: u32,
        wire_type: WireType,
        buf: &mut impl Buf,
        ctx: DecodeContext,
    ) -> Result<(), prost::DecodeError> {
        let mut body = self.0.body.clone();
        body.merge_field(tag, wire_type, buf, ctx)?;
        self.0 = Arc::new(Forms { body, ..Forms::default() });
        Ok(())
    }

    fn encoded_len(&self) -> usize {
        self.protobuf().len()
    }

    fn clear(&mut self) {
        *self = Event::default();
    }
}

impl Serialize for Event {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let json = self.0.json.get_or_init(|| to_raw_value(&self.0.body).ok());
        match json {
            Some(json) => json.serialize(serializer),
            None => Err(S::Error::custom("an event that is no JSON")),
        }
    }
}

impl<'de> Deserialize<'de> for Event {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Event, D::Error> {
        #[derive(Deserialize)]
        struct Written {
            #[serde(default, rename = "type")]
            kind: Option<String>,
            kv: Option<KeyValue>,
            prev_kv: Option<KeyValue>,
        }
        let Written { kind, kv, prev_kv } = Written::deserialize(deserializer)?;
        let kind = match kind.as_deref() {
            None | Some("PUT") => PUT,
            Some("DELETE") => DELETE,
            Some(other) => return Err(D::Error::custom(format!("{other:?} is no event"))),
        };
        Ok(Event(Arc::new(Forms { body: Body { kind, kv, prev_kv }, ..Forms::default() })))
    }
}

impl Serialize for Body {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut fields = serializer.serialize_struct("Event", 3)?;
        // What is zero is left out, and so the word for a put is never said.
        if self.kind == DELETE {
            fields.serialize_field("type", "DELETE")?;
        }
        if let Some(kv) = &self.kv {
            fields.serialize_field("kv", kv)?;
        }
        if let Some(prev_kv) = &self.prev_kv {
            fields.serialize_field("prev_kv", prev_kv)?;
        }
        fields.end()
    }
}

/// The newest events that watches were told of. Bounded: those of the oldest revisions go first.
#[derive(Default)]
pub(super) struct Events {
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    /// With what was before, or without.
    events: BTreeMap<(Revision, Key, bool), Event>,
    weight: usize,
}

impl Events {
    /// The same event for everyone who is told of it.
    pub fn of(&self, past: &PastEvent) -> Event {
        let place = (past.revision, past.event.key.clone(), past.prev.is_some());
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(event) = known.events.get(&place) {
            return event.clone();
        }
        let event = Event::of(past);
        known.weight += event.weight();
        known.events.insert(place, event.clone());
        while known.weight > limits::EVENTS_KNOWN {
            let Some((_, oldest)) = known.events.pop_first() else { break };
            known.weight -= oldest.weight();
        }
        event
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::model::LeaseId;
    use crate::state::KeyRow;

    fn row(value: &str) -> Arc<KeyRow> {
        let value = value.to_owned().into();
        Arc::new(KeyRow {
            value,
            create: 2,
            modified: 3,
            version: 2,
            lease: LeaseId::NONE,
            flags: 0,
            lock: None,
        })
    }

    fn past(revision: Revision, value: Option<&str>) -> PastEvent {
        let event = KeyEvent { key: "a".into(), row: value.map(row) };
        PastEvent { revision, event, prev: Some(row("before")) }
    }

    #[test]
    fn every_watch_is_told_the_same_bytes() {
        let events = Events::default();
        let (one, other) = (events.of(&past(3, Some("v"))), events.of(&past(3, Some("v"))));
        assert_eq!(one.protobuf().as_ptr(), other.protobuf().as_ptr());
        let plain = events.of(&PastEvent { prev: None, ..past(3, Some("v")) });
        assert!(plain.prev_kv().is_none() && one.prev_kv().is_some());
        let decoded = Event::decode(one.protobuf().clone()).expect("a message");
        assert_eq!(decoded, one);
    }

    #[test]
    fn as_json_a_put_has_no_type() {
        let events = Events::default();
        let before = json!({"key": "YQ==", "create_revision": "2", "mod_revision": "3",
            "version": "2", "value": "YmVmb3Jl"});
        let json = |event| serde_json::to_value(&event).expect("JSON");
        let mut kv = before.clone();
        kv["value"] = json!("dg==");
        assert_eq!(json(events.of(&past(3, Some("v")))), json!({"kv": kv, "prev_kv": before}));
        let gone = json!({"type": "DELETE", "kv": {"key": "YQ==", "mod_revision": "4"},
            "prev_kv": before});
        let event = events.of(&past(4, None));
        assert_eq!(serde_json::from_value::<Event>(gone.clone()).expect("an event"), event);
        assert_eq!(json(event), gone);
    }

    #[test]
    fn what_is_known_is_bounded() {
        let events = Events::default();
        let value = "x".repeat(limits::EVENTS_KNOWN / 40);
        for revision in 0..100 {
            events.of(&past(revision, Some(&value)));
        }
        let known = events.known.lock().expect("a lock");
        assert!(known.weight <= limits::EVENTS_KNOWN, "{}", known.weight);
        assert!(known.events.len() < 12 && known.events.contains_key(&(99, "a".into(), true)));
    }
}
