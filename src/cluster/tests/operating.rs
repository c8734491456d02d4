//! What operators do to a cluster that runs.

use crate::cluster::{Operation, OperatorError, RaftRole};
use crate::model::NodeId;
use crate::state::{Command, Outcome, Settings};

use super::world::{Agent, World, until};

fn leader(agents: &[Agent]) -> usize {
    agents.iter().position(Agent::leads).expect("one leads")
}

fn id(agent: &Agent) -> NodeId {
    agent.cluster.standing().id
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn leadership_goes_where_it_is_asked_to() {
    let world = World::new();
    let agents = world.servers(3).await;
    // Whoever is asked: each of them in turn wants the next one to lead.
    for at in [0, 1, 2] {
        let to = (leader(&agents) + 1) % 3;
        let operation = Operation::TransferLeader(Some(id(&agents[to])));
        agents[at].cluster.operate(operation).await.unwrap();
        until("it leads", || agents[to].leads()).await;
        agents[at].cluster.operate(operation).await.unwrap();
        assert!(agents[to].leads(), "asked again, nothing happens");
    }
    let before = leader(&agents);
    let any = Operation::TransferLeader(None);
    agents[(before + 1) % 3].cluster.operate(any).await.unwrap();
    until("another leads", || !agents[before].leads()).await;
    until("one leads", || agents.iter().any(Agent::leads)).await;
    let stranger = Operation::TransferLeader(Some(NodeId(77)));
    let refused = agents[0].cluster.operate(stranger).await.unwrap_err();
    assert!(refused.to_string().contains("77"), "{refused}");
    assert!(matches!(refused, OperatorError::Refused(_)), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn servers_are_removed_down_to_the_last() {
    let world = World::new();
    let mut agents = world.servers(3).await;
    // The leader itself, asked of another.
    let gone = agents.remove(leader(&agents));
    let operation = Operation::RemoveServer(id(&gone));
    agents[0].cluster.operate(operation).await.unwrap();
    until("two vote", || agents.iter().all(|a| a.cluster.standing().voters.len() == 2)).await;
    until("it is no member", || agents[0].cluster.snapshot().member(id(&gone)).is_none()).await;
    let again = agents[0].cluster.operate(operation).await.unwrap_err();
    assert!(again.to_string().contains("there is no server"), "{again}");
    drop(gone.stop().await);
    assert!(matches!(agents[0].put("two", "x").await, Outcome::Kv(true)));
    // One of two, which takes both votes.
    until("one leads", || agents.iter().any(Agent::leads)).await;
    let gone = agents.remove(1 - leader(&agents));
    agents[0].cluster.operate(Operation::RemoveServer(id(&gone))).await.unwrap();
    until("one votes", || agents[0].cluster.standing().voters.len() == 1).await;
    drop(gone.stop().await);
    assert!(matches!(agents[0].put("one", "x").await, Outcome::Kv(true)));
    let last = Operation::RemoveServer(id(&agents[0]));
    let refused = agents[0].cluster.operate(last).await.unwrap_err();
    assert!(refused.to_string().contains("the only one that votes"), "{refused}");
    assert!(matches!(agents[0].put("still", "x").await, Outcome::Kv(true)));
}

/// One change of the servers can be under way at a time: the other one waits, and is not refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_servers_can_be_removed_at_once() {
    let world = World::new();
    let mut agents = world.servers(3).await;
    let left = agents.remove(leader(&agents));
    let [one, two] = [0, 1].map(|at| Operation::RemoveServer(id(&agents[at])));
    let (one, two) = tokio::join!(left.cluster.operate(one), left.cluster.operate(two));
    assert_eq!((one, two), (Ok(()), Ok(())));
    until("one votes", || left.cluster.standing().voters == [id(&left)]).await;
    assert!(matches!(left.put("alone", "x").await, Outcome::Kv(true)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_fewer_voters_are_wanted_the_others_stand_by() {
    let world = World::new();
    let agents = world.servers(3).await;
    let wanted = async |voters| {
        let settings = agents[0].cluster.snapshot().identity().settings.clone();
        let command = Command::Settings(Settings { voters, ..settings });
        agents[1].cluster.decide(command).await.unwrap();
    };
    wanted(1).await;
    until("one votes", || agents.iter().all(|a| a.cluster.standing().voters.len() == 1)).await;
    until("one leads", || agents.iter().any(Agent::leads)).await;
    let at = leader(&agents);
    assert_eq!(agents[at].cluster.standing().voters, [id(&agents[at])], "who leads is left");
    agents[at].put("k", "v").await;
    for agent in agents.iter().filter(|agent| !agent.leads()) {
        until("it stands by", || agent.cluster.standing().raft == Some(RaftRole::Learner)).await;
        until("it has everything", || agent.has("k")).await;
    }
    wanted(3).await;
    until("all vote again", || agents.iter().all(|a| a.cluster.standing().voters.len() == 3)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edge_names_a_server_to_ask_and_can_be_put_out() {
    let world = World::new();
    let servers = world.servers(1).await;
    let edge = Agent::start(world.edge("e1", &[servers[0].addr()])).await;
    edge.synced().await;
    let error = edge.cluster.operate(Operation::TransferLeader(None)).await.unwrap_err();
    assert!(matches!(error, OperatorError::NotServer(_)), "{error:?}");
    assert!(error.to_string().contains("s1"), "{error}");
    assert!(edge.cluster.revoke("e1").await.is_err());
    let known = id(&edge);
    assert_eq!(servers[0].cluster.revoke("E1").await, Ok(known));
    assert!(servers[0].cluster.snapshot().member(known).is_none());
    let nobody = servers[0].cluster.revoke("nobody").await;
    assert_eq!(nobody, Err(OperatorError::NoAgent("nobody".to_owned())));
    let alone = servers[0].cluster.operate(Operation::TransferLeader(None)).await.unwrap_err();
    assert!(matches!(alone, OperatorError::Refused(_)), "{alone:?}");
}
