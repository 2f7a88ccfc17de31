//! What all requests and replies of the contract have in common, as traits.

use paceline_api::v1;

/// A reply; each says at which revision it holds.
pub(crate) trait Revised {
    fn revision(&self) -> u64;
}

/// A request that changes something; each carries a request id.
pub(crate) trait Mutation: Clone {
    fn stamp(&mut self, id: v1::RequestId);
}

/// A request that reads; each says how fresh the answer has to be.
pub(crate) trait Read: Clone {
    fn freshness(&mut self, read: v1::ReadOptions);
}

macro_rules! replies {
    ($($name:ident)*) => { $(impl Revised for v1::$name {
        fn revision(&self) -> u64 { self.revision }
    })* };
}

macro_rules! mutations {
    ($($name:ident)*) => { $(impl Mutation for v1::$name {
        fn stamp(&mut self, id: v1::RequestId) { self.request = Some(id); }
    })* };
}

macro_rules! reads {
    ($($name:ident)*) => { $(impl Read for v1::$name {
        fn freshness(&mut self, read: v1::ReadOptions) { self.read = Some(read); }
    })* };
}

replies! {
    SubmitJobReply StopJobReply DeleteJobReply GetJobReply ListJobsReply ListTasksReply
    ListNodesReply GetNodeReply DrainNodeReply ResumeNodeReply LabelNodeReply TaintNodeReply RemoveNodeReply
    ReplaceNodeReply ListShardsReply RemoveShardReply CellStatusReply GetConfigReply SetConfigReply
    TransferLeadershipReply ReleaseBrakeReply ListMembersReply AddMemberReply ReplaceMemberReply
    RemoveMemberReply
}

mutations! {
    SubmitJobRequest StopJobRequest DeleteJobRequest DrainNodeRequest ResumeNodeRequest LabelNodeRequest
    TaintNodeRequest RemoveNodeRequest ReplaceNodeRequest RemoveShardRequest SetConfigRequest
    TransferLeadershipRequest ReleaseBrakeRequest AddMemberRequest ReplaceMemberRequest RemoveMemberRequest
}

reads! {
    GetJobRequest ListJobsRequest ListTasksRequest LogsRequest WatchRequest ListNodesRequest GetNodeRequest
    ListShardsRequest CellStatusRequest GetConfigRequest SnapshotRequest
    ListMembersRequest
}
