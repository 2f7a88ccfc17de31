//! The end of a process's life: what survives it, and a record of what did not.

use std::fmt;

use super::device::Device;

/// How a process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CrashKind {
    /// The process dies and the machine lives: everything written survives, and what is pending stays pending.
    Kill,
    /// The machine loses its power: only what is safe survives for sure.
    PowerCut,
}

/// What became of the pending bytes of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileLoss {
    /// The file.
    pub path: String,
    /// Sectors that were written and not synced.
    pub sectors: usize,
    /// Those that survived.
    pub kept: usize,
}

/// What a crash took.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loss {
    /// How it happened.
    pub kind: CrashKind,
    /// Batches that were written and not synced.
    pub batches: usize,
    /// Those that survived.
    pub batches_kept: usize,
    /// Changes of names that are gone, in words.
    pub names_lost: Vec<String>,
    /// Files with unsynced bytes.
    pub files: Vec<FileLoss>,
}

impl Loss {
    /// Whether everything that was written survived.
    pub fn is_nothing(&self) -> bool {
        let whole = self.files.iter().all(|file| file.kept == file.sectors);
        self.batches_kept == self.batches && self.names_lost.is_empty() && whole
    }
}

impl fmt::Display for Loss {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            CrashKind::Kill => f.write_str("process killed")?,
            CrashKind::PowerCut => f.write_str("power cut")?,
        }
        if self.is_nothing() {
            return f.write_str(": nothing lost");
        }
        write!(f, ": {} of {} unsynced batches survived", self.batches_kept, self.batches)?;
        for lost in &self.names_lost {
            write!(f, "; lost the {lost}")?;
        }
        for file in &self.files {
            write!(f, "; {}: {} of {} unsynced sectors survived", file.path, file.kept, file.sectors)?;
        }
        Ok(())
    }
}

impl Device {
    /// Ends the life of whoever has it open.
    pub fn crash(&mut self, kind: CrashKind) -> Loss {
        let kind = self.cut().unwrap_or(kind);
        self.forget_cut();
        self.fail_next = None;
        self.closed = true;
        match kind {
            CrashKind::Kill => self.kill(),
            CrashKind::PowerCut => self.cut_power(),
        }
    }

    /// The next life. RocksDB reads its log back and saves what it read before it serves anyone.
    pub fn begin_life(&mut self) -> u64 {
        if self.closed {
            self.keys.sync();
            self.keys.forget_pending();
            self.closed = false;
        }
        self.life += 1;
        self.life
    }

    fn kill(&mut self) -> Loss {
        // A batch whose write failed is the last one; whether it is in the log is anyone's guess.
        let batches = self.keys.pending.len();
        if self.keys.pending.last().is_some_and(|pending| pending.failed) && self.draw.chance(500) {
            self.keys.pending.pop();
        }
        let batches_kept = self.keys.pending.len();
        Loss { kind: CrashKind::Kill, batches, batches_kept, names_lost: Vec::new(), files: Vec::new() }
    }

    fn cut_power(&mut self) -> Loss {
        let batches = self.keys.pending.len();
        let batches_kept = self.draw.position(batches + 1);
        self.keys.save(batches_kept);
        self.keys.forget_pending();
        let mut files = Vec::new();
        for id in self.files.ids() {
            let (sectors, kept) = self.files.get_mut(id).cut(&mut self.draw);
            if sectors > 0 {
                files.push(FileLoss { path: self.names.path_of(id), sectors, kept });
            }
        }
        let names_lost = self.names.cut(&mut self.draw).iter().map(ToString::to_string).collect();
        let names = &self.names;
        self.files.retain(|id| names.names_file(id));
        Loss { kind: CrashKind::PowerCut, batches, batches_kept, names_lost, files }
    }
}
