//! Metrics in the text form of Prometheus.

use std::sync::Arc;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};

use crate::error::{Error, ErrorKind, Result};
use crate::http::admin::Render;

/// The upper bounds of a decision's time, in seconds: a policy in memory takes microseconds, Redis a millisecond, the deadline is 50.
const SECONDS: [f64; 14] = [5e-6, 1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 5e-2, 0.1];

/// Counts from now on what gates tell, for the whole process, and answers what writes it down. To be called before a gate is built.
///
/// # Errors
///
/// Fails with [`ErrorKind::System`] if somebody counts already.
pub fn start_metrics() -> Result<Render> {
    let wrong = |error: metrics_exporter_prometheus::BuildError| {
        Error::new(ErrorKind::System, "failed to start counting what is measured").because(error)
    };
    let matcher = Matcher::Full("tollgate_decision_seconds".to_owned());
    let builder = PrometheusBuilder::new().set_buckets_for_metric(matcher, &SECONDS).map_err(wrong)?;
    let handle = builder.install_recorder().map_err(wrong)?;
    Ok(Arc::new(move || {
        // What was timed is sorted into its buckets only now and then.
        handle.run_upkeep();
        handle.render()
    }))
}
