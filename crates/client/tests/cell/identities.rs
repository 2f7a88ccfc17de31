//! Who may call, and what happens when the two sides do not know each other.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use paceline_api::FILE_DESCRIPTOR_SET;
use paceline_api::v1::ErrorCode;
use paceline_client::Class;
use paceline_identity::{RULES, Role};
use prost::Message;
use prost_types::FileDescriptorSet;

use crate::fake::FakeMasters;

#[tokio::test]
async fn masters_of_another_cell_are_a_fatal_error_at_once() {
    let (ours, theirs) = (FakeMasters::start(2).await, FakeMasters::start(2).await);
    let client = theirs.client_with(ours.credentials(Role::Operator, "op"), 0);
    let began = Instant::now();
    let error = client.jobs().get("hello").await.expect_err("refused");
    assert_eq!(error.class(), Class::Fatal, "{error}");
    assert!(error.to_string().contains("issued by"), "{error}");
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_role_that_may_not_call_is_told_so_once() {
    let masters = FakeMasters::start(1).await;
    let client = masters.client_with(masters.credentials(Role::Shard, "s1"), 0);
    let error = client.jobs().get("hello").await.expect_err("refused");
    assert_eq!((error.class(), error.code()), (Class::Refused, Some(ErrorCode::PermissionDenied)));
    assert!(error.to_string().contains("shard/s1 may not call"), "{error}");
}

#[test]
fn every_call_of_the_contract_has_a_line_in_the_table_and_no_line_is_without_a_call() {
    let files = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).expect("our own descriptors").file;
    let mut calls = BTreeSet::new();
    for service in files.iter().flat_map(|file| &file.service) {
        for method in &service.method {
            calls.insert(format!("/paceline.v1.{}/{}", service.name(), method.name()));
        }
    }
    let ours = RULES.iter().filter(|rule| rule.rpc.starts_with("/paceline.v1."));
    assert_eq!(calls, ours.map(|rule| rule.rpc.to_owned()).collect());
}
