//! What a request about masters may hold: all its faults at once.

use std::net::IpAddr;

use paceline_rules::Violation;
use paceline_types::check_name;
use tonic::Status;

use crate::refuse;

/// Longest address: the longest host name, a colon and a port fit.
const ADDRESS_BYTES_MAX: usize = 255;

/// The faults found so far.
#[derive(Default)]
pub(super) struct Faults(Vec<Violation>);

impl Faults {
    fn add(&mut self, field: &str, value: &str, expected: &str) {
        let value = value.chars().take(ADDRESS_BYTES_MAX).collect();
        self.0.push(Violation { field: field.to_owned(), value, expected: expected.to_owned() });
    }

    pub(super) fn name(&mut self, field: &str, name: &str) {
        if let Err(fault) = check_name("name", name) {
            self.add(field, name, fault.expected);
        }
    }

    pub(super) fn addresses(&mut self, peer: &str, api: &str) {
        for (field, address) in [("peer_address", peer), ("api_address", api)] {
            if !is_address(address) {
                self.add(field, address, "HOST:PORT of at most 255 bytes, as in 10.0.0.7:7101");
            } else if is_unspecified(address) {
                self.add(field, address, "an address that others can reach, as in 10.0.0.7:7101");
            }
        }
        if peer == api && is_address(peer) {
            self.add("api_address", api, "another port than that for the other masters");
        }
    }

    pub(super) fn done(self) -> Result<(), Status> {
        if self.0.is_empty() { Ok(()) } else { Err(refuse::invalid(&self.0)) }
    }
}

fn is_address(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let is_port = port.parse::<u16>().is_ok_and(|port| port > 0);
    let is_host = !host.is_empty() && !host.contains(|c: char| c.is_whitespace() || c == '/');
    is_port && is_host && text.len() <= ADDRESS_BYTES_MAX
}

/// Every address of a machine, to itself; to others, none.
fn is_unspecified(address: &str) -> bool {
    let host = address.rsplit_once(':').map_or("", |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.parse::<IpAddr>().is_ok_and(|host| host.is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_of_a_request_is_named_at_once() {
        let mut faults = Faults::default();
        faults.name("name", "No Name");
        faults.addresses("nowhere", "host:0");
        let refused = faults.done().expect_err("three faults");
        let detail = paceline_api::detail_of(&refused).expect("typed");
        let fields: Vec<&str> = detail.violations.iter().map(|fault| fault.field.as_str()).collect();
        assert_eq!(fields, ["name", "peer_address", "api_address"]);
        assert_eq!(detail.code(), paceline_api::v1::ErrorCode::InvalidArgument);
    }

    #[test]
    fn an_address_is_a_host_and_a_port() {
        for good in ["127.0.0.1:7101", "m4.cell.example:7101", "[::1]:7101"] {
            assert!(is_address(good), "{good}");
        }
        for bad in
            ["", "m4", "m4:", ":7", "m4:65536", "m 4:7", "http://m4:7", &format!("{}:7", "x".repeat(255))]
        {
            assert!(!is_address(bad), "{bad}");
        }
        for everywhere in ["0.0.0.0:7101", "[::]:7101", ":::7101"] {
            let mut faults = Faults::default();
            faults.addresses("m4:7102", everywhere);
            assert!(faults.done().is_err(), "{everywhere}");
        }
        let mut same = Faults::default();
        same.addresses("m4:7", "m4:7");
        assert!(same.done().is_err());
    }
}
