"""Steps that are told one after the other, each with its time; the first that goes wrong ends the story."""

import sys
import time
import traceback

from matrix import Failure

SHOWN_LINES = 60


class Steps:
    """The steps of one file, in its order."""

    def __init__(self):
        self.all = []

    def __call__(self, title):
        """Adds the function below as a step."""

        def add(function):
            self.all.append((title, function))
            return function

        return add

    def tell(self, story):
        """Goes through the steps; answers whether all went well. A failure shows the ends of `story.logs()`."""
        began = time.monotonic()
        for number, (title, function) in enumerate(self.all, 1):
            started = time.monotonic()
            print(f"{number:2}. {title}", flush=True)
            try:
                function(story)
            except Exception as error:
                if isinstance(error, Failure):
                    print(f"    FAILED: {error}")
                else:
                    traceback.print_exc(file=sys.stdout)
                for name, lines in story.logs():
                    print(f"--- the last lines of {name}")
                    print("\n".join(lines[-SHOWN_LINES:]))
                print(f"{number - 1} of {len(self.all)} steps passed, then: {title}")
                return False
            print(f"    {time.monotonic() - started:.2f} s", flush=True)
        print(f"all {len(self.all)} steps passed in {time.monotonic() - began:.1f} s")
        return True
