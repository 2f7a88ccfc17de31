//! How much processor time our children have used: those that have ended and were waited for, in all.
//!
//! Linux counts it for us; the simulation itself cannot tell, for its clocks are virtual.

use std::fs;

use anyhow::{Context, Result};

/// `USER_HZ`: Linux shows times to programs in hundredths of a second on every architecture that this builds on.
const TICKS_PER_SECOND: f64 = 100.0;
/// Places of `cutime` and `cstime` after the name of the program in `/proc/PID/stat` (proc(5), fields 16 and 17).
const CHILDREN_TIMES: [usize; 2] = [13, 14];

/// Seconds of processor time of all children so far.
pub fn of_children() -> Result<f64> {
    let text = fs::read_to_string("/proc/self/stat").context("could not read /proc/self/stat")?;
    read(&text).context("/proc/self/stat has another form than expected")
}

fn read(text: &str) -> Option<f64> {
    // The name may hold spaces and parentheses; nothing after it does.
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |at: usize| fields.get(at)?.parse::<u32>().ok();
    let [user, system] = CHILDREN_TIMES.map(ticks);
    Some(f64::from(user?) / TICKS_PER_SECOND + f64::from(system?) / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn the_two_times_of_children_are_added_whatever_the_program_is_called() {
        let text = "71 (a b) (c)) S 1 71 71 0 -1 4194304 100 200 0 0 5 6 250 51 20 0 1 0 99 1000 20";
        assert_eq!(read(text), Some(3.01));
        assert_eq!(read("71 (x) S 1"), None);
    }

    #[test]
    fn a_child_that_computes_is_counted() {
        let before = of_children().unwrap();
        let mut child = Command::new("/bin/sh");
        child.args(["-c", "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done"]);
        assert!(child.status().unwrap().success());
        assert!(of_children().unwrap() > before);
    }
}
