//! A machine's clocks, read by whoever drives the simulation.

/// What the clocks of a machine show at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClockReading {
    /// Since the machine was booted. Never goes back within a boot; everything is decided by it.
    pub boot_ms: u64,
    /// Wall clock, for display. May jump.
    pub unix_ms: u64,
}

impl ClockReading {
    /// The same clocks when the boot clock showed `boot_ms`, which is not later than now.
    pub(super) const fn back_to(self, boot_ms: u64) -> Self {
        let ago = self.boot_ms.saturating_sub(boot_ms);
        Self { boot_ms, unix_ms: self.unix_ms.saturating_sub(ago) }
    }
}
