//! Who calls, and the request id of the call.

use paceline_api::{CallId, v1};
use paceline_cell::{Command, CommandBody, RequestId};
use paceline_identity::PeerIdentity;
use tonic::{Request, Status};

use crate::refuse;

/// The certificate behind a request.
pub(super) struct Caller {
    pub identity: PeerIdentity,
}

impl Caller {
    /// From the connection; without one the listener is broken, since it lets in nobody without a certificate.
    pub(super) fn of<T>(request: &Request<T>) -> Result<Self, Status> {
        let identity = request.extensions().get::<PeerIdentity>().cloned();
        let missing = || refuse::plain(v1::ErrorCode::PermissionDenied, "the connection carries no identity");
        Ok(Self { identity: identity.ok_or_else(missing)? })
    }

    /// A command with the caller's request id; without an id it is executed each time it arrives.
    pub(super) fn command(
        &self,
        request: Option<v1::RequestId>,
        body: CommandBody,
    ) -> Result<Command, Status> {
        let request = request.map(|request| self.request_id(request)).transpose()?;
        Ok(Command { request, body })
    }

    /// The cell's id of a request: who calls comes from the certificate, never from the wire.
    pub(super) fn request_id(&self, request: v1::RequestId) -> Result<RequestId, Status> {
        let id = CallId::try_from(request)?;
        Ok(RequestId {
            principal: self.identity.principal(),
            client: id.client,
            sequence: id.sequence,
            lowest_unanswered: id.lowest_unanswered,
            floor: id.floor,
        })
    }
}
