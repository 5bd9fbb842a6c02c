//! Every code a client can meet. A code, once published, keeps its name, status and meaning.

/// One row of the catalogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code {
    /// Stable snake-case name.
    pub code: &'static str,
    /// HTTP status.
    pub status: u16,
    /// What it means, for people.
    pub title: &'static str,
    /// What to do about it, for the author of the client.
    pub advice: &'static str,
    /// Whether the same request may succeed later without a change.
    pub retryable: bool,
}

pub(crate) const INTERNAL: Code = Code {
    retryable: true,
    ..row(
        "internal",
        500,
        "Something went wrong on our side",
        "Repeat with the same Idempotency-Key. If it stays, report the trace_id.",
    )
};

const fn row(code: &'static str, status: u16, title: &'static str, advice: &'static str) -> Code {
    Code { code, status, title, advice, retryable: false }
}

const fn passing(
    code: &'static str,
    status: u16,
    title: &'static str,
    advice: &'static str,
) -> Code {
    Code { code, status, title, advice, retryable: true }
}

/// The catalogue, by status. Add the row together with the first use of the code.
pub const CODES: &[Code] = &[
    row("bad_request", 400, "The request cannot be read", "Correct the request."),
    row(
        "malformed_json",
        400,
        "The body is not JSON",
        "Send one JSON value in UTF-8, at most 127 levels deep.",
    ),
    row("empty_body", 400, "The body is missing", "Send a JSON body."),
    row(
        "malformed_header",
        400,
        "A header cannot be read",
        "See errors for the header and its form.",
    ),
    row(
        "idempotency_key_required",
        400,
        "This needs an Idempotency-Key",
        "Send a fresh Idempotency-Key per intent and the same one when you repeat.",
    ),
    row(
        "bad_cursor",
        400,
        "The cursor is not one of ours",
        "Use next or prev of a page of the same list and store, unchanged.",
    ),
    row(
        "signature_invalid",
        400,
        "The signature does not fit",
        "Sign the body as it is sent, with a webhook secret of the store.",
    ),
    row(
        "timestamp_outside_tolerance",
        400,
        "The signature is too old",
        "Sign within 300 seconds of sending, and set the clock.",
    ),
    row(
        "unauthenticated",
        401,
        "A valid token is needed",
        "Send Authorization: Bearer with a token of this installation.",
    ),
    row("token_expired", 401, "The token has expired", "Get a new token."),
    row("payment_declined", 402, "The payment was declined", "Ask for another way to pay."),
    row(
        "payment_action_required",
        402,
        "The shopper has to confirm the payment",
        "Send the shopper to the address in the checkout, then complete again.",
    ),
    row(
        "forbidden",
        403,
        "The token does not allow this",
        "Use a token with the permission named in the detail.",
    ),
    row(
        "wrong_store",
        403,
        "The token is for another store",
        "Leave X-Store-Id out or use a token of that store.",
    ),
    row("not_found", 404, "There is nothing here", "Check the id; it may belong to another store."),
    row("route_not_found", 404, "There is no such address", "See /openapi.json."),
    row(
        "product_not_found",
        404,
        "There is no such product",
        "Check the id; it may belong to another store.",
    ),
    row(
        "variant_not_found",
        404,
        "There is no such variant",
        "Check the id; it may belong to another store.",
    ),
    row("stock_not_found", 404, "There is no stock of this", "Receive stock of the variant first."),
    row(
        "address_not_found",
        404,
        "There is no address",
        "Set it; that of a person who was erased cannot be read any more.",
    ),
    row(
        "cart_not_found",
        404,
        "There is no such cart",
        "Check the id; it may belong to another store.",
    ),
    row(
        "cart_item_not_found",
        404,
        "The cart has no such item",
        "Add it; cart says what is there.",
    ),
    row(
        "checkout_not_found",
        404,
        "There is no such checkout",
        "Check the id; it may belong to another store.",
    ),
    row(
        "coupon_unknown",
        404,
        "There is no such coupon",
        "Ask the shopper to check the code, or leave it out.",
    ),
    row(
        "order_not_found",
        404,
        "There is no such order",
        "Check the id; it may belong to another store.",
    ),
    row(
        "customer_not_found",
        404,
        "There is no such customer",
        "Check the reference; only customers with a paid order or a refund are known.",
    ),
    row(
        "payment_not_found",
        404,
        "There is no such payment",
        "Check the id; it may belong to another store.",
    ),
    row(
        "refund_not_found",
        404,
        "There is no such refund",
        "Check the id; it may belong to another store.",
    ),
    row(
        "fulfilment_not_found",
        404,
        "The order has no such fulfilment",
        "Use a fulfilment_id of this order.",
    ),
    row("line_not_found", 404, "The order has no such line", "Use a line_id of this order."),
    row(
        "method_not_allowed",
        405,
        "The address does not know this method",
        "See the Allow header.",
    ),
    row("conflict", 409, "The state does not allow this", "Read the resource and decide again."),
    passing(
        "changed_meanwhile",
        409,
        "Someone else changed it meanwhile",
        "Repeat with the same Idempotency-Key.",
    ),
    passing(
        "request_in_progress",
        409,
        "The first request with this key still runs",
        "Repeat after Retry-After.",
    ),
    row("already_exists", 409, "It exists already", "Read it, or choose another id."),
    row(
        "key_taken",
        409,
        "Another resource has this name",
        "Choose another value; scope says which field.",
    ),
    row("sku_taken", 409, "Another variant has this SKU", "Choose another SKU."),
    row("handle_taken", 409, "Another product has this handle", "Choose another handle."),
    row(
        "illegal_transition",
        409,
        "The state does not allow this step",
        "Read the resource; current_state says where it stands.",
    ),
    row(
        "insufficient_stock",
        409,
        "There is not enough stock",
        "See available, then order less or wait.",
    ),
    row("not_for_sale", 409, "This is not for sale", "Publish the product first."),
    row(
        "price_changed",
        409,
        "The price is another one now",
        "Show the shopper the new total and complete again.",
    ),
    row("reservation_expired", 409, "The reservation has expired", "Begin a new checkout."),
    row(
        "cart_closed",
        409,
        "The cart takes no changes",
        "Abandon the checkout it names to go on, use the cart it was merged into, or start another.",
    ),
    row("cart_full", 409, "The cart has too many lines", "Take some out, or check out first."),
    row(
        "cart_of_other_customer",
        409,
        "The cart belongs to another customer",
        "Start a cart for this customer.",
    ),
    row(
        "person_erased",
        409,
        "The personal data of this customer was erased",
        "Use another customer_reference.",
    ),
    row("product_archived", 409, "The product is archived", "Create a new product."),
    row(
        "product_not_publishable",
        409,
        "The product cannot be published yet",
        "Add what the detail names.",
    ),
    row("already_published", 409, "The product is published already", "Nothing to do."),
    row("already_cancelled", 409, "The order is cancelled already", "Nothing to do."),
    row(
        "already_shipped",
        409,
        "It has been shipped",
        "What has left cannot be cancelled; refund it with restock return when it is back.",
    ),
    row(
        "exceeds_open_quantity",
        409,
        "More units than are open",
        "open says how many are in no fulfilment and not cancelled.",
    ),
    row("already_completed", 409, "The checkout is completed already", "Read the order."),
    row("checkout_expired", 409, "The hold of the stock has ended", "Begin a new checkout."),
    row(
        "checkout_incomplete",
        409,
        "Something has to be known before the payment",
        "Do what requirements names: address, shipping, quote.",
    ),
    row(
        "quote_expired",
        409,
        "The quote is not good any more",
        "Show the shopper the quote in the problem, ask for one, and complete again.",
    ),
    row(
        "coupon_exhausted",
        409,
        "All uses of the coupon are taken",
        "Ask for a quote without it; a use that is only claimed may come free.",
    ),
    row(
        "coupon_customer_limit",
        409,
        "The customer has used the coupon already",
        "Ask for a quote without it.",
    ),
    row("checkout_failed", 409, "The checkout has failed", "Begin a new checkout."),
    row(
        "stock_being_reserved",
        409,
        "The stock is still being reserved",
        "Read the checkout until it is ready for a payment.",
    ),
    row(
        "payment_in_progress",
        409,
        "A payment is in progress",
        "Read the resource until the payment has ended.",
    ),
    row(
        "authorisation_gone",
        409,
        "The money for the order is not reserved any more",
        "Cancel the order, or have it paid again.",
    ),
    row("payment_attempts_exhausted", 409, "Too many payments were tried", "Begin a new checkout."),
    row(
        "checkout_changes_exhausted",
        409,
        "Changed too often",
        "Pay it as it is, or begin a new checkout.",
    ),
    row(
        "refund_in_progress",
        409,
        "A refund is under way",
        "Read the order until the refund has ended.",
    ),
    row(
        "refund_exceeds_captured",
        409,
        "More than can still be refunded",
        "Refund at most available.",
    ),
    row(
        "quantity_changed",
        409,
        "The stock is not what you expected",
        "Read it again; the detail names the quantity now.",
    ),
    row("stock_committed", 409, "The units are held or ordered", "Release them first."),
    row(
        "version_mismatch",
        412,
        "It was changed since you read it",
        "Read it again; current_version is the version now.",
    ),
    row("body_too_large", 413, "The body is too large", "Send at most 1 MiB."),
    row(
        "unsupported_media_type",
        415,
        "Only JSON is understood here",
        "Send Content-Type: application/json.",
    ),
    row(
        "validation_failed",
        422,
        "Some of the values are not acceptable",
        "Correct every field named in errors.",
    ),
    row(
        "unknown_parameter",
        422,
        "A parameter is not known here",
        "Remove it; the detail names those that are known.",
    ),
    row(
        "wrong_id_type",
        422,
        "The id is of another kind of resource",
        "Use an id with the prefix named in the detail.",
    ),
    row(
        "idempotency_key_reused",
        422,
        "The key was used for another request",
        "Use a fresh Idempotency-Key for a new intent.",
    ),
    row("unexpected_body", 422, "This takes no body", "Send no body, or {}."),
    row("reason_required", 422, "This needs a reason", "Send reason."),
    row(
        "amount_mismatch",
        422,
        "Something else is due than you expect",
        "Show the shopper due, and complete again with it.",
    ),
    row(
        "address_undeliverable",
        422,
        "This is not sent to that address",
        "Ask for another address, or for fewer goods.",
    ),
    row(
        "coupon_not_applicable",
        422,
        "The coupon cannot be used for this",
        "See why; ask for a quote without it.",
    ),
    row(
        "tax_rate_overlap",
        422,
        "A rate of the past cannot be changed",
        "Set the rate from now or from a later day on.",
    ),
    row("currency_mismatch", 422, "The amounts are in different currencies", "Use one currency."),
    passing(
        "position_not_reached",
        425,
        "The read model is behind X-Min-Position",
        "Repeat after Retry-After, or read without X-Min-Position.",
    ),
    row(
        "precondition_required",
        428,
        "This needs If-Match",
        "Send the ETag of the resource as If-Match.",
    ),
    passing("too_many_requests", 429, "Too many requests", "Wait for Retry-After."),
    INTERNAL,
    passing(
        "unavailable",
        503,
        "Temporarily unavailable",
        "Repeat after Retry-After with the same Idempotency-Key.",
    ),
    passing(
        "overloaded",
        503,
        "There is more to do than can be done",
        "Nothing was done. Repeat after Retry-After with the same Idempotency-Key.",
    ),
    passing(
        "timeout",
        503,
        "The answer took too long",
        "Repeat after Retry-After with the same Idempotency-Key: what was begun may have been done.",
    ),
];

/// Whether `code` is in the catalogue. For a test in each crate that answers problems.
pub fn known(code: &str) -> bool {
    find(code).is_some()
}

pub(crate) fn find(code: &str) -> Option<&'static Code> {
    CODES.iter().find(|entry| entry.code == code)
}

/// The code for an error answer that has none, such as one of a library.
pub(crate) fn for_status(status: u16) -> &'static str {
    match status {
        401 => "unauthenticated",
        403 => "forbidden",
        404 => "not_found",
        405 => "method_not_allowed",
        409 => "conflict",
        412 => "version_mismatch",
        413 => "body_too_large",
        415 => "unsupported_media_type",
        422 => "validation_failed",
        429 => "too_many_requests",
        400..=499 => "bad_request",
        503 => "unavailable",
        _ => "internal",
    }
}
