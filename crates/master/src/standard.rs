//! What gRPC tools expect of any server: reflection, and health that says what readiness says. It knows nothing of why a
//! master is ready or not.

use axum::Router;
use paceline_api::FILE_DESCRIPTOR_SET;
use paceline_api::v1::{cell_server, jobs_server, master_link_server, nodes_server, shards_server};
use paceline_identity::grpc;
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;
use tonic_reflection::server::Error;

/// What a tool may ask about: the server as a whole, and each service that needs a leader.
const SERVICES: [&str; 6] = [
    "",
    cell_server::SERVICE_NAME,
    jobs_server::SERVICE_NAME,
    master_link_server::SERVICE_NAME,
    nodes_server::SERVICE_NAME,
    shards_server::SERVICE_NAME,
];

/// Says whether the services can do their work.
pub(crate) struct Serving(HealthReporter);

impl Serving {
    pub(crate) async fn set(&self, ready: bool) {
        let status = if ready { ServingStatus::Serving } else { ServingStatus::NotServing };
        for service in SERVICES {
            self.0.set_service_status(service, status).await;
        }
    }
}

/// The routes, and the handle on what health says: not serving until it is told otherwise.
pub(crate) async fn standard() -> Result<(Router, Serving), Error> {
    let builder = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let (reporter, health) = tonic_health::server::health_reporter();
    let serving = Serving(reporter);
    serving.set(false).await;
    let v1 = grpc(builder().build_v1()?);
    let v1alpha = grpc(builder().build_v1alpha()?);
    Ok((v1.merge(v1alpha).merge(grpc(health)), serving))
}
