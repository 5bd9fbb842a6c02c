//! Handles made of titles.

use super::HANDLE_CHARS_MAX;

/// What a title gives when it holds nothing to spell.
const NAMELESS: &str = "product";

/// A handle for a title: `Crème Brûlée (250 g)` gives `creme-brulee-250-g`.
///
/// Same title, same handle, and always a valid one. Letters we cannot spell in ASCII become their
/// code point in hexadecimal, so that titles in other scripts give different handles. The result
/// may be taken: whoever creates the product appends a number and tries again.
pub fn handle_of(title: &str) -> String {
    let mut handle = String::with_capacity(title.len());
    let mut gap = false;
    for letter in title.chars().flat_map(char::to_lowercase) {
        let spelled = spell(letter);
        if spelled.is_empty() {
            // An apostrophe joins: `Valentine's` is one word.
            gap |= !matches!(letter, '\'' | '’');
            continue;
        }
        if gap && !handle.is_empty() {
            handle.push('-');
        }
        gap = false;
        if HANDLE_CHARS_MAX < handle.len() + spelled.len() {
            break;
        }
        handle.push_str(&spelled);
    }
    let handle = handle.trim_end_matches('-');
    if handle.is_empty() { NAMELESS.to_owned() } else { handle.to_owned() }
}

/// A lower-case letter in ASCII; empty if it is none.
fn spell(letter: char) -> String {
    let plain = match letter {
        'a'..='z' | '0'..='9' => return letter.to_string(),
        'à' | 'á' | 'â' | 'ã' | 'å' | 'ā' | 'ă' | 'ą' => "a",
        'ä' | 'æ' => "ae",
        'ç' | 'ć' | 'č' => "c",
        'ď' | 'ð' | 'đ' => "d",
        'è' | 'é' | 'ê' | 'ë' | 'ē' | 'ę' | 'ě' => "e",
        'ğ' => "g",
        'ì' | 'í' | 'î' | 'ï' | 'ī' | 'ı' => "i",
        'ł' => "l",
        'ñ' | 'ń' | 'ň' => "n",
        'ò' | 'ó' | 'ô' | 'õ' | 'ø' | 'ō' | 'ő' => "o",
        'ö' | 'œ' => "oe",
        'ř' => "r",
        'ś' | 'š' | 'ş' => "s",
        'ß' => "ss",
        'ť' => "t",
        'ù' | 'ú' | 'û' | 'ū' | 'ů' | 'ű' => "u",
        'ü' => "ue",
        'ý' | 'ÿ' => "y",
        'ź' | 'ż' | 'ž' => "z",
        'þ' => "th",
        _ if letter.is_alphanumeric() => return format!("{:x}", u32::from(letter)),
        _ => "",
    };
    plain.to_owned()
}
