"""The one exception that a user may see, and how to install what is missing."""

import re

# Sordino is on no package index yet; once it is: "pip install 'sordino[{}]'".
_INSTALL = "pip install '.[{}]' (in the folder with Sordino's sources)"


class SordinoError(Exception):
    """An error that the user can fix.

    The message is one line that says what is wrong and how to fix it.  The command
    line prints it and ends with exit code 2; nothing else of it is shown.
    """


def install_command(extra: str) -> str:
    """Return the command that installs an optional part.

    Args:
        extra: its name in pyproject.toml, such as "live".

    >>> install_command("gui")
    "pip install '.[gui]' (in the folder with Sordino's sources)"
    """
    return _INSTALL.format(extra)


def with_whole_addresses(message: str) -> str:
    """Give addresses in a message the second slash back that pathlib takes from them.

    >>> with_whole_addresses("https:/example.org/talk.wav: there is no such file")
    'https://example.org/talk.wav: there is no such file'
    """
    return re.sub(r"\b([a-z][a-z0-9+.-]+):/(?=[^/])", r"\1://", message)
