"""Runs the command that is given while a server on stub stages runs, whose address is put in the
place of `{server}` and into SERVER_UNDER_TEST."""

import os
import subprocess
import sys

from servers import Pipeline


class Stub(Pipeline):
    pass


Stub.setUpClass()
try:
    command = [part.replace("{server}", Stub.root) for part in sys.argv[1:]]
    own = os.environ | {"SERVER_UNDER_TEST": Stub.root}
    ended = subprocess.run(command, env=own, check=False).returncode
finally:
    Stub.tearDownClass()
sys.exit(ended)
