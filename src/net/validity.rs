//! From when to when a certificate is good, and what to say of one that soon is not. Pure.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::pki_types::{CertificateDer, UnixTime};
use webpki::{EndEntityCert, KeyUsage};

/// Time enough to have a certificate made by hand.
const SOON: Duration = Duration::from_secs(14 * 24 * 3600);

/// The dates of a certificate in DER: its first and its last second. None: it cannot be read.
pub fn validity(der: &[u8]) -> Option<(SystemTime, SystemTime)> {
    let der = CertificateDer::from(der);
    let cert = EndEntityCert::try_from(&der).ok()?;
    // The library tells the dates only in refusing what lies beyond them; it looks at them
    // before it looks for an issuer.
    let refusal = |at: Duration| {
        let at = UnixTime::since_unix_epoch(at);
        cert.verify_for_usage(&[], &[], &[], at, KeyUsage::server_auth(), None, None).err()
    };
    let begins = match refusal(Duration::ZERO)? {
        webpki::Error::CertNotValidYet { not_before, .. } => not_before.as_secs(),
        _ => return None,
    };
    let ends = match refusal(Duration::from_secs(u64::MAX))? {
        webpki::Error::CertExpired { not_after, .. } => not_after.as_secs(),
        _ => return None,
    };
    let date = |seconds| UNIX_EPOCH.checked_add(Duration::from_secs(seconds));
    Some((date(begins)?, date(ends)?))
}

/// What an operator is to know of a certificate that ends then; none while there is time.
pub fn ending(ends: SystemTime, now: SystemTime) -> Option<String> {
    let date = humantime::format_rfc3339_seconds(ends);
    match ends.duration_since(now) {
        Err(_) => Some(format!("the certificate has expired at {date}: clients refuse it")),
        Ok(left) if left <= SOON => {
            let days = left.as_secs() / (24 * 3600);
            Some(format!("the certificate expires at {date}, in {days} days"))
        }
        Ok(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_told_from_two_weeks_before() {
        let day = Duration::from_secs(24 * 3600);
        let ends = UNIX_EPOCH + day * 20_000;
        assert_eq!(ending(ends, ends - day * 15), None);
        let told = |now| ending(ends, now).unwrap();
        assert!(told(ends - day * 14).ends_with("in 14 days"), "{}", told(ends - day * 14));
        assert!(told(ends - day / 2).contains("2024-10-04T00:00:00Z, in 0 days"));
        assert!(told(ends + day).contains("has expired at 2024-10-04T00:00:00Z"));
    }
}
