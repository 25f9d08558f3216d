//! The rights in a body: every pattern and name is judged, and each bad one named.

use nuncio_model::Pattern;
use nuncio_model::rights::RightsText;

use crate::error::ApiError;

/// The most patterns or names in one list of rights.
const MAX_RIGHTS: usize = 200;
/// The longest name of a consumer.
const MAX_CONSUMER_BYTES: usize = 200;

/// Adds an entry for all that is wrong with the rights, which stand in this field.
pub(super) fn check(mut error: ApiError, field: &str, rights: &RightsText) -> ApiError {
    let patterns = [
        ("subscribe", &rights.subscribe),
        ("publish", &rights.publish),
        ("signal", &rights.signal),
        ("presence", &rights.presence),
    ];
    for (name, list) in patterns {
        error = check_list(error, &format!("{field}.{name}"), list, |pattern| {
            Pattern::parse(pattern).err().map(|wrong| wrong.to_string())
        });
    }
    let is_name =
        |name: &str| (1..=MAX_CONSUMER_BYTES).contains(&name.len()) && !name.chars().any(char::is_control);
    check_list(error, &format!("{field}.consume"), &rights.consume, |name| {
        let hint = "must be `*` or a name of 1 to 200 bytes without control characters";
        (!is_name(name)).then(|| hint.to_owned())
    })
}

fn check_list(
    mut error: ApiError,
    field: &str,
    list: &[String],
    wrong: impl Fn(&str) -> Option<String>,
) -> ApiError {
    if list.len() > MAX_RIGHTS {
        return error.field(field, format!("must hold at most {MAX_RIGHTS}"));
    }
    for (index, item) in list.iter().enumerate() {
        if let Some(message) = wrong(item) {
            error = error.field(format!("{field}[{index}]"), message);
        }
    }
    error
}
