"""What rendering costs in CPU time: a flush of a growing reply, a whole render, long blocks.

python -m bench.markdown
"""

import gc
import time
from collections.abc import Callable

import comrak

from chat.rendering.markdown import Growing, render

SECTION = """
## A section about *something*

A paragraph with **bold text**, `some code`, [a link](https://example.com/path) and enough words
to fill a few lines, as an answer has them; then $x^2 + y_1$ and the price of $5.

1. first a **step**
2. then another one, which is longer
3. and a last one with `code`

| Name | Value | Note |
|------|------:|------|
| one | 1 | first |
| two | 2 | *second* |

```python
def area(radius: float) -> float:
    \"\"\"The area of a circle.\"\"\"
    return 3.14159 * radius**2  # close enough


print(f"{area(2):.2f}")
```
"""


def seconds(call: Callable[[], object]) -> float:
    gc.collect()
    start = time.process_time()
    call()
    return time.process_time() - start


def best(call: Callable[[], object], times: int = 5) -> float:
    return min(seconds(call) for _ in range(times))


def flushed(text: str, flushes: int) -> list[float]:
    """Seconds for each of so many equal flushes, and for the end."""
    growing, size = Growing(), -(-len(text) // flushes)
    spent = [seconds_of_growth(growing, text[at : at + size]) for at in range(0, len(text), size)]
    return [*spent, seconds(growing.finish)]


def seconds_of_growth(growing: Growing, text: str) -> float:
    start = time.process_time()
    growing.grow(text)
    return time.process_time() - start


def bare(text: str) -> str:
    extensions = comrak.ExtensionOptions()
    extensions.table = extensions.autolink = extensions.strikethrough = True
    return comrak.render_markdown(text, extensions)


def answer(chars: int) -> str:
    return (SECTION * (chars // len(SECTION) + 1))[:chars]


def report_growth(name: str, text: str, flushes: int) -> None:
    spent = flushed(text, flushes)
    growth, finish = sorted(spent[:-1]), spent[-1]
    print(
        f"{name:34} {len(text) / 1000:7.0f} kB {len(growth):6} flushes:"
        f" mean {sum(growth) / len(growth) * 1e6:6.0f} µs,"
        f" median {growth[len(growth) // 2] * 1e6:6.0f}, worst {growth[-1] * 1e6:7.0f};"
        f" finish {finish * 1e3:7.1f} ms"
    )


def main() -> None:
    text = answer(20_000)
    print(f"whole render of 20 kB, first     {seconds(lambda: render(text)) * 1e3:8.2f} ms")
    print(f"whole render of 20 kB, again     {best(lambda: render(text)) * 1e3:8.2f} ms")
    print(f"comrak alone, 20 kB              {best(lambda: bare(text)) * 1e3:8.2f} ms")
    for chars in (1_000, 2_000, 4_000, 8_000):
        part = answer(chars)
        spent = best(lambda part=part: render(part))
        print(f"whole render of {chars / 1000:2.0f} kB, again     {spent * 1e3:8.2f} ms")
    report_growth("an answer", answer(20_000), 200)
    for lines in (1_000, 10_000):
        flushes = lines
        report_growth("one list", "".join(f"- item **{n}**\n" for n in range(lines)), flushes)
        report_growth(
            "one loose list", "".join(f"{n}. item **{n}**\n\n" for n in range(lines)), flushes
        )
        rows = "".join(f"| {n} | **b** | c |\n" for n in range(lines))
        report_growth("one table", "| a | b | c |\n|---|---|---|\n" + rows, flushes)
        report_growth("one fence", "```python\n" + "x = 1  # one\n" * lines, flushes)
        report_growth("paragraphs", "Some *words* here.\n\n" * lines, flushes)
        report_growth("one paragraph", "Some *words* here.\n" * lines, flushes)
        report_growth("one line", "Some *words* here. " * lines, flushes)
        report_growth("one quote", "> Some *words* here.\n" * lines, flushes)
        nested = "- a\n" + "  - nested **item**\n" * lines
        report_growth("one item of many", nested, flushes)


if __name__ == "__main__":
    main()
