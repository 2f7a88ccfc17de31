//! The commented job file that `job init` prints.

/// A sound job file that shows every field.
pub const EXAMPLE: &str = r#"# A job: N tasks from one template. Fields marked (optional) show an example, not the default.
name: word-count             # a-z 0-9 - . _ ; unique among live jobs
kind: batch                  # (optional) tasks that run to an end; the only kind so far
pool: /                      # (optional) the root pool, the only one so far
tasks: 100                   # task indices 0 to 99, in the environment as PACELINE_TASK_INDEX

run: ["/bin/sh", "-c", "echo task $PACELINE_TASK_INDEX of $PACELINE_TASK_COUNT"]
env: {GREETING: hello}       # (optional) on top of what the agent gives
# user: nobody               # (optional) where the node allows it

resources: {cpu: 10m, memory: 8Mi}   # cpu is a weight, memory a hard limit where the node can enforce it
# cpu_limit: 500m            # (optional) a quota on top of the weight

time_limit: 10m              # (optional) then the attempt is ended
grace: 10s                   # (optional) from SIGTERM to SIGKILL; default 10s
max_attempts: 3              # (optional) failed attempts before a task has failed; default 1
max_running: 50              # (optional) tasks on nodes at once; 0 admits none
max_failed_tasks: 10         # (optional) more failed tasks stop the job
replace_after: 2m            # (optional) silence of a node after which its tasks run elsewhere, or never; default 1m
at_most_one: false           # (optional) true: no two attempts of a task ever run at the same time, also when the network
                             #   is cut. Its tasks end when no master can be reached for 40s, and grace is 10s at most

constraints:                 # (optional) all must hold on the node's labels
  - {label: os, in: [linux]}
  - {label: maintenance, exists: false}
tolerations:                 # (optional) taints that the tasks put up with
  - {key: dedicated, value: batch}
labels: {team: search}       # (optional) for people and dashboards

# simulate:                  # (optional) only pretend to run, and only on nodes that simulate
#   runs: {from: 1s, to: 5s} #   or one duration; a hash of the attempt says which length between the two
#   failures: {permille: 20, exit_code: 3}   # (optional) exit code 1 unless it is said; the others exit with 0
#   kills: {permille: 10, signal: 9}         # (optional) a signal from outside the cell
#   out_of_memory: 5         #   (optional) in a thousand
#   stop: 200ms              #   (optional) from SIGTERM to its end, or never; at once unless it is said
#   launch_faults: {permille: 7, times: 2}   # (optional) launches that fail as if the node were in trouble
#   output_bytes_per_second: 64              # (optional) on standard output

overrides:                   # (optional) what differs by index; the later entry holds
  - tasks: 0-9,42
    resources: {cpu: 500m, memory: 256Mi}
    env: {GREETING: big}
"#;
