"""Gives up at the prompt of `tidegate passwd add`, on a terminal of its own. Usage: passwd_prompt.py TIDEGATE FILE

Exit code 0 means that the program ended by Ctrl-C, and that the terminal shows again what is typed.
"""

import os
import pty
import sys
import termios

PROGRAM, FILE = sys.argv[1:]


def echoes(terminal):
    return bool(termios.tcgetattr(terminal)[3] & termios.ECHO)


ours, theirs = pty.openpty()
assert echoes(theirs)
child = os.fork()
if child == 0:
    os.login_tty(theirs)
    os.execv(PROGRAM, [PROGRAM, "passwd", "add", FILE, "ann"])
prompt = b""
while not prompt.endswith(b"Password: "):
    prompt += os.read(ours, 100)
assert not echoes(theirs), "what is typed would be seen"
os.write(ours, b"\x03")
_, status = os.waitpid(child, 0)
assert os.waitstatus_to_exitcode(status) == 130, status
assert echoes(theirs), "the terminal stays without echo"
assert open(FILE).read() == "# ours\n"
