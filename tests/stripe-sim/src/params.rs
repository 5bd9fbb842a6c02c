//! Parameters of a request, as Stripe has them: a form with keys such as `metadata[order]`.

use std::collections::BTreeMap;

use crate::answer::Refused;

/// The parameters of one request.
#[derive(Debug)]
pub(crate) struct Params(Vec<(String, String)>);

/// Most characters of a metadata value, by Stripe's documentation.
const METADATA_CHARS_MAX: usize = 500;

impl Params {
    pub(crate) fn read(form: &[u8]) -> Params {
        Params(form_urlencoded::parse(form).into_owned().collect())
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        let last = self.0.iter().rev().find(|(key, _)| key == name);
        last.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    pub(crate) fn is(&self, name: &str, value: &str) -> bool {
        self.get(name) == Some(value)
    }

    /// An integer, or a refusal that names it.
    pub(crate) fn integer(&self, name: &str) -> Result<Option<i64>, Refused> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let refused = |_| Refused::invalid("parameter_invalid_integer", name, "Invalid integer");
        text.parse().map(Some).map_err(refused)
    }

    pub(crate) fn required(&self, name: &str) -> Result<&str, Refused> {
        let missing = || Refused::invalid("parameter_missing", name, "Missing required param");
        self.get(name).ok_or_else(missing)
    }

    /// `metadata[…]`.
    pub(crate) fn metadata(&self) -> Result<BTreeMap<String, String>, Refused> {
        let mut metadata = BTreeMap::new();
        for (name, value) in &self.0 {
            let key = name.strip_prefix("metadata[").and_then(|rest| rest.strip_suffix(']'));
            let Some(key) = key else { continue };
            if value.chars().count() > METADATA_CHARS_MAX {
                return Err(Refused::invalid("parameter_invalid", name, "Metadata is too long"));
            }
            metadata.insert(key.to_owned(), value.clone());
        }
        Ok(metadata)
    }

    /// Whether `expand` names a field, on its own or in a list.
    pub(crate) fn expands(&self, field: &str) -> bool {
        let of_list = format!("data.{field}");
        let mut expanded = self.0.iter().filter(|(name, _)| name.starts_with("expand["));
        expanded.any(|(_, value)| value == field || *value == of_list)
    }

    /// Values of `name[]`, or `name[0]`, `name[1]` and so on.
    pub(crate) fn list(&self, name: &str) -> Vec<String> {
        let open = format!("{name}[");
        let of_list = |(key, _): &&(String, String)| key.starts_with(&open);
        self.0.iter().filter(of_list).map(|(_, value)| value.clone()).collect()
    }

    /// Refuses parameters that nothing here knows: a typing error must not pass unnoticed.
    pub(crate) fn only(&self, known: &[&str]) -> Result<(), Refused> {
        let base = |name: &str| name.split('[').next().unwrap_or_default().to_owned();
        match self.0.iter().find(|(name, _)| !known.contains(&base(name).as_str())) {
            None => Ok(()),
            Some((name, _)) => {
                let message = format!("Received unknown parameter: {name}");
                Err(Refused::invalid("parameter_unknown", name, &message))
            }
        }
    }
}
