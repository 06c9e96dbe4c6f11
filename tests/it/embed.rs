//! The layers for other people's servers, as their clients meet them: the examples, run as they stand.

use anyhow::Result;
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use serde_json::Value;
use tollgate_tests::Example;

/// The two frameworks. Whoever asks them alike is answered alike.
const EXAMPLES: [&str; 2] = ["axum", "actix"];

/// What an answer says of the limits, and how.
async fn told(response: Response) -> Result<(StatusCode, Vec<(String, String)>, String)> {
    let status = response.status();
    let mut fields: Vec<(String, String)> = response
        .headers()
        .iter()
        .filter(|(name, _)| !["date", "content-length"].contains(&name.as_str()))
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .collect();
    fields.sort();
    Ok((status, fields, response.text().await?))
}

fn field<'a>(fields: &'a [(String, String)], name: &str) -> Option<&'a str> {
    fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
}

#[tokio::test]
async fn axum_and_actix_answer_the_same_sequence_alike() -> Result<()> {
    let mut answers = Vec::new();
    for name in EXAMPLES {
        let example = Example::start(name)?;
        let client = Client::new();
        let hello = |client: &Client| client.get(format!("{}/hello", example.url));
        let export = |client: &Client| client.get(format!("{}/export", example.url)).header("x-api-key", "demo-pro");
        let steps: Vec<RequestBuilder> = vec![
            hello(&client),
            hello(&client),
            hello(&client),
            export(&client),
            hello(&client).bearer_auth("demo-pro"),
            hello(&client).header("x-api-key", "wrong"),
            hello(&client).header("x-api-key", "demo-pro").bearer_auth("another"),
            hello(&client).header("x-api-key", "one").header("x-api-key", "two"),
        ];
        let mut answer = Vec::new();
        for step in steps {
            answer.push(told(step.send().await?).await?);
        }
        answers.push(answer);
    }
    // Times differ by when they were asked; all else is the same, byte for byte.
    let timeless = |answer: &(StatusCode, Vec<(String, String)>, String)| {
        let (status, mut fields, body) = answer.clone();
        for (name, value) in &mut fields {
            if name == "ratelimit" || name == "retry-after" {
                *value = value.split("t=").next().unwrap_or_default().trim_end_matches(char::is_numeric).to_owned();
            }
        }
        (status, fields, body)
    };
    let [axum, actix] = &answers[..] else { panic!("two examples") };
    for (step, (axum, actix)) in axum.iter().zip(actix).enumerate() {
        assert_eq!(timeless(axum), timeless(actix), "step {step}");
    }
    let statuses: Vec<u16> = axum.iter().map(|(status, ..)| status.as_u16()).collect();
    assert_eq!(statuses, [200, 200, 429, 200, 200, 401, 401, 401]);
    assert_eq!(axum[0].2, "hello from the tier free\n");
    assert_eq!(axum[4].2, "hello from the tier pro\n");
    assert_eq!(field(&axum[3].1, "ratelimit-policy"), Some(r#""minute";q=100;w=60"#));
    assert!(
        field(&axum[3].1, "ratelimit").is_some_and(|state| state.starts_with(r#""minute";r=90;t="#)),
        "{:?}",
        axum[3].1
    );
    let refused = &axum[2];
    assert_eq!(field(&refused.1, "content-type"), Some("application/problem+json"));
    assert!(
        field(&refused.1, "retry-after").is_some_and(|wait| (1..=60).contains(&wait.parse().unwrap())),
        "{refused:?}"
    );
    let problem: Value = serde_json::from_str(&refused.2)?;
    assert_eq!(problem["violated-policies"][0], "minute");
    assert_eq!(field(&axum[5].1, "www-authenticate"), Some("Bearer"));
    Ok(())
}

#[tokio::test]
async fn a_proxy_that_is_trusted_tells_who_asks_and_nobody_else_does() -> Result<()> {
    for name in EXAMPLES {
        let example = Example::start(name)?;
        let client = Client::new();
        let ask = async |chain: &str| -> Result<StatusCode> {
            let request = client.get(format!("{}/hello", example.url)).header("x-forwarded-for", chain);
            Ok(request.send().await?.status())
        };
        // The example trusts whoever connects from the loopback. What stands left of the client is the client's own word.
        for claimed in ["203.0.113.9", "1.1.1.1, 203.0.113.9", "203.0.113.9, 127.0.0.1"] {
            let expected = if claimed.ends_with("127.0.0.1") { 429 } else { 200 };
            assert_eq!(ask(claimed).await?.as_u16(), expected, "{name} {claimed}");
        }
        assert_eq!(ask("198.51.100.7").await?.as_u16(), 200, "{name}: another client has limits of its own");
        // All of a network of IPv6 is one.
        for (address, expected) in
            [("2001:db8::1", 200), ("2001:db8::2", 200), ("2001:db8::3", 429), ("2001:db8:0:1::1", 200)]
        {
            assert_eq!(ask(address).await?.as_u16(), expected, "{name} {address}");
        }
    }
    Ok(())
}
