"""Metric names and attribute keys, so that a dashboard and the code cannot drift apart.

Prometheus exposition adds `_total` to counters. GenAI names follow the OpenTelemetry semantic conventions
for generative AI (status: development, read 2026-11); ours are under `herald.`.
"""

# Gateway
REQUESTS = "herald.gateway.requests"  # counter {channel, outcome}
REFUSED = "herald.gateway.refused"  # counter {channel, reason}
ACCEPTED = "herald.gateway.accepted"  # counter {channel, duplicate}
ACCEPT_SECONDS = "herald.gateway.accept.duration"  # histogram s {channel}
DELIVERIES = "herald.gateway.deliveries"  # counter {channel, outcome}
DELIVERY_SECONDS = "herald.gateway.delivery.duration"  # histogram s {channel}

# Workers
INTAKE = "herald.agent.intake"  # counter {outcome: claimed | duplicate | dead}
TURNS = "herald.agent.turns"  # counter {outcome: done | dead | retried | lost_lease}
TURN_SECONDS = "herald.agent.turn.duration"  # histogram s {outcome}
TURNS_IN_FLIGHT = "herald.agent.turns.in_flight"  # up-down counter
RELAYED = "herald.agent.relayed"  # counter
RECALL = "herald.agent.recall"  # counter {outcome: hit | empty | skipped | failed}
RECALL_SECONDS = "herald.agent.recall.duration"  # histogram s
MODEL_SECONDS = "gen_ai.client.operation.duration"  # histogram s
FIRST_CHUNK_SECONDS = "gen_ai.client.operation.time_to_first_chunk"  # histogram s
TOKENS = "gen_ai.client.token.usage"  # histogram {token} {gen_ai.token.type}
LEDGER = "herald.ledger.messages"  # gauge {state}

# Operator
WRITES = "herald.operator.writes"  # counter {verb: PATCH | POST | DELETE}
PASSES = "herald.operator.passes"  # counter {outcome: done | failed}
LOOK_SECONDS = "herald.operator.pass.duration"  # histogram s
