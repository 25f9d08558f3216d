//! The guard before all else: how many requests an address may send, whoever it may be.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use axum::response::IntoResponse;
use nuncio_model::Code;
use nuncio_model::rate_limit::network_of;
use tower_governor::governor::GovernorConfigBuilder;
use tower_governor::key_extractor::KeyExtractor;
use tower_governor::{GovernorError, GovernorLayer};

use crate::address::ClientAddress;
use crate::app::App;
use crate::error::ApiError;

/// How often addresses that are as good as new are forgotten.
const SWEEP_EVERY: Duration = Duration::from_secs(10);

/// Requests are counted by address; of IPv6, by /64.
#[derive(Clone, Copy, Debug)]
struct ByNetwork;

impl KeyExtractor for ByNetwork {
    type Key = IpAddr;

    fn extract<T>(&self, request: &Request<T>) -> Result<IpAddr, GovernorError> {
        Ok(network_of(ClientAddress::of(request.extensions())))
    }
}

/// Puts the guard around the addresses of a node, if the settings want one. What finds out the address comes before it.
pub(crate) fn around(router: Router<Arc<App>>, app: &Arc<App>) -> Router<Arc<App>> {
    let (per_second, burst) = (app.settings.address_requests_per_second, app.settings.address_burst);
    let Some(period) = Duration::from_secs(1).checked_div(per_second) else { return router };
    let builder = GovernorConfigBuilder::default().period(period).burst_size(burst).key_extractor(ByNetwork);
    let Some(config) = { builder }.finish() else { return router };
    let limiter = config.limiter().clone();
    app.tasks.spawn(app.drain.clone().run_until_cancelled_owned(async move {
        loop {
            tokio::time::sleep(SWEEP_EVERY).await;
            limiter.retain_recent();
            limiter.shrink_to_fit();
        }
    }));
    router.layer(
        GovernorLayer::new(config)
            .error_handler(|error| -> axum::http::Response<Body> { refusal(&error).into_response() }),
    )
}

fn refusal(error: &GovernorError) -> ApiError {
    let GovernorError::TooManyRequests { wait_time, .. } = error else {
        return ApiError::internal(error.to_string());
    };
    metrics::counter!("nuncio_address_limited_total").increment(1);
    // They are told rounded down.
    let wait = Duration::from_secs(wait_time.saturating_add(1));
    ApiError::new(Code::RateLimited, "there are too many requests from this address: send fewer")
        .with_retry_after(Some(wait))
}
