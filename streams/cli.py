"""The command line, `groundswell VERB`: parse, call, print. Exit codes: 0 done, 1 failed, 2 wrong usage."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

# The verbs' modules are imported when a verb runs: Faust, River and Kafka's clients take a second or two to import,
# which `--help` need not wait for.
if TYPE_CHECKING:
    from streams.fault import Fault
    from streams.settings import Loaded

INTERRUPTED = 130

_Command = TypeVar("_Command", bound=Callable[..., Any])


class Speed(click.ParamType):
    """How much faster than the reports' own clock: `60x`, `60`."""

    name = "speed"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            speed = float(str(value).removesuffix("x"))
        except ValueError:
            speed = 0.0
        if not 0 < speed < float("inf"):
            self.fail(f"{value!r} is no speed. Give a number of times the reports' own pace: 60x.", param, ctx)
        return speed


class Budget(click.ParamType):
    """Pages a week: `2`, `0.5`."""

    name = "budget"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            budget = float(str(value))
        except ValueError:
            budget = 0.0
        if not 0 < budget <= 10_000:  # as the setting
            self.fail(f"{value!r} is no budget. Give pages a week, more than 0 and at most 10000: 2.", param, ctx)
        return budget


class Minutes(click.ParamType):
    """Minutes before and after a time: `30`, `60/10`."""

    name = "minutes"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        before, both_given, after = str(value).partition("/")
        try:
            both = int(before), int(after if both_given else before)
        except ValueError:
            both = (0, 0)
        if not all(1 <= each <= 1440 for each in both):  # a day
            self.fail(f"{value!r} are no minutes. Give 1 to 1440, or before and after: 60/10.", param, ctx)
        return both


class Duration(click.ParamType):
    """How long: `90s`, `30m`, `2h`, `1d`; in seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        unit = {"s": 1, "m": 60, "h": 3600, "d": 86_400}.get(str(value)[-1:])
        try:
            seconds = float(str(value)[:-1]) * (unit or 0)
        except ValueError:
            seconds = 0.0
        if not 0 < seconds <= 366 * 86_400:
            self.fail(f"{value!r} is no duration. Give 90s, 30m, 2h or 1d, a year at most.", param, ctx)
        return seconds


class Moment(click.ParamType):
    """A time with its offset: `2022-10-25T09:00:00Z`; in ms since 1970."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        from datetime import datetime

        try:
            time = datetime.fromisoformat(str(value))
        except ValueError:
            self.fail(f"{value!r} is no time. Give it as 2022-10-25T09:00:00Z.", param, ctx)
        if time.tzinfo is None:
            self.fail(f"{value!r} does not say where. Give the offset: {value}Z for UTC.", param, ctx)
        return round(time.timestamp() * 1000)


def _version(ctx: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        from importlib import metadata

        click.echo(f"groundswell {metadata.version('groundswell')}")
        ctx.exit()


def _keep(ctx: click.Context, param: click.Parameter, value: Any) -> None:
    """An option that may stand before the verb or after it: the last one given counts."""
    if value is not None:
        ctx.meta[f"groundswell.{param.name}"] = value


def settings_option(command: _Command) -> _Command:
    return click.option(
        "--settings",
        type=click.Path(path_type=Path),
        metavar="FILE",
        expose_value=False,
        callback=_keep,
        help="Settings file; default: $GROUNDSWELL_SETTINGS, else groundswell.toml if it is there.",
    )(command)


def kafka_option(command: _Command) -> _Command:
    return click.option(
        "--kafka",
        metavar="ADDRESS",
        expose_value=False,
        callback=_keep,
        help="Brokers, host:port with commas between them; overrides kafka.address.",
    )(command)


json_option = click.option("--json", "json_output", is_flag=True, help="For programs.")


def loaded(path: Path | None = None) -> Loaded:
    """The settings with the flags of this call. path: of another file than the call's. SettingsError."""
    from streams import settings

    meta = click.get_current_context().meta
    address = meta.get("groundswell.kafka")
    flags = {} if address is None else {"kafka.address": address}
    return settings.load(path or meta.get("groundswell.settings"), env=os.environ, flags=flags)


class Verbs(click.Group):
    """The verbs in the order in which people meet them; Kafka's failures are told in the words of our settings."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except Exception as error:
            fault = _kafka_fault(error)
            if fault is None:
                raise
            raise fault from error


def _kafka_fault(error: Exception) -> Fault | None:
    """What lies behind an error of Kafka's client; None for other errors."""
    client = sys.modules.get("aiokafka.errors")
    if client is None or not isinstance(error, client.KafkaError):
        return None
    import asyncio

    from streams import reach

    return asyncio.run(reach.diagnose(loaded().settings, error))


@click.group(
    cls=Verbs,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="""
\b
See it work, nothing else needed:
  groundswell demo
\b
On your own Kafka:
  export GROUNDSWELL_KAFKA_ADDRESS=kafka:9092
  groundswell check
  groundswell topics
  groundswell worker &
  groundswell send reports.csv
  groundswell tail
\b
Settings come from groundswell.toml, then from GROUNDSWELL_* variables, then from flags.
""",
)
@click.option(
    "--version", is_flag=True, is_eager=True, expose_value=False, callback=_version, help="Print the version."
)
@settings_option
@kafka_option
@click.pass_context
def cli(ctx: click.Context) -> None:
    """Says which service broke, where, since when and how sure, from the reports that people send."""
    if ctx.invoked_subcommand != "worker":
        # What a command has to say of Kafka it says itself.
        logging.getLogger("aiokafka").setLevel(logging.CRITICAL)


@cli.command(
    short_help="Watch a service break: broker, worker and feed in one.",
    epilog="""
\b
Examples:
  groundswell demo                  the WhatsApp outage of 25 October 2022, told at an accelerated clock
  groundswell demo --feed tweets    two months of real tweet volumes about five companies
  groundswell demo --once           to the end of the story, then stop: 0 if an alert was seen, else 1
""",
)
@click.option("--feed", type=click.Choice(["outage", "tweets"]), default="outage", show_default=True, help="The story.")
@click.option("--once", is_flag=True, help="Stop at the end of the story; without a terminal it always does.")
@click.option("--speed", type=Speed(), help="How fast the day runs, 600x; default: as the story is told best.")
@settings_option
def demo(feed: str, once: bool, speed: float | None) -> int:
    """Embedded broker, worker and a feed of reports in one: watch a service break.

    Needs no Kafka. The addresses of status page and metrics are shown; Ctrl-C stops all of it.
    """
    from streams import demo as verb

    return verb.run(loaded(), feed=feed, once=once, speed=speed)


@cli.command(
    short_help="Read reports, find surges, write alerts.",
    epilog="""
\b
Examples:
  groundswell worker
  groundswell worker --kafka kafka-1:9092,kafka-2:9092
  GROUNDSWELL_LOG_FORMAT=json groundswell worker --settings /etc/groundswell.toml
\b
Start it several times, on one machine or many, and they share the partitions.
""",
)
@settings_option
@kafka_option
def worker() -> int:
    """Read reports, find surges, write alerts; serve status page and metrics."""
    from streams import app

    return app.run_worker(loaded())


@cli.command(
    short_help="Run the embedded broker, for trying things out.",
    epilog="""
\b
Example:
  groundswell broker &
  export GROUNDSWELL_KAFKA_ADDRESS=127.0.0.1:9092 GROUNDSWELL_KAFKA_EMBEDDED=true
  groundswell worker
\b
Everything is in memory and gone when it ends.
""",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=9092, show_default=True, type=click.IntRange(1, 65_535), help="Port to listen on.")
def broker(host: str, port: int) -> int:
    """Run the embedded broker, for trying things out; it is no place for real data."""
    from streams import broker as verb

    return verb.run(host, port)


@cli.command(
    short_help="Send the reports of a file to Kafka.",
    epilog="""
\b
Examples:
  groundswell send reports.ndjson.gz
  groundswell send --speed 60x day.parquet     an hour of reports each minute
  my-feed | groundswell send -                 JSON, one report a line
\b
A report, all but its service optional:
  {"service": "WhatsApp", "region": "it/lazio/roma", "time": "2022-10-25T07:04:00Z", "count": 1}
""",
)
@click.argument("file", metavar="FILE|-")
@click.option("--speed", type=Speed(), help="By the reports' own times, so many times faster; default: all at once.")
@json_option
@settings_option
@kafka_option
def send(file: str, speed: float | None, json_output: bool) -> int:
    """Send the reports of a file (NDJSON, CSV or Parquet, also gzipped), or of standard input, to Kafka."""
    from streams import send as verb

    return verb.run(loaded().settings, file, speed=speed, json_output=json_output)


@cli.command(
    short_help="Print made-up reports as if they came now, to try things out.",
    epilog="""
\b
Examples:
  groundswell feed --past 21d | groundswell seed -     what the workers are to find usual
  groundswell feed | groundswell send -                from now on; WhatsApp breaks in ten minutes
  groundswell feed --outage-after 1m | head
\b
It is the story of `groundswell demo`, ten services in ten regions and a contact centre, at the real clock. It does not
end, nor need Kafka. The contact centre counts every five minutes: workers and seed need [source.contact-centre] with
bucket_seconds = 300 in their settings.
""",
)
@click.option(
    "--outage-after",
    type=Duration(),
    default="10m",
    show_default=True,
    metavar="DURATION",
    help="WhatsApp breaks so long from now, for two hours.",
)
@click.option(
    "--since", type=Moment(), metavar="TIME", help="Begin with what came since then, at once: 2026-03-02T09:00:00Z."
)
@click.option(
    "--past",
    type=Duration(),
    metavar="DURATION",
    help="Print ordinary life of so long up to now instead, and end: 21d.",
)
def feed(outage_after: float, since: int | None, past: float | None) -> int:
    """Print made-up reports as if they came now, JSON, one a line, each at its time."""
    from streams import live_story as verb

    if since is not None and past is not None:
        raise click.UsageError("Give --since or --past, not both.")
    return verb.run(outage_after_seconds=outage_after, since=since, past_seconds=past)


@cli.command(
    short_help="Learn from past reports before the first worker starts.",
    epilog="""
\b
Examples:
  groundswell seed history.ndjson.gz
  zcat exports/*.gz | groundswell seed -
\b
The workers then know what is usual from the first minute, as if they had read these reports from
the topic, but no alert of that time goes out. Needs the topics, no running worker, and the time in
each row. Reports that are in the topic already are read after the file's: it has to end before them.
""",
)
@click.argument("file", metavar="FILE|-")
@click.option("--replace", is_flag=True, help="Give up what the workers have learned so far.")
@json_option
@settings_option
@kafka_option
def seed(file: str, replace: bool, json_output: bool) -> int:
    """Write the state that the past reports of a file (NDJSON, CSV or Parquet, also gzipped) leave behind."""
    from streams import seed as verb

    return verb.run(loaded().settings, file, replace=replace, json_output=json_output)


@cli.command(
    short_help="Show the alerts as they come.",
    epilog="""
\b
Examples:
  groundswell tail                                     alerts as they come
  groundswell tail --from-start --no-follow            all there are, then stop
  groundswell tail --json | jq -r 'select(.state == "open").summary'
""",
)
@click.option(
    "--from-start", is_flag=True, help="Begin with the oldest alert that is kept; default: with the next one."
)
@click.option("--follow/--no-follow", default=True, show_default=True, help="Wait for more at the end.")
@json_option
@settings_option
@kafka_option
def tail(from_start: bool, follow: bool, json_output: bool) -> int:
    """Show the alerts."""
    from streams import tail as verb

    return verb.run(loaded().settings, json_output=json_output, follow=follow, from_start=from_start)


@cli.group(
    short_help="List incidents; acknowledge, mute or resolve one.",
    epilog="""
\b
Examples:
  groundswell incident list
  groundswell incident ack 9e84 --reason "rolling back"     no page for it in this episode
  groundswell incident mute 9e84 --for 2h                   no page for two hours, also if it comes back
  groundswell incident false-alarm 9e84                     resolved, and counted against the alert budget
\b
ID may be cut to its first four characters or more. All but list wait for the record that says it was heeded.
""",
)
def incident() -> None:
    """Say what is to become of an incident. Who said it, when and why goes into its record."""


@incident.command("list", short_help="The open incidents, the worst first.")
@json_option
@settings_option
@kafka_option
def incident_list(json_output: bool) -> int:
    """Print the open incidents, the worst first."""
    from streams import incident as verb

    return verb.show(loaded().settings, json_output=json_output)


def saying_options(command: _Command) -> _Command:
    """What all commands for an incident take."""
    options = (
        click.argument("id_", metavar="ID"),
        click.option("--by", metavar="NAME", help="Who says it; default: your login name."),
        click.option("--reason", default="", metavar="TEXT", help="Why."),
        click.option(
            "--wait",
            type=click.FloatRange(0.1, 3600),
            default=10.0,
            show_default=True,
            metavar="SECONDS",
            help="How long to wait for the worker's answer.",
        ),
        click.option("--no-wait", is_flag=True, help="Send it and be done."),
        json_option,
        settings_option,
        kafka_option,
    )
    for option in reversed(options):  # as decorators, from the last to the first
        command = option(command)
    return command


def _say(
    action: str,
    id_: str,
    by: str | None,
    reason: str,
    wait: float,
    no_wait: bool,
    json_output: bool,
    for_: float | None = None,
    until: int | None = None,
) -> int:
    from detectors.command import Action
    from streams import incident as verb

    command = verb.made(Action(action), by=by, reason=reason, for_seconds=for_, until=until)
    wait_seconds = None if no_wait else wait
    return verb.say(loaded().settings, command, id_, wait_seconds=wait_seconds, json_output=json_output)


@incident.command(short_help="Somebody looks after it: no page in this episode.")
@saying_options
def ack(**options: Any) -> int:
    """Acknowledge an incident: it keeps updating, and asks for no page until it is over. If it comes back it pages."""
    return _say("ack", **options)


@incident.command(short_help="No page for it, also if it comes back.")
@click.option(
    "--for", "for_", type=Duration(), metavar="DURATION", help="For so long, 30m or 2h; default: until unmute."
)
@click.option("--until", type=Moment(), metavar="TIME", help="Until then, 2022-10-25T09:00:00Z.")
@saying_options
def mute(**options: Any) -> int:
    """Mute an incident: it keeps updating, and asks for no page, also if it comes back."""
    if options["for_"] is not None and options["until"] is not None:
        raise click.UsageError("Give --for or --until, not both.")
    return _say("mute", **options)


@incident.command(short_help="Take a mute back.")
@saying_options
def unmute(**options: Any) -> int:
    """Take a mute back. An incident that has grown to an error meanwhile pages now."""
    return _say("unmute", **options)


@incident.command(short_help="It is over.")
@saying_options
def resolve(**options: Any) -> int:
    """Resolve an incident by hand, and what it explains. It opens again if it ends and comes back, or doubles."""
    return _say("resolve", **options)


@incident.command(short_help="It was none: resolve it, and count that.")
@saying_options
def false_alarm(**options: Any) -> int:
    """Resolve an incident that was none. A page of it counts as a false one in metrics and backtests."""
    return _say("false-alarm", **options)


@cli.command(
    short_help="Which alerts a file would have raised, without Kafka.",
    epilog="""
\b
Examples:
  groundswell backtest reports.csv
  groundswell backtest --json reports.ndjson.gz | jq .summary
  groundswell backtest reports.csv --report out.html           pictures of each incident, to open in a browser
  groundswell backtest reports.csv --labels known.csv          which known outages were found, how fast
  groundswell backtest reports.csv --compare other.toml        what other settings would have told
\b
The alerts are those that the workers would have written, to the byte.
known.csv begins with the line service,region,start,end; times are RFC 3339, region may be empty: any.
""",
)
@click.argument("file", metavar="FILE|-")
@click.option(
    "--report",
    type=click.Path(path_type=Path),
    metavar="OUT.HTML",
    help="Write a page to look at: one file, no script.",
)
@click.option(
    "--labels", type=click.Path(path_type=Path), metavar="KNOWN.CSV", help="Known outages: say which were found."
)
@click.option(
    "--commands",
    type=click.Path(path_type=Path),
    metavar="SAID.NDJSON",
    help="What people said of its incidents, as on incident-commands: say how many pages were false alarms.",
)
@click.option(
    "--compare",
    type=click.Path(path_type=Path),
    metavar="OTHER.TOML",
    help="Other settings, B: say what they change. GROUNDSWELL_* variables and flags override both.",
)
@json_option
@settings_option
def backtest(
    file: str,
    report: Path | None,
    labels: Path | None,
    commands: Path | None,
    compare: Path | None,
    json_output: bool,
) -> int:
    """Say which alerts the reports of a file would have raised; without Kafka."""
    from streams import backtest as verb

    ours = loaded()
    other = None if compare is None else verb.Variant(str(compare), loaded(compare).settings)
    return verb.run(
        ours.settings,
        file,
        json_output=json_output,
        name="defaults" if ours.path is None else str(ours.path),
        report=report,
        labels_file=labels,
        commands_file=commands,
        other=other,
    )


@cli.command(
    short_help="Why it did, or did not, alarm there and then.",
    epilog="""
\b
Examples:
  groundswell why WhatsApp it/lazio 2022-10-25T09:10Z reports.csv
  groundswell why WhatsApp it/lazio 09:10                         from the topic: the last 09:10 UTC
  groundswell why "*" "it/*" 09:10 --date 2022-10-25 reports.csv  all services in all of it
  groundswell why TIM - 2022-10-25T09:10+02:00 --minutes 60/10 --json reports.csv
\b
REGION: a path, - for reports without one, it/* for all within it, * for all. TIME is UTC where it names no zone.
""",
)
@click.argument("service")
@click.argument("region")
@click.argument("when", metavar="TIME")
@click.argument("file", metavar="[FILE|-|topic]", default="topic")
@click.option("--date", "day", metavar="DATE", help="The day of a TIME that is a clock's: 2022-10-25.")
@click.option(
    "--minutes", type=Minutes(), default="30", show_default=True, help="How long before and after to look: 30, 60/10."
)
@json_option
@settings_option
@kafka_option
def why(
    service: str, region: str, when: str, file: str, day: str | None, minutes: tuple[int, int], json_output: bool
) -> int:
    """Say why it did, or did not, alarm at a place and time, with the evidence bucket by bucket.

    Plays the reports of a file as a backtest does, or those that their topic still has.
    """
    from streams import why as verb

    return verb.run(loaded().settings, service, region, when, file, day=day, minutes=minutes, json_output=json_output)


@cli.command(
    short_help="Find the threshold that keeps the alert budget.",
    epilog="""
\b
Examples:
  groundswell tune reports.csv                         what each threshold gives, and the one that keeps the budget
  groundswell tune --budget 1 --write reports.csv      set it: open_at in the settings file
  groundswell tune --picture trade.svg reports.csv     pages a week over the threshold, for people
\b
A page is an incident that becomes an error or critical. The budget is incidents.alert_budget, pages a week over all
services and regions. Give a month of history or more. Exit code 1: the history is too short, or no threshold keeps it.
""",
)
@click.argument("file", metavar="FILE|-")
@click.option("--budget", type=Budget(), metavar="PAGES", help="Pages a week; default: incidents.alert_budget.")
@click.option("--write", is_flag=True, help="Write the threshold to the settings file; the rest of it stays as it is.")
@click.option("--picture", type=click.Path(path_type=Path), metavar="SVG", help="Draw the trade into this file.")
@json_option
@settings_option
def tune(file: str, budget: float | None, write: bool, picture: Path | None, json_output: bool) -> int:
    """Replay the reports of a file, and find the threshold that keeps the alert budget; without Kafka."""
    from streams import tune as verb

    return verb.run(loaded(), file, budget=budget, write=write, picture=picture, json_output=json_output)


@cli.command(
    short_help="Send a marked test incident to a destination.",
    epilog="""
\b
Examples:
  groundswell notify-test oncall
  groundswell notify-test oncall --service WhatsApp --severity error
\b
It opens the incident there and resolves it again, without Kafka, whatever the routes say, and shows what the
destination answers. Exit code 1: it did not take it.
""",
)
@click.argument("destination")
@click.option("--service", default="Groundswell test", show_default=True, help="What the incident is about.")
@click.option(
    "--severity",
    type=click.Choice(["info", "warning", "error", "critical"]),
    default="critical",
    show_default=True,
    help="How bad it is.",
)
@click.option("--keep-open", is_flag=True, help="Do not resolve it.")
@settings_option
def notify_test(destination: str, service: str, severity: str, keep_open: bool) -> int:
    """Open a test incident at a destination of the settings, and resolve it."""
    from detectors.alert import Severity
    from streams.notify import trial

    return trial.run(loaded().settings, destination, service=service, severity=Severity(severity), keep_open=keep_open)


@cli.command(
    short_help="Test settings, brokers, topics and rights.",
    epilog="""
\b
Examples:
  groundswell check
  groundswell check --kafka kafka:9092 --json | jq .problems
\b
Exit code 0: a worker can start. 1: it says what is wrong and what to do. 2: a setting is wrong.
""",
)
@json_option
@settings_option
@kafka_option
def check(json_output: bool) -> int:
    """Test the settings, the brokers, the topics and our rights; change nothing."""
    from streams import check as verb

    return verb.run(loaded(), json_output=json_output)


@cli.command(
    short_help="Create the topics that are missing.",
    epilog="""
\b
Examples:
  groundswell topics
  GROUNDSWELL_TOPICS_PREFIX=ops- GROUNDSWELL_TOPICS_REPLICATION=3 groundswell topics
\b
Existing topics are left as they are. Where one does not fit, it says what to do.
""",
)
@json_option
@settings_option
@kafka_option
def topics(json_output: bool) -> int:
    """Create the topics that are missing, with the right settings, and test the others."""
    from streams import topics as verb

    return verb.run(loaded().settings, json_output=json_output)


@cli.command(
    short_help="JSON Schema of reports, alerts or commands.",
    epilog="""
\b
Examples:
  groundswell schema reports > report.schema.json
  groundswell schema alerts | jq '.properties | keys'
""",
)
@click.argument("topic", type=click.Choice(["reports", "alerts", "alerts-undelivered", "incident-commands"]))
def schema(topic: str) -> int:
    """Print the JSON Schema of what is on a topic."""
    import json

    from streams import schema as verb

    schemas = {
        "reports": verb.reports_schema,
        "alerts": verb.alerts_schema,
        "alerts-undelivered": verb.undelivered_schema,
        "incident-commands": verb.commands_schema,
    }
    found = schemas[topic]()
    click.echo(json.dumps(found, indent=2, ensure_ascii=False))
    return 0


def main(arguments: list[str] | None = None) -> int:
    """The console command; its exit code. No traceback for what is to be expected."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a name is no reason to fail.
        with contextlib.suppress(AttributeError, ValueError):
            stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    try:
        code = _run(arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader, such as head, has seen enough. Python would complain once more as it closes stdout.
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return code


def _run(arguments: list[str] | None) -> int:
    from streams.fault import Fault

    try:
        return cli.main(arguments, prog_name="groundswell", standalone_mode=False) or 0
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return INTERRUPTED
    except Fault as fault:
        from streams import console, settings

        console.tell(fault)
        return 2 if isinstance(fault, settings.SettingsError) else 1


if __name__ == "__main__":
    sys.exit(main())
