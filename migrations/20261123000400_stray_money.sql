-- A third process: money that nothing counts on goes back, by the payment's id. Rust side:
-- `sagas/src/checkout/drive.rs`.
ALTER TABLE process.work DROP CONSTRAINT work_process_check;
ALTER TABLE process.work ADD CONSTRAINT work_process_check
    CHECK (process IN ('checkout', 'order', 'payment'));
COMMENT ON COLUMN process.work.process IS '`checkout`, `order` or `payment`; the id is that stream''s.';
