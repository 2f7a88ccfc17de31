//! Which certificates were warned of, so that each is one line a day and not one a second.

use std::collections::BTreeMap;

use parking_lot::Mutex;

/// From this many days before its end a certificate is worth a warning: enough for a change window.
pub const CERTIFICATE_WARNING_DAYS: i64 = 60;

/// Whether so few days are worth a warning.
pub const fn certificate_ends_soon(days_left: i64) -> bool {
    days_left <= CERTIFICATE_WARNING_DAYS
}

/// Days left when a certificate was last warned of, by its name. Only a process's own certificates and those of
/// its fellow masters are told to it, so it holds a handful.
#[derive(Debug, Default)]
pub(super) struct CertificateWarnings(Mutex<BTreeMap<String, i64>>);

impl CertificateWarnings {
    /// Warns if few days are left and it did not on the same day. Says whether it did.
    pub(super) fn consider(&self, certificate: &str, days_left: i64) -> bool {
        let mut told = self.0.lock();
        if !certificate_ends_soon(days_left) {
            told.remove(certificate);
            return false;
        }
        if told.insert(certificate.to_owned(), days_left) == Some(days_left) {
            return false;
        }
        tracing::warn!(certificate, days_left, "the certificate ends soon: issue another");
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_that_ends_soon_is_told_once_a_day() {
        let warnings = CertificateWarnings::default();
        assert!(!warnings.consider("a", CERTIFICATE_WARNING_DAYS + 1));
        assert!(warnings.consider("a", CERTIFICATE_WARNING_DAYS));
        assert!(!warnings.consider("a", CERTIFICATE_WARNING_DAYS));
        assert!(warnings.consider("b", CERTIFICATE_WARNING_DAYS), "each for itself");
        assert!(warnings.consider("a", CERTIFICATE_WARNING_DAYS - 1));
        assert!(!warnings.consider("a", 365), "it was replaced");
        assert!(warnings.consider("a", -1));
    }
}
