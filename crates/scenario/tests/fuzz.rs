//! Job files against broken ones. A file is read and never written, so there is nothing to read again.

use paceline_fuzz::{Campaign, Meter};
use paceline_rules::Limits;
use paceline_scenario::{EXAMPLE, read_job};

#[global_allocator]
static METER: Meter = Meter;

#[test]
fn job_files() {
    let smallest = "name: j\ntasks: 1\nrun: [x]\nresources: {cpu: 10m, memory: 8Mi}\n\
                    simulate: {runs: {from: 1s, to: 2s}, failures: {permille: 1}, stop: never}\n";
    let sound = [EXAMPLE, smallest].map(|text| text.as_bytes().to_vec()).to_vec();
    Campaign::new("job file", sound).run(
        |bytes| read_job(std::str::from_utf8(bytes).ok()?, &Limits::default()).ok(),
        |job| Some(job.clone()),
    );
}
