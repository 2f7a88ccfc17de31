//! What gRPC tools hear of a shard's health.

use paceline_identity::{Expect, Role, channel};
use paceline_link::ShardLimits;
use tokio::time::timeout;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use super::cell::{Cell, PATIENCE, Shard};
use super::master::Master;

/// What is said of one service, now and whenever it changes.
struct Said(tonic::Streaming<HealthCheckResponse>);

impl Said {
    async fn of(cell: &Cell, shard: &Shard, service: &str) -> Self {
        let expect = Expect::named(Role::Shard, "s");
        let channel = channel(cell.connector(Role::Operator, "o"), &shard.address, expect);
        let request = HealthCheckRequest { service: service.to_owned() };
        let said = HealthClient::new(channel).watch(request).await.expect("served");
        Self(said.into_inner())
    }

    async fn becomes(&mut self, status: ServingStatus) {
        let becomes = async {
            while self.0.message().await.expect("no error").expect("an open stream").status() != status {}
        };
        timeout(PATIENCE, becomes).await.unwrap_or_else(|_| panic!("it never becomes {status:?}"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_says_whether_a_leader_has_accepted_the_shard() {
    let cell = Cell::new();
    let master = Master::leader(&cell, "m1").await;
    let shard = cell.shard(&[&master.address], ShardLimits::default()).await;
    let link = master.link().await;
    let mut services = Vec::new();
    for service in ["", "paceline.v1.AgentLink"] {
        let mut said = Said::of(&cell, &shard, service).await;
        said.becomes(ServingStatus::NotServing).await;
        services.push(said);
    }
    link.welcome().await;
    for said in &mut services {
        said.becomes(ServingStatus::Serving).await;
    }
    drop(link);
    master.kill();
    for said in &mut services {
        said.becomes(ServingStatus::NotServing).await;
    }
}
