-- The probes say how many processes are stuck and how late the runners are; they look with the
-- projectors' rights. What a failure said is not for them.
GRANT USAGE ON SCHEMA process TO conche_projector;
GRANT SELECT (store_id, process, id, due_at, leased_until, attempts) ON process.work TO conche_projector;
CREATE POLICY every_store_to_probes ON process.work FOR SELECT TO conche_projector USING (true);

-- Some payments take their provider days.
ALTER TABLE read.order_payments DROP CONSTRAINT order_payments_status_check;
ALTER TABLE read.order_payments ADD CONSTRAINT order_payments_status_check CHECK (status IN
    ('requested', 'action_required', 'processing', 'unclear', 'authorised', 'declined', 'captured',
     'voided'));
