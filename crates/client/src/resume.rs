//! When a stream that can go on breaks: whether to open it again, and how soon.

use tokio::time::sleep;
use tonic::Status;

use crate::backoff::Backoff;
use crate::client::Client;
use crate::error::ClientError;
use crate::verdict::{Verdict, judge, words};

/// Breaks in a row, without a message between them, after which the caller hears of it. A stream that opens and
/// breaks again and again has a cause that another master does not cure.
const BREAKS_MAX: u32 = 8;

/// The breaks of one stream since its last message.
#[derive(Debug, Default)]
pub(crate) struct Breaks(u32);

impl Breaks {
    /// A message came.
    pub(crate) const fn healed(&mut self) {
        self.0 = 0;
    }

    /// The stream broke: pauses, or ends it.
    pub(crate) async fn broke(&mut self, client: &Client, status: &Status) -> Result<(), ClientError> {
        tracing::debug!(breaks = self.0, status = words(status), "a stream broke");
        match judge(status) {
            Verdict::Refused(detail) => return Err(ClientError::Refused(detail)),
            Verdict::Fatal => return Err(ClientError::Protocol { fault: words(status) }),
            Verdict::Redirect { .. } | Verdict::Again { .. } | Verdict::Impostor => {}
        }
        self.0 += 1;
        if self.0 >= BREAKS_MAX {
            let (tries, last) = (std::mem::take(&mut self.0), words(status));
            return Err(ClientError::Broken { tries, last });
        }
        sleep(Backoff::after(client.jitter(), self.0).pause(0)).await;
        Ok(())
    }
}
