"""The long answer: what is true of the first numbers, some three thousand words of Markdown."""

from collections import Counter

LAST_NUMBER = 40
TABLE_EVERY = 10

TEXT = {
    "en": {
        "title": "# The numbers from 1 to {last}\n\nA long answer is good for one thing: to see "
        "that a long reply streams, scrolls and stays whole. So here is what is true of the first "
        "{last} numbers, computed while it was sent.",
        "factors": "As a product of primes it is ${factors}$.",
        "unit": "It divides every number, and it is neither prime nor composite.",
        "prime": "It is **prime**: only 1 and itself divide it.",
        "divisors": "It has {count} divisors: {divisors}.",
        "perfect": "Those below it add up to itself, so it is *perfect*, as the Greeks said.",
        "abundant": "Those below it add up to {sum}, which is more, so it is *abundant*.",
        "deficient": "Those below it add up to {sum}, which is less, so it is *deficient*.",
        "written": "A computer writes it `{binary}`, a Roman wrote {roman}.",
        "square": "Its square is {square}, the numbers up to it add up to {triangle}, and its "
        "square root is about {root:.3f}.",
        "table": "| Number | Binary | Roman | Divisors | Square |",
        "end": "## The end\n\nThat was all of it. If you have scrolled up on the way, the page "
        "should have stayed where you were. 🏁",
    },
    "ru": {
        "title": "# Числа от 1 до {last}\n\nДлинный ответ нужен для одного: увидеть, что он идёт "
        "потоком, прокручивается и остаётся целым. Поэтому вот что верно для первых {last} чисел; "
        "всё сосчитано, пока ответ отправлялся.",
        "factors": "В виде произведения простых это ${factors}$.",
        "unit": "Оно делит любое число, и оно само не простое и не составное.",
        "prime": "Оно **простое**: делится только на единицу и на само себя.",
        "divisors": "Всего у него делителей {count}, и вот они: {divisors}.",
        "perfect": "Те, что меньше его, в сумме дают его само: греки звали такое *совершенным*.",
        "abundant": "Те, что меньше его, в сумме дают {sum}, это больше: число *избыточное*.",
        "deficient": "Те, что меньше его, в сумме дают {sum}, это меньше: число *недостаточное*.",
        "written": "Компьютер записывает его как `{binary}`, а римлянин записал бы {roman}.",
        "square": "Его квадрат равен {square}, сумма всех чисел до него включительно равна "
        "{triangle}, а квадратный корень из него примерно {root:.3f}.",
        "table": "| Число | Двоичное | Римское | Делителей | Квадрат |",
        "end": "## Конец\n\nЭто всё. Если по пути вы прокрутили страницу вверх, она должна была "
        "остаться там, где вы читали. 🏁",
    },
}

ROMAN = ((50, "L"), (40, "XL"), (10, "X"), (9, "IX"), (5, "V"), (4, "IV"), (1, "I"))


def write(language: str) -> str:
    text = TEXT[language]
    parts = [text["title"].format(last=LAST_NUMBER)]
    for number in range(1, LAST_NUMBER + 1):
        parts.append(chapter(number, text))
        if number % TABLE_EVERY == 0:
            parts.append(table(range(number - TABLE_EVERY + 1, number + 1), text))
    return "\n\n".join([*parts, text["end"]])


def chapter(number: int, text: dict[str, str]) -> str:
    divisors = divisors_of(number)
    rest = sum(divisors[:-1])
    if number == 1:
        nature = text["unit"]
    elif len(divisors) == 2:
        nature = text["prime"]
    else:
        nature = text["factors"].format(factors=factors_in_tex(number))
    kind = "perfect" if rest == number else "abundant" if rest > number else "deficient"
    sentences = [
        nature,
        text["divisors"].format(count=len(divisors), divisors=", ".join(map(str, divisors))),
        text[kind].format(sum=rest),
        text["written"].format(binary=f"{number:b}", roman=roman(number)),
        text["square"].format(
            square=number**2, triangle=number * (number + 1) // 2, root=number**0.5
        ),
    ]
    return f"## {number}\n\n{' '.join(sentences)}"


def table(numbers: range, text: dict[str, str]) -> str:
    rows = [
        f"| {number} | `{number:b}` | {roman(number)} | {len(divisors_of(number))} | {number**2} |"
        for number in numbers
    ]
    return "\n".join([text["table"], "|---:|---:|:---|---:|---:|", *rows])


def divisors_of(number: int) -> list[int]:
    return [divisor for divisor in range(1, number + 1) if number % divisor == 0]


def factors_in_tex(number: int) -> str:
    primes: Counter[int] = Counter()
    divisor = 2
    while number > 1:
        while number % divisor == 0:
            primes[divisor] += 1
            number //= divisor
        divisor += 1
    return r" \cdot ".join(f"{p}^{n}" if n > 1 else str(p) for p, n in primes.items())


def roman(number: int) -> str:
    numerals = ""
    for value, numeral in ROMAN:
        count, number = divmod(number, value)
        numerals += numeral * count
    return numerals
