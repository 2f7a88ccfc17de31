//! The folder: what comes back, and what is refused.

use std::fs;
use std::path::Path;

use paceline_types::{AttemptId, FenceToken, Generation, NodeEpoch, Reason, Revision, Term};
use tempfile::TempDir;

use super::*;
use crate::table::End;

const BOOT: BootId = BootId([1; 16]);

fn open_as(dir: &Path, cell: &str, node: &str, boot: BootId) -> Result<Folder, FolderError> {
    Folder::open(dir, cell, &node.parse().unwrap(), boot, AgentInstance([7; 16]))
}

fn open(dir: &Path) -> Folder {
    open_as(dir, "c", "n", BOOT).unwrap_or_else(|error| panic!("{error}"))
}

fn refusal(dir: &Path, cell: &str, node: &str) -> String {
    open_as(dir, cell, node, BOOT).expect_err("it is refused").to_string()
}

fn token(term: u64, revision: u64) -> FenceToken {
    FenceToken { generation: Generation(1), term: Term(term), revision: Revision(revision) }
}

fn id(task: u32) -> AttemptId {
    format!("42-0.{task}.1").parse().unwrap()
}

fn accepted(task: u32) -> Change {
    Change::Accepted { attempt: id(task), generation: Generation(1), assigned: Revision(5), grace_ms: 10 }
}

fn all_kinds() -> Vec<Change> {
    vec![
        Change::Fence(token(3, 9)),
        Change::Epoch(NodeEpoch(2)),
        accepted(0),
        accepted(1),
        Change::Killed { attempt: id(1), grace_ms: 4 },
        Change::Ended { attempt: id(2), end: End::without_process(Reason::NotOnNode) },
        Change::Settled { attempt: id(3) },
    ]
}

#[test]
fn what_was_stored_comes_back_after_a_restart() {
    let dir = TempDir::new().unwrap();
    let mut folder = open(dir.path());
    for change in all_kinds() {
        folder.store(&[change]).unwrap();
    }
    let stored = folder.stored().clone();
    assert_eq!(stored.attempts.len(), 3);
    drop(folder);
    for _ in 0..2 {
        assert_eq!(open(dir.path()).stored(), &stored, "as often as it is opened");
    }
}

#[test]
fn sessions_only_rise() {
    let dir = TempDir::new().unwrap();
    let mut sessions = Vec::new();
    for _ in 0..3 {
        let mut folder = open(dir.path());
        sessions.extend([folder.next_session().unwrap().0, folder.next_session().unwrap().0]);
    }
    assert_eq!(sessions, [1, 2, 3, 4, 5, 6]);
}

#[test]
fn the_instance_is_made_once() {
    let dir = TempDir::new().unwrap();
    assert_eq!(open(dir.path()).instance(), AgentInstance([7; 16]));
    let again = Folder::open(dir.path(), "c", &"n".parse().unwrap(), BOOT, AgentInstance([8; 16])).unwrap();
    assert_eq!(again.instance(), AgentInstance([7; 16]));
}

#[test]
fn nobody_else_looks_into_what_the_agent_keeps() {
    use std::os::unix::fs::PermissionsExt;
    let dir = TempDir::new().unwrap();
    drop(open(&dir.path().join("data")));
    let mode = |name: &str| fs::metadata(dir.path().join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode("data") & 0o066, 0, "it is passed through and not listed");
    assert_eq!(mode("data/agent"), 0o700);
}

#[test]
fn an_agent_waits_for_one_that_is_just_leaving() {
    let dir = TempDir::new().unwrap();
    let leaving = open(dir.path());
    let left = std::thread::spawn(move || {
        sleep(10 * LOCK_PAUSE);
        drop(leaving);
    });
    drop(open(dir.path()));
    left.join().unwrap();
}

#[test]
fn a_second_agent_in_the_folder_is_refused() {
    let dir = TempDir::new().unwrap();
    let _first = open(dir.path());
    assert!(refusal(dir.path(), "c", "n").contains("held by another agent"));
}

#[test]
fn another_cell_and_another_node_are_refused_with_both_names() {
    let dir = TempDir::new().unwrap();
    drop(open(dir.path()));
    let text = refusal(dir.path(), "other", "n");
    assert!(text.contains("node n of cell c") && text.contains("node n of cell other"), "{text}");
    let text = refusal(dir.path(), "c", "m");
    assert!(text.contains("node n of cell c") && text.contains("node m of cell c"), "{text}");
}

#[test]
fn another_boot_keeps_term_and_epoch_and_forgets_attempts() {
    let dir = TempDir::new().unwrap();
    let mut folder = open(dir.path());
    folder.store(&all_kinds()).unwrap();
    drop(folder);
    // Whatever a power cut has left behind the header is not looked at.
    let path = dir.path().join("agent/orders");
    let mut bytes = fs::read(&path).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&path, bytes).unwrap();
    let folder = open_as(dir.path(), "c", "n", BootId([2; 16])).unwrap();
    assert_eq!((folder.stored().fence, folder.stored().epoch), (token(3, 9), NodeEpoch(2)));
    assert!(folder.stored().attempts.is_empty());
}

#[test]
fn a_higher_term_is_synced_at_once_and_a_higher_revision_with_the_orders() {
    let dir = TempDir::new().unwrap();
    let mut folder = open(dir.path());
    let fence = dir.path().join("agent/fence");
    folder.store(&[Change::Fence(token(3, 9))]).unwrap();
    let first = fs::read(&fence).unwrap();
    folder.store(&[Change::Fence(token(3, 10))]).unwrap();
    assert_eq!(fs::read(&fence).unwrap(), first);
    folder.store(&[Change::Fence(token(4, 10))]).unwrap();
    assert_ne!(fs::read(&fence).unwrap(), first);
}

#[test]
fn any_flipped_byte_in_any_file_is_refused_and_the_file_is_named() {
    let dir = TempDir::new().unwrap();
    let mut folder = open(dir.path());
    folder.store(&all_kinds()).unwrap();
    drop(folder);
    for name in ["instance", "place", "session", "fence", "orders"] {
        let path = dir.path().join("agent").join(name);
        let whole = fs::read(&path).unwrap();
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x40;
            fs::write(&path, bytes).unwrap();
            let text = refusal(dir.path(), "c", "n");
            assert!(text.contains(&format!("agent/{name}")) && text.contains("node replace"), "{text}");
        }
        fs::write(&path, whole).unwrap();
    }
    drop(open(dir.path()));
}

#[test]
fn a_missing_file_is_refused_and_named() {
    for name in ["instance", "session", "fence"] {
        let dir = TempDir::new().unwrap();
        drop(open(dir.path()));
        fs::remove_file(dir.path().join("agent").join(name)).unwrap();
        let text = refusal(dir.path(), "c", "n");
        assert!(text.contains(&format!("agent/{name}")) && text.contains("missing"), "{text}");
    }
}

#[test]
fn a_write_that_was_cut_short_is_dropped() {
    let dir = TempDir::new().unwrap();
    let mut folder = open(dir.path());
    folder.store(&[accepted(0)]).unwrap();
    let path = dir.path().join("agent/orders");
    let before = fs::metadata(&path).unwrap().len();
    let stored = folder.stored().clone();
    folder.store(&[accepted(1)]).unwrap();
    drop(folder);
    let whole = fs::read(&path).unwrap();
    for end in usize::try_from(before).unwrap() + 1..whole.len() {
        fs::write(&path, &whole[..end]).unwrap();
        assert_eq!(open(dir.path()).stored(), &stored, "{end}");
    }
}

#[test]
fn a_long_history_is_rewritten_and_stays_small() {
    let dir = TempDir::new().unwrap();
    let mut folder = open(dir.path());
    for task in 0..30_000 {
        folder.store(&[accepted(task), Change::Settled { attempt: id(task) }]).unwrap();
    }
    let stored = folder.stored().clone();
    drop(folder);
    let bytes = fs::metadata(dir.path().join("agent/orders")).unwrap().len();
    assert!(bytes < 3 << 20, "{bytes} bytes");
    let folder = open(dir.path());
    assert_eq!(folder.stored(), &stored);
    assert!(folder.stored().settled.contains(id(29_999)));
}

#[test]
fn a_copied_folder_is_refused_until_the_machine_is_booted_anew() {
    let whole = TempDir::new().unwrap();
    let (original, copy) = (whole.path().join("a"), whole.path().join("b"));
    drop(open(&original));
    drop(open(&original));
    fs::create_dir_all(copy.join("agent")).unwrap();
    for file in fs::read_dir(original.join("agent")).unwrap() {
        let from = file.unwrap().path();
        fs::copy(&from, copy.join("agent").join(from.file_name().unwrap())).unwrap();
    }
    let said = refusal(&copy, "c", "n");
    assert!(said.contains("is a copy") && said.contains(copy.to_str().unwrap()), "{said}");
    drop(open(&original));
    // Which of two boots holds the instance is for the cell to decide.
    open_as(&copy, "c", "n", BootId([2; 16])).unwrap();
    let moved = whole.path().join("c");
    fs::rename(&original, &moved).unwrap();
    open(&moved);
}
