//! What the agent as a whole is told to do while it runs, by whoever may: one order at a time.

use tokio::sync::{mpsc, oneshot};

use crate::model::limits;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Go out of the cluster for good, and end.
    Leave,
    /// Look at the config file again.
    Reload,
}

/// An order on its way, and where to say what came of it.
#[derive(Debug)]
pub struct Given {
    pub order: Order,
    answer: oneshot::Sender<Result<(), String>>,
}

impl Given {
    /// Who gave the order may have gone.
    pub fn answer(self, result: Result<(), String>) {
        let _ = self.answer.send(result);
    }
}

/// Gives orders; nobody takes them where there is no agent around it (tests).
#[derive(Debug, Clone)]
pub struct Orders {
    given: mpsc::Sender<Given>,
}

impl Orders {
    pub fn new() -> (Orders, mpsc::Receiver<Given>) {
        let (given, taken) = mpsc::channel(limits::ORDERS);
        (Orders { given }, taken)
    }

    /// Returns once it is done, or with the reason why it is not.
    pub async fn give(&self, order: Order) -> Result<(), String> {
        let (answer, answered) = oneshot::channel();
        let given = Given { order, answer };
        let stops = || "this agent is stopping".to_owned();
        self.given.send(given).await.map_err(|_| stops())?;
        answered.await.unwrap_or_else(|_| Err(stops()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_order_is_answered_by_who_takes_it() {
        let (orders, mut taken) = Orders::new();
        let agent = async {
            while let Some(given) = taken.recv().await {
                let result = match given.order {
                    Order::Reload => Ok(()),
                    Order::Leave => Err("not now".to_owned()),
                };
                given.answer(result);
            }
        };
        let operator = async move {
            assert_eq!(orders.give(Order::Reload).await, Ok(()));
            assert_eq!(orders.give(Order::Leave).await, Err("not now".to_owned()));
        };
        tokio::join!(agent, operator);
    }

    #[tokio::test]
    async fn nobody_waits_for_an_agent_that_is_gone() {
        let (orders, taken) = Orders::new();
        drop(taken);
        assert!(orders.give(Order::Leave).await.unwrap_err().contains("stopping"));
    }
}
