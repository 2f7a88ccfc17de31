//! Masters that came after a shard was started.

use paceline_api::v1::{MasterAddress, MasterFrame, MasterList};
use paceline_link::ShardLimits;

use super::cell::Cell;
use super::master::{Link, Master};

/// As a leader says which masters there are.
async fn name_masters(link: &Link, masters: &[&Master]) {
    let address =
        |master: &&Master| MasterAddress { name: "m".to_owned(), api_address: master.address.clone() };
    let masters = Some(MasterList { masters: masters.iter().map(address).collect() });
    link.say.send(Ok(MasterFrame { messages: Vec::new(), masters })).await.expect("an open stream");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_the_shard_was_not_started_with_is_found_and_asked_for_output() {
    let cell = Cell::new();
    let (first, later) = (Master::leader(&cell, "m1").await, Master::leader(&cell, "m2").await);
    let shard = cell.shard(&[&first.address], ShardLimits::default()).await;
    let link = first.link().await;
    link.welcome().await;
    name_masters(&link, &[&first, &later]).await;
    later.log_link().await;
    first.kill();
    later.link().await.welcome().await;
    shard.leave().await.expect("no fault");
}
