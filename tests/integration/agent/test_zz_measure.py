import asyncio, time, subprocess, sys, statistics, pytest, json, urllib.request
from tests.integration.agent.conftest import *
from tests.integration.agent.conftest import settings_of
from tests.waiting import eventually
@pytest.mark.parametrize("memory",[None,{"milvus_uri":"http://127.0.0.1:1","embedder_url":"127.0.0.1:1"}])
async def test_start(nats, database, deployment, tmp_path, memory):
    s=settings_of(nats, database, deployment, tmp_path, memory=memory, database={"dsn_file":str(tmp_path/"dsn")}, health_port=28123)
    (tmp_path/"s.json").write_text(s.model_dump_json())
    t=time.perf_counter()
    p=subprocess.Popen([sys.executable,"-m","herald_agent","--settings",str(tmp_path/"s.json")],stdout=open(tmp_path/"log","w"))
    while True:
        try:
            if urllib.request.urlopen("http://127.0.0.1:28123/healthz/ready",timeout=1).status==200: break
        except Exception: pass
        assert p.poll() is None, (tmp_path/"log").read_text()
        await asyncio.sleep(0.02)
    ready=time.perf_counter()-t
    await asyncio.sleep(3)
    rss=[l for l in open(f"/proc/{p.pid}/status") if l.startswith("VmRSS")][0].split()[1]
    c0=open(f"/proc/{p.pid}/stat").read().split()[13:15]; await asyncio.sleep(10); c1=open(f"/proc/{p.pid}/stat").read().split()[13:15]
    cpu=(sum(map(int,c1))-sum(map(int,c0)))/100/10
    p.terminate(); p.wait()
    print(f"\nmemory={memory is not None} ready {ready:.2f} s, idle RSS {int(rss)/1024:.0f} MB, idle CPU {cpu*100:.1f} %")
async def test_latency(hire, outside, db):
    await hire().start().started()
    await outside.send("w", chat="w"); await outside.all_answered()
    for rate,n in ((20,200),(100,600)):
        outside.delivering=True
        base=len(outside.replies); sent={}; t0=time.perf_counter()
        async def one(i):
            await asyncio.sleep(max(0,t0+i/rate-time.perf_counter()))
            sent[f"{rate}-{i}"]=time.perf_counter()
            await outside.send(f"{rate}-{i}", chat=f"c{i%50}", user=f"u{i%50}", content=f"hi {i}")
        arrived={}
        async def watch():
            seen=base
            while seen<base+n:
                for r in outside.replies[seen:]: arrived[r.event_id]=time.perf_counter(); seen+=1
                await asyncio.sleep(0.0005)
        w=asyncio.create_task(watch()); await asyncio.gather(*(one(i) for i in range(n))); await asyncio.wait_for(w,60)
        lat=sorted((arrived[e]-sent[e])*1e3 for e in sent)
        print(f"\n{rate}/s: publish to reply in OUT: P50 {lat[len(lat)//2]:.1f} P99 {lat[int(len(lat)*.99)]:.1f} max {lat[-1]:.1f} ms")
    outside.judge()
