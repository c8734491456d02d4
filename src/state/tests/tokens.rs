//! Join tokens: whom they let in, how often, how long; and that they never leave servers.

use std::time::Duration;

use crate::model::{NodeName, Role, Stamp, TokenId};
use crate::state::{Admission, Change, Command, Outcome, Part, Refusal, State, TokenDef, TokenPut};

use super::{Told, founder};

const SERVER: TokenId = TokenId(1);
const EDGE: TokenId = TokenId(2);

fn put(id: u64, role: Role, ttl: Option<u64>, uses: Option<u64>) -> Command {
    let def = TokenDef { id: TokenId(id), role, public: vec![0xaa; 65].into() };
    Command::TokenPut(TokenPut { def, ttl: ttl.map(Duration::from_secs), uses })
}

fn admit(name: &str, nonce: u128, role: Role, token: Option<TokenId>) -> Command {
    let name = NodeName::new(name).unwrap();
    Command::Admit(Admission { name, nonce, role, token, ..founder() })
}

fn refused(outcome: Outcome) -> Refusal {
    match outcome {
        Outcome::Refused(refusal) => refusal,
        other => panic!("{other:?} is no refusal"),
    }
}

fn admitted(outcome: Outcome) -> u64 {
    match outcome {
        Outcome::Admitted { id, cluster: 1 } => id.0,
        other => panic!("{other:?} lets nobody in"),
    }
}

#[test]
fn a_token_lets_in_what_its_role_allows() {
    use Role::{Edge, Relay, Server};
    let mut told = Told::founded();
    assert_eq!(told.tell(Stamp(0), put(3, Relay, None, None)), Outcome::Done);
    let relay = TokenId(3);
    let table = [
        (SERVER, Server, true),
        (SERVER, Edge, true),
        (SERVER, Relay, false),
        (EDGE, Server, false),
        (EDGE, Edge, true),
        (EDGE, Relay, false),
        (relay, Server, false),
        (relay, Edge, true),
        (relay, Relay, true),
    ];
    for (n, (token, role, allowed)) in table.into_iter().enumerate() {
        let outcome =
            told.tell(Stamp(0), admit(&format!("a{n}"), 100 + n as u128, role, Some(token)));
        if allowed {
            admitted(outcome);
        } else {
            let of = told.state.token(token).unwrap().def.role;
            assert_eq!(refused(outcome), Refusal::TokenRole { token: of, asked: role });
        }
    }
}

#[test]
fn without_a_token_only_members_are_known() {
    let mut told = Told::founded();
    let stranger = admit("a", 9, Role::Edge, None);
    assert_eq!(refused(told.tell(Stamp(0), stranger.clone())), Refusal::TokenNeeded);
    let unknown = admit("a", 9, Role::Edge, Some(TokenId(77)));
    assert_eq!(refused(told.tell(Stamp(0), unknown)), Refusal::NoToken(TokenId(77)));
    let id = admitted(told.tell(Stamp(0), admit("a", 9, Role::Edge, Some(EDGE))));
    assert_eq!(admitted(told.tell(Stamp(0), stranger)), id);
}

#[test]
fn uses_are_counted_once_per_agent() {
    let mut told = Told::founded();
    told.tell(Stamp(0), put(5, Role::Server, None, Some(2)));
    let five = Some(TokenId(5));
    let ask = |nonce: u128| admit(&format!("s{nonce}"), nonce, Role::Server, five);
    let first = admitted(told.tell(Stamp(0), ask(10)));
    assert_eq!(told.state.token(TokenId(5)).unwrap().left, Some(1));
    // The answer was lost: it asks again, and that is no second use.
    assert_eq!(admitted(told.tell(Stamp(0), ask(10))), first);
    admitted(told.tell(Stamp(0), ask(11)));
    assert_eq!(refused(told.tell(Stamp(0), ask(12))), Refusal::TokenUsedUp(TokenId(5)));
    assert_eq!(admitted(told.tell(Stamp(0), ask(11))), first + 1);
    // A refusal uses nothing up, whatever it is for.
    told.tell(Stamp(0), put(6, Role::Server, None, Some(1)));
    let taken = admit("s10", 13, Role::Server, Some(TokenId(6)));
    assert!(matches!(refused(told.tell(Stamp(0), taken)), Refusal::NameTaken(_)));
    assert_eq!(told.state.token(TokenId(6)).unwrap().left, Some(1));
}

#[test]
fn an_end_in_cluster_time_binds_new_names_only() {
    let mut told = Told::founded();
    told.tell(Stamp(1000), put(5, Role::Edge, Some(60), Some(1)));
    told.tell(Stamp(1000), put(6, Role::Server, Some(60), None));
    let (edge, server) = (Some(TokenId(5)), Some(TokenId(6)));
    assert_eq!(told.state.token(TokenId(5)).unwrap().ends, Some(Stamp(61_000)));
    let first = admitted(told.tell(Stamp(60_999), admit("e", 20, Role::Edge, edge)));
    admitted(told.tell(Stamp(60_999), admit("s", 30, Role::Server, server)));
    // Used up and over; a container that restarts under its name still comes back.
    let late = Stamp(61_000);
    assert_eq!(admitted(told.tell(late, admit("E", 21, Role::Edge, edge))), first + 2);
    let new = told.tell(late, admit("f", 22, Role::Edge, edge));
    assert_eq!(refused(new), Refusal::TokenExpired(TokenId(5)));
    for (nonce, role) in [(31, Role::Server), (32, Role::Edge)] {
        let new = told.tell(late, admit(&format!("s{nonce}"), nonce, role, server));
        assert_eq!(refused(new), Refusal::TokenExpired(TokenId(6)), "{role:?}");
    }
    // A server's token lets no edge come back either: it is not made for many.
    let back = told.tell(late, admit("E", 23, Role::Edge, server));
    assert_eq!(refused(back), Refusal::TokenExpired(TokenId(6)));
}

#[test]
fn a_retired_token_lets_nobody_in() {
    let mut told = Told::founded();
    told.tell(Stamp(0), put(5, Role::Edge, None, None));
    let five = Some(TokenId(5));
    admitted(told.tell(Stamp(0), admit("e", 20, Role::Edge, five)));
    assert_eq!(
        refused(told.tell(Stamp(0), put(5, Role::Server, None, None))),
        Refusal::TokenExists(TokenId(5))
    );
    assert_eq!(told.tell(Stamp(0), Command::TokenRetire(TokenId(5))), Outcome::Done);
    for again in [admit("e", 20, Role::Edge, five), admit("e", 21, Role::Edge, five)] {
        assert_eq!(refused(told.tell(Stamp(0), again)), Refusal::NoToken(TokenId(5)));
    }
    let twice = told.tell(Stamp(0), Command::TokenRetire(TokenId(5)));
    assert_eq!(refused(twice), Refusal::NoToken(TokenId(5)));
    assert_eq!(told.state.identity().founding, Some(SERVER), "another one's end");
}

#[test]
fn the_founding_token_takes_its_kin_along() {
    let mut told = Told::founded();
    told.tell(Stamp(0), put(5, Role::Edge, None, None));
    assert_eq!(told.state.identity().founding, Some(SERVER));
    assert_eq!(told.tell(Stamp(0), Command::TokenRetire(SERVER)), Outcome::Done);
    assert_eq!(told.state.identity().founding, None);
    let left: Vec<TokenId> = told.state.tokens().map(|row| row.def.id).collect();
    assert_eq!(left, [TokenId(5)]);
}

#[test]
fn there_are_only_so_many() {
    let mut told = Told::founded();
    for id in 3..=crate::model::limits::JOIN_TOKENS as u64 {
        assert_eq!(told.tell(Stamp(0), put(id, Role::Edge, None, None)), Outcome::Done);
    }
    let more = told.tell(Stamp(0), put(u64::MAX, Role::Edge, None, None));
    assert_eq!(refused(more), Refusal::TooManyTokens(4096));
}

/// An edge's state and all bytes that it is sent hold no token.
#[test]
fn tokens_never_leave_servers() {
    let mut told = Told::founded();
    let mut edge = State::new(Part::Shared);
    told.tell(Stamp(0), put(5, Role::Edge, None, Some(3)));
    told.tell(Stamp(0), admit("e", 20, Role::Edge, Some(TokenId(5))));
    told.tell(Stamp(0), Command::TokenRetire(SERVER));
    let secret = [0xaa; 65];
    let holds = |bytes: &[u8]| {
        bytes
            .windows(8)
            .any(|window| window == &secret[..8] || window == [1; 8] || window == [2; 8])
    };
    let mut seen = 0;
    for entry in &told.entries {
        seen += entry.rows.iter().filter(|row| matches!(row, Change::Token(..))).count();
        let bytes = postcard::to_stdvec(&*entry.shared()).unwrap();
        assert!(!holds(&bytes), "{entry:?}");
        edge.absorb(&postcard::from_bytes(&bytes).unwrap());
    }
    assert_eq!(seen, 6, "two at founding, one made, one used, two retired");
    assert_eq!(edge.tokens().count(), 0);
    assert_eq!(edge.checksum(Part::Shared), told.state.checksum(Part::Shared));
    let (server, shared) = (told.state.encode(Part::Server), told.state.encode(Part::Shared));
    assert!(holds(&server), "the test can see one");
    assert!(!holds(&shared));
    assert_eq!(State::decode(&server, Part::Shared).unwrap().tokens().count(), 0);
    assert_eq!(State::decode(&server, Part::Server).unwrap().tokens().count(), 1);
    // Told by a server that does not keep to it, an edge drops them.
    let mut edge = State::new(Part::Shared);
    for entry in &told.entries {
        edge.absorb(entry);
    }
    assert_eq!(edge.tokens().count(), 0);
}
