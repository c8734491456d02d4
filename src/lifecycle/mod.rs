//! Named tasks, named gates, the board of who is how, shutdown with a deadline, backoff, programs.

mod aside;
mod backoff;
mod board;
pub mod chance;
mod gates;
mod life;
mod orders;
pub mod process;
mod shutdown;
mod tasks;

pub use aside::{Worker, aside, thread};
pub use backoff::Backoff;
pub use board::{Board, Entry, Level};
pub use gates::{Gate, Gates};
pub use life::Life;
pub use orders::{Given, Order, Orders};
pub use shutdown::Shutdown;
pub use tasks::Tasks;
