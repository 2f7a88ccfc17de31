//! Every call there is, from the compiled descriptors of everything that a role serves.

use std::collections::BTreeSet;

use prost::Message;
use prost_types::FileDescriptorSet;

/// `/package.Service/Method` of every method of every service.
pub fn calls() -> BTreeSet<String> {
    methods().into_iter().map(|(call, _)| call).collect()
}

/// Those whose requests are streams.
pub fn streams() -> BTreeSet<String> {
    methods().into_iter().filter(|(_, streams)| *streams).map(|(call, _)| call).collect()
}

fn methods() -> Vec<(String, bool)> {
    let sets = [
        paceline_api::FILE_DESCRIPTOR_SET,
        paceline_replica::PEER_FILE_DESCRIPTOR_SET,
        tonic_health::pb::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
        tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
    ];
    sets.into_iter().flat_map(methods_of).collect()
}

fn methods_of(set: &[u8]) -> Vec<(String, bool)> {
    let mut methods = Vec::new();
    for file in FileDescriptorSet::decode(set).unwrap().file {
        for service in &file.service {
            for method in &service.method {
                let call = format!("/{}.{}/{}", file.package(), service.name(), method.name());
                methods.push((call, method.client_streaming()));
            }
        }
    }
    methods
}
