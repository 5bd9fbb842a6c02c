-- Lists of orders stay fast at a million orders in one store, whichever filters meet.
--
-- An index per filter would not do: two filters that many orders pass each and few together make
-- any one of those indexes a long walk. The filters that have few values each (status, financial
-- status, channel, currency, country) are therefore one column. A store has some dozens or hundreds
-- of combinations; a list asks for those it wants, takes the first rows of each from an index and
-- merges them, so it reads about as many rows as combinations times rows of the page, wherever the
-- rows stand. `projections/src/order/list.rs` has the statements.
--
-- The other columns of these indexes are what lists are ordered and bounded by, so that a list
-- bounded by one and ordered by another is answered without visiting the table.
ALTER TABLE read.order_summaries ADD COLUMN facets text COLLATE "C" NOT NULL GENERATED ALWAYS AS
    (status || '|' || financial_status || '|' || channel || '|' || currency || '|'
     || coalesce(country, '')) STORED;
COMMENT ON COLUMN read.order_summaries.facets IS
    'status|financial_status|channel|currency|country in one, for lists; not for reports.';

DROP INDEX read.order_summaries_by_status;
DROP INDEX read.order_summaries_by_financial_status;
CREATE INDEX order_summaries_by_facets_placed ON read.order_summaries
    (store_id, facets, placed_at, order_id) INCLUDE (number, total_minor);
CREATE INDEX order_summaries_by_facets_number ON read.order_summaries
    (store_id, facets, number) INCLUDE (order_id, placed_at, total_minor);
CREATE INDEX order_summaries_by_facets_total ON read.order_summaries
    (store_id, facets, total_minor, order_id) INCLUDE (placed_at, number);
