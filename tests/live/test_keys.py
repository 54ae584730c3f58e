"""Keys are read at once, and the terminal is left as it was, however the program ends."""

import os
import signal
import subprocess
import sys
import termios

import pytest

from support.sound_servers import wait_for
from support.terminal import Terminal

PROGRAM = """
import signal, sys
from sordino.live.keys import Keys

signal.signal(signal.SIGTERM, lambda *_: sys.exit(3))
with Keys() as keys:
    print("works" if keys.works else "no keys", flush=True)
    pressed = ""
    while "q" not in pressed:
        pressed = keys.read({timeout})
        print("pressed", ascii(pressed), flush=True)
        if "e" in pressed:
            raise ValueError("an error")
"""
COMMAND = [sys.executable, "-c", PROGRAM.format(timeout=30)]
# A signal between Python's look for signals and its waiting is handled after the waiting, so that
# a program that gets one waits for short times, as `sordino live` does.
INTERRUPTED = [sys.executable, "-c", PROGRAM.format(timeout=0.5)]


def echoes(mode):
    return bool(mode[3] & termios.ECHO), bool(mode[3] & termios.ICANON)


@pytest.mark.slow
def test_keys_come_at_once_and_are_not_echoed():
    with Terminal(COMMAND) as terminal:
        end = terminal.expect("works")
        assert echoes(terminal.mode()) == (False, False)
        terminal.type("b")
        end = terminal.expect("pressed 'b'", end)
        terminal.type("+-")
        end = terminal.expect("pressed '+-'", end)
        terminal.type("q")
        assert terminal.wait() == 0
        assert "\r\nb" not in terminal.output
        assert terminal.mode() == terminal.mode_before


@pytest.mark.slow
def test_arrows_and_letters_beyond_ascii_do_no_harm():
    with Terminal(COMMAND) as terminal:
        end = terminal.expect("works")
        for keys, read in (
            ("\x1b[A", "''"),
            ("ü", "'\\xfc'"),
            ("\x1bOm", "''"),
            ("b\x1b[1;5Am", "'bm'"),
        ):
            terminal.type(keys)
            end = terminal.expect(f"pressed {read}", end)
        terminal.type("q")
        assert terminal.wait() == 0


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "code"), [("e", 1), (signal.SIGTERM, 3), (signal.SIGINT, -signal.SIGINT)]
)
def test_the_terminal_is_restored(how, code):
    with Terminal(INTERRUPTED) as terminal:
        terminal.expect("works")
        if isinstance(how, str):
            terminal.type(how)
        else:
            terminal.send(how)
        assert terminal.wait() == code
        assert terminal.mode() == terminal.mode_before


@pytest.mark.slow
def test_ctrl_c_interrupts():
    with Terminal(INTERRUPTED) as terminal:
        terminal.expect("works")
        terminal.type("\x03")
        assert terminal.wait() == -signal.SIGINT
        assert terminal.mode() == terminal.mode_before


def test_keys_work_again_after_a_stop():
    with Terminal(INTERRUPTED) as terminal:
        end = terminal.expect("works")
        terminal.send(signal.SIGSTOP)
        os.waitpid(terminal.process.pid, os.WUNTRACED)
        terminal.set_mode(terminal.mode_before)  # as a shell does
        terminal.send(signal.SIGCONT)
        wait_for(lambda: echoes(terminal.mode()) == (False, False), "keys at once, not echoed")
        terminal.type("b")
        terminal.expect("pressed 'b'", end)
        terminal.type("q")
        assert terminal.wait() == 0
        assert terminal.mode() == terminal.mode_before


def test_without_a_terminal_there_are_no_keys():
    command = [sys.executable, "-c", PROGRAM.format(timeout=0.01).replace('"q" not', '"" not')]
    for source in (subprocess.DEVNULL, subprocess.PIPE):
        done = subprocess.run(command, stdin=source, capture_output=True, text=True, timeout=120)
        assert (done.returncode, done.stdout) == (0, "no keys\n"), done.stderr


def test_in_the_background_there_are_no_keys():
    # A shell with job control starts the program as a job that is not the terminal's own.
    program = PROGRAM.format(timeout=0.01).replace('"q" not', '"" not')
    with Terminal(["sh", "-c", f"set -m; {sys.executable} -c '{program}' & wait $!"]) as terminal:
        terminal.expect("no keys")
        assert terminal.wait() == 0
        assert terminal.mode() == terminal.mode_before
