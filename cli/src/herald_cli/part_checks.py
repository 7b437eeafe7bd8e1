"""The checks of `herald doctor` that use a part of a running Herald: store, commit, infer, count."""

import asyncio
import time

from herald_agent import probing
from herald_cli import access
from herald_cli.diagnosis import Check, Finding, Trouble
from herald_cli.state import Component, Snapshot, StateFolder
from herald_contracts.settings import AgentSettings


def parts(folder: StateFolder, snapshot: Snapshot) -> dict[str, tuple[Check, str]]:
    """One check per part of a running Herald."""
    known = {c.name: c for c in snapshot.components}
    checks: dict[str, tuple[Check, str]] = {
        "supervisor": (lambda: _supervisor(snapshot), "see `herald status`; `herald down` and `herald up` start anew"),
        "nats": (lambda: _nats(folder, snapshot), "see `herald logs nats`"),
        "postgres": (lambda: _postgres(folder), "see `herald logs postgres`"),
        "schema": (lambda: _schema(folder), "`herald down`, then `herald up` brings it up to date"),
        "clock": (lambda: _clock(folder), "set this machine's clock (timedatectl)"),
        "model": (lambda: _model(folder), "see `herald logs triton`, or the endpoint's own logs"),
        "gateway": (lambda: _gateway(known["gateway"]), "see `herald logs gateway`"),
        "workers": (lambda: _workers(folder, snapshot), "see `herald logs agent-1`"),
        "ledger": (lambda: _ledger(folder, snapshot), "see `herald ledger --messages`"),
    }
    if "triton" in known:
        checks["triton"] = (lambda: _triton(known["triton"]), "see `herald logs triton`")
    if "milvus" in known:
        checks["milvus"] = (lambda: _milvus(known["milvus"]), "see `herald logs milvus`; memory is skipped meanwhile")
    return checks


async def _supervisor(snapshot: Snapshot) -> str:
    bad = [f"{c.name} {c.state}" for c in snapshot.components if c.state != "ready"]
    if bad:
        raise Trouble(f"pid {snapshot.pid}, {snapshot.phase}: {', '.join(bad)}")
    restarts = sum(c.restarts for c in snapshot.components)
    return f"pid {snapshot.pid}, everything is ready, {restarts} restarts since it began"


async def _nats(folder: StateFolder, snapshot: Snapshot) -> str | Finding:
    """Stores a message durably, reads it back, and looks how full the incoming stream is."""
    from nats.js.api import StorageType

    names = access.names(snapshot)
    async with access.nats(folder, snapshot, wait=15) as client:
        js = client.jetstream(timeout=10)
        probe = f"{names.in_stream}_DOCTOR"
        begun = time.perf_counter()
        await js.add_stream(name=probe, subjects=[f"{names.prefix}.doctor"], storage=StorageType.FILE, max_bytes=65_536)
        try:
            acknowledged = await js.publish(f"{names.prefix}.doctor", b"probe")
            found = await js.get_msg(probe, acknowledged.seq)
        finally:
            await js.delete_stream(probe)
        if found.data != b"probe":
            raise Trouble("what was stored is not what was read back")
        took = (time.perf_counter() - begun) * 1_000
        info = await js.stream_info(names.in_stream)
    most = info.config.max_bytes or 0
    share = info.state.bytes / most if most > 0 else 0.0
    seen = f"stored and read back in {took:.0f} ms; incoming stream {share:.0%} full"
    if share > 0.8:
        return Finding("nats", "warning", seen, "a full stream refuses (503): are the workers keeping up?")
    return seen


async def _postgres(folder: StateFolder) -> str:
    async with access.database(folder) as db:
        return await probing.database(db)


async def _schema(folder: StateFolder) -> str:
    async with access.database(folder) as db:
        return await probing.schema(db)


async def _clock(folder: StateFolder) -> str | Finding:
    async with access.database(folder) as db:
        await db.value("SELECT 1")
        before = time.time()
        theirs = float(await db.value("SELECT extract(epoch FROM clock_timestamp())"))
        skew = theirs - (before + time.time()) / 2
    seen = f"PostgreSQL's clock and this one differ by {abs(skew) * 1_000:.0f} ms"
    if abs(skew) > 60:
        raise Trouble(seen)
    return (
        Finding("clock", "warning", seen, "signatures allow 300 s; leases go by PostgreSQL's")
        if abs(skew) > 2
        else seen
    )


async def _model(folder: StateFolder) -> str:
    return await probing.model(await asyncio.to_thread(AgentSettings.load, folder.settings / "agent-1.json"))


async def _triton(component: Component) -> str:
    """The server's own word for each loaded model."""
    import tritonclient.grpc.aio as grpc

    async with grpc.InferenceServerClient(component.address) as client:
        if not await client.is_server_ready():
            raise Trouble("a model is not ready")
        index = await client.get_model_repository_index()
        ready = sorted(m.name for m in index.models if m.state == "READY")
    return f"ready: {', '.join(ready)}"


async def _milvus(component: Component) -> str:
    from pymilvus import AsyncMilvusClient

    client = AsyncMilvusClient(uri=component.address, timeout=10)
    try:
        collections = await client.list_collections()
    finally:
        await client.close()
    return f"answers, {len(collections)} collections"


async def _gateway(component: Component) -> str:
    import aiohttp

    begun = time.perf_counter()
    async with (
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session,
        session.get(f"{component.address}/healthz/ready") as response,
    ):
        if response.status != 200:
            raise Trouble(f"not ready: HTTP {response.status} {(await response.text())[:200]}")
    return f"could accept durably now, answered in {(time.perf_counter() - begun) * 1_000:.0f} ms"


async def _workers(folder: StateFolder, snapshot: Snapshot) -> str:
    """Their health, and whether one of them reads the stream."""
    import aiohttp

    agents = [c for c in snapshot.components if c.name.startswith("agent-")]
    bad: list[str] = []
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session:
        for agent in agents:
            try:
                async with session.get(f"{agent.address}/healthz/ready") as response:
                    if response.status != 200:
                        bad.append(f"{agent.name}: {(await response.text())[:200]}")
            except (aiohttp.ClientError, TimeoutError) as e:
                bad.append(f"{agent.name}: {type(e).__name__}")
    if bad:
        raise Trouble("; ".join(bad), f"see `herald logs {bad[0].partition(':')[0]}`")
    async with access.database(folder) as db:
        reader = await db.value("SELECT holder FROM intake WHERE lease_until > now() LIMIT 1")
    if not reader:
        raise Trouble("no worker reads the stream of incoming messages")
    return f"{len(agents)} ready; {reader} reads the stream"


async def _ledger(folder: StateFolder, snapshot: Snapshot) -> str | Finding:
    from herald_agent.store import ledger
    from herald_agent.store.ledger import StreamState

    names = access.names(snapshot)
    async with access.nats(folder, snapshot, wait=15) as client, access.database(folder) as db:
        info = (await client.jsm().stream_info(names.in_stream)).state
        counts = await ledger.counts(db, StreamState(names.in_stream, info.first_seq, info.last_seq))
    if not counts.balanced:
        raise Trouble(f"accepted {counts.accepted} is not the sum of the others", "please report this")
    seen = f"{counts.accepted} accepted, {counts.answered} answered, {counts.dead} dead, and the sum is right"
    if counts.dead:
        return Finding("ledger", "warning", seen, "see `herald dead-letters list`")
    return seen
