//! When a stream that can go on breaks: whether to open it again, and how soon.

use std::time::Duration;

use tokio::time::sleep;
use tonic::Status;

use crate::backoff::{Backoff, Jitter};
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
        sleep(self.pause(client.jitter(), status)?).await;
        Ok(())
    }

    /// How long before it is opened again: our own pause, or the longer one that the cell asks for.
    fn pause(&mut self, jitter: &Jitter, status: &Status) -> Result<Duration, ClientError> {
        tracing::debug!(breaks = self.0, status = words(status), "a stream broke");
        let wait_ms = match judge(status) {
            Verdict::Refused(detail) => return Err(ClientError::Refused(detail)),
            Verdict::Fatal => return Err(ClientError::Protocol { fault: words(status) }),
            Verdict::Again { wait_ms, .. } => wait_ms,
            Verdict::Redirect { .. } | Verdict::Impostor => 0,
        };
        self.0 += 1;
        if self.0 >= BREAKS_MAX {
            let (tries, last) = (std::mem::take(&mut self.0), words(status));
            return Err(ClientError::Broken { tries, last });
        }
        Ok(Backoff::after(jitter, self.0).pause(wait_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use paceline_api::v1::ErrorCode;
    use paceline_api::{error_detail, status_from};

    #[test]
    fn a_stream_that_broke_at_a_bound_is_opened_again_when_the_cell_said() {
        let (mut breaks, jitter) = (Breaks::default(), Jitter::new(1));
        let mut detail = error_detail(ErrorCode::Overloaded, "64 watches are open");
        let own = breaks.pause(&jitter, &status_from(detail.clone())).expect("again");
        assert!(own <= Duration::from_millis(20), "{own:?}");
        detail.retry_after_ms = 2_000;
        let asked = breaks.pause(&jitter, &status_from(detail)).expect("again");
        assert!(asked >= Duration::from_millis(2_000), "{asked:?}");
    }

    #[test]
    fn a_stream_that_breaks_again_and_again_is_given_up() {
        let (mut breaks, jitter) = (Breaks::default(), Jitter::new(1));
        let broken = Status::unavailable("reset");
        let pauses = std::iter::from_fn(|| breaks.pause(&jitter, &broken).ok()).count();
        assert_eq!(pauses, BREAKS_MAX as usize - 1);
    }
}
