//! What either end of a simulated connection says first: its plane and its identity, length before content.

use std::io;
use std::sync::Arc;

use paceline_identity::PeerIdentity;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use turmoil::net::TcpStream;

use super::Plane;

/// A certificate is below a kilobyte; more than this is not one of ours.
const BYTES_MAX: usize = 16 << 10;

/// The first words of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Hello {
    pub(super) plane: Plane,
    pub(super) identity: PeerIdentity,
}

impl Hello {
    pub(super) async fn write(&self, tcp: &mut TcpStream) -> io::Result<()> {
        let content = self.encode();
        let length = u32::try_from(content.len()).expect("an identity is a few kilobytes");
        // In one piece: one segment of the simulated network.
        tcp.write_all(&[&length.to_be_bytes()[..], &content].concat()).await
    }

    pub(super) async fn read(tcp: &mut TcpStream) -> io::Result<Self> {
        let length = tcp.read_u32().await? as usize;
        if length > BYTES_MAX {
            return Err(io::Error::other(format!(
                "a hello of {length} bytes; at most {BYTES_MAX} are expected"
            )));
        }
        let mut content = vec![0; length];
        tcp.read_exact(&mut content).await?;
        Self::decode(&content).ok_or_else(|| io::Error::other("a hello that is none"))
    }

    fn encode(&self) -> Vec<u8> {
        let identity = &self.identity;
        let plane = match self.plane {
            Plane::Cell => 0,
            Plane::Peers => 1,
        };
        let mut bytes = vec![plane];
        bytes.extend_from_slice(&identity.not_after_unix.to_be_bytes());
        let parts = [identity.cell.as_bytes(), identity.role.as_str().as_bytes(), identity.name.as_bytes()];
        for part in parts.into_iter().chain([&identity.certificate_der[..]]) {
            let length = u32::try_from(part.len()).expect("a part of an identity is short");
            bytes.extend_from_slice(&length.to_be_bytes());
            bytes.extend_from_slice(part);
        }
        bytes
    }

    fn decode(mut bytes: &[u8]) -> Option<Self> {
        let plane = match bytes.split_off_first()? {
            0 => Plane::Cell,
            1 => Plane::Peers,
            _ => return None,
        };
        let not_after_unix = i64::from_be_bytes(bytes.split_off(..8)?.try_into().ok()?);
        let mut part = || {
            let length = u32::from_be_bytes(bytes.split_off(..4)?.try_into().ok()?);
            bytes.split_off(..length as usize)
        };
        let mut text = || String::from_utf8(part()?.to_vec()).ok();
        let (cell, role, name) = (text()?, text()?.parse().ok()?, text()?);
        let certificate_der = Arc::from(part()?);
        Some(Self { plane, identity: PeerIdentity { cell, role, name, not_after_unix, certificate_der } })
    }
}

#[cfg(test)]
mod tests {
    use paceline_identity::Role;

    use super::*;

    fn hello() -> Hello {
        let identity = PeerIdentity {
            cell: "sim".into(),
            role: Role::Agent,
            name: "n1".into(),
            not_after_unix: 7,
            certificate_der: Arc::from([1, 2, 3]),
        };
        Hello { plane: Plane::Peers, identity }
    }

    #[test]
    fn a_hello_is_read_back_as_it_was_said() {
        assert_eq!(Hello::decode(&hello().encode()), Some(hello()));
    }

    #[test]
    fn a_hello_that_is_cut_off_is_none() {
        let whole = hello().encode();
        assert!((0..whole.len()).all(|length| Hello::decode(&whole[..length]).is_none()));
    }
}
