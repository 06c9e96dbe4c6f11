//! The examples in the README of envoyproxy/ratelimit, by their numbers there.

use super::talk::Talk;

#[tokio::test]
async fn example_1_two_values_of_a_key_have_limits_of_their_own() {
    let mut talk = Talk::with(
        "
        domain: mongo_cps
        descriptors:
          - key: database
            value: users
            rate_limit: { unit: second, requests_per_unit: 500 }
          - key: database
            value: default
            rate_limit: { unit: second, requests_per_unit: 500 }",
    )
    .await;
    talk.check(
        "
        @0s x500 database=users -> ok: ok 0 of 500/second 1s
        @0s database=users -> over: over 0 of 500/second 1s
        @0s database=default -> ok: ok 499 of 500/second 1s
        @0s database=other -> ok: ok
        @1s database=users -> ok: ok 499 of 500/second 1s",
    )
    .await;
}

#[tokio::test]
async fn example_2_several_descriptors_are_counted_at_once() {
    let mut talk = Talk::with(
        "
        domain: messaging
        descriptors:
          - key: message_type
            value: marketing
            descriptors:
              - key: to_number
                rate_limit:
                  unit: day
                  requests_per_unit: 5
          - key: to_number
            rate_limit:
              unit: day
              requests_per_unit: 100",
    )
    .await;
    talk.check(
        "
        @0s x5 message_type=marketing,to_number=2061111111 & to_number=2061111111 -> ok: ok 0 of 5/day 86400s & ok 95 of 100/day 86400s
        @3600s message_type=marketing,to_number=2061111111 & to_number=2061111111 -> over: over 0 of 5/day 82800s & ok 95 of 100/day 82800s
        @3600s message_type=marketing,to_number=2062222222 & to_number=2062222222 -> ok: ok 4 of 5/day 82800s & ok 99 of 100/day 82800s
        @3600s to_number=2061111111+95 -> ok: ok 0 of 100/day 82800s
        @3600s message_type=marketing -> ok: ok
        @86400s message_type=marketing,to_number=2061111111 -> ok: ok 4 of 5/day 86400s",
    )
    .await;
}

#[tokio::test]
async fn example_3_a_value_stands_before_a_key_alone_and_a_limit_of_0_refuses_everything() {
    let mut talk = Talk::with(
        "
        domain: edge_proxy_per_ip
        descriptors:
          - key: remote_address
            rate_limit:
              unit: second
              requests_per_unit: 10
          # Black list IP
          - key: remote_address
            value: 50.0.0.5
            rate_limit:
              unit: second
              requests_per_unit: 0",
    )
    .await;
    talk.check(
        "
        @0s x10 remote_address=50.0.0.1 -> ok: ok 0 of 10/second 1s
        @0s remote_address=50.0.0.1 -> over: over 0 of 10/second 1s
        @0s remote_address=50.0.0.5 -> over: over 0 of 0/second 1s
        @0s remote_address=50.0.0.2 & remote_address=50.0.0.5 -> over: ok 10 of 10/second 1s & over 0 of 0/second 1s
        @0s remote_address=50.0.0.5+0 -> ok: ok 0 of 0/second 1s",
    )
    .await;
}

#[tokio::test]
async fn example_4_a_rule_is_as_deep_as_its_descriptor() {
    let limit = "rate_limit: { requests_per_unit: 300, unit: second }";
    let flat = format!("{{ domain: example4, descriptors: [{{ key: key, value: value, {limit} }}] }}");
    Talk::with(&flat).await.check("@0s key=value,subkey=subvalue -> ok: ok").await;
    let deep = format!(
        "{{ domain: example4, descriptors: [{{ key: key, value: value, descriptors: [{{ key: subkey, {limit} }}] }}] }}"
    );
    let lines = "
        @0s key=value,subkey=subvalue -> ok: ok 299 of 300/second 1s
        @0s key=value -> ok: ok
        @0s subkey=subvalue -> ok: ok";
    Talk::with(&deep).await.check(lines).await;
}

#[tokio::test]
async fn example_5_without_a_limit_the_most_that_can_be_told_remains() {
    let mut talk = Talk::with(
        "
        domain: internal
        descriptors:
          - key: ldap
            rate_limit:
              unlimited: true
          - key: azure
            rate_limit:
              unit: minute
              requests_per_unit: 100",
    )
    .await;
    talk.check(
        "
        @0s ldap=a -> ok: ok unlimited
        @0s ldap=a & azure=a -> ok: ok unlimited & ok 99 of 100/minute 60s
        @59s azure=a -> ok: ok 98 of 100/minute 1s
        @60s azure=a -> ok: ok 99 of 100/minute 60s",
    )
    .await;
}

#[tokio::test]
async fn example_6_a_shadow_refuses_nobody() {
    let mut talk = Talk::with(
        "
        domain: example6
        descriptors:
          - key: service
            descriptors:
              - key: user
                value: user-a
                rate_limit:
                  requests_per_unit: 10
                  unit: second
                shadow_mode: true
              - key: user
                value: user-b
                rate_limit:
                  requests_per_unit: 20
                  unit: second",
    )
    .await;
    talk.check(
        "
        @0s x30 service=auth-service,user=user-a -> ok: ok 0 of 10/second 1s
        @0s x20 service=auth-service,user=user-b -> ok: ok 0 of 20/second 1s
        @0s service=auth-service,user=user-b -> over: over 0 of 20/second 1s
        @0s service=auth-service,user=user-c -> ok: ok",
    )
    .await;
}

#[tokio::test]
async fn example_7_a_rule_stands_in_the_place_of_another() {
    let mut talk = Talk::with(
        "
        domain: example7
        descriptors:
          - key: key_1
            value: value_1
            descriptors:
              - key: user
                value: bkthomps
                rate_limit:
                  name: specific_limit
                  requests_per_unit: 5
                  unit: second
          - key: key_2
            value: value_2
            descriptors:
              - key: user
                value: bkthomps
                rate_limit:
                  replaces:
                    - name: specific_limit
                  requests_per_unit: 10
                  unit: second",
    )
    .await;
    talk.check(
        "
        @0s x10 key_1=value_1,user=bkthomps & key_2=value_2,user=bkthomps -> ok: ok & ok 0 of 10/second 1s
        @0s key_1=value_1,user=bkthomps & key_2=value_2,user=bkthomps -> over: ok & over 0 of 10/second 1s
        @0s key_1=value_1,user=bkthomps -> ok: ok 4 of 5/second 1s
        @1s x10 key_2=value_2,user=bkthomps -> ok: ok 0 of 10/second 1s",
    )
    .await;
}

#[tokio::test]
async fn examples_8_and_10_what_names_metrics_changes_no_limit() {
    let mut talk = Talk::with(
        "
        domain: example8
        descriptors:
          - key: key1
            detailed_metric: true
            rate_limit: { unit: minute, requests_per_unit: 10 }
          - key: key1
            value: value1
            value_to_metric: true
            metadata: { team: edge, owners: [a, b] }
            rate_limit: { unit: minute, requests_per_unit: 20 }",
    )
    .await;
    talk.check(
        "
        @0s key1=unspecified_value -> ok: ok 9 of 10/minute 60s
        @0s key1=unspecified_value2 -> ok: ok 9 of 10/minute 60s
        @0s key1=value1 -> ok: ok 19 of 20/minute 60s",
    )
    .await;
}

#[tokio::test]
async fn example_9_a_star_stands_for_anything() {
    let rule =
        |value: &str| format!("{{ key: path, value: {value}, rate_limit: {{ unit: minute, requests_per_unit: 20 }} }}");
    let rules = ["value*", "/api/*/action", "/v1/*/resource/*/action", "'*.png'"].map(rule).join(", ");
    let mut talk = Talk::with(&format!("{{ domain: example9, descriptors: [{rules}] }}")).await;
    for (path, matches) in [
        ("value1", true),
        ("value", true),
        ("valu", false),
        ("/api/123/action", true),
        ("/api/123/other", false),
        ("/api/action", false),
        ("/v1/v1/resource/123/action", true),
        ("/v1/v1/123/action", false),
        ("/v1/a/resource/action", false),
        ("a.png", true),
        ("a.pngx", false),
    ] {
        let expected = if matches { "ok 19 of 20/minute 60s" } else { "ok" };
        talk.check(&format!("@0s path={path} -> ok: {expected}")).await;
    }
}

#[tokio::test]
async fn example_11_values_that_match_a_star_share_a_counter_if_they_are_to() {
    let mut talk = Talk::with(
        "
        domain: example11
        descriptors:
          - key: files
            value: files/*
            share_threshold: true
            rate_limit:
              unit: hour
              requests_per_unit: 10
          - key: files_no_share
            value: files_no_share/*
            share_threshold: false
            rate_limit:
              unit: hour
              requests_per_unit: 10
          - key: route
            value: api/*
            share_threshold: true
            descriptors:
              - key: method
                rate_limit:
                  unit: minute
                  requests_per_unit: 60",
    )
    .await;
    talk.check(
        "
        @0s x5 files=files/a.pdf -> ok: ok 5 of 10/hour 3600s
        @0s x5 files=files/b.csv -> ok: ok 0 of 10/hour 3600s
        @0s files=files/c.txt -> over: over 0 of 10/hour 3600s
        @0s x10 files_no_share=files_no_share/a.pdf -> ok: ok 0 of 10/hour 3600s
        @0s files_no_share=files_no_share/a.pdf -> over: over 0 of 10/hour 3600s
        @0s files_no_share=files_no_share/b.csv -> ok: ok 9 of 10/hour 3600s
        @0s route=api/v1,method=GET -> ok: ok 59 of 60/minute 60s
        @0s route=api/v2,method=GET -> ok: ok 58 of 60/minute 60s
        @0s route=api/v2,method=POST -> ok: ok 59 of 60/minute 60s",
    )
    .await;
}
