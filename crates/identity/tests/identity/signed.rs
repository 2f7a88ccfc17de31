//! Messages signed with a certificate's key: what an agent proves through a shard that only relays.

use paceline_identity::{Credentials, PeerRefusal, Role};

use crate::fixture::{DAY, TestCell, now_unix, past};

const MESSAGE: &[u8] = b"node n1, epoch 3, session 9, shard s1";

#[test]
fn a_signed_message_names_its_signer() {
    let cell = TestCell::new("prod");
    let agent = cell.credentials(Role::Agent, "n1");
    let master = cell.credentials(Role::Master, "m1");
    let certificate = &agent.identity().certificate_der;
    let signer = master.verify_signed(certificate, MESSAGE, &agent.sign(MESSAGE), now_unix()).unwrap();
    assert_eq!(&signer, agent.identity());
}

#[test]
fn every_flipped_byte_of_message_and_signature_is_noticed() {
    let cell = TestCell::new("prod");
    let agent = cell.credentials(Role::Agent, "n1");
    let certificate = &agent.identity().certificate_der;
    let signature = agent.sign(MESSAGE);
    let refused = |message: &[u8], signature: &[u8]| {
        let verdict = agent.verify_signed(certificate, message, signature, now_unix());
        matches!(verdict, Err(PeerRefusal::BadSignature { .. }))
    };
    for position in 0..signature.len() {
        let mut tampered = signature.clone();
        tampered[position] ^= 1;
        assert!(refused(MESSAGE, &tampered), "signature byte {position}");
    }
    for position in 0..MESSAGE.len() {
        let mut tampered = MESSAGE.to_vec();
        tampered[position] ^= 1;
        assert!(refused(&tampered, &signature), "message byte {position}");
    }
    assert!(refused(MESSAGE, &[]));
    assert!(refused(MESSAGE, &signature[1..]));
    assert!(refused(&[MESSAGE, b"!"].concat(), &signature));
}

#[test]
fn the_signature_of_one_agent_does_not_pass_under_the_certificate_of_another() {
    let cell = TestCell::new("prod");
    let (n1, n2) = (cell.credentials(Role::Agent, "n1"), cell.credentials(Role::Agent, "n2"));
    let error = n1.verify_signed(&n2.identity().certificate_der, MESSAGE, &n1.sign(MESSAGE), now_unix());
    let error = error.unwrap_err();
    assert!(error.to_string().contains("spiffe://prod/agent/n2"), "{error}");
}

#[test]
fn a_signer_of_a_foreign_authority_or_another_cell_is_refused() {
    let (ours, foreign) = (TestCell::new("prod"), TestCell::new("prod"));
    let master = ours.credentials(Role::Master, "m1");
    let stranger = foreign.credentials(Role::Agent, "n1");
    let verdict = master.verify_signed(
        &stranger.identity().certificate_der,
        MESSAGE,
        &stranger.sign(MESSAGE),
        now_unix(),
    );
    assert!(matches!(verdict, Err(PeerRefusal::ForeignAuthority { .. })), "{verdict:?}");

    let neighbour = ours.under_another_name("test").credentials(Role::Agent, "n1");
    let verdict = master.verify_signed(
        &neighbour.identity().certificate_der,
        MESSAGE,
        &neighbour.sign(MESSAGE),
        now_unix(),
    );
    let error = verdict.unwrap_err();
    assert!(matches!(error, PeerRefusal::OtherCell { .. }), "{error}");
    assert_eq!(error.to_string(), "expected a peer of cell prod, presented was spiffe://test/agent/n1");
}

#[test]
fn the_time_of_judgement_is_the_callers() {
    let cell = TestCell::new("prod");
    let agent = cell.credentials_for(Role::Agent, "n1", past());
    let (certificate, signature) = (&agent.identity().certificate_der, agent.sign(MESSAGE));
    let verdict = agent.verify_signed(certificate, MESSAGE, &signature, now_unix());
    assert!(matches!(verdict, Err(PeerRefusal::Expired { .. })), "{verdict:?}");
    agent.verify_signed(certificate, MESSAGE, &signature, past().not_after_unix).unwrap();
    let too_early = agent.verify_signed(certificate, MESSAGE, &signature, past().not_before_unix - 1);
    assert!(matches!(too_early, Err(PeerRefusal::NotYetValid { .. })), "{too_early:?}");
}

#[test]
fn a_master_cannot_pass_its_peer_certificate_off_as_its_cell_certificate() {
    let cell = TestCell::new("prod");
    let dir = cell.path("m1");
    cell.authority.issue(Role::Master, "m1", DAY).unwrap().write(&dir).unwrap();
    let peer = Credentials::load_peer(&dir).unwrap();
    let shard = cell.credentials(Role::Shard, "s1");
    let verdict =
        shard.verify_signed(&peer.identity().certificate_der, MESSAGE, &peer.sign(MESSAGE), now_unix());
    assert!(matches!(verdict, Err(PeerRefusal::ForeignAuthority { .. })), "{verdict:?}");
}

#[test]
fn junk_instead_of_a_certificate_is_refused() {
    let cell = TestCell::new("prod");
    let master = cell.credentials(Role::Master, "m1");
    for junk in [&b""[..], b"junk", &[0x30; 64]] {
        assert!(master.verify_signed(junk, MESSAGE, b"", now_unix()).is_err());
    }
}
