"""`kubectl herald doctor`: looks at the cluster, at one deployment, and inside of it, and says what to do next."""

import asyncio
import sys

import click

from herald_cli import diagnosis, options
from herald_cli.commands import doctor as local
from herald_cli.diagnosis import Finding
from herald_cli.kubectl import deployment as deployments
from herald_cli.kubectl.deployment import NoSuchDeployment, NotInstalled
from herald_cli.kubectl.target import Target, target
from herald_cli.style import of

_SECONDS = 90.0  # a command in a pod of a busy node takes its time to begin


@click.command("doctor")
@options.as_json
@target
def command(json_: bool, target: Target) -> None:
    """Look at cluster and deployment NAME, use its parts for real, and say what to do where something does not work.

    What is used: the gateway through the API server, database, NATS and model from a worker's pod. Where your rights do
    not reach, it says so. The exit code is 0 when nothing failed. Without any deployment it looks at the cluster only.
    """

    async def look() -> tuple[list[Finding], str]:
        from herald_cli.kubectl import cluster_checks, deployment_checks
        from herald_cli.kubectl.api import connect

        async with connect(target) as api:
            checks = cluster_checks.checks(api)
            try:
                found = await deployments.choose(api, target)
            except (NoSuchDeployment, NotInstalled) as e:
                if target.name is not None and isinstance(e, NoSuchDeployment):
                    raise
                return await diagnosis.examine(checks, seconds=_SECONDS), str(e)
            async with deployment_checks.checks(api, found, target) as more:
                return await diagnosis.examine(checks | more, seconds=_SECONDS), ""

    findings, without = asyncio.run(look())
    if json_:
        options.emit(local.report(findings, running=not without))
    else:
        for line in local.lines(findings, of(sys.stdout)):
            click.echo(line)
        if without:
            click.echo(f"\nOnly the cluster was looked at: {without}")
    if any(finding.verdict == "failed" for finding in findings):
        raise SystemExit(1)
