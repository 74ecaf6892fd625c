//! Which requests and events are valid. Every refusal names the field and says what is allowed, never what was sent.

use fairway_wire::{Event, ID_BYTES_MAX, ITEMS_MAX, PeerEvent, RecommendRequest};

use crate::Problem;
use crate::config::EVENT_AHEAD_MS;

/// Most items that one request may exclude.
pub(crate) const EXCLUDE_MAX: usize = 1_000;

pub(crate) fn request(request: &RecommendRequest) -> Result<(), Problem> {
    id("user", &request.user)?;
    if !(1..=ITEMS_MAX).contains(&request.k) {
        return Err(Problem::field("k", format!("must be from 1 to {ITEMS_MAX}")));
    }
    short("context.segment", request.context.segment.as_deref())?;
    if request.exclude.len() > EXCLUDE_MAX {
        return Err(Problem::field("exclude", format!("may hold {EXCLUDE_MAX} items")));
    }
    match request.exclude.iter().position(|item| item.len() > ID_BYTES_MAX) {
        None => Ok(()),
        Some(at) => id(&format!("exclude[{at}]"), &request.exclude[at]),
    }
}

pub(crate) fn event(event: &Event, now_ms: i64) -> Result<(), Problem> {
    id("user", &event.user)?;
    id("item", &event.item)?;
    short("segment", event.segment.as_deref())?;
    short("id", event.id.as_deref())?;
    let ahead = now_ms.saturating_add(EVENT_AHEAD_MS);
    if event.time.is_some_and(|time| time.as_millisecond() > ahead) {
        let detail = "lies more than a minute in the future; check the clock, or leave it out";
        return Err(Problem::field("time", detail));
    }
    Ok(())
}

/// Whether another router can have taken it.
pub(crate) fn is_valid(event: &PeerEvent) -> bool {
    let texts = [Some(&event.item), event.segment.as_ref(), event.id.as_ref()];
    !event.item.is_empty() && texts.into_iter().flatten().all(|text| text.len() <= ID_BYTES_MAX)
}

fn id(field: &str, value: &str) -> Result<(), Problem> {
    if value.is_empty() {
        return Err(Problem::field(field, "must not be empty"));
    }
    short(field, Some(value))
}

fn short(field: &str, value: Option<&str>) -> Result<(), Problem> {
    match value {
        Some(value) if value.len() > ID_BYTES_MAX => {
            Err(Problem::field(field, format!("may have {ID_BYTES_MAX} bytes of UTF-8")))
        }
        _ => Ok(()),
    }
}
