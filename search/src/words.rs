//! How a text is cut into words, by the index and by whoever searches it, and where a title agrees
//! with a search.

use tantivy::tokenizer::{
    AsciiFoldingFilter, LowerCaser, RemoveLongFilter, SimpleTokenizer, TextAnalyzer,
};

/// Bytes of a word that the index keeps; a longer one is left out. Codes are shorter, and what is
/// longer is not typed.
pub(crate) const WORD_BYTES_MAX: usize = 64;

/// Words of a search that count; each costs a walk over the vocabulary.
pub const WORDS_MAX: usize = 8;

/// A word this long may have one letter wrong, missing, too much or swapped with the next. Shorter
/// ones are too close to each other: `bar`, `bag`, `jar`.
const ONE_TYPO_CHARS: usize = 4;

/// A word this long may have two.
const TWO_TYPOS_CHARS: usize = 8;

/// Longest word that may have typos: what finds them grows with the length of the word.
const TYPO_CHARS_MAX: usize = 32;

/// A word of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Word {
    /// In lower case, without accents.
    pub(crate) folded: String,
    /// Where it stands in the text, in bytes.
    pub(crate) from: usize,
    /// Where it ends.
    pub(crate) to: usize,
}

/// Runs of letters and digits, in lower case, without accents: `Crème-70%` is `creme`, `70`.
pub(crate) fn analyzer() -> TextAnalyzer {
    TextAnalyzer::builder(SimpleTokenizer::default())
        .filter(LowerCaser)
        .filter(AsciiFoldingFilter)
        .filter(RemoveLongFilter::limit(WORD_BYTES_MAX))
        .build()
}

/// The words of a text.
pub(crate) fn words(text: &str) -> Vec<Word> {
    let mut analyzer = analyzer();
    let mut stream = analyzer.token_stream(text);
    let mut words = Vec::new();
    while let Some(token) = stream.next() {
        let (from, to) = (token.offset_from, token.offset_to);
        words.push(Word { folded: token.text.clone(), from, to });
    }
    words
}

/// The words of a search that count; `None` if one of them is longer than any word of the index.
pub(crate) fn searched(text: &str) -> Option<Vec<String>> {
    let too_long = |part: &str| part.len() > WORD_BYTES_MAX;
    if text.split(|c: char| !c.is_alphanumeric()).any(too_long) {
        return None;
    }
    Some(words(text).into_iter().take(WORDS_MAX).map(|word| word.folded).collect())
}

/// Words with single spaces between: what two titles that read the same have in common.
pub(crate) fn folded(text: &str) -> String {
    let words: Vec<String> = words(text).into_iter().map(|word| word.folded).collect();
    words.join(" ")
}

/// How many letters of a searched word may differ.
pub(crate) fn typos(word: &str) -> u8 {
    match word.chars().count() {
        ONE_TYPO_CHARS..TWO_TYPOS_CHARS => 1,
        TWO_TYPOS_CHARS..=TYPO_CHARS_MAX => 2,
        _ => 0,
    }
}

/// Whether a search would find more if letters may differ.
pub(crate) fn may_have_typos(text: &str) -> bool {
    searched(text).unwrap_or_default().iter().any(|word| typos(word) > 0)
}

/// `text` as HTML, with the words a search found in `<mark>`: the typed beginning of a word, or
/// all of one that was found in spite of a typo.
pub fn highlighted(text: &str, search: &str) -> String {
    let searched = searched(search).unwrap_or_default();
    let mut html = String::with_capacity(text.len() + 13);
    let mut done = 0;
    for word in words(text) {
        let Some(marked) = searched.iter().filter_map(|typed| agreement(&word.folded, typed)).max()
        else {
            continue;
        };
        let shown = &text[word.from..word.to];
        let end = shown.char_indices().nth(marked).map_or(shown.len(), |(at, _)| at);
        escape(&text[done..word.from], &mut html);
        html.push_str("<mark>");
        escape(&shown[..end], &mut html);
        html.push_str("</mark>");
        done = word.from + end;
    }
    escape(&text[done..], &mut html);
    html
}

/// How many letters of `word` agree with what was typed; `None` if the search did not mean it.
fn agreement(word: &str, typed: &str) -> Option<usize> {
    if word.starts_with(typed) {
        return Some(typed.chars().count());
    }
    let (word, allowed) = (word.chars().collect::<Vec<_>>(), usize::from(typos(typed)));
    let typed: Vec<char> = typed.chars().collect();
    (allowed > 0 && prefix_distance(&word, &typed) <= allowed).then_some(word.len())
}

/// Fewest changes of letters, a swap of neighbours counting as one, that make `typed` the beginning
/// of `word`.
fn prefix_distance(word: &[char], typed: &[char]) -> usize {
    let width = word.len() + 1;
    let mut rows: Vec<Vec<usize>> = vec![(0..width).collect()];
    for (i, letter) in typed.iter().enumerate() {
        let mut row = vec![i + 1; width];
        for (j, other) in word.iter().enumerate() {
            let kept = rows[i][j] + usize::from(letter != other);
            row[j + 1] = kept.min(rows[i][j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && typed[i - 1] == *other && *letter == word[j - 1] {
                row[j + 1] = row[j + 1].min(rows[i - 1][j - 1] + 1);
            }
        }
        rows.push(row);
    }
    rows[typed.len()].iter().copied().min().unwrap_or(0)
}

fn escape(text: &str, html: &mut String) {
    for letter in text.chars() {
        match letter {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            _ => html.push(letter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_is_cut_into_words_in_lower_case_without_accents() {
        assert_eq!(
            searched("Dark Chocolate-Bar, 70%").unwrap(),
            ["dark", "chocolate", "bar", "70"]
        );
        assert_eq!(searched("  %_'  ").unwrap(), Vec::<String>::new());
        assert_eq!(searched("ÉCLAIR").unwrap(), ["eclair"]);
        assert_eq!(searched(&"a".repeat(65)), None);
        assert_eq!(searched(&"a ".repeat(100)).unwrap().len(), WORDS_MAX);
        assert_eq!(folded(" Sea-Salt  Bar!"), "sea salt bar");
    }

    #[test]
    fn what_was_found_is_marked_and_the_rest_is_harmless() {
        let table = [
            ("Dark chocolate bar", "choc", "Dark <mark>choc</mark>olate bar"),
            ("Dark chocolate bar", "choclate", "Dark <mark>chocolate</mark> bar"),
            ("Dark chocolate bar", "drak", "<mark>Dark</mark> chocolate bar"),
            ("Crème brûlée", "creme BRULE", "<mark>Crème</mark> <mark>brûlé</mark>e"),
            (
                "<b>Bar & \"box\"</b>",
                "bar",
                "&lt;b&gt;<mark>Bar</mark> &amp; &quot;box&quot;&lt;/b&gt;",
            ),
            ("Bar", "jar", "Bar"),
            ("🍫 Bar", "", "🍫 Bar"),
        ];
        for (text, search, html) in table {
            assert_eq!(highlighted(text, search), html, "{search}");
        }
    }
}
