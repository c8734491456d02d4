//! An app on a local port that answers as it is told, and remembers what it was asked.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// Gives the answers one after another, the last one for ever. An empty answer never comes.
pub(super) struct App {
    pub(super) addr: SocketAddr,
    inside: Arc<Inside>,
    serving: tokio::task::JoinHandle<()>,
}

struct Inside {
    answers: Vec<String>,
    asked: Mutex<Vec<String>>,
}

pub(super) fn answer(status: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}")
}

impl App {
    pub(super) async fn start(answers: Vec<String>) -> App {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let inside = Arc::new(Inside { answers, asked: Mutex::default() });
        let serving = tokio::spawn(serve(listener, inside.clone()));
        App { addr, inside, serving }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}/healthz", self.addr)
    }

    pub(super) fn asked(&self) -> Vec<String> {
        self.inside.asked.lock().unwrap().clone()
    }

    /// Its port is closed when this returns.
    pub(super) async fn die(self) {
        self.serving.abort();
        let _ = self.serving.await;
    }
}

async fn serve(listener: TcpListener, inside: Arc<Inside>) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.spawn(talk(stream, inside.clone()));
    }
}

async fn talk(mut stream: TcpStream, inside: Arc<Inside>) {
    let mut request = vec![0; 64 * 1024];
    let read = stream.read(&mut request).await.unwrap_or(0);
    let turn = {
        let mut asked = inside.asked.lock().unwrap();
        asked.push(String::from_utf8_lossy(&request[..read]).into_owned());
        asked.len() - 1
    };
    let answer = &inside.answers[turn.min(inside.answers.len() - 1)];
    if answer.is_empty() {
        // Nothing comes until the other side hangs up.
        let _ = stream.read(&mut request).await;
    } else {
        let _ = stream.write_all(answer.as_bytes()).await;
    }
}
