"""The commands `sordino serve` and `sordino bench serve`: parse, call, print."""

from pathlib import Path
from typing import Annotated, Any

import typer

from sordino.commands import FallbackOption, OthersOption, VoiceOption
from sordino.errors import SordinoError

_LIMITS: dict[str, Any] = {"rich_help_panel": "Limits"}
_WEBRTC: dict[str, Any] = {"rich_help_panel": "WebRTC through firewalls"}
_ACCESS: dict[str, Any] = {"rich_help_panel": "Access"}

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def serve(
    host: Annotated[
        str, typer.Option(help="Address to listen on; all but loopback addresses need a token.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="TCP port; 0 takes a free one.")] = 8765,
    token_file: Annotated[
        Path | None,
        typer.Option(
            help="File with the token that clients must send; or set SORDINO_TOKEN.", **_ACCESS
        ),
    ] = None,
    origin: Annotated[
        list[str] | None,
        typer.Option(metavar="URL", help="Let web pages of this origin use the server.", **_ACCESS),
    ] = None,
    host_name: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            help="Accept this host name, too, on a loopback address.",
            **_ACCESS,
        ),
    ] = None,
    tls_certificate: Annotated[
        Path | None, typer.Option(help="Certificate chain (PEM), for HTTPS.", **_ACCESS)
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option(help="Private key of the certificate (PEM).", **_ACCESS)
    ] = None,
    trusted_proxy: Annotated[
        list[str] | None,
        typer.Option(
            metavar="IP",
            help="Trust the reverse proxy at this address, besides those on this machine.",
            **_ACCESS,
        ),
    ] = None,
    root_path: Annotated[
        str,
        typer.Option(metavar="PATH", help="Path prefix behind a reverse proxy.", **_ACCESS),
    ] = "",
    stun: Annotated[
        list[str] | None,
        typer.Option(metavar="URL", help="STUN server, to find the public address.", **_WEBRTC),
    ] = None,
    turn: Annotated[
        str | None,
        typer.Option(metavar="URL", help="TURN server that relays the sound.", **_WEBRTC),
    ] = None,
    turn_file: Annotated[
        Path | None,
        typer.Option(
            help="File with user:password of the TURN server; or set SORDINO_TURN.", **_WEBRTC
        ),
    ] = None,
    udp_ports: Annotated[
        str | None,
        typer.Option(
            metavar="N[-N]", help="UDP port range to use, as open in the firewall.", **_WEBRTC
        ),
    ] = None,
    public_address: Annotated[
        list[str] | None,
        typer.Option(
            metavar="IP", help="Public address that a NAT maps to this machine.", **_WEBRTC
        ),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(
            min=1, help="Number of threads for inference; if left out, one for each processor."
        ),
    ] = None,
    max_streams: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Maximum number of live streams; if left out, as many as the machine can run.",
            **_LIMITS,
        ),
    ] = None,
    max_uploads: Annotated[
        int,
        typer.Option(
            min=0, help="Maximum number of uploads that are processed at the same time.", **_LIMITS
        ),
    ] = 2,
    max_body: Annotated[
        int, typer.Option(metavar="MIB", min=1, help="Maximum size of an upload.", **_LIMITS)
    ] = 1024,
    max_minutes: Annotated[
        float, typer.Option(min=0.1, help="Maximum duration of a recording or stream.", **_LIMITS)
    ] = 240.0,
    idle: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            min=1,
            help="Close a stream that sends no sound for this long.",
            **_LIMITS,
        ),
    ] = 60.0,
    drain: Annotated[
        float,
        typer.Option(
            metavar="SECONDS",
            min=0,
            help="After SIGTERM, close streams that have not ended within this time.",
            **_LIMITS,
        ),
    ] = 30.0,
    voice: VoiceOption = None,
    others: OthersOption = None,
    voice_fallback: FallbackOption = "6",
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Log each request.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Do not print the address.")] = False,
) -> None:
    """Serve the page, uploads, WebSocket streams and WebRTC peers."""
    from sordino.serve.server import Server
    from sordino.serve.settings import (
        ServerSettings,
        read_ports,
        read_token,
        read_turn_credentials,
    )
    from sordino.voice import VoiceChoice, load_voice_model, load_voices, read_fallback

    choice = VoiceChoice(load_voices(voice), others, read_fallback(voice_fallback))
    if choice.voices:
        load_voice_model("default")  # to say now what is missing
    settings = ServerSettings(
        host=host,
        port=port,
        token=read_token(token_file),
        origins=tuple(origin or ()),
        host_names=tuple(host_name or ()),
        tls_certificate=tls_certificate,
        tls_key=tls_key,
        root_path=root_path.rstrip("/"),
        trusted_proxies=("127.0.0.1", "::1", *(trusted_proxy or ())),
        stun_servers=tuple(stun or ()),
        turn_server=turn,
        turn_credentials=read_turn_credentials(turn_file),
        udp_ports=read_ports(udp_ports),
        public_addresses=tuple(public_address or ()),
        threads=threads,
        max_streams=max_streams,
        max_uploads=max_uploads,
        max_body_bytes=max_body << 20,
        max_sound_seconds=60 * max_minutes,
        max_stream_seconds=60 * max_minutes,
        idle_seconds=idle,
        drain_seconds=drain,
        voices=choice,
    )

    def announce(server: Server) -> None:
        if not quiet:
            typer.echo(f"Sordino is at {server.url} (Ctrl+C ends it)")

    level = "info" if verbose else "warning"
    server = Server(settings, announce, log_level=level, access_log=verbose)
    try:
        server.run()
    except SystemExit as error:  # uvicorn's way to say that it could not start
        if error.code:
            raise SordinoError(
                f"cannot listen on {host}:{port}: see the line above, or take another --port"
            ) from error
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


@app.command()
def bench(
    rate: Annotated[int, typer.Option(metavar="HZ", help="Sample rate of the streams.")] = 48000,
    seconds: Annotated[float, typer.Option(min=1, help="Duration of each measurement.")] = 3.0,
    threads: Annotated[
        int, typer.Option(min=1, help="Number of threads of the server for inference.")
    ] = 1,
    streams: Annotated[
        int | None,
        typer.Option(
            min=1, help="Measure this number of streams only, instead of searching for the limit."
        ),
    ] = None,
) -> None:
    """Measure how many live streams the server can serve, with real clients in real time.

    A stream is served if 99 % of its blocks of 10 ms are answered within 10 ms, measured by the
    client, and no sample is lost.  The clients run on this machine too and use its processors.
    """
    from sordino import benchmark
    from sordino.serve.loadtest import LoadedServer, LoadResult, measure, streams_held

    def show(load: LoadResult) -> None:
        share = "" if load.processor is None else f", server {100 * load.processor:.0f} % of a core"
        typer.echo(
            f"{load.streams:4} streams  p50 {load.p50_ms:5.1f} ms  p99 {load.p99_ms:5.1f} ms  "
            f"late {100 * load.late_share:4.1f} %  lost {load.lost}{share}"
        )

    # On this machine as busy as it is now: without it the figures below cannot be compared.
    step = benchmark.bench(sample_rate=rate, seconds=benchmark.PACED_SECONDS)
    typer.echo(
        f"{step.processor}, {rate} Hz, blocks of 10 ms, {threads} thread(s) of inference; a step "
        f"takes {1000 * benchmark.STEP_SECONDS * step.live:.2f} ms of processor time, paced"
    )
    with LoadedServer(threads) as server:
        if streams is not None:
            show(measure(server, streams, rate, seconds))
            return
        results = streams_held(server, rate, seconds, show)
    held = max((each.streams for each in results if each.holds), default=0)
    typer.echo(f"holds {held} streams at p99 < 10 ms")
