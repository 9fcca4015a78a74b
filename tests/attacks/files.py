"""Files that are not what they seem, for a gateway that lists, reads and writes the work folder."""

from tests.attacks.attempt import Attempt
from tests.attacks.checks import all_of, listed, listing_is_bounded, not_got, not_put, put_then, race_reads_only_its_own

ATTEMPTS = [
    Attempt(
        "links to files outside, offered for download",
        """
import os
os.symlink("/etc/passwd", "passwd")
os.symlink("/proc/1/environ", "environ")
os.symlink("/proc/self/mem", "mem")
os.symlink("../../etc", "etc")
os.symlink(HOST_FILES[0], "canary")
os.symlink("loop", "loop")
""",
        check=all_of(not_got("passwd", "environ", "mem", "etc/passwd", "canary", "loop"), listed()),
    ),
    Attempt(
        "links that an upload would follow",
        """
import os
os.symlink("/tmp", "folder")
os.symlink("/tmp/target", "file")
os.symlink(HOST_FILES[0], "canary")
""",
        check=all_of(
            not_put("folder/file"),
            put_then(
                "file", "import os\nprint(os.path.exists('/tmp/target'), os.path.islink('file'))\n", "False False\n"
            ),
            put_then("canary", "print(os.path.islink('canary'))\n", "False\n"),
        ),
    ),
    Attempt(
        "hard links offered for download",
        """
import os
open("own", "w").write("x")
os.link("own", "second")
for path in ("/etc/passwd", "/usr/bin/id"):
    refused(os.link, path, "stolen", also={18})
refused(os.link, "/proc/self/environ", "stolen", also={18})
""",
        check=all_of(not_got("own", "second", "stolen"), listed()),
    ),
    Attempt(
        "a pipe, a socket and a folder in the place of files",
        """
import os, socket
os.mkfifo("pipe")
listener = socket.socket(socket.AF_UNIX)
listener.bind("socket")
os.mkdir("folder")
""",
        check=all_of(not_got("pipe", "socket", "folder"), not_put("folder"), listed()),
    ),
    Attempt(
        "paths that lead out",
        "open('file', 'w').close()\n",
        check=all_of(
            not_got(
                "../data/file", "/etc/passwd", "./file", "a/../file", "file/", "//etc/passwd", "", ".", "..", "file\0"
            ),
            not_put("../up", "/tmp/up", "a/../../up", "..", "x" * 300, "/".join("d" * 40), "nul\0byte", "\ud800"),
            listed("file"),
        ),
    ),
    Attempt(
        "a folder swapped for a link while the gateway looks",
        """
import os, threading
os.mkdir("real")
open("real/passwd", "w").write("mine")
os.symlink("/etc", "link")
def swap():
    while True:
        for source, target in (("real", "spare"), ("link", "real"), ("real", "link"), ("spare", "real")):
            try:
                os.rename(source, target)
            except OSError:
                pass
threading.Thread(target=swap, daemon=True).start()
""",
        check=race_reads_only_its_own,
    ),
    Attempt(
        "a file that grows while it is read",
        """
import threading
file = open("growing", "wb", buffering=0)
def grow():
    while True:
        try:
            file.write(bytes(1 << 16))
        except OSError:
            file.truncate(0)
threading.Thread(target=grow, daemon=True).start()
""",
        check=not_got("growing/"),
    ),
    Attempt(
        "more files than are listed",
        "for n in range(1500):\n    open(f'{n}', 'w').close()\n",
        check=listing_is_bounded(1000),
    ),
    Attempt(
        "names that are no text",
        """
import os
for name in (b"\\xff\\xfe", b"new\\nline", b"\\x1b[2J", b"\\xed\\xa0\\x80"):
    open(name, "w").close()
""",
        check=listed("\x1b[2J", "\\xed\\xa0\\x80", "\\xff\\xfe", "new\nline"),
    ),
    Attempt(
        "folders that nobody may enter",
        """
import os
os.mkdir("closed")
open("closed/file", "w").close()
os.chmod("closed", 0)
open("open", "w").close()
""",
        check=all_of(listed("open", truncated=True), not_got("closed/file"), not_put("closed/up")),
    ),
    Attempt(
        "a work folder that is full or closed when something is put",
        """
with open("fill", "wb", buffering=0) as file:
    try:
        while file.write(bytes(1 << 18)):
            pass
    except OSError:
        pass
import os
os.mkdir("locked")
os.chmod("locked", 0o500)
""",
        check=not_put("new", "locked/new"),
    ),
    Attempt(
        "the work folder itself removed or replaced",
        """
import os
refused(os.rename, "/mnt/data", "/mnt/other", also={16})
refused(os.rmdir, "/mnt/data", also={16, 39})
refused(os.symlink, "/etc", "/mnt/data2")
os.chmod("/mnt/data", 0)
""",
        check=all_of(not_put("up"), not_got("up")),
        recovers=False,
    ),
]
