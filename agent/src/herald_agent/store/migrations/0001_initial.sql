-- The truth: every accepted message, what became of it, and what is still to be done.
-- Rules: one statement per step (a step either happened or did not); leases and retries by the database's clock;
-- names equal the words of docs/architecture.md.

-- How far the IN stream has been read into `turns`. Moved in the same statement that claims what was read, and only
-- by who holds the lease: so no message is skipped, and a database restored from a backup reads the rest again.
CREATE TABLE intake (
    stream      text PRIMARY KEY,
    cursor      bigint      NOT NULL DEFAULT 0,
    epoch       bigint      NOT NULL DEFAULT 0,
    holder      text,
    lease_until timestamptz NOT NULL DEFAULT '-infinity'
);

CREATE TABLE conversations (
    id          text PRIMARY KEY,
    channel     text        NOT NULL,
    open_turns  integer     NOT NULL DEFAULT 0 CHECK (open_turns >= 0),
    epoch       bigint      NOT NULL DEFAULT 0,  -- grows with every lease; every write of a turn carries it
    holder      text,
    lease_until timestamptz,                     -- NULL: free
    last_served timestamptz NOT NULL DEFAULT '-infinity'
);
CREATE INDEX conversations_open ON conversations (last_served) WHERE open_turns > 0;

CREATE TABLE turns (
    id           text PRIMARY KEY,
    position     bigint GENERATED ALWAYS AS IDENTITY UNIQUE,  -- order of acceptance, over all conversations
    conversation text        NOT NULL REFERENCES conversations,
    channel      text        NOT NULL,
    event_id     text        NOT NULL,
    in_seq       bigint      NOT NULL,                        -- sequence in the IN stream
    user_key     text        NOT NULL,
    payload      jsonb       NOT NULL,                        -- the Message
    state        text        NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'running', 'done', 'dead')),
    epoch        bigint,
    attempts     integer     NOT NULL DEFAULT 0,
    revision     text,
    reason       text,
    received_at  timestamptz NOT NULL,
    claimed_at   timestamptz NOT NULL DEFAULT now(),
    not_before   timestamptz NOT NULL DEFAULT now(),
    started_at   timestamptz,
    finished_at  timestamptz,
    UNIQUE (channel, event_id)                                -- what makes a second delivery a no-op
);
CREATE INDEX turns_open ON turns (conversation, position) WHERE state IN ('waiting', 'running');
CREATE INDEX turns_running ON turns (user_key) WHERE state = 'running';
CREATE INDEX turns_in_seq ON turns (in_seq);

-- The journal: a step is recorded before it begins and after it ended.
CREATE TABLE steps (
    turn        text        NOT NULL REFERENCES turns,
    number      integer     NOT NULL,
    kind        text        NOT NULL,
    input_hash  text        NOT NULL,
    epoch       bigint      NOT NULL,
    state       text        NOT NULL DEFAULT 'started' CHECK (state IN ('started', 'done', 'failed')),
    idempotent  boolean     NOT NULL,
    output      jsonb,
    started_at  timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    PRIMARY KEY (turn, number, input_hash)
);

-- What the model sees of the past. Written when a turn ends, so a turn never sees itself.
CREATE TABLE history (
    id                  text PRIMARY KEY,  -- message id, or reply id
    conversation        text        NOT NULL REFERENCES conversations,
    position            bigint      NOT NULL,  -- of its turn
    role                text        NOT NULL CHECK (role IN ('user', 'agent')),
    sender_name         text        NOT NULL DEFAULT '',
    platform_message_id text,
    content             text        NOT NULL,
    at                  timestamptz NOT NULL
);
CREATE INDEX history_of ON history (conversation, position DESC, role);
CREATE INDEX history_platform ON history (conversation, platform_message_id);

CREATE TABLE outbox (
    id                  text PRIMARY KEY,  -- reply id: the idempotency key of its delivery
    turn                text        NOT NULL UNIQUE REFERENCES turns,
    conversation        text        NOT NULL,
    position            bigint      NOT NULL,
    channel             text        NOT NULL,
    payload             jsonb       NOT NULL,  -- the Reply
    state               text        NOT NULL DEFAULT 'pending'
                        CHECK (state IN ('pending', 'relayed', 'sent', 'unknown', 'failed')),
    created_at          timestamptz NOT NULL DEFAULT now(),
    relayed_at          timestamptz,
    delivered_at        timestamptz,
    platform_message_id text,
    attempts            integer     NOT NULL DEFAULT 0,
    reason              text
);
-- A conversation's replies go out one at a time, in order: the next is relayed after the last one's receipt.
CREATE INDEX outbox_open ON outbox (conversation, position) WHERE state IN ('pending', 'relayed');

CREATE TABLE dead_letters (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source      text        NOT NULL CHECK (source IN ('intake', 'turn', 'delivery', 'advisory')),
    turn        text REFERENCES turns,
    stream      text,
    stream_seq  bigint,
    reason      text        NOT NULL,
    payload     bytea,
    created_at  timestamptz NOT NULL DEFAULT now(),
    replayed_at timestamptz,
    UNIQUE (source, stream, stream_seq)
);
CREATE UNIQUE INDEX dead_letters_turn ON dead_letters (turn) WHERE replayed_at IS NULL;

-- Memory. Text lives here; Milvus holds the vectors and what is needed to filter them.
CREATE TABLE facts (
    id         text PRIMARY KEY,
    user_key   text        NOT NULL,
    text       text        NOT NULL,
    turn       text        NOT NULL,
    embedder   text,                                -- model version of the stored vector; NULL: not stored yet
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (user_key, text)
);
CREATE INDEX facts_unembedded ON facts (created_at) WHERE embedder IS NULL;

CREATE VIEW ledger AS
SELECT t.event_id, t.channel, t.conversation, t.id AS turn, t.in_seq, t.revision, t.attempts, t.received_at,
       t.started_at, t.finished_at, o.delivered_at, o.platform_message_id, coalesce(o.reason, t.reason) AS reason,
       CASE
           WHEN t.state IN ('waiting', 'running', 'dead') THEN t.state
           WHEN o.id IS NULL THEN 'noted'
           WHEN o.state IN ('pending', 'relayed') THEN 'replying'
           WHEN o.state = 'sent' THEN 'answered'
           WHEN o.state = 'unknown' THEN 'unknown'
           ELSE 'dead'
       END AS state
FROM turns t LEFT JOIN outbox o ON o.turn = t.id
UNION ALL
SELECT 'stream-sequence-' || d.stream_seq, '', '', '', d.stream_seq, NULL, 0, d.created_at,
       NULL, d.created_at, NULL, NULL, d.reason, 'dead'
FROM dead_letters d WHERE d.source = 'intake';
