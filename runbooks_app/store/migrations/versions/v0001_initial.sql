-- The schema of the service. Times are the database's; ids are 16 characters of base32 (80 random bits).
-- Every change of state is guarded by the prior state in the statement that makes it.

CREATE TABLE people (
    subject       text PRIMARY KEY,              -- issuer#sub: never changes hands
    name          text NOT NULL,
    email         text NOT NULL DEFAULT '',
    roles         jsonb NOT NULL,                -- as mapped from the groups claim at the latest sign-in
    first_seen_at timestamptz NOT NULL DEFAULT now(),
    last_seen_at  timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE sessions (
    id_hash    bytea PRIMARY KEY,                -- SHA-256 of the cookie's value: a dump of the table signs nobody in
    subject    text NOT NULL REFERENCES people,
    csrf       text NOT NULL,
    signed_in  jsonb NOT NULL,                   -- auth_time, amr, acr as the provider told them
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    revoked_at timestamptz
);
CREATE INDEX sessions_by_subject ON sessions (subject);

CREATE TABLE chat_people (
    team      text NOT NULL,
    chat_user text NOT NULL,
    subject   text NOT NULL REFERENCES people,
    linked_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (team, chat_user)
);

CREATE TABLE chat_links (                        -- one-time links that tie a chat user to a person
    code_hash  bytea PRIMARY KEY,
    team       text NOT NULL,
    chat_user  text NOT NULL,
    chat_name  text NOT NULL,
    expires_at timestamptz NOT NULL,
    used_at    timestamptz
);

CREATE TABLE chat_deliveries (                   -- what the chat has delivered already: a second delivery is dropped
    key         text PRIMARY KEY,
    received_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE chat_messages (                     -- where each thing told stands in the chat, so that it is updated in place
    key     text PRIMARY KEY,
    channel text NOT NULL,
    ts      text NOT NULL,
    digest  text NOT NULL
);

CREATE TABLE revisions (                         -- runbooks exactly as they were when they ran
    digest      text PRIMARY KEY,
    runbook_id  text NOT NULL,
    name        text NOT NULL,
    notebook    jsonb NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE incidents (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    title     text NOT NULL,
    channel   text NOT NULL DEFAULT '',
    opened_at timestamptz NOT NULL DEFAULT now(),
    opened_by jsonb NOT NULL,
    closed_at timestamptz,
    cause     text NOT NULL DEFAULT ''
);
CREATE INDEX incidents_newest ON incidents (opened_at DESC, id DESC);
CREATE INDEX incidents_open_by_channel ON incidents (channel) WHERE closed_at IS NULL;

CREATE TABLE runs (
    id           text PRIMARY KEY,
    incident_id  bigint NOT NULL REFERENCES incidents,
    runbook      text NOT NULL,
    revision     text NOT NULL REFERENCES revisions,
    parameters   jsonb NOT NULL,
    purpose      text NOT NULL CHECK (purpose IN ('diagnosis', 'recheck')),
    proposal_id  text,                           -- of a re-check: the proposal that it checks
    rerun_of     text REFERENCES runs,
    requested_by jsonb NOT NULL,                 -- actor
    requesters   jsonb NOT NULL,                 -- subjects of all humans behind it, also behind the run that it repeats
    channel      text NOT NULL DEFAULT '',
    state        text NOT NULL CHECK (state IN ('queued','diagnosing','diagnosed','failed','timed_out','cancelled','lost')),
    in_part      boolean NOT NULL DEFAULT false,
    reason       text NOT NULL DEFAULT '',
    problems     jsonb NOT NULL DEFAULT '[]',    -- what the run could not use of what its cells said
    kept         jsonb NOT NULL DEFAULT '{}',
    requested_at timestamptz NOT NULL DEFAULT now(),
    cancel_requested_at timestamptz,
    ended_at     timestamptz
);
CREATE INDEX runs_by_incident ON runs (incident_id, requested_at);
CREATE INDEX runs_newest ON runs (requested_at DESC) WHERE purpose = 'diagnosis';
CREATE INDEX runs_of_runbook ON runs (runbook, requested_at DESC) WHERE purpose = 'diagnosis';
CREATE INDEX runs_unfinished ON runs (state) WHERE state IN ('queued', 'diagnosing', 'lost');

CREATE INDEX runs_rechecks ON runs (proposal_id, requested_at) WHERE purpose = 'recheck';

CREATE TABLE proposals (
    id             text PRIMARY KEY,
    run_id         text NOT NULL REFERENCES runs,
    gate           text NOT NULL,
    cell_id        text NOT NULL,
    title          text NOT NULL,
    target         text NOT NULL,
    inputs         jsonb NOT NULL,
    identity       jsonb NOT NULL,               -- names of the inputs that the re-check compares
    connections    jsonb NOT NULL,               -- [{connection, role}] that the cell will hold
    policy         jsonb NOT NULL,
    reason         text NOT NULL DEFAULT '',
    evidence       jsonb NOT NULL,               -- the findings as they stood
    evidence_digest text NOT NULL,
    source_digest  text NOT NULL,
    digest         text NOT NULL,
    by_hand        boolean NOT NULL DEFAULT false,
    requesters     jsonb NOT NULL,
    sponsor        text NOT NULL DEFAULT '',
    predecessor    text REFERENCES proposals,
    state          text NOT NULL CHECK (state IN
        ('proposed','approved','denied','expired','withdrawn','stale','executing','applied','failed','unknown')),
    state_reason   text NOT NULL DEFAULT '',
    verification   text CHECK (verification IN ('pending','verified','not_verified','not_possible')),
    verification_reason text NOT NULL DEFAULT '',
    checks         jsonb NOT NULL DEFAULT '[]',
    proposed_at    timestamptz NOT NULL DEFAULT now(),
    expires_at     timestamptz NOT NULL,
    decided_at     timestamptz,
    ended_at       timestamptz
);
CREATE INDEX proposals_by_run ON proposals (run_id, proposed_at);
CREATE INDEX proposals_open ON proposals (expires_at) WHERE state IN ('proposed', 'approved');

CREATE INDEX proposals_unverified ON proposals (ended_at) WHERE verification = 'pending';
CREATE INDEX proposals_applied ON proposals (gate, ended_at DESC) WHERE state = 'applied';
CREATE INDEX proposals_successors ON proposals (predecessor) WHERE predecessor IS NOT NULL;

CREATE TABLE decisions (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    proposal_id text NOT NULL REFERENCES proposals,
    digest      text NOT NULL,                   -- of the proposal, as the person saw it
    subject     text NOT NULL REFERENCES people,
    name        text NOT NULL,
    verdict     text NOT NULL CHECK (verdict IN ('approve', 'deny')),
    reason      text NOT NULL DEFAULT '',
    signed_in   jsonb NOT NULL,
    at          timestamptz NOT NULL DEFAULT now(),
    UNIQUE (proposal_id, subject, verdict)
);

CREATE TABLE attempts (                          -- one try by one worker at the cells of one stage, in one kernel
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id      text NOT NULL REFERENCES runs,
    stage       text NOT NULL CHECK (stage IN ('diagnose', 'remediate', 'verify')),
    proposal_id text REFERENCES proposals,
    target      text,                            -- of a remediation
    number      integer NOT NULL,
    worker      text NOT NULL,
    started_at  timestamptz NOT NULL DEFAULT now(),
    lease_until timestamptz NOT NULL,
    ended_at    timestamptz,
    UNIQUE NULLS NOT DISTINCT (run_id, stage, proposal_id, number),
    CHECK ((stage = 'diagnose') = (proposal_id IS NULL))
);
-- A remediation starts at most once per proposal, and one at a time per target.
CREATE UNIQUE INDEX attempts_one_start ON attempts (proposal_id) WHERE stage = 'remediate';
CREATE UNIQUE INDEX attempts_one_per_target ON attempts (target) WHERE stage = 'remediate' AND ended_at IS NULL;
CREATE INDEX attempts_going ON attempts (lease_until) WHERE ended_at IS NULL;

CREATE TABLE cells (
    attempt_id      bigint NOT NULL REFERENCES attempts,
    cell_id         text NOT NULL,
    position        integer NOT NULL,
    stage           text NOT NULL,
    source          text NOT NULL,
    state           text NOT NULL CHECK (state IN
        ('waiting','running','ok','failed','died','timed_out','cancelled','skipped','never_ran')),
    reason          text NOT NULL DEFAULT '',
    outputs         jsonb NOT NULL DEFAULT '[]',
    artifact        text NOT NULL DEFAULT '',    -- content address of the whole outputs, where they are too large for a row
    execution_count integer,
    started_at      timestamptz,
    ended_at        timestamptz,
    PRIMARY KEY (attempt_id, cell_id)
);

CREATE TABLE findings (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    run_id     text NOT NULL REFERENCES runs,
    attempt_id bigint NOT NULL REFERENCES attempts,
    cell_id    text NOT NULL,
    severity   text NOT NULL CHECK (severity IN ('critical', 'warning', 'info')),
    summary    text NOT NULL,
    evidence   jsonb
);
CREATE INDEX findings_by_run ON findings (run_id, id);

CREATE TABLE credentials (                       -- who holds what right now; never the secret
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    attempt_id bigint NOT NULL REFERENCES attempts,
    connection text NOT NULL,
    identity   text NOT NULL,
    issued_at  timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    ended_at   timestamptz
);
CREATE INDEX credentials_held ON credentials (attempt_id) WHERE ended_at IS NULL;

CREATE TABLE notes (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    incident_id bigint NOT NULL REFERENCES incidents,
    subject     text NOT NULL REFERENCES people,
    name        text NOT NULL,
    text        text NOT NULL,
    at          timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX notes_by_incident ON notes (incident_id, at);

CREATE TABLE refusals (                          -- refused requests of nobody in particular, until they are entered as one line
    reason text PRIMARY KEY,
    count  bigint NOT NULL
);

-- The audit trail. Only audit_append writes it; nothing changes it.

CREATE TABLE audit_entries (
    seq     bigint PRIMARY KEY,
    at      text NOT NULL,
    actor   text NOT NULL,
    event   text NOT NULL CHECK (event ~ '^[a-z_.]+$'),
    objects text NOT NULL,
    body    text NOT NULL,
    prev    text NOT NULL,
    hash    text NOT NULL UNIQUE
);
CREATE INDEX audit_by_event ON audit_entries (event, seq);
CREATE INDEX audit_by_object ON audit_entries USING gin ((objects::jsonb) jsonb_path_ops);

CREATE TABLE audit_head (
    one  boolean PRIMARY KEY DEFAULT true CHECK (one),
    seq  bigint NOT NULL,
    hash text NOT NULL
);
INSERT INTO audit_head (seq, hash) VALUES (0, repeat('0', 64));

CREATE FUNCTION audit_append(actor text, event text, objects text, body text) RETURNS audit_entries
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    head  public.audit_head;
    entry public.audit_entries;
BEGIN
    -- The texts are canonical JSON (RFC 8785) already; a text that is no JSON object is refused here.
    IF jsonb_typeof(actor::jsonb) <> 'object' OR jsonb_typeof(objects::jsonb) <> 'object'
        OR jsonb_typeof(body::jsonb) <> 'object' THEN
        RAISE EXCEPTION 'an audit entry takes JSON objects';
    END IF;
    -- The lock on the head orders all appends until commit, so a transaction appends last.
    SELECT * INTO STRICT head FROM public.audit_head FOR UPDATE;
    entry.seq := head.seq + 1;
    entry.at := to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"');
    entry.actor := actor;
    entry.event := event;
    entry.objects := objects;
    entry.body := body;
    entry.prev := head.hash;
    entry.hash := encode(sha256(convert_to(
        '{"actor":' || actor || ',"at":"' || entry.at || '","body":' || body || ',"event":"' || event
        || '","objects":' || objects || ',"prev":"' || head.hash || '","seq":' || entry.seq || '}', 'UTF8')), 'hex');
    INSERT INTO public.audit_entries SELECT entry.*;
    UPDATE public.audit_head SET seq = entry.seq, hash = entry.hash;
    RETURN entry;
END $$;
REVOKE ALL ON FUNCTION audit_append FROM PUBLIC;

CREATE FUNCTION audit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit trail is append-only';
END $$;
CREATE TRIGGER audit_no_change BEFORE UPDATE OR DELETE ON audit_entries
    FOR EACH ROW EXECUTE FUNCTION audit_is_append_only();
CREATE TRIGGER audit_no_truncate BEFORE TRUNCATE ON audit_entries
    FOR EACH STATEMENT EXECUTE FUNCTION audit_is_append_only();
