-- Lists of products by what they brought in: what a process has read of a day or a month it keeps in
-- memory, and here it sees whether that still holds. Version 3 of projection `sales` fills it.
CREATE TABLE read.analytics_product_spans (
    store_id  uuid   NOT NULL,
    currency  text   COLLATE "C" NOT NULL,
    span      text   COLLATE "C" NOT NULL CHECK (span IN ('day', 'month')),
    starts_on date   NOT NULL,
    additions bigint NOT NULL,
    PRIMARY KEY (store_id, currency, span, starts_on)
);
COMMENT ON TABLE read.analytics_product_spans IS 'How often the rows of analytics_product_sales of a day or month have changed.';
COMMENT ON COLUMN read.analytics_product_spans.additions IS 'Order lines and returned lines added so far. Never goes back, whatever order events come in.';
SELECT read.protect('read', 'analytics_product_spans');
