//! What filters may select in each kind of row, and what may be asked of it.

use super::tree::Operator;

/// The type of a field.
#[derive(Debug, PartialEq, Eq)]
pub enum Kind {
    Text,
    Number,
    Truth,
    /// A list of texts.
    Texts,
    /// Fields of one kind, by names that are not known before.
    Map(&'static Kind),
    Part(Fields),
    /// A list of parts: what is asked of it is asked of any.
    Parts(Fields),
}

pub type Fields = &'static [(&'static str, Kind)];

use Kind::{Map, Number, Part, Parts, Text, Texts, Truth};

impl Kind {
    pub fn takes(&self, operator: Operator) -> bool {
        use Operator as O;
        match self {
            Text => !matches!(operator, O::IsEmpty | O::IsNotEmpty),
            Number | Truth => matches!(operator, O::Equal | O::NotEqual),
            Texts | Map(_) => {
                matches!(operator, O::In | O::NotIn | O::IsEmpty | O::IsNotEmpty)
            }
            Parts(_) => matches!(operator, O::IsEmpty | O::IsNotEmpty),
            Part(_) => false,
        }
    }
}

const WORDS: Kind = Map(&Text);
const ADDRESSES: Kind = Map(&Part(&[("Address", Text), ("Port", Number)]));
const WEIGHTS: Kind = Part(&[("Passing", Number), ("Warning", Number)]);
const CONNECT: Kind = Part(&[("Native", Truth)]);
const MODE: Kind = Part(&[("Mode", Text)]);
/// Of the service mesh: known, and never set.
const PROXY: Kind = Part(&[
    ("DestinationServiceID", Text),
    ("DestinationServiceName", Text),
    ("LocalServiceAddress", Text),
    ("LocalServicePort", Number),
    ("MeshGateway", MODE),
    (
        "Upstreams",
        Parts(&[
            ("Datacenter", Text),
            ("DestinationName", Text),
            ("DestinationNamespace", Text),
            ("DestinationType", Text),
            ("LocalBindAddress", Text),
            ("LocalBindPort", Number),
            ("MeshGateway", MODE),
        ]),
    ),
]);

/// Of an agent or a node.
pub const SERVICE: Fields = &[
    ("Address", Text),
    ("Connect", CONNECT),
    ("EnableTagOverride", Truth),
    ("ID", Text),
    ("Kind", Text),
    ("Meta", WORDS),
    ("Port", Number),
    ("Proxy", PROXY),
    ("Service", Text),
    ("TaggedAddresses", ADDRESSES),
    ("Tags", Texts),
    ("Weights", WEIGHTS),
];

pub const CHECK: Fields = &[
    ("CheckID", Text),
    ("Interval", Text),
    ("Name", Text),
    ("Node", Text),
    ("Notes", Text),
    ("Output", Text),
    ("ServiceID", Text),
    ("ServiceName", Text),
    ("ServiceTags", Texts),
    ("Status", Text),
    ("Timeout", Text),
    ("Type", Text),
];

pub const NODE: Fields = &[
    ("Address", Text),
    ("Datacenter", Text),
    ("ID", Text),
    ("Meta", WORDS),
    ("Node", Text),
    ("TaggedAddresses", WORDS),
];

/// A row of `health/service`.
pub const HEALTH: Fields =
    &[("Checks", Parts(CHECK)), ("Node", Part(NODE)), ("Service", Part(SERVICE))];

/// A row of `catalog/service`.
pub const SERVICE_NODE: Fields = &[
    ("Address", Text),
    ("Datacenter", Text),
    ("ID", Text),
    ("Node", Text),
    ("NodeMeta", WORDS),
    ("ServiceAddress", Text),
    ("ServiceConnect", CONNECT),
    ("ServiceEnableTagOverride", Truth),
    ("ServiceID", Text),
    ("ServiceKind", Text),
    ("ServiceMeta", WORDS),
    ("ServiceName", Text),
    ("ServicePort", Number),
    ("ServiceProxy", PROXY),
    ("ServiceTaggedAddresses", ADDRESSES),
    ("ServiceTags", Texts),
    ("ServiceWeights", WEIGHTS),
    ("TaggedAddresses", WORDS),
];

/// A row of `agent/members`.
pub const MEMBER: Fields = &[
    ("Addr", Text),
    ("DelegateCur", Number),
    ("DelegateMax", Number),
    ("DelegateMin", Number),
    ("Name", Text),
    ("Port", Number),
    ("ProtocolCur", Number),
    ("ProtocolMax", Number),
    ("ProtocolMin", Number),
    ("Status", Number),
    ("Tags", WORDS),
];
