//! Waiting for something to become true, with a limit and an ear for Ctrl-C.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// Between two looks: a person sees no delay, and the cell answers a handful of questions a second.
pub const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Returns once `look` says so. `what` completes the sentence "expected that …".
pub fn until(
    what: &str,
    limit: Duration,
    interrupted: &AtomicBool,
    mut look: impl FnMut() -> Result<bool>,
) -> Result<()> {
    let began = Instant::now();
    while !look()? {
        check(interrupted)?;
        if began.elapsed() > limit {
            bail!("expected that {what}; not so after {} s", limit.as_secs());
        }
        thread::sleep(LOOK_EVERY);
    }
    Ok(())
}

/// An error once somebody asked us to end.
pub fn check(interrupted: &AtomicBool) -> Result<()> {
    // ORDERING: Relaxed, a lone flag; nothing else is published with it.
    if interrupted.load(Ordering::Relaxed) {
        bail!("interrupted");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_ends_with_its_condition_its_limit_or_an_interrupt() {
        let quiet = AtomicBool::new(false);
        let mut looks = 0;
        let third = || {
            looks += 1;
            Ok(looks == 3)
        };
        until("the third look is made", Duration::from_secs(60), &quiet, third).unwrap();
        let error = until("pigs fly", Duration::ZERO, &quiet, || Ok(false)).unwrap_err().to_string();
        assert!(error.contains("expected that pigs fly"), "{error}");
        let interrupted = AtomicBool::new(true);
        assert!(until("pigs fly", Duration::from_secs(60), &interrupted, || Ok(false)).is_err());
    }
}
