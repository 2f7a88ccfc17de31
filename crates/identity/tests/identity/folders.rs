//! What lies on disk: modes, never overwriting, and errors that name the file.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

use paceline_identity::{Authority, Credentials, IdentityError, Role, Validity};

use crate::fixture::{DAY, TestCell, now_unix, past};

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// An error with all its causes, as a person would see it.
fn told(error: &IdentityError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[test]
fn keys_and_their_folders_are_closed_to_others() {
    let cell = TestCell::new("prod");
    let master = cell.path("m1");
    cell.authority.issue(Role::Master, "m1", DAY).unwrap().write(&master).unwrap();
    for key in ["ca/ca.key", "ca/peer-ca.key", "m1/key.pem", "m1/peer-key.pem"] {
        assert_eq!(mode(&cell.path(key)), 0o600, "{key}");
    }
    for folder in ["ca", "m1"] {
        assert_eq!(mode(&cell.path(folder)), 0o700, "{folder}");
    }
}

#[test]
fn only_masters_get_peer_credentials() {
    let cell = TestCell::new("prod");
    for role in Role::ALL {
        let dir = cell.path(role.as_str());
        cell.authority.issue(role, "x", DAY).unwrap().write(&dir).unwrap();
        assert_eq!(dir.join("peer-key.pem").exists(), role == Role::Master, "{role}");
        assert_eq!(Credentials::load_peer(&dir).is_ok(), role == Role::Master, "{role}");
    }
}

#[test]
fn an_authority_is_never_overwritten() {
    let cell = TestCell::new("prod");
    let before = fs::read(cell.path("ca/ca.key")).unwrap();
    let error = Authority::create(&cell.path("ca"), "prod").unwrap_err();
    assert!(matches!(&error, IdentityError::Exists { path } if path.ends_with("ca.pem")), "{error}");
    assert!(error.to_string().contains("not overwritten"), "{error}");
    assert_eq!(fs::read(cell.path("ca/ca.key")).unwrap(), before);
}

#[test]
fn one_leftover_file_is_enough_to_refuse_a_new_authority_before_anything_is_written() {
    let cell = TestCell::new("prod");
    let dir = cell.path("half");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("peer-ca.key"), "x").unwrap();
    let error = Authority::create(&dir, "prod").unwrap_err();
    assert!(matches!(&error, IdentityError::Exists { path } if path.ends_with("peer-ca.key")), "{error}");
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 1);
}

#[test]
fn credentials_are_never_overwritten() {
    let cell = TestCell::new("prod");
    let dir = cell.path("n1");
    let issued = cell.authority.issue(Role::Agent, "n1", DAY).unwrap();
    issued.write(&dir).unwrap();
    assert!(matches!(issued.write(&dir), Err(IdentityError::Exists { .. })));
}

#[test]
fn a_loaded_authority_issues_what_the_first_one_trusts() {
    let cell = TestCell::new("prod");
    let loaded = Authority::load(&cell.path("ca")).unwrap();
    assert_eq!(loaded.cell(), "prod");
    loaded.issue(Role::Operator, "ada", DAY).unwrap().write(&cell.path("ada")).unwrap();
    let operator = Credentials::load(&cell.path("ada")).unwrap();
    let message = b"hello";
    let first = cell.credentials(Role::Shard, "s1");
    let peer = first.verify_signed(
        &operator.identity().certificate_der,
        message,
        &operator.sign(message),
        now_unix(),
    );
    assert_eq!(peer.unwrap().principal(), "operator/ada");
}

#[test]
fn a_key_that_others_can_read_is_refused_with_its_mode() {
    let cell = TestCell::new("prod");
    cell.credentials(Role::Agent, "n1");
    let key = cell.path("agent-n1/key.pem");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
    let error = Credentials::load(&cell.path("agent-n1")).unwrap_err();
    assert!(matches!(&error, IdentityError::KeyExposed { path, mode: 0o640 } if *path == key), "{error}");
}

#[test]
fn files_that_do_not_belong_together_are_refused_by_name() {
    let cell = TestCell::new("prod");
    let other = TestCell::new("prod");
    for name in ["a", "b"] {
        cell.credentials(Role::Agent, name);
    }
    let dir = cell.path("agent-a");
    fs::copy(cell.path("agent-b/key.pem"), dir.join("key.pem")).unwrap();
    let foreign_key = Credentials::load(&dir).unwrap_err();
    assert!(told(&foreign_key).contains("key.pem"), "{}", told(&foreign_key));
    assert!(matches!(foreign_key, IdentityError::Mismatch { .. }));

    let dir = cell.path("agent-b");
    fs::copy(other.path("ca/ca.pem"), dir.join("ca.pem")).unwrap();
    let foreign_authority = Credentials::load(&dir).unwrap_err();
    assert!(matches!(foreign_authority, IdentityError::Mismatch { .. }));
    assert!(told(&foreign_authority).contains("cert.pem"), "{}", told(&foreign_authority));
}

#[test]
fn a_missing_and_a_damaged_file_are_named() {
    let cell = TestCell::new("prod");
    cell.credentials(Role::Agent, "n1");
    let dir = cell.path("agent-n1");
    for (name, text) in [("ca.pem", ""), ("cert.pem", "junk"), ("key.pem", "-----BEGIN NOTHING-----")] {
        let kept = fs::read(dir.join(name)).unwrap();
        fs::write(dir.join(name), text).unwrap();
        let damaged = Credentials::load(&dir).unwrap_err();
        assert!(matches!(damaged, IdentityError::Malformed { .. }), "{name}");
        assert!(told(&damaged).contains(name), "{}", told(&damaged));
        fs::remove_file(dir.join(name)).unwrap();
        let missing = Credentials::load(&dir).unwrap_err();
        assert!(matches!(missing, IdentityError::Read { .. }), "{name}");
        assert!(told(&missing).contains(name), "{}", told(&missing));
        fs::write(dir.join(name), kept).unwrap();
        if name == "key.pem" {
            fs::set_permissions(dir.join(name), fs::Permissions::from_mode(0o600)).unwrap();
        }
    }
    Credentials::load(&dir).unwrap();
}

#[test]
fn the_key_of_another_authority_is_refused() {
    let cell = TestCell::new("prod");
    fs::copy(cell.path("ca/peer-ca.key"), cell.path("ca/ca.key")).unwrap();
    let error = Authority::load(&cell.path("ca")).unwrap_err();
    assert!(matches!(&error, IdentityError::Malformed { path, .. } if path.ends_with("ca.pem")), "{error}");
}

#[test]
fn names_that_would_need_escaping_are_refused() {
    let cell = TestCell::new("prod");
    for name in ["", "a/b", "..", "a b", "ü", "spiffe://x"] {
        let error = cell.authority.issue(Role::Agent, name, DAY).unwrap_err();
        assert!(matches!(error, IdentityError::BadName { .. }), "{name}");
    }
    let error = Authority::create(&cell.path("other"), "Prod/EU").unwrap_err();
    assert!(matches!(error, IdentityError::BadName { .. }));
    assert!(!cell.path("other").exists());
}

#[test]
fn a_certificate_may_not_outlive_its_authority() {
    let cell = TestCell::new("prod");
    let error = cell.authority.issue(Role::Agent, "n1", 20 * 365 * DAY).unwrap_err();
    assert!(matches!(error, IdentityError::OutlivesAuthority { .. }), "{error}");
    let forever = cell.authority.issue(Role::Agent, "n1", Duration::MAX).unwrap_err();
    assert!(matches!(forever, IdentityError::BadValidity { .. }), "{forever}");
    let backwards = Validity { not_before_unix: 10, not_after_unix: 5 };
    let error = cell.authority.issue_for(Role::Agent, "n1", backwards).unwrap_err();
    assert!(matches!(error, IdentityError::BadValidity { .. }), "{error}");
}

#[test]
fn days_left_are_whole_days_and_negative_after_the_end() {
    let cell = TestCell::new("prod");
    let start = now_unix();
    let validity = Validity { not_before_unix: start, not_after_unix: start + 10 * 86_400 };
    let credentials = cell.credentials_for(Role::Agent, "n1", validity);
    assert_eq!(credentials.days_left(start), 10);
    assert_eq!(credentials.days_left(start + 1), 9);
    assert_eq!(credentials.days_left(start + 10 * 86_400), 0);
    assert_eq!(credentials.days_left(start + 10 * 86_400 + 1), -1);
}

#[test]
fn an_expired_certificate_loads_so_that_its_owner_can_say_so() {
    let cell = TestCell::new("prod");
    let credentials = cell.credentials_for(Role::Agent, "n1", past());
    assert_eq!(credentials.identity().principal(), "agent/n1");
    assert_eq!(credentials.identity().cell, "prod");
    assert!(credentials.days_left(now_unix()) < 0);
}

#[test]
fn a_pipe_in_place_of_a_key_is_an_error_and_not_a_wait() {
    let cell = TestCell::new("prod");
    let dir = cell.path("n1");
    cell.authority.issue(Role::Agent, "n1", DAY).unwrap().write(&dir).unwrap();
    let key = dir.join("key.pem");
    fs::remove_file(&key).unwrap();
    assert!(std::process::Command::new("mkfifo").args(["-m", "600"]).arg(&key).status().unwrap().success());
    let error = Credentials::load(&dir).unwrap_err();
    assert!(told(&error).ends_with("key.pem: it is not a file"), "{}", told(&error));
}
