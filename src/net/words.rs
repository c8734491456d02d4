//! What an operating system's error is called, without its number.

use std::io;

/// As Go says it, which is what Consul's users know.
pub fn words(error: &io::Error) -> String {
    use io::ErrorKind as K;
    let known = match error.kind() {
        K::ConnectionRefused => "connection refused",
        K::ConnectionReset => "connection reset by peer",
        K::HostUnreachable => "no route to host",
        K::NetworkUnreachable => "network is unreachable",
        K::TimedOut => "connection timed out",
        K::NotFound => "no such file or directory",
        K::PermissionDenied => "permission denied",
        _ => {
            let text = error.to_string();
            return text.split(" (os error").next().unwrap_or(&text).to_owned();
        }
    };
    known.to_owned()
}
