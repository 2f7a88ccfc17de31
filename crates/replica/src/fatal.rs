//! What happens when the disk or the state machine can no longer be trusted: the process ends, at once.
//!
//! After a failed write or sync nobody knows what is on the disk, and a retry may report success for bytes that were
//! dropped. The only safe continuation is a restart that reads back what is really there.

use std::sync::Arc;

/// Called once with the reason. In production it never returns; tests replace it to observe the reason.
#[derive(Clone)]
pub struct FatalHandler(Arc<dyn Fn(&str) + Send + Sync>);

impl FatalHandler {
    /// Logs the reason and aborts the process.
    pub fn abort() -> Self {
        Self(Arc::new(|reason| {
            tracing::error!(reason, "aborting: continuing could lose acknowledged work");
            std::process::abort()
        }))
    }

    /// Calls `handler` instead of aborting. What was failing stays failed.
    pub fn replaced_by(handler: impl Fn(&str) + Send + Sync + 'static) -> Self {
        Self(Arc::new(handler))
    }

    /// Reports a fatal condition.
    pub fn call(&self, reason: &str) {
        (self.0)(reason);
    }
}

impl Default for FatalHandler {
    fn default() -> Self {
        Self::abort()
    }
}

impl std::fmt::Debug for FatalHandler {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FatalHandler")
    }
}

/// Turns a panic of the thread or task that holds it into a fatal condition: a dead owner would hang its callers.
pub struct PanicGuard {
    handler: FatalHandler,
    owner: &'static str,
}

impl PanicGuard {
    pub fn new(handler: FatalHandler, owner: &'static str) -> Self {
        Self { handler, owner }
    }
}

impl Drop for PanicGuard {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.handler.call(&format!("the {} panicked", self.owner));
        }
    }
}
