//! What a stranger presents against broken bytes: certificates and the names in them.

use std::sync::Arc;

use paceline_fuzz::Campaign;

use super::{PeerIdentity, parse_spiffe_id, spiffe_id};
use crate::{Authority, CERTIFICATE_LIFE, Credentials, Role};

fn credentials(dir: &std::path::Path) -> Vec<Credentials> {
    let authority = Authority::create(&dir.join("ca"), "prod").unwrap();
    let issue = |(role, name): (Role, &str)| {
        let dir = dir.join(name);
        authority.issue(role, name, CERTIFICATE_LIFE).unwrap().write(&dir).unwrap();
        Credentials::load(&dir).unwrap()
    };
    [(Role::Agent, "n-1.rack"), (Role::AgentGroup, "bench-1"), (Role::Operator, "ann")].map(issue).into()
}

#[test]
fn certificates() {
    let dir = tempfile::TempDir::new().unwrap();
    let sound = credentials(dir.path()).iter().map(|own| own.identity().certificate_der.to_vec()).collect();
    let read = |bytes: &[u8]| PeerIdentity::read(bytes).ok();
    Campaign::new("certificate", sound).run(read, |peer| read(&peer.certificate_der));
}

/// Nobody but the holder of the key is believed: of all that is made from a sound certificate, only itself passes.
#[test]
fn signed_messages() {
    const NOW_UNIX_AFTER_START: i64 = 60;
    let dir = tempfile::TempDir::new().unwrap();
    let all = credentials(dir.path());
    let (agent, judge) = (&all[0], &all[2]);
    let sound = agent.identity().certificate_der.to_vec();
    let message = b"a message";
    let signature = agent.sign(message);
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let now = i64::try_from(now).unwrap() + NOW_UNIX_AFTER_START;
    let verify = |der: &[u8]| judge.verify_signed(der, message, &signature, now).ok();
    Campaign::new("signer", vec![sound.clone()]).run(verify, |peer| {
        assert_eq!(peer.certificate_der[..], sound[..], "another certificate was believed");
        verify(&peer.certificate_der)
    });
    let verify = |signature: &[u8]| judge.verify_signed(&sound, message, signature, now).ok();
    Campaign::new("signature", vec![signature.clone()]).run(verify, |peer| Some(peer.clone()));
}

#[test]
fn names() {
    let sound = Role::ALL.map(|role| spiffe_id("prod", role, "n-1.rack").into_bytes()).into();
    let read = |bytes: &[u8]| {
        let (cell, role, name) = parse_spiffe_id(std::str::from_utf8(bytes).ok()?).ok()?;
        Some(PeerIdentity { cell, role, name, not_after_unix: 0, certificate_der: Arc::from([]) })
    };
    Campaign::new("SPIFFE id", sound).run(read, |peer| read(peer.spiffe_id().as_bytes()));
}
