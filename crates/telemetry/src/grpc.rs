//! What gRPC tools expect of any server: reflection, and health that says what readiness says. It knows nothing of why a
//! role is ready or not.

use std::time::Duration;

use axum::Router;
use paceline_identity::grpc;
use tokio::time::{MissedTickBehavior, interval};
use tonic_health::ServingStatus;
use tonic_health::server::HealthReporter;

use crate::health::Health;

/// How often health is brought up to date: as fast as anything that asks for it can make use of.
const LOOK: Duration = Duration::from_secs(1);

/// Largest question about the contract: the name of a file or of a symbol. The server loop counts a stream of reflection
/// as twice as much.
const QUESTION_BYTES_MAX: usize = 16 * 1024;

/// The compiled contract cannot be served for reflection.
#[derive(Debug, thiserror::Error)]
#[error("reflection cannot be served: {0}")]
pub struct ReflectionError(String);

/// Says whether the services of a server can do their work.
pub struct Serving {
    reporter: HealthReporter,
    services: &'static [&'static str],
}

impl Serving {
    /// The same for all of them.
    pub async fn set(&self, ready: bool) {
        let status = if ready { ServingStatus::Serving } else { ServingStatus::NotServing };
        for service in self.services {
            self.reporter.set_service_status(*service, status).await;
        }
    }

    /// Says what readiness says, until it is dropped.
    pub async fn follow(self, health: Health) {
        let mut timer = interval(LOOK);
        timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            timer.tick().await;
            self.set(health.ready().healthy).await;
        }
    }
}

/// The routes, and the handle on what health says of these services, of which `""` is the server as a whole: not serving
/// until it is told otherwise.
///
/// # Errors
/// Where the compiled contract cannot be read: a damaged build.
pub async fn grpc_routes(
    contract: &'static [u8],
    services: &'static [&'static str],
) -> Result<(Router, Serving), ReflectionError> {
    let builder = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(contract)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let failed = |error: tonic_reflection::server::Error| ReflectionError(error.to_string());
    let (reporter, health) = tonic_health::server::health_reporter();
    let serving = Serving { reporter, services };
    serving.set(false).await;
    let v1 = grpc(builder().build_v1().map_err(failed)?.max_decoding_message_size(QUESTION_BYTES_MAX));
    let v1alpha =
        grpc(builder().build_v1alpha().map_err(failed)?.max_decoding_message_size(QUESTION_BYTES_MAX));
    Ok((v1.merge(v1alpha).merge(grpc(health)), serving))
}
