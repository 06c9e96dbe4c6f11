//! "Did you mean …?"

/// The known word that `word` most likely was meant to be, if one is near.
pub(super) fn closest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let distance = |other: &str| strsim::damerau_levenshtein(&word.to_ascii_lowercase(), &other.to_ascii_lowercase());
    let candidates = known.into_iter().map(|other| (distance(other), other));
    // A third of the letters may be wrong: `atuh` is `auth`, but `get` is not `env`.
    let near = candidates.filter(|(distance, other)| distance * 3 <= other.len().max(word.len()));
    near.min_by_key(|(distance, _)| *distance).map(|(_, other)| other)
}

/// `; did you mean …?`, or nothing.
pub(super) fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    closest(word, known).map(|other| format!("; did you mean `{other}`?")).unwrap_or_default()
}

/// Says serde's "unknown field" and "unknown variant" in our words, with a suggestion; leaves other messages as they are.
pub(super) fn explain(message: &str) -> String {
    let mut words = message.split('`').skip(1).step_by(2);
    let Some(word) = words.next() else { return message.to_owned() };
    let known: Vec<&str> = words.collect();
    let all = known.iter().map(|known| format!("`{known}`")).collect::<Vec<_>>().join(", ");
    if message.starts_with("unknown variant") {
        format!("`{word}` is none of {all}{}", did_you_mean(word, known))
    } else if message.starts_with("unknown field") {
        match closest(word, known) {
            Some(known) => format!("unknown key `{word}`; did you mean `{known}`?"),
            None => format!("unknown key `{word}`; there are {all}"),
        }
    } else {
        message.to_owned()
    }
}
