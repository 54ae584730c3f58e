"""The one exception that a user may see."""


class SordinoError(Exception):
    """Something the user can mend.

    The message is one line that says what is wrong and how to mend it.  The command
    line prints it and ends with exit code 2; nothing else of it is shown.
    """
