//! Whether a request that failed may be sent once more: only when it cannot have been carried out
//! twice to a different effect.

use http::Method;

/// How far a try had come when it failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// The connection was closed before a byte of the request was written.
    Unsent,
    /// The request was written, in whole or in part, and the connection broke.
    Sent {
        /// A byte of the response had come.
        heard: bool,
    },
    /// No response came in time.
    Slow,
}

/// What matters of a request and its tries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Case {
    pub stage: Stage,
    /// The connection had served a request before: the instance may have closed it as idle at the
    /// very moment it was used.
    pub reused: bool,
    /// This is already the second sending.
    pub again: bool,
    /// See `repeatable`.
    pub repeatable: bool,
}

/// At most one second sending, and that on a new connection. A connection that could not be made
/// is not a case: nothing was sent, and another instance is tried.
pub(super) fn once_more(case: Case) -> bool {
    match case.stage {
        _ if case.again => false,
        Stage::Unsent => true,
        Stage::Sent { heard } => case.reused && !heard && case.repeatable,
        Stage::Slow => false,
    }
}

/// Idempotent by definition (RFC 9110, section 9.2.2) and without a body, which would be gone.
pub(super) fn repeatable(method: &Method, bodyless: bool) -> bool {
    bodyless && method.is_idempotent()
}
