//! Whether a process of the simulation lives. Production aborts the process at a fatal error; a simulated one loses its
//! power at that instant: nothing that it still says or writes gets out, and the driver clears it away after the tick.

use std::sync::Arc;

use paceline_replica::FatalHandler;
use parking_lot::Mutex;

/// The power of one life of a process. Clones are the same switch.
#[derive(Debug, Clone, Default)]
pub struct Power(Arc<Mutex<Option<String>>>);

impl Power {
    /// Whether it is on.
    #[must_use]
    pub fn is_on(&self) -> bool {
        self.0.lock().is_none()
    }

    /// Why it went off, if it did.
    #[must_use]
    pub fn reason(&self) -> Option<String> {
        self.0.lock().clone()
    }

    /// Switches it off; the first reason stays.
    pub fn cut(&self, reason: &str) {
        self.0.lock().get_or_insert_with(|| reason.to_owned());
    }

    /// What stands for the abort of the process.
    #[must_use]
    pub fn fatal_handler(&self) -> FatalHandler {
        let power = self.clone();
        FatalHandler::replaced_by(move |reason| power.cut(reason))
    }
}
