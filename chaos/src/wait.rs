//! Waiting for something to become true, with a deadline that says what was still missing.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use tokio::time::sleep;

/// Between two looks: soon enough to measure tenths of seconds, rare enough not to be load.
pub const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Looks until there is a value. A look that finds none says what is missing; at the deadline, the last such
/// answer is the error.
pub async fn until<T, F, Fut>(what: &str, within: Duration, look: F) -> Result<T>
where
    F: Fn() -> Fut,
    Fut: Future<Output = Result<T, String>>,
{
    let began = Instant::now();
    loop {
        match look().await {
            Ok(value) => return Ok(value),
            Err(missing) if began.elapsed() >= within => {
                bail!("{what}: not within {} s: {missing}", within.as_secs());
            }
            Err(_) => sleep(LOOK_EVERY).await,
        }
    }
}

/// Whole milliseconds since a moment.
pub fn ms_since(moment: Instant) -> u64 {
    u64::try_from(moment.elapsed().as_millis()).unwrap_or(u64::MAX)
}
