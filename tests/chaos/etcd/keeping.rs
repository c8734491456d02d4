//! A lease that is kept alive over a stream, through one agent after the other.

use crate::ask::number;
use crate::history::Micros;
use crate::proto::{
    LeaseGrantRequest, LeaseGrantResponse, LeaseKeepAliveRequest, LeaseKeepAliveResponse,
};
use crate::wire;

use super::{BEAT, Caller, PATIENCE, TTL, TTL_MICROS, Talk};

pub struct Keeping {
    pub caller: Caller,
    pub id: i64,
    /// When the grant and the keep-alives that were acknowledged had been called.
    pub renewed: Vec<Micros>,
    /// When it was told that there is no such lease.
    pub gone: Option<Micros>,
    talk: Option<Talk<LeaseKeepAliveRequest>>,
}

impl Keeping {
    /// A new lease; none if there is no answer: what nobody keeps alive ends by itself.
    pub async fn grant(mut caller: Caller) -> Option<Keeping> {
        let called = caller.visitor.field.now();
        let ask = LeaseGrantRequest { ttl: TTL, id: 0 };
        let granted = caller.ask::<_, LeaseGrantResponse>(wire::GRANT, ask).await.ok()?;
        let id = i64::try_from(number(&granted["ID"])).unwrap();
        Some(Keeping { caller, id, renewed: vec![called], gone: None, talk: None })
    }

    /// Nobody may end it before.
    pub fn sure(&self) -> Micros {
        self.renewed.iter().max().expect("it was granted") + TTL_MICROS
    }

    /// Keeps it alive once, if it can.
    pub async fn beat(&mut self) {
        let mut talk = match self.talk.take() {
            Some(talk) => talk,
            None => self.caller.talk::<_, LeaseKeepAliveResponse>(wire::KEEP_ALIVE).await,
        };
        let field = self.caller.visitor.field.clone();
        let called = field.now();
        // Where the stream has ended, that is the answer.
        let _ = talk.asks.unbounded_send(LeaseKeepAliveRequest { id: self.id });
        match talk.answers.next(PATIENCE).await {
            Ok(Ok(answer)) if number(&answer["TTL"]) > 0 => self.renewed.push(called),
            Ok(Ok(_)) => {
                self.gone.get_or_insert_with(|| field.now());
            }
            // A late answer to this one must not pass for the answer to the next one.
            Ok(Err(_)) | Err(_) => return self.caller.visitor.move_on(),
        }
        self.talk = Some(talk);
    }

    /// Keeps it alive until this is dropped.
    pub async fn keep(&mut self) -> std::convert::Infallible {
        loop {
            tokio::time::sleep(BEAT).await;
            self.beat().await;
        }
    }
}
