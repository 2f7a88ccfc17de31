//! What a real node refuses, should placement ever let it through.

use paceline_runtime::{Launch, Observed, Runtime};
use paceline_types::{ExitStatus, OnStop, Reason, Script, ScriptEnd};

use crate::node::{Node, launch};

#[test]
fn what_only_pretends_to_run_is_not_started() {
    let script = Script {
        runs_ms: 1,
        end: ScriptEnd::Exit(ExitStatus::Code(0)),
        on_stop: OnStop::Ignores,
        launch_faults: 0,
        output_bytes_per_second: 0,
    };
    let node = Node::new();
    let attempt = node.start(&Launch { script: Some(script), ..launch(&["/bin/true"]) });
    let Some(Observed::Exited(exit)) = node.runtime.observe(&attempt).unwrap() else { panic!("it runs") };
    assert_eq!((exit.reason, exit.pid), (Reason::LaunchFailed, 0));
    assert!(exit.message.contains("pretends"), "{}", exit.message);
}
