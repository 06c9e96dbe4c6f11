//! Who may sign what.

use super::*;
use crate::config::Secret;

/// Written by `openssl genpkey -algorithm ed25519`, and its public half.
const BY_OPENSSL: &str = "-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIEBf8JKvhtSWJIXrS4+/WrTrIKEJ+46jQVfMJR+4KVwX
-----END PRIVATE KEY-----
";
const PUBLIC_BY_OPENSSL: &str = "nin0piLqpn7onohU1J+pzy8+mMrdf9rTCgghxL4930E=";

fn key(name: &str) -> (PrivateKey, SigningKeyConfig) {
    let private = PrivateKey::from_pem(&PrivateKey::generate().unwrap()).unwrap();
    let public_key = private.public_key();
    (private, SigningKeyConfig { name: name.to_owned(), public_key, tiers: None, revoked: false })
}

fn ring_of<const N: usize>(keys: [SigningKeyConfig; N]) -> Keyring {
    Keyring::new(&SigningConfig { required: true, keys: keys.into() })
}

#[test]
fn a_signature_vouches_for_its_bytes_alone() {
    let (private, public) = key("release");
    let (digest, other) = (sha256(b"component"), sha256(b"Component"));
    let signature = private.sign(&digest);
    let ring = ring_of([public]);
    assert_eq!(ring.verify(&digest, "pro", &[signature]), Ok("release"));
    assert_eq!(ring.verify(&other, "pro", &[signature]), Err(SignatureError::Wrong("release".to_owned())));
    let mut changed = signature;
    changed.bytes[0] ^= 1;
    assert_eq!(ring.verify(&digest, "pro", &[changed]), Err(SignatureError::Wrong("release".to_owned())));
    assert_eq!(ring.verify(&digest, "pro", &[]), Err(SignatureError::Missing));
}

#[test]
fn what_was_signed_for_something_else_is_no_signature() {
    let (private, public) = key("release");
    let digest = sha256(b"component");
    // The bare digest, as some other protocol would sign it.
    let pair = ring::signature::Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
    let bytes = ring::signature::KeyPair::public_key(&pair).as_ref().try_into().unwrap();
    let bare = Signature { key: PublicKey::from_bytes(bytes), bytes: pair.sign(&digest).as_ref().try_into().unwrap() };
    assert!(!bare.is_of(&digest) && private.sign(&digest).is_of(&digest));
    let prefixed = [b"tollgate-policy-v1\0".as_slice(), &digest].concat();
    let right = Signature { bytes: pair.sign(&prefixed).as_ref().try_into().unwrap(), ..bare };
    assert!(right.is_of(&digest));
    assert_eq!(ring_of([public]).verify(&digest, "pro", &[right]), Err(SignatureError::UnknownKey(right.key)));
}

#[test]
fn a_key_signs_for_its_tiers_until_it_is_revoked() {
    let (private, public) = key("release");
    let digest = sha256(b"component");
    let signatures = [private.sign(&digest)];
    let for_pro = SigningKeyConfig { tiers: Some(vec!["pro".to_owned()]), ..public.clone() };
    assert_eq!(ring_of([for_pro.clone()]).verify(&digest, "pro", &signatures), Ok("release"));
    let error = ring_of([for_pro]).verify(&digest, "free", &signatures).unwrap_err();
    assert_eq!(
        error.to_string(),
        "it is signed by the key `release`, which may sign for pro and not for the tier `free`"
    );
    let revoked = SigningKeyConfig { revoked: true, ..public };
    let error = ring_of([revoked]).verify(&digest, "pro", &signatures).unwrap_err();
    assert_eq!(error.to_string(), "it is signed by the key `release`, which is revoked: sign it with another");
}

#[test]
fn one_good_signature_among_several_is_enough() {
    let ((old, old_public), (new, new_public)) = (key("old"), key("new"));
    let digest = sha256(b"component");
    let signatures = [old.sign(&digest), new.sign(&digest)];
    let revoked = SigningKeyConfig { revoked: true, ..old_public };
    assert_eq!(ring_of([revoked, new_public]).verify(&digest, "pro", &signatures), Ok("new"));
}

#[test]
fn of_several_the_one_that_came_furthest_is_told_in_whatever_order_they_stand() {
    let [stranger, old, other, changed] = ["stranger", "old", "other", "changed"].map(key);
    let digest = sha256(b"component");
    let mut signatures =
        [stranger.0.sign(&digest), old.0.sign(&digest), other.0.sign(&digest), changed.0.sign(&[0; 32])];
    let revoked = SigningKeyConfig { revoked: true, ..old.1 };
    let for_free = SigningKeyConfig { tiers: Some(vec!["free".to_owned()]), ..other.1 };
    let ring = ring_of([revoked, for_free, changed.1]);
    let told = |signatures: &[Signature]| ring.verify(&digest, "pro", signatures).unwrap_err();
    for _ in 0..signatures.len() {
        signatures.rotate_left(1);
        let of = |names: &[&PrivateKey]| {
            let keys: Vec<_> = names.iter().map(|key| key.public_key()).collect();
            signatures.iter().copied().filter(|signature| keys.contains(&signature.key)).collect::<Vec<_>>()
        };
        assert!(matches!(told(&of(&[&stranger.0, &old.0])), SignatureError::Revoked(_)));
        assert!(matches!(told(&of(&[&stranger.0, &old.0, &other.0])), SignatureError::OtherTier { .. }));
        assert!(matches!(told(&signatures), SignatureError::Wrong(_)));
    }
}

#[test]
fn what_comes_with_the_host_needs_no_signature() {
    let built_in = crate::policy::built_in("tiered").unwrap();
    let ring = ring_of([]);
    ring.admit("tiered", "pro", built_in, &[]).unwrap();
    let refused = ring.admit("mine", "pro", &built_in[1..], &[]).unwrap_err();
    assert_eq!(refused.stage, Stage::Signature);
    let told = refused.error.to_string();
    assert!(
        told.starts_with("failed to load policy `mine` at `signature`: it is not signed: `tollgate policy sign`"),
        "{told}"
    );
    Keyring::default().admit("mine", "pro", &built_in[1..], &[]).unwrap();
}

#[test]
fn signatures_are_read_as_they_are_written() {
    let (private, _) = key("release");
    let (one, other) = (private.sign(&sha256(b"1")), private.sign(&sha256(b"2")));
    assert_eq!(Signature::read_all(&format!("{one}\n\n {other} \n")).unwrap(), [one, other]);
    assert_eq!(Signature::read_all("").unwrap(), []);
    let error = Signature::read_all(&format!("{one}\nhunter2")).unwrap_err().to_string();
    assert!(error.starts_with("line 2: it is no signature: ") && !error.contains("hunter2"), "{error}");
    let error = Signature::read_all(&format!("{one}\n").repeat(17)).unwrap_err().to_string();
    assert_eq!(error, "there are 17 signatures; at most 16");
}

#[test]
fn a_key_of_openssl_signs_too() {
    let private = PrivateKey::from_pem(&Secret::new(BY_OPENSSL)).unwrap();
    assert_eq!(private.public_key(), PUBLIC_BY_OPENSSL.parse().unwrap());
    assert!(private.sign(&sha256(b"1")).is_of(&sha256(b"1")));
}

#[test]
fn a_private_key_shows_itself_nowhere() {
    let pem = PrivateKey::generate().unwrap();
    let body = pem.reveal().lines().nth(1).unwrap().to_owned();
    let shown = format!("{pem:?} {:?}", PrivateKey::from_pem(&pem).unwrap());
    assert!(!shown.contains(&body[..16]) && shown.contains("PrivateKey(of "), "{shown}");
    let broken = Secret::new(pem.reveal().replace(&body[4..8], "!!!!"));
    let error = PrivateKey::from_pem(&broken).unwrap_err();
    assert!(!format!("{error:?} {error:#}").contains(&body[8..24]), "{error}");
    PrivateKey::from_pem(&Secret::new("hunter2")).unwrap_err();
}
