-- Parcels of orders, and how far an order is. The projection's version is raised with this, so
-- that the rows of orders that are there already are made anew.
ALTER TABLE read.order_summaries ADD COLUMN fulfilment_status text COLLATE "C" NOT NULL
    DEFAULT 'unfulfilled'
    CHECK (fulfilment_status IN ('unfulfilled', 'partially_shipped', 'shipped', 'delivered'));
COMMENT ON COLUMN read.order_summaries.fulfilment_status IS
    'unfulfilled, partially_shipped, shipped, delivered: of the units that are not cancelled.';
COMMENT ON COLUMN read.order_refunds.lines IS
    'Units it is for: [{line_id, quantity, restock}]; restock is cancel, return or none.';

CREATE TABLE read.order_fulfilments (
    store_id        uuid        NOT NULL,
    order_id        uuid        NOT NULL,
    fulfilment_id   uuid        NOT NULL,
    status          text        COLLATE "C" NOT NULL
        CHECK (status IN ('pending', 'shipped', 'delivered', 'cancelled')),
    location        text        COLLATE "C" NOT NULL,
    lines           jsonb       NOT NULL,
    carrier         text,
    tracking_number text,
    tracking_url    text,
    reason          text,
    created_at      timestamptz NOT NULL,
    shipped_at      timestamptz,
    delivered_at    timestamptz,
    PRIMARY KEY (store_id, order_id, fulfilment_id)
);
COMMENT ON TABLE read.order_fulfilments IS 'Parcels of orders, those that never left included.';
COMMENT ON COLUMN read.order_fulfilments.location IS 'Code of the place it leaves from.';
COMMENT ON COLUMN read.order_fulfilments.lines IS 'What is in it: [{line_id, quantity}].';
COMMENT ON COLUMN read.order_fulfilments.reason IS 'Why it was cancelled.';
COMMENT ON COLUMN read.order_fulfilments.created_at IS 'Business time, as the others.';
SELECT read.protect('read', 'order_fulfilments');
