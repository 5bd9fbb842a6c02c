use uuid::Uuid;

use super::*;

#[test]
fn every_permission_reads_back() {
    for permission in Permission::ALL {
        assert_eq!(permission.as_str().parse(), Ok(*permission));
    }
    for text in ["", "orders", "orders:", "Orders:read", "orders:read ", "*"] {
        assert_eq!(text.parse::<Permission>(), Err(UnknownPermission));
    }
}

#[test]
fn a_visitor_may_what_the_token_allows_and_nothing_else() {
    let visitor = Visitor {
        actor_id: ActorId(Uuid::nil()),
        store_id: StoreId::of_slug("demo"),
        store_slug: "demo".into(),
        request_id: RequestId::of_uuid(Uuid::nil()),
        correlation_id: Uuid::nil(),
        permissions: vec![Permission::OrdersRead],
        expires_at: DateTime::UNIX_EPOCH,
    };
    assert!(visitor.clone().may(Permission::OrdersRead).is_ok());
    assert_eq!(visitor.may(Permission::OrdersWrite).unwrap_err().status(), 403);
}
