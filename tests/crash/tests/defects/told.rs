//! What clients were told, and is not so.

use crash::{Answer, Attempt, Entry, History, Outcome};

/// An entry that took effect, was answered twice and has a path of that end.
fn entry<'a>(history: &'a mut History, end: &str) -> &'a mut Entry {
    let mut entries = history.entries.iter_mut();
    let found = entries.find(|entry| {
        let done = |it: &Attempt| it.answer().is_some_and(|answer| answer.status == 200);
        entry.path.ends_with(end) && entry.attempts.iter().filter(|it| done(it)).count() == 2
    });
    found.unwrap_or_else(|| panic!("no client sent {end}"))
}

fn answers(entry: &mut Entry) -> impl Iterator<Item = &mut Answer> {
    entry.attempts.iter_mut().filter_map(|attempt| match &mut attempt.outcome {
        Outcome::Answered(answer) => Some(answer),
        Outcome::Unknown => None,
    })
}

/// The answer to the repeat.
fn again(entry: &mut Entry) -> &mut Answer {
    answers(entry).nth(1).unwrap()
}

fn refuse(answer: &mut Answer) {
    (answer.status, answer.position, answer.replayed) = (409, None, false);
    answer.code = Some("stock_committed".to_owned());
}

/// Another command of the same sort was answered, and is nowhere.
pub(crate) fn lost(history: &mut History) {
    let mut lost = entry(history, "/receive").clone();
    "lost".clone_into(&mut lost.key);
    lost.attempts.truncate(1);
    answers(&mut lost).for_each(|answer| answer.position = answer.position.map(|it| it + 1));
    history.entries.push(lost);
}

/// "Completed already" is an answer without a record, but not for a checkout that is not.
pub(crate) fn never_paid(history: &mut History) {
    let open = history.entries.iter().rev().find(|entry| entry.path == "/api/v1/checkouts");
    let mut paid = open.unwrap().clone();
    let id = answers(&mut paid).find_map(|answer| answer.id.clone()).unwrap();
    (paid.key, paid.path) = ("paid".to_owned(), format!("/api/v1/checkouts/{id}/complete"));
    paid.attempts.truncate(1);
    answers(&mut paid).for_each(|answer| answer.status = 200);
    history.entries.push(paid);
}

pub(crate) fn refused(history: &mut History) {
    let entry = entry(history, "/receive");
    let body = entry.body_sha256.clone();
    entry.attempts.retain(|attempt| attempt.body_sha256 == body);
    answers(entry).for_each(refuse);
}

pub(crate) fn elsewhere(history: &mut History) {
    let move_on = |answer: &mut Answer| answer.position = answer.position.map(|it| it + 1);
    answers(entry(history, "/receive")).for_each(move_on);
}

pub(crate) fn another_body(history: &mut History) {
    again(entry(history, "/complete")).body_sha256 = "0".repeat(64);
}

pub(crate) fn as_new(history: &mut History) {
    again(entry(history, "/receive")).replayed = false;
}

pub(crate) fn then_refused(history: &mut History) {
    refuse(again(entry(history, "/receive")));
}

/// The third attempt is the one with another body.
pub(crate) fn key_reused(history: &mut History) {
    let entry = entry(history, "/receive");
    let first = answers(entry).next().unwrap().clone();
    *answers(entry).nth(2).unwrap() = first;
}
