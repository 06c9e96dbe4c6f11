//! Bodies: bounded, and read within a time.

use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use axum::http::StatusCode;
use http_body_util::BodyExt as _;

use super::problem::Problem;

/// What a body may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bound {
    /// Its size in bytes.
    pub(super) bytes: usize,
    /// How long it may take to arrive.
    pub(super) within: Duration,
}

/// The body of a question about a decision.
pub(super) const QUESTION: Bound = Bound { bytes: 64 * 1024, within: Duration::from_secs(10) };

pub(super) async fn read(body: Body, bound: Bound) -> Result<Vec<u8>, Problem> {
    match tokio::time::timeout(bound.within, collected(body, bound.bytes)).await {
        Ok(bytes) => bytes,
        Err(_) => {
            let problem = format!("the body did not arrive within {:?}", bound.within);
            Err(Problem::new(StatusCode::REQUEST_TIMEOUT, problem))
        }
    }
}

/// The whole body. One that is too large is refused as soon as that is known; what the client still sends, the listener takes.
async fn collected(mut body: Body, most: usize) -> Result<Vec<u8>, Problem> {
    let too_large = || Problem::new(StatusCode::PAYLOAD_TOO_LARGE, format!("the body is over {most} bytes"));
    if body.size_hint().lower() > most as u64 {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let cut = |_| Problem::new(StatusCode::BAD_REQUEST, "the body was cut short");
        let Ok(data) = frame.map_err(cut)?.into_data() else { continue };
        if bytes.len() + data.len() > most {
            return Err(too_large());
        }
        bytes.extend_from_slice(&data);
    }
    Ok(bytes)
}
