//! Who a process is: its id alone is used again by the kernel, its id with its start time is not.

use std::fs::{self, File};
use std::io::{self, Read};

use crate::record::text::{Damage, Fields, Writer};

/// One process for ever: within a boot no two processes share id and start time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessIdentity {
    /// Process id.
    pub pid: u32,
    /// Start, in clock ticks since the boot.
    pub start_ticks: u64,
    /// The kernel's boot id.
    pub boot: String,
}

impl ProcessIdentity {
    /// This process.
    ///
    /// # Errors
    /// When `/proc` cannot be read.
    pub fn own(boot: &str) -> io::Result<Self> {
        Self::of(std::process::id(), boot)
    }

    /// The process that has this id now.
    ///
    /// # Errors
    /// When there is none, or `/proc` cannot be read.
    pub fn of(pid: u32, boot: &str) -> io::Result<Self> {
        let start_ticks = ProcessStat::of(pid)?.start_ticks;
        Ok(Self { pid, start_ticks, boot: boot.to_owned() })
    }

    /// Whether it still runs, given the boot id of now. A zombie does not run; one that cannot be looked at does.
    #[must_use]
    pub fn is_alive(&self, boot: &str) -> bool {
        self.boot == boot && ProcessStat::is_alive(self.pid, self.start_ticks)
    }

    pub(crate) fn write(&self, writer: &mut Writer) {
        writer.field("pid", self.pid).field("start_ticks", self.start_ticks).field("boot", &self.boot);
    }

    pub(crate) fn read(fields: &Fields) -> Result<Self, Damage> {
        Ok(Self {
            pid: fields.value("pid")?,
            start_ticks: fields.value("start_ticks")?,
            boot: fields.text("boot")?.to_owned(),
        })
    }
}

/// More than the kernel ever writes there, in one piece.
const STAT_BYTES: usize = 1024;

/// What a read says when the process went after its file was opened.
const ESRCH: i32 = 3;

/// The parts of `/proc/PID/stat` that tell processes apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessStat {
    /// Zombie or going.
    pub dead: bool,
    /// Parent.
    pub parent: u32,
    /// Session.
    pub session: u32,
    /// Start, in clock ticks since the boot.
    pub start_ticks: u64,
}

impl ProcessStat {
    /// Reads it.
    ///
    /// # Errors
    /// When there is no such process, or `/proc` cannot be read.
    pub fn of(pid: u32) -> io::Result<Self> {
        let mut text = [0; STAT_BYTES];
        let length = File::open(format!("/proc/{pid}/stat"))?.read(&mut text)?;
        Self::parse(&String::from_utf8_lossy(&text[..length]))
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "unexpected form of /proc/PID/stat"))
    }

    /// Whether the process of this id and start runs. Who cannot look, because there is no file left to open or no
    /// memory, knows nothing: then it counts as running, for whoever is called dead is buried.
    #[must_use]
    pub fn is_alive(pid: u32, start_ticks: u64) -> bool {
        Self::says_alive(&Self::of(pid), start_ticks)
    }

    fn says_alive(found: &io::Result<Self>, start_ticks: u64) -> bool {
        match found {
            Ok(stat) => stat.start_ticks == start_ticks && !stat.dead,
            Err(error) => !is_gone(error),
        }
    }

    /// The name in parentheses may hold anything, parentheses too: fields count from the last one.
    fn parse(text: &str) -> Option<Self> {
        let mut fields = text.rsplit_once(')')?.1.split_ascii_whitespace();
        let dead = matches!(fields.next()?, "Z" | "X" | "x");
        let parent = fields.next()?.parse().ok()?;
        let session = fields.nth(1)?.parse().ok()?;
        // Field 22 of proc(5); the session was field 6.
        let start_ticks = fields.nth(15)?.parse().ok()?;
        Some(Self { dead, parent, session, start_ticks })
    }
}

/// Whether an error of [`ProcessStat::of`] says that there is no such process. It may go while it is looked at.
#[must_use]
pub fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(ESRCH)
}

/// The kernel's id of this boot.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENOENT: i32 = 2;
    const ENOMEM: i32 = 12;
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;

    #[test]
    fn a_name_with_parentheses_does_not_shift_the_fields() {
        let text = "7 (a) b) (c) S 3 4 5 0 -1 1 2 3 4 5 6 7 8 9 20 0 1 0 4242 1 1";
        let expected = ProcessStat { dead: false, parent: 3, session: 5, start_ticks: 4242 };
        assert_eq!(ProcessStat::parse(text), Some(expected));
    }

    #[test]
    fn this_process_is_alive_and_one_with_another_start_or_boot_is_not() {
        let boot = boot_id().unwrap();
        let own = ProcessIdentity::own(&boot).unwrap();
        assert!(own.is_alive(&boot));
        assert!(!own.is_alive("another boot"));
        assert!(!ProcessIdentity { start_ticks: own.start_ticks + 1, ..own }.is_alive(&boot));
    }

    #[test]
    fn a_process_that_cannot_be_looked_at_is_not_called_dead() {
        let found = |errno: i32| Err(io::Error::from_raw_os_error(errno));
        for (errno, alive) in
            [(EMFILE, true), (ENFILE, true), (ENOMEM, true), (ESRCH, false), (ENOENT, false)]
        {
            assert_eq!(ProcessStat::says_alive(&found(errno), 7), alive, "error {errno}");
        }
        assert!(!ProcessStat::is_alive(u32::MAX, 7), "there is none");
    }
}
