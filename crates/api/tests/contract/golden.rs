//! Wire bytes that were sent once are read for ever: each file under `golden/` is a message of the first
//! contract, in hexadecimal. A change that makes one fail breaks peers of another version.

use paceline_api::{Known, decode_spec, encode_spec, v1};
use paceline_link::message::{AgentMessage, AgentOrder, MasterMessage, ShardMessage};
use prost::Message;

use crate::samples::fixed;

/// Hexadecimal with 40 bytes a line, as in the files.
fn hex(bytes: &[u8]) -> String {
    let line = |part: &[u8]| part.iter().map(|byte| format!("{byte:02x}")).collect::<String>() + "\n";
    bytes.chunks(40).map(line).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let digits: String = text.split_whitespace().collect();
    let pairs = digits.as_bytes().chunks(2);
    pairs
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).expect("ascii"), 16).expect("hex"))
        .collect()
}

#[track_caller]
fn same_bytes(name: &str, golden: &str, bytes: &[u8]) {
    assert_eq!(golden, hex(bytes), "golden/{name}.hex differs; now it would be\n{}", hex(bytes));
}

#[test]
fn a_specification_is_written_and_read_as_ever() {
    let golden = include_str!("../golden/spec.hex");
    same_bytes("spec", golden, &encode_spec(&fixed::spec()));
    assert_eq!(decode_spec(&unhex(golden)).expect("reads"), fixed::spec());
}

#[test]
fn a_simulated_specification_is_written_and_read_as_ever() {
    let golden = include_str!("../golden/simulated_spec.hex");
    same_bytes("simulated_spec", golden, &encode_spec(&fixed::simulated_spec()));
    assert_eq!(decode_spec(&unhex(golden)).expect("reads"), fixed::simulated_spec());
}

#[test]
fn a_specification_that_needs_leases_is_written_and_read_as_ever() {
    let golden = include_str!("../golden/at_most_one_spec.hex");
    same_bytes("at_most_one_spec", golden, &encode_spec(&fixed::at_most_one_spec()));
    assert_eq!(decode_spec(&unhex(golden)).expect("reads"), fixed::at_most_one_spec());
}

/// Several frames as on a stream: each with its length before it.
fn stream<W: Message>(frames: impl IntoIterator<Item = W>) -> Vec<u8> {
    frames.into_iter().flat_map(|frame| frame.encode_length_delimited_to_vec()).collect()
}

fn frames<W: Message + Default>(golden: &str) -> Vec<W> {
    let bytes = unhex(golden);
    let mut rest = bytes.as_slice();
    let mut frames = Vec::new();
    while !rest.is_empty() {
        frames.push(W::decode_length_delimited(&mut rest).expect("reads"));
    }
    frames
}

#[test]
fn what_agents_say_is_written_and_read_as_ever() {
    let golden = include_str!("../golden/agent_frames.hex");
    same_bytes(
        "agent_frames",
        golden,
        &stream(fixed::agent_messages().into_iter().map(v1::AgentFrame::from)),
    );
    let read = frames::<v1::AgentFrame>(golden).into_iter().map(Option::<AgentMessage>::try_from);
    let read: Vec<_> = read.map(|read| read.expect("reads").expect("a known kind")).collect();
    assert_eq!(read, fixed::agent_messages());
}

#[test]
fn what_agents_are_told_is_written_and_read_as_ever() {
    let golden = include_str!("../golden/order_frames.hex");
    same_bytes("order_frames", golden, &stream(fixed::agent_orders().into_iter().map(v1::OrderFrame::from)));
    let read = frames::<v1::OrderFrame>(golden).into_iter().map(Option::<AgentOrder>::try_from);
    let read: Vec<_> = read.map(|read| read.expect("reads").expect("a known kind")).collect();
    assert_eq!(read, fixed::agent_orders());
}

#[test]
fn what_shards_say_is_written_and_read_as_ever() {
    let golden = include_str!("../golden/shard_frame.hex");
    same_bytes("shard_frame", golden, &stream([v1::ShardFrame::from(fixed::shard_messages())]));
    let frame = frames::<v1::ShardFrame>(golden).remove(0);
    assert_eq!(Known::try_from(frame).expect("reads"), all(fixed::shard_messages()));
}

#[test]
fn what_shards_are_told_is_written_and_read_as_ever() {
    let golden = include_str!("../golden/master_frame.hex");
    same_bytes("master_frame", golden, &stream([v1::MasterFrame::from(fixed::master_messages())]));
    let frame = frames::<v1::MasterFrame>(golden).remove(0);
    assert_eq!(Known::try_from(frame).expect("reads"), all(fixed::master_messages()));
}

#[test]
fn a_lease_is_asked_for_passed_on_and_granted_as_ever() {
    let golden = include_str!("../golden/lease_frames.hex");
    let (asked, passed_on, granted) = fixed::lease_messages();
    let mut bytes = stream([v1::AgentFrame::from(asked.clone())]);
    bytes.extend(stream([v1::ShardMessage::from(passed_on.clone())]));
    bytes.extend(stream([v1::OrderFrame::from(granted.clone())]));
    same_bytes("lease_frames", golden, &bytes);
    let mut rest = bytes.as_slice();
    let frame = v1::AgentFrame::decode_length_delimited(&mut rest).expect("reads");
    assert_eq!(Option::<AgentMessage>::try_from(frame).expect("reads"), Some(asked));
    let message = v1::ShardMessage::decode_length_delimited(&mut rest).expect("reads");
    assert_eq!(Option::<ShardMessage>::try_from(message).expect("reads"), Some(passed_on));
    let frame = v1::OrderFrame::decode_length_delimited(&mut rest).expect("reads");
    assert_eq!(Option::<AgentOrder>::try_from(frame).expect("reads"), Some(granted));
}

/// Nothing was left out.
fn all<M>(messages: Vec<M>) -> Known<M> {
    Known { messages, unknown: 0 }
}

#[test]
fn a_frame_that_names_the_masters_is_written_and_read_as_ever() {
    let golden = include_str!("../golden/master_frame_masters.hex");
    let frame = fixed::masters_frame();
    same_bytes("master_frame_masters", golden, &stream([frame.clone()]));
    assert_eq!(frames::<v1::MasterFrame>(golden), [frame]);
}

#[test]
fn a_fault_is_named_with_its_whole_path() {
    let mut frame = v1::ShardFrame::from(fixed::shard_messages());
    let Some(v1::shard_message::Message::NodeReport(said)) = &mut frame.messages[2].message else {
        panic!("the third message is a report");
    };
    said.report.as_mut().expect("set").runs[1].tasks = None;
    let fault = Known::<ShardMessage>::try_from(frame).expect_err("refused");
    assert_eq!(fault.field, "messages[2].node_report.report.runs[1].tasks");

    let mut frame = v1::AgentFrame::from(fixed::agent_messages().remove(1));
    let Some(v1::agent_frame::Message::Report(report)) = &mut frame.message else {
        panic!("the second message is a report");
    };
    report.runs[0].pids.pop();
    let fault = Option::<AgentMessage>::try_from(frame).expect_err("refused");
    assert_eq!(
        fault.to_string(),
        "field `report.runs[0].pids` is `2 pids`: expected none, or one for each of 3 tasks"
    );
}

/// A frame with fields of a kind that nobody has yet: number 30 of every oneof, an empty message.
const NEWER: [u8; 3] = [0xf2, 0x01, 0x00];

#[test]
fn a_message_of_a_newer_kind_is_left_out_and_counted() {
    assert_eq!(
        Option::<AgentMessage>::try_from(v1::AgentFrame::decode(&NEWER[..]).expect("reads")),
        Ok(None)
    );
    assert_eq!(Option::<AgentOrder>::try_from(v1::OrderFrame::decode(&NEWER[..]).expect("reads")), Ok(None));

    let mut frame = v1::ShardFrame::from(fixed::shard_messages());
    frame.messages.insert(1, v1::ShardMessage::decode(&NEWER[..]).expect("reads"));
    let read = Known::<ShardMessage>::try_from(frame).expect("the rest is known");
    assert_eq!((read.messages, read.unknown), (fixed::shard_messages(), 1));

    let mut frame = v1::MasterFrame::from(fixed::master_messages());
    let order = Some(v1::OrderFrame::decode(&NEWER[..]).expect("reads"));
    let to_node = v1::ToNode { node: "n1".to_owned(), session: 1, order };
    let message = Some(v1::master_message::Message::ToNode(to_node));
    frame.messages.push(v1::MasterMessage { message });
    frame.messages.push(v1::MasterMessage::decode(&NEWER[..]).expect("reads"));
    let read = Known::<MasterMessage>::try_from(frame).expect("the rest is known");
    assert_eq!((read.messages, read.unknown), (fixed::master_messages(), 2));
}

#[test]
fn a_newer_kind_or_code_inside_a_message_is_refused_by_name() {
    let report = |change: fn(&mut v1::ReportRun)| {
        let mut frame = v1::AgentFrame::from(fixed::agent_messages().remove(1));
        let Some(v1::agent_frame::Message::Report(report)) = &mut frame.message else {
            panic!("the second message is a report");
        };
        change(&mut report.runs[0]);
        Option::<AgentMessage>::try_from(frame).expect_err("refused").to_string()
    };
    let kind = report(|run| run.observed = None);
    assert_eq!(
        kind,
        "field `report.runs[0].observed` is `absent or of a newer kind`: expected a kind that this version knows"
    );
    let code = report(|run| {
        let ended = v1::Ended { status: None, reason: 99 };
        run.observed = Some(v1::report_run::Observed::Ended(ended));
    });
    assert_eq!(
        code,
        "field `report.runs[0].ended.reason` is `99`: expected a reason that this version knows"
    );
}
