-- Argo CD's view of an AgentDeployment. It does not look at children: our status carries all of it.
-- The first that fits counts, in this order; what is not sure yet is Progressing and never Healthy.

local health = { status = "Progressing", message = "the operator has not looked at it yet" }

local status = obj.status
-- Right after creation there is no status at all.
if status == nil or status.conditions == nil then
  return health
end

local conditions = {}
for _, condition in ipairs(status.conditions) do
  conditions[condition.type] = condition
end

-- 1. What the status says is about an older spec.
if (status.observedGeneration or 0) < (obj.metadata.generation or 0) then
  health.message = "the operator has not looked at this version yet"
  return health
end

local function is(type, wanted)
  return conditions[type] ~= nil and conditions[type].status == wanted
end

-- 2. What does not get better by itself: it needs another spec, or a person.
if is("Accepted", "False") then
  return { status = "Degraded", message = conditions.Accepted.message or "the spec cannot be used" }
end
-- A revision was given up. The one before still answers, so Ready is True: but it is not what Git says.
local promoted = conditions.Promoted
if is("Promoted", "False") and promoted.reason == "RevisionFailed" then
  return { status = "Degraded", message = promoted.message or "the revision was given up" }
end

-- 3. What somebody asked to wait.
if obj.spec ~= nil and obj.spec.suspend then
  return { status = "Suspended", message = "spec.suspend: nothing is answered, nothing is lost" }
end
if obj.spec ~= nil and obj.spec.paused then
  return { status = "Suspended", message = "spec.paused: the operator changes nothing" }
end
if is("Promoted", "False") and promoted.reason == "WaitingForPromotion" then
  return { status = "Suspended", message = promoted.message or "the candidate waits to be promoted" }
end

-- 4. On the way: the first start, a new revision. A part that is in trouble is more than that.
local ready = conditions.Ready
if is("Ready", "False") and ready.reason ~= "Starting" then
  return { status = "Degraded", message = ready.message or ready.reason or "it is not ready" }
end
if is("Progressing", "True") then
  health.message = conditions.Progressing.message or "a revision is being started"
  return health
end

-- 5. It answers, by the revision that the spec asks for.
if is("Ready", "True") and not is("Promoted", "False") then
  return { status = "Healthy", message = ready.message or "it answers" }
end

health.message = (ready ~= nil and ready.message) or "the operator is still looking"
return health
