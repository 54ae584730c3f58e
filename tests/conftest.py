"""What all tests share."""

import signal

from hypothesis import settings

# The same examples every time, and no deadline: the machine may be busy.
settings.register_profile("sordino", deadline=None, max_examples=20, derandomize=True)
settings.load_profile("sordino")

# A shell that starts the tests in the background has them ignore Ctrl-C, and what they start
# would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
