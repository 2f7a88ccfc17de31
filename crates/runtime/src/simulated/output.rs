//! What a simulated attempt writes: numbered lines at an even rate, made when somebody reads them.

use std::collections::VecDeque;

use paceline_types::AttemptId;

/// Attempts whose output outlives them, as many as a real node keeps; the oldest goes first.
const KEPT_MAX: usize = 1_000;
/// Digits of a line's number: as many as 2^64 has.
const NUMBER_DIGITS: usize = 20;

/// Standard output of one attempt. Nothing is stored: every byte follows from its position.
#[derive(Clone, Copy, Debug)]
pub(super) struct Output {
    pub bytes_per_second: u64,
    /// Boot clock of its start.
    pub started_ms: u64,
    /// Boot clock of its end; nothing while it runs.
    pub ended_ms: Option<u64>,
}

impl Output {
    /// An attempt that never ran.
    pub const NONE: Self = Self { bytes_per_second: 0, started_ms: 0, ended_ms: Some(0) };

    /// At most `bytes_max` bytes from `offset` of what is written by `now_ms`.
    pub fn read(&self, attempt: &AttemptId, offset: u64, bytes_max: usize, now_ms: u64) -> Vec<u8> {
        let left = self.written(now_ms).saturating_sub(offset);
        let count = usize::try_from(left).unwrap_or(usize::MAX).min(bytes_max);
        let name = attempt.to_string();
        let line_bytes = (name.len() + NUMBER_DIGITS + 2) as u64;
        let mut bytes = Vec::with_capacity(count);
        let mut position = offset;
        while bytes.len() < count {
            let number = position / line_bytes;
            let line = format!("{name} {number:0NUMBER_DIGITS$}\n");
            let within = usize::try_from(position % line_bytes).expect("shorter than a line");
            let part = &line.as_bytes()[within..];
            let part = &part[..part.len().min(count - bytes.len())];
            bytes.extend_from_slice(part);
            position += part.len() as u64;
        }
        bytes
    }

    /// How much is written by `now_ms`.
    fn written(&self, now_ms: u64) -> u64 {
        let ran_ms = self.ended_ms.unwrap_or(now_ms).saturating_sub(self.started_ms);
        let bytes = u128::from(self.bytes_per_second) * u128::from(ran_ms) / 1_000;
        u64::try_from(bytes).unwrap_or(u64::MAX)
    }
}

/// Output of forgotten attempts.
#[derive(Debug, Default)]
pub(super) struct Kept(VecDeque<(AttemptId, Output)>);

impl Kept {
    /// Keeps what was written; the last output of an attempt replaces its earlier one.
    pub fn keep(&mut self, attempt: AttemptId, output: Output) {
        self.0.retain(|(kept, _)| *kept != attempt);
        if output.written(0) > 0 {
            self.0.push_back((attempt, output));
        }
        if self.0.len() > KEPT_MAX {
            self.0.pop_front();
        }
    }

    pub fn find(&self, attempt: &AttemptId) -> Option<Output> {
        self.0.iter().find(|(kept, _)| kept == attempt).map(|(_, output)| *output)
    }
}
