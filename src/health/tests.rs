//! Verdicts, deadlines and probes against real local sockets.
