-- The truth: every accepted message, what became of it, and what is still to be done.
-- Rules: one statement per step (a step either happened or did not); leases and retries by the database's clock;
-- names equal the words of docs/architecture.md.

-- How far the IN stream has been read into `turns`. Moved in the same statement that claims what was read, and only
-- by who holds the lease: so no message is skipped, and a database restored from a backup reads the rest again.
CREATE TABLE intake (
    stream      text PRIMARY KEY,
    cursor      bigint      NOT NULL DEFAULT 0,
    incarnation text        NOT NULL DEFAULT '',  -- when the stream was created: another one starts again at 1
    epoch       bigint      NOT NULL DEFAULT 0,
    holder      text,
    lease_until timestamptz NOT NULL DEFAULT '-infinity'
);

CREATE TABLE conversations (
    id            text PRIMARY KEY,
    channel       text        NOT NULL,
    chat          text        NOT NULL,
    open_turns    integer     NOT NULL DEFAULT 0 CHECK (open_turns >= 0),  -- waiting or running
    -- Which its first open turn is and whose, so that choosing needs no look at the turns of every conversation.
    -- A hint: it may be outdated where a message arrived at the moment in which the turn before it ended.
    head_position bigint      NOT NULL,
    head_user     text        NOT NULL,
    not_before    timestamptz NOT NULL DEFAULT '-infinity',  -- a retry waits here, and what is behind it with it
    epoch         bigint      NOT NULL DEFAULT 0,            -- grows with every lease; every write of a turn carries it
    holder        text,                                      -- NULL: free
    lease_until   timestamptz
);
CREATE INDEX conversations_open ON conversations (head_position) WHERE open_turns > 0;
CREATE INDEX conversations_open_of ON conversations (head_user, head_position) WHERE open_turns > 0;
CREATE INDEX conversations_held ON conversations (holder) WHERE holder IS NOT NULL;

CREATE TABLE turns (
    id           text PRIMARY KEY,
    position     bigint GENERATED ALWAYS AS IDENTITY,  -- order of acceptance, over all conversations
    conversation text        NOT NULL REFERENCES conversations,
    channel      text        NOT NULL,
    event_id     text        NOT NULL,
    in_seq       bigint      NOT NULL,                        -- sequence in the IN stream
    user_key     text        NOT NULL,
    payload      jsonb       NOT NULL,                        -- the Message
    state        text        NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'running', 'done', 'dead')),
    epoch        bigint,
    attempts     integer     NOT NULL DEFAULT 0,              -- times it was begun
    adoptions    integer     NOT NULL DEFAULT 0,              -- times it was taken over from a worker that fell silent
    reply_number integer     NOT NULL DEFAULT 0,              -- grows when a person has it answered, or the reply sent, again
    revision     text,
    reason       text,
    received_at  timestamptz NOT NULL,
    claimed_at   timestamptz NOT NULL DEFAULT now(),
    started_at   timestamptz,                                 -- first start
    budget_since timestamptz,                                 -- since when its time budget runs
    finished_at  timestamptz,
    UNIQUE (channel, event_id)                                -- what makes a second delivery a no-op
);
CREATE INDEX turns_open ON turns (conversation, position) WHERE state IN ('waiting', 'running');
CREATE INDEX turns_received ON turns (received_at);

-- The journal: a step is recorded before it begins and after it ended.
CREATE TABLE steps (
    turn        text        NOT NULL REFERENCES turns,
    number      integer     NOT NULL,
    kind        text        NOT NULL,
    input_hash  text        NOT NULL,
    epoch       bigint      NOT NULL,
    state       text        NOT NULL DEFAULT 'started' CHECK (state IN ('started', 'done')),
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
CREATE INDEX history_platform ON history (platform_message_id) WHERE platform_message_id IS NOT NULL;

CREATE TABLE outbox (
    id                  text PRIMARY KEY,  -- reply id: the idempotency key of its delivery
    turn                text        NOT NULL REFERENCES turns,
    number              integer     NOT NULL,  -- turns.reply_number when it was written
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
    attempts            integer     NOT NULL DEFAULT 0,  -- of the platform's sender
    reason              text,
    UNIQUE (turn, number)
);
-- A conversation's replies go out one at a time, in order: the next is relayed after the last one's receipt.
CREATE INDEX outbox_open ON outbox (conversation, position, number) WHERE state IN ('pending', 'relayed');

CREATE TABLE dead_letters (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source      text        NOT NULL CHECK (source IN ('intake', 'turn', 'delivery', 'advisory')),
    turn        text REFERENCES turns,
    reply       text REFERENCES outbox,
    stream      text,
    stream_seq  bigint,
    reason      text        NOT NULL,
    payload     bytea,
    created_at  timestamptz NOT NULL DEFAULT now(),
    replayed_at timestamptz
);
-- One open letter per thing that failed; a thing that was replayed and failed again gets a new one.
CREATE UNIQUE INDEX dead_letters_open ON dead_letters
    (source, coalesce(turn, ''), coalesce(reply, ''), coalesce(stream, ''), coalesce(stream_seq, 0))
    WHERE replayed_at IS NULL;

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
CREATE INDEX facts_of ON facts (user_key, created_at DESC, id DESC);

-- One row per accepted message. The newest reply counts; a dead turn stays dead though its apology was delivered.
CREATE VIEW ledger AS
SELECT t.event_id, t.channel, t.conversation, t.id AS turn, t.in_seq, t.revision, t.attempts, t.received_at,
       t.started_at, t.finished_at, o.delivered_at, o.platform_message_id, coalesce(t.reason, o.reason) AS reason,
       CASE
           WHEN t.state IN ('waiting', 'running', 'dead') THEN t.state
           WHEN o.id IS NULL THEN 'noted'
           WHEN o.state IN ('pending', 'relayed') THEN 'replying'
           WHEN o.state = 'sent' THEN 'answered'
           WHEN o.state = 'unknown' THEN 'unknown'
           ELSE 'dead'
       END AS state
FROM turns t LEFT JOIN outbox o ON o.turn = t.id AND o.number = t.reply_number
UNION ALL
SELECT 'stream-sequence-' || d.stream_seq, '', '', '', d.stream_seq, NULL, 0, d.created_at,
       NULL, d.created_at, NULL, NULL, d.reason, 'dead'
FROM dead_letters d WHERE d.source = 'intake' AND d.replayed_at IS NULL;
