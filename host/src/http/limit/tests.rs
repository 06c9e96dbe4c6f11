//! What the layer does with what a request holds.

mod callers;

use std::future::{Future, pending};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use ::http::{Request, Response, StatusCode};
use tower_layer::Layer as _;
use tower_service::Service;

use super::{Caller, Head, RateLimit, RateLimitLayer, RateLimited, Spent, Unidentified};
use crate::gate::{TierPlan, Tollgate};

type Answer = Response<String>;

/// An application that answers all alike, or never.
#[derive(Clone)]
struct App {
    answer: Option<(StatusCode, Option<Spent>)>,
    asked: Arc<AtomicUsize>,
}

impl App {
    fn answering(status: StatusCode, spent: Option<Spent>) -> Self {
        Self { answer: Some((status, spent)), asked: Arc::default() }
    }
}

impl Service<Request<()>> for App {
    type Response = Answer;
    type Error = std::convert::Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Answer, Self::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        self.asked.fetch_add(1, Ordering::Relaxed);
        let answer = self.answer;
        Box::pin(async move {
            let Some((status, spent)) = answer else { return pending().await };
            let mut response = Response::new("hello".to_owned());
            *response.status_mut() = status;
            spent.map(|spent| response.extensions_mut().insert(spent));
            Ok(response)
        })
    }
}

/// `app` behind one limit: a request costs 10.
async fn limited(limit: &str, app: App, adjust: impl Fn(RateLimit) -> RateLimit) -> RateLimited<App> {
    let limits = format!(r#"{{"limits": [{{"id": "only", "limit": "{limit}", "hold_seconds": 60}}]}}"#);
    let tier = TierPlan::built_in("tiered", limits);
    let gate = Tollgate::builder().tier("free", tier).default_tier("free").build().await.expect("the gate is sound");
    let caller = |_: &dyn Head| -> Result<Caller, Unidentified> {
        Ok(Caller { tenant: "acme".to_owned(), subject: "ada".to_owned(), tier: None })
    };
    RateLimitLayer::new(adjust(RateLimit::new(gate, caller).cost(|_| 10))).layer(app)
}

async fn ask(service: &mut RateLimited<App>) -> Answer {
    service.call(Request::new(())).await.expect("nothing fails")
}

/// What remains of the limit, before a request of its own.
fn remaining(answer: &Answer) -> u64 {
    let told = answer.headers()["ratelimit"].to_str().expect("it is text");
    let (_, told) = told.split_once("r=").expect("what remains");
    told.split(';').next().and_then(|number| number.parse().ok()).expect("a number")
}

#[tokio::test]
async fn what_was_not_spent_is_given_back_with_the_answer() {
    let app = App::answering(StatusCode::OK, Some(Spent(3)));
    let mut service = limited("100/h", app, |limit| limit).await;
    for asked in 0..10 {
        assert_eq!(remaining(&ask(&mut service).await), 100 - 3 * asked - 10);
    }
}

#[tokio::test]
async fn a_failure_of_the_server_costs_nothing_if_that_is_wanted() {
    for (wanted, passed) in [(true, 5), (false, 2)] {
        let app = App::answering(StatusCode::BAD_GATEWAY, None);
        let asked = Arc::clone(&app.asked);
        let mut service = limited("20/h", app, |limit| if wanted { limit.refund_failures() } else { limit }).await;
        for _ in 0..5 {
            ask(&mut service).await;
        }
        assert_eq!(asked.load(Ordering::Relaxed), passed);
    }
    let mut service = limited("20/h", App::answering(StatusCode::NOT_FOUND, None), RateLimit::refund_failures).await;
    let statuses = [ask(&mut service).await, ask(&mut service).await, ask(&mut service).await].map(|it| it.status());
    assert_eq!(statuses.map(|status| status.as_u16()), [404, 404, 429], "a client's fault is paid for");
}

#[tokio::test]
async fn a_request_that_is_given_up_frees_its_slot_and_keeps_its_charge() {
    let never = App { answer: None, asked: Arc::default() };
    let counted = Arc::clone(&never.asked);
    let mut service = limited("1 at once for 60s", never, |limit| limit).await;
    for asked in 1..=3 {
        let mut call = service.call(Request::new(()));
        assert!(call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        assert_eq!(ask(&mut service).await.status(), StatusCode::TOO_MANY_REQUESTS, "the slot is taken");
        assert_eq!(counted.load(Ordering::Relaxed), asked);
        drop(call);
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_may_pass_later_waits_unless_that_is_too_long() {
    let app = App::answering(StatusCode::OK, None);
    let limit = "10/s burst 10 delay 2s";
    let mut service = limited(limit, app.clone(), |limit| limit).await;
    let began = tokio::time::Instant::now();
    for _ in 0..2 {
        assert_eq!(ask(&mut service).await.status(), StatusCode::OK);
    }
    let waited = began.elapsed();
    assert!((Duration::from_millis(500)..=Duration::from_millis(1_001)).contains(&waited), "{waited:?}");
    let mut hurried = limited(limit, app, |limit| limit.longest_delay(Duration::from_millis(100))).await;
    assert_eq!(ask(&mut hurried).await.status(), StatusCode::OK);
    assert_eq!(ask(&mut hurried).await.status(), StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test]
async fn a_grpc_client_is_refused_in_its_own_words() {
    let mut service = limited("10/h", App::answering(StatusCode::OK, None), |limit| limit).await;
    let ask = async |service: &mut RateLimited<App>| {
        let request = Request::builder().header("content-type", "application/grpc+proto").body(());
        service.call(request.expect("it is sound")).await.expect("nothing fails")
    };
    assert_eq!(ask(&mut service).await.body(), "hello");
    let refused = ask(&mut service).await;
    assert_eq!((refused.status(), refused.body().as_str()), (StatusCode::OK, ""));
    assert_eq!(refused.headers()["grpc-status"], "8");
    assert_eq!(refused.headers()["content-type"], "application/grpc");
    assert!(refused.headers().contains_key("retry-after"));
}
