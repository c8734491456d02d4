//! Verdicts, deadlines and outputs as pure values; probes against real local sockets.

mod app;
mod pure;
mod running;
