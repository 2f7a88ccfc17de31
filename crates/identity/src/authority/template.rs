//! What our certificates say: names, usages and the window of validity.

use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyUsagePurpose, SanType,
};
use time::OffsetDateTime;

use crate::error::IdentityError;
use crate::peer::spiffe_id;
use crate::role::Role;

/// How long a certificate lives unless its maker says otherwise.
pub const CERTIFICATE_LIFE: Duration = Duration::from_secs(365 * 24 * 60 * 60);
/// A certificate starts this much before it is made, because the clocks of new machines are often behind.
const CLOCK_ALLOWANCE_S: i64 = 60 * 60;
/// X.509 limits a common name to 64 characters; longer names stand in the SAN in full.
const COMMON_NAME_BYTES_MAX: usize = 64;
/// The last second of year 9999, where the dates of X.509 end.
const LAST_UNIX: i64 = 253_402_300_799;

/// When a certificate is valid, both ends included, in seconds since 1970.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// First second.
    pub not_before_unix: i64,
    /// Last second.
    pub not_after_unix: i64,
}

impl Validity {
    /// From now (less an allowance for slow clocks) for the given time.
    pub fn starting_now(life: Duration) -> Result<Self, IdentityError> {
        let now_unix = OffsetDateTime::now_utc().unix_timestamp();
        let life_s = i64::try_from(life.as_secs()).unwrap_or(i64::MAX);
        let validity = Self {
            not_before_unix: now_unix.saturating_sub(CLOCK_ALLOWANCE_S),
            not_after_unix: now_unix.saturating_add(life_s),
        };
        validity.bounds().map(|_| validity)
    }

    fn bounds(self) -> Result<(OffsetDateTime, OffsetDateTime), IdentityError> {
        let fault = || IdentityError::BadValidity {
            not_before_unix: self.not_before_unix,
            not_after_unix: self.not_after_unix,
        };
        let in_order = 0 <= self.not_before_unix
            && self.not_before_unix < self.not_after_unix
            && self.not_after_unix <= LAST_UNIX;
        if !in_order {
            return Err(fault());
        }
        let date = |unix| OffsetDateTime::from_unix_timestamp(unix).map_err(|_| fault());
        Ok((date(self.not_before_unix)?, date(self.not_after_unix)?))
    }
}

/// An authority that signs leaves and nothing below itself.
pub(super) fn authority(common_name: &str, validity: Validity) -> Result<CertificateParams, IdentityError> {
    let mut params = base(common_name, validity)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(params)
}

/// The certificate of one peer. People get no server usage, so a stolen user certificate cannot pose as a
/// master even to a client that checks no more than a chain.
pub(super) fn leaf(
    cell: &str,
    role: Role,
    name: &str,
    validity: Validity,
) -> Result<CertificateParams, IdentityError> {
    let mut params = base(&format!("{role}/{name}"), validity)?;
    params.is_ca = IsCa::ExplicitNoCa;
    params.use_authority_key_identifier_extension = true;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.subject_alt_names = vec![SanType::URI(spiffe_id(cell, role, name).try_into()?)];
    if role.listens() {
        params.extended_key_usages.push(ExtendedKeyUsagePurpose::ServerAuth);
        params.subject_alt_names.push(SanType::DnsName(scrape_name(cell, role).try_into()?));
    }
    Ok(params)
}

/// A DNS name for tools that insist on one (a metrics scraper's `server_name`): the same for every process
/// of a role, because such tools take one name per group of targets. Our own code never looks at it.
fn scrape_name(cell: &str, role: Role) -> String {
    format!("{role}.{cell}.paceline.internal")
}

fn base(common_name: &str, validity: Validity) -> Result<CertificateParams, IdentityError> {
    let (not_before, not_after) = validity.bounds()?;
    let mut params = CertificateParams::default();
    params.not_before = not_before;
    params.not_after = not_after;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "paceline");
    let shown: String = common_name.chars().take(COMMON_NAME_BYTES_MAX).collect();
    params.distinguished_name.push(DnType::CommonName, shown);
    Ok(params)
}
