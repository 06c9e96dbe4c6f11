//! What the document tells of is what there is.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::{Value, json};

use super::*;
use crate::fleet::{self, Cases, RosterDocument};

fn schema<T: ToSchema>() -> BTreeSet<String> {
    let schema = serde_json::to_value(T::schema()).unwrap();
    schema["properties"].as_object().unwrap().keys().cloned().collect()
}

fn keys(value: &impl Serialize) -> BTreeSet<String> {
    serde_json::to_value(value).unwrap().as_object().unwrap().keys().cloned().collect()
}

#[test]
fn the_document_tells_of_records_as_they_are() {
    let text = || "x".to_owned();
    let cases = Cases { config: text(), text: text() };
    assert_eq!(schema::<GoldenCases>(), keys(&cases));
    let policy = fleet::PolicyRecord {
        digest: text(),
        name: text(),
        version: text(),
        bytes: 1,
        by: text(),
        at: text(),
        cases: Some(cases),
        signatures: vec![text()],
    };
    assert_eq!(schema::<Policy>(), keys(&policy));
    let roster = RosterDocument::parse(
        br#"{"tiers": {"free": {"policy": "tiered", "on_store_fault": "deny", "precision": "leased", "on_change": "reset",
            "trial": {"policy": "tiered", "config": {}, "canary_percent": 5}}},
            "tenants": {"acme": {"tier": "free", "override": {"policy": "tiered"}}}, "default_tier": "free"}"#,
    );
    let roster = roster.unwrap();
    assert_eq!(schema::<Roster>(), keys(&roster));
    assert_eq!(schema::<Tier>(), keys(&roster.tiers["free"]));
    assert_eq!(schema::<Trial>(), keys(&roster.tiers["free"].trial));
    assert_eq!(schema::<Tenant>(), keys(&roster.tenants["acme"]));
    let revision = fleet::Revision { revision: 1, by: text(), at: text(), note: text(), roster };
    assert_eq!(schema::<Revision>(), keys(&revision));
    let (by, at, note) = (text(), text(), text());
    let activation = fleet::Activation { generation: 1, revision: 1, before: 0, by, at, note, after_storm: true };
    assert_eq!(schema::<Activation>(), keys(&activation));
    let tier = fleet::TierRecord { tier: text(), tenant: Some(text()), policy: text(), digest: text() };
    assert_eq!(schema::<InstanceTier>(), keys(&tier));
    let instance = fleet::InstanceRecord {
        instance: text(),
        version: text(),
        generation: 1,
        revision: 1,
        tiers: vec![tier],
        error: Some(text()),
    };
    assert_eq!(schema::<Instance>(), keys(&instance));
    let line = fleet::AuditRecord { at: text(), by: text(), action: text(), what: text(), result: text() };
    assert_eq!(schema::<AuditLine>(), keys(&line));
}

#[test]
fn every_reference_of_the_document_leads_somewhere() {
    let document = serde_json::to_value(Schemas::openapi()).unwrap();
    let mut open = vec![&document];
    while let Some(value) = open.pop() {
        match value {
            Value::Object(members) => {
                if let Some(Value::String(to)) = members.get("$ref") {
                    let name = to.strip_prefix("#/components/schemas/").unwrap();
                    assert!(document["components"]["schemas"].get(name).is_some(), "{name}");
                }
                open.extend(members.values());
            }
            Value::Array(items) => open.extend(items),
            _ => {}
        }
    }
    assert_eq!(document["openapi"], json!("3.1.0"));
}
