"""What a process takes of the machine's memory, that it gives it back, and what it looks through."""

import subprocess
import sys

import pytest

MEASURE = """
import sys
from threading import Thread
from chat.allocator import give_back
from chat.rendering.markdown import render

def resident(what):
    status = open("/proc/self/status").read()
    return int(status.partition(what + ":")[2].split()[0]) // 1024

give_back()
text, threads = eval(sys.argv[1]), int(sys.argv[2])
render("word")
before = resident("VmRSS")
readers = [Thread(target=render, args=(text,)) for _ in range(threads)]
for reader in readers:
    reader.start()
for reader in readers:
    reader.join()
print(resident("VmRSS") - before, resident("VmHWM") - before)
"""


def gained_mb(text: str, threads: int = 1) -> tuple[int, int]:
    """What a process has more after rendering this expression, and had at its height."""
    command = [sys.executable, "-c", MEASURE, text, str(threads)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    after, most = done.stdout.split()
    return int(after), int(most)


def test_what_a_long_text_took_is_given_back_whichever_threads_render():
    after, most = gained_mb("'word ' * 100_000", threads=4)
    assert most > 30
    assert after < 30


LOOKED_THROUGH = """
import gc, weakref
import chat.rendering.markdown
from chat.allocator import keep

keep()
before = gc.get_freeze_count(), len(gc.get_objects())

class Garbage:
    def __init__(self):
        self.itself = self

gone = weakref.ref(Garbage())
gc.collect()
print(*before, gone() is None)
"""


def test_what_a_start_has_loaded_is_not_looked_through_again_and_garbage_is_found():
    command = [sys.executable, "-c", LOOKED_THROUGH]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    kept, looked_through, is_found = done.stdout.split()
    assert int(kept) > 20 * int(looked_through)
    assert is_found == "True"


TEXTS = {
    "starts of an address": "'w ' * 1_000_000",
    "as many of them as are rendered": "'w ' * 299_000",
    "emphasis": "'*a* ' * 500_000",
    "lines": "'a\\n' * 1_000_000",
    "lists": "'- ' * 1_000_000",
    "brackets": "'[a]' * 600_000",
    "paragraphs": "'a\\n\\n' * 600_000",
    "words": "'слово ' * 300_000",
}


@pytest.mark.parametrize("name", TEXTS)
def test_no_text_takes_much_memory_to_render(name):
    assert gained_mb(TEXTS[name])[1] < 200
