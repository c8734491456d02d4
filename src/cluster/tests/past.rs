//! What an agent without history says of the past: what a server knows, over a relay too.

use crate::state::{EventsQuery, KeyRange, PastAnswer, PastQuery, Refusal};

use super::world::{Agent, World, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edge_behind_a_relay_hears_of_the_past_from_a_server() {
    let world = World::new();
    let server = Agent::start(world.server("s1", &[])).await;
    for value in ["one", "two", "three"] {
        server.put("k", value).await;
    }
    let relay = Agent::start(world.relay("r1", &[server.addr()])).await;
    relay.synced().await;
    let edge = Agent::start(world.edge("e1", &[relay.addr()])).await;
    edge.synced().await;
    until("it follows the relay", || edge.cluster.standing().upstream == Some(relay.addr())).await;
    until("it has all of it", || edge.cluster.snapshot().revision() == 4).await;

    let lineage = edge.cluster.snapshot().identity().lineage;
    let range = KeyRange::one("k".into());
    let events = EventsQuery { range: range.clone(), from: 3, past: 4, prev: true, lineage };
    let rows = PastQuery::Rows { range, revision: 2, after: None };
    for query in [PastQuery::Events(events.clone()), rows] {
        let answer = edge.cluster.recall(&query).await.unwrap();
        assert_eq!(answer, server.cluster.snapshot().recall(&query));
        assert!(!matches!(answer, PastAnswer::Refused(_)), "{answer:?}");
    }
    let other = EventsQuery { lineage: lineage + 1, ..events };
    let answer = edge.cluster.recall(&PastQuery::Events(other)).await.unwrap();
    assert!(matches!(answer, PastAnswer::Refused(Refusal::Compacted { .. })), "{answer:?}");
    for agent in [edge, relay, server] {
        agent.stop().await;
    }
}
