//! The lease in a supervisor: the record as it was read last, and an alarm on the boot clock, which goes on while the
//! machine is suspended. What follows from both is decided in the library.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use paceline_supervisor::lease::{Decision, decide};
use paceline_supervisor::{Lease, Order, RecordError, Stop, read};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::time::{
    ClockId, Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, clock_gettime, timerfd_create,
    timerfd_settime,
};

use crate::control::Control;

/// How often records are read without a wake-up, for one can be lost, while the first lease has not come.
const LOOK_EVERY: Duration = Duration::from_secs(1);

const NOTHING: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };

/// The lease of a task that must not run without one.
pub struct Held {
    grace_ms: u64,
    alarm: OwnedFd,
    lease: Option<Lease>,
}

impl Held {
    /// No lease yet; nothing for a task that needs none.
    pub fn of(order: &Order) -> io::Result<Option<Self>> {
        if !order.at_most_one {
            return Ok(None);
        }
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let alarm = timerfd_create(TimerfdClockId::Boottime, flags)?;
        Ok(Some(Self { grace_ms: order.grace_ms, alarm, lease: None }))
    }

    /// Waits for a lease that leaves time to run. False: the task was stopped before.
    pub fn wait(&mut self, folder: &Path, control: &Control) -> io::Result<bool> {
        loop {
            // A damaged stop still says that somebody wants an end.
            if !matches!(read::<Stop>(folder), Ok(None)) {
                return Ok(false);
            }
            _ = self.look(folder);
            if let (Decision::RunUntil(_), _) = self.decide()? {
                return Ok(true);
            }
            let mut sources = [PollFd::from_borrowed_fd(control.as_fd(), PollFlags::IN)];
            let timeout = Timespec::try_from(LOOK_EVERY).unwrap_or(NOTHING);
            match poll(&mut sources, Some(&timeout)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => control.clear()?,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Reads the record. A damaged one changes nothing: the lease of before stands and ends.
    pub fn look(&mut self, folder: &Path) -> Result<(), RecordError> {
        if let Some(lease) = read::<Lease>(folder)? {
            self.lease = Some(lease);
        }
        Ok(())
    }

    /// What the lease allows now, with what the boot clock shows; the alarm goes off when that changes.
    pub fn decide(&mut self) -> io::Result<(Decision, u64)> {
        let now_ms = boot_clock_ms();
        let decision = decide(self.lease.as_ref(), self.grace_ms, now_ms);
        let at_ms = match decision {
            Decision::RunUntil(at_ms) | Decision::StopBy(at_ms) => Some(at_ms),
            Decision::Wait | Decision::Kill => None,
        };
        // Zero switches it off: nothing follows a kill.
        let it_value = at_ms.map_or(NOTHING, |ms| {
            Timespec::try_from(Duration::from_millis(ms)).unwrap_or(Timespec { tv_sec: i64::MAX, tv_nsec: 0 })
        });
        let timer = Itimerspec { it_interval: NOTHING, it_value };
        timerfd_settime(&self.alarm, TimerfdTimerFlags::ABSTIME, &timer)?;
        Ok((decision, now_ms))
    }
}

impl AsFd for Held {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.alarm.as_fd()
    }
}

fn boot_clock_ms() -> u64 {
    let now = clock_gettime(ClockId::Boottime);
    Duration::try_from(now).map_or(u64::MAX, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
