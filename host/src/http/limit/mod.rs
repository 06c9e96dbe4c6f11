//! Limits before somebody else's handlers: as a tower layer, or as a middleware of actix-web.

#[cfg(feature = "actix")]
mod actix;
mod address;
mod answer;
mod identify;
mod settle;
#[cfg(all(test, feature = "tower"))]
mod tests;
#[cfg(feature = "tower")]
mod tower;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "actix")]
pub use self::actix::{RateLimitMiddleware, RateLimitTransform};
pub use self::address::ClientAddress;
pub use self::answer::Refusal;
pub use self::identify::{ByAddress, ByApiKey, Caller, Head, Identified, Identify, Identity, Unidentified};
pub use self::settle::Spent;
#[cfg(feature = "tower")]
pub use self::tower::{RateLimitLayer, RateLimited};
use super::headers::HeaderOptions;
use crate::blocks::{Block, Blocks};
use crate::gate::Tollgate;
use crate::model::{Decision, Request};
pub(super) use answer::{Closed, Passage};

/// What stands before an application: who is counted, for what, and how a refusal reads.
///
/// The same for every framework; a layer or a middleware is made of it.
///
/// # Example
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use tollgate::http::{ByAddress, ClientAddress, RateLimit};
/// use tollgate::{TierPlan, Tollgate};
///
/// let free = TierPlan::built_in("tiered", r#"{"limits": [{"id": "minute", "limit": "60/m"}]}"#);
/// let gate = Tollgate::builder().tier("free", free).default_tier("free").build().await?;
/// let limit = RateLimit::new(gate, ByAddress::new("visitors", ClientAddress::direct()))
///     .route(|head| head.path().to_owned())
///     .cost(|head| if head.path() == "/export" { 10 } else { 1 });
/// # let _ = limit;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct RateLimit {
    gate: Tollgate,
    identify: Arc<dyn Identify>,
    route: OfHead<String>,
    cost: OfHead<u64>,
    attributes: OfHead<Vec<(&'static str, String)>>,
    refusal: Option<OfDecision<Refusal>>,
    headers: HeaderOptions,
    refund_failures: bool,
    longest_delay: Duration,
    screen: Option<Screen>,
}

/// Who is kept out, and how the address of a client is known.
#[derive(Clone)]
struct Screen {
    blocks: Blocks,
    client: ClientAddress,
}

type OfHead<T> = Arc<dyn Fn(&dyn Head) -> T + Send + Sync>;
type OfDecision<T> = Arc<dyn Fn(&Decision) -> T + Send + Sync>;

/// How long a request is kept waiting at most, where its policy says that it may pass later.
const LONGEST_DELAY: Duration = Duration::from_secs(10);

impl RateLimit {
    /// Asks `gate` for whom `identify` finds: a cost of 1, and the path as the route.
    #[must_use]
    pub fn new(gate: Tollgate, identify: impl Identify) -> Self {
        Self {
            gate,
            identify: Arc::new(identify),
            route: Arc::new(|head| head.path().to_owned()),
            cost: Arc::new(|_| 1),
            attributes: Arc::new(|_| Vec::new()),
            refusal: None,
            headers: HeaderOptions::default(),
            refund_failures: false,
            longest_delay: LONGEST_DELAY,
            screen: None,
        }
    }

    /// Names the route of a request, which policies may tell apart; it is cut to 256 bytes.
    #[must_use]
    pub fn route(self, route: impl Fn(&dyn Head) -> String + Send + Sync + 'static) -> Self {
        Self { route: Arc::new(route), ..self }
    }

    /// Says how much a request asks for. Below 1 counts as 1.
    #[must_use]
    pub fn cost(self, cost: impl Fn(&dyn Head) -> u64 + Send + Sync + 'static) -> Self {
        Self { cost: Arc::new(cost), ..self }
    }

    /// Tells policies further facts of a request: at most 16, with names of 64 bytes and values of 256.
    #[must_use]
    pub fn attributes(
        self,
        attributes: impl Fn(&dyn Head) -> Vec<(&'static str, String)> + Send + Sync + 'static,
    ) -> Self {
        Self { attributes: Arc::new(attributes), ..self }
    }

    /// Answers refusals by a body of the application's own. The status and the header fields stay.
    #[must_use]
    pub fn refusal(self, refusal: impl Fn(&Decision) -> Refusal + Send + Sync + 'static) -> Self {
        Self { refusal: Some(Arc::new(refusal)), ..self }
    }

    /// Sends these header fields beside the standard ones.
    #[must_use]
    pub fn headers(self, headers: HeaderOptions) -> Self {
        Self { headers, ..self }
    }

    /// Gives back what a request holds if it is answered with a status of 500 or more: it was not the client's fault.
    #[must_use]
    pub fn refund_failures(self) -> Self {
        Self { refund_failures: true, ..self }
    }

    /// Keeps a request that may pass later waiting for this long at most, instead of 10 s; if it would be longer, it is refused.
    #[must_use]
    pub fn longest_delay(self, longest: Duration) -> Self {
        Self { longest_delay: longest, ..self }
    }

    /// Refuses whoever is blocked: by the address, which `client` tells, before anybody is asked whose request it is; and by the subject.
    #[must_use]
    pub fn blocks(self, blocks: Blocks, client: ClientAddress) -> Self {
        Self { screen: Some(Screen { blocks, client }), ..self }
    }

    /// Asks the gate about a request, and waits for as long as its policy says.
    pub(super) async fn ask(&self, asking: Asking) -> Passage {
        let Asking { who, route, cost, attributes } = asking;
        let identity = match who {
            Ok(identified) => identified.identity().await,
            Err(closed) => return Passage::Closed(*closed),
        };
        let asked = match identity {
            Ok(caller) => Asked { caller, route, cost, attributes },
            Err(unidentified) => return Passage::unidentified(&unidentified),
        };
        let attributes = asked.attributes();
        let decision = match asked.request(&attributes) {
            Ok(request) => match self.blocked(|blocks| blocks.of_request(&request)) {
                None => self.gate.decide(&request).await,
                Some(closed) => return Passage::Closed(closed),
            },
            Err(detail) => return Passage::malformed(&detail),
        };
        let passage = Passage::of(decision, self);
        if let Passage::Open(open) = &passage
            && !open.delay.is_zero()
        {
            tokio::time::sleep(open.delay).await;
        }
        passage
    }

    /// The answer to whoever is blocked.
    fn blocked(&self, find: impl FnOnce(&Blocks) -> Option<Arc<Block>>) -> Option<Closed> {
        let Screen { blocks, .. } = self.screen.as_ref()?;
        find(blocks).map(|block| Closed::blocked(blocks.remaining(&block)))
    }

    /// What is asked for a request, before anything is awaited.
    pub(super) fn asking(&self, head: &dyn Head) -> Asking {
        let address = |screen: &Screen| screen.client.of_head(head);
        let address = self.screen.as_ref().and_then(address);
        let closed = address.and_then(|address| self.blocked(|blocks| blocks.of_address(address)));
        let who = closed.map_or_else(|| Ok(self.identify.identify(head)), |closed| Err(Box::new(closed)));
        Asking {
            who,
            route: cut((self.route)(head)),
            cost: (self.cost)(head).clamp(1, Request::MAX_COST),
            attributes: (self.attributes)(head),
        }
    }
}

/// What is asked for a request, of which it may not be known yet whose it is; or the answer, if it comes from where nobody passes.
pub(super) struct Asking {
    who: Result<Identified, Box<Closed>>,
    route: String,
    cost: u64,
    attributes: Vec<(&'static str, String)>,
}

/// What is asked for a request.
#[derive(Debug)]
struct Asked {
    caller: Caller,
    route: String,
    cost: u64,
    attributes: Vec<(&'static str, String)>,
}

impl Asked {
    /// The attributes, as a request borrows them.
    fn attributes(&self) -> Vec<(&str, &str)> {
        self.attributes.iter().map(|(name, value)| (*name, value.as_str())).collect()
    }

    fn request<'a>(&'a self, attributes: &'a [(&'a str, &'a str)]) -> Result<Request<'a>, String> {
        let Self { caller: Caller { tenant, subject, tier }, route, cost, .. } = self;
        let request = Request::new(tenant, subject)
            .and_then(|request| request.with_cost(*cost)?.with_route(route)?.with_attributes(attributes));
        let request = request.and_then(|request| match tier {
            Some(tier) => request.with_tier(tier),
            None => Ok(request),
        });
        request.map_err(|error| error.to_string())
    }
}

/// A route as requests have it. Paths are longer, and anybody writes them.
fn cut(mut route: String) -> String {
    route.retain(|character| !character.is_control());
    route.truncate(route.floor_char_boundary(Request::MAX_ROUTE_BYTES));
    route
}

impl fmt::Debug for RateLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimit").field("gate", &self.gate).field("headers", &self.headers).finish_non_exhaustive()
    }
}
