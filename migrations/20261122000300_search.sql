-- The catalogue is searched in an index outside PostgreSQL (docs/adr/0014), which follows these
-- tables by the position of the last event that changed a row. What the index answers needs no
-- index here: searched words go, and orders and filters other than newest and status.

DROP TABLE read.catalog_product_terms;
DROP INDEX read.catalog_products_by_title;
DROP INDEX read.catalog_products_by_vendor;
ALTER TABLE read.catalog_products DROP COLUMN title_folded;

-- 0 in rows of the version before, which the rebuild that the new version asks for replaces.
ALTER TABLE read.catalog_products ADD COLUMN position bigint NOT NULL DEFAULT 0;
ALTER TABLE read.catalog_products ALTER COLUMN position DROP DEFAULT;
ALTER TABLE read.catalog_stock_items ADD COLUMN position bigint NOT NULL DEFAULT 0;
ALTER TABLE read.catalog_stock_items ALTER COLUMN position DROP DEFAULT;
CREATE INDEX catalog_products_by_position ON read.catalog_products (position);
CREATE INDEX catalog_stock_items_by_position ON read.catalog_stock_items (position);
COMMENT ON COLUMN read.catalog_products.position IS 'Position of the last event of the product in the log.';
COMMENT ON COLUMN read.catalog_stock_items.position IS 'Position of the last event of the stock in the log.';
