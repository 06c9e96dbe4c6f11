//! Bodies: bounded, and read within a time.

use std::time::Duration;

use axum::body::Body;
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

/// How much of a larger body is read before the connection is closed, in bytes.
const MAX_DISCARDED_BYTES: usize = 16 * 1024 * 1024;

pub(super) async fn read(body: Body, bound: Bound) -> Result<Vec<u8>, Problem> {
    match tokio::time::timeout(bound.within, collected(body, bound.bytes)).await {
        Ok(bytes) => bytes,
        Err(_) => {
            let problem = format!("the body did not arrive within {:?}", bound.within);
            Err(Problem::new(StatusCode::REQUEST_TIMEOUT, problem))
        }
    }
}

/// The whole body. One that is too large is read on for a while and thrown away: a client that still sends would not hear the answer.
async fn collected(mut body: Body, most: usize) -> Result<Vec<u8>, Problem> {
    let (mut bytes, mut arrived) = (Vec::new(), 0);
    while let Some(frame) = body.frame().await {
        let cut = |_| Problem::new(StatusCode::BAD_REQUEST, "the body was cut short");
        let Ok(data) = frame.map_err(cut)?.into_data() else { continue };
        arrived += data.len();
        if arrived <= most {
            bytes.extend_from_slice(&data);
        } else if arrived > MAX_DISCARDED_BYTES {
            break;
        }
    }
    if arrived > most {
        return Err(Problem::new(StatusCode::PAYLOAD_TOO_LARGE, format!("the body is over {most} bytes")));
    }
    Ok(bytes)
}
