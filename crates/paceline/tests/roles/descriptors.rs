//! Every call there is, from the compiled descriptors of everything that a role serves.

use std::collections::BTreeSet;

use prost::Message;
use prost_types::FileDescriptorSet;

/// `/package.Service/Method` of every method of every service.
pub fn calls() -> BTreeSet<String> {
    let sets = [
        paceline_api::FILE_DESCRIPTOR_SET,
        paceline_replica::PEER_FILE_DESCRIPTOR_SET,
        tonic_health::pb::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
    ];
    sets.into_iter().flat_map(calls_of).collect()
}

fn calls_of(set: &[u8]) -> Vec<String> {
    let mut calls = Vec::new();
    for file in FileDescriptorSet::decode(set).unwrap().file {
        for service in &file.service {
            for method in &service.method {
                calls.push(format!("/{}.{}/{}", file.package(), service.name(), method.name()));
            }
        }
    }
    calls
}
