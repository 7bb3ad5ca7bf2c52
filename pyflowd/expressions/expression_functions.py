"""The functions of expressions: a closed list, each pure, with its signature and one line for the manual.

A signature says how a function may be called: `x` must be given, `x=1` may be left out or named, `x...` any number,
`key=value...` any names. A function takes and gives plain values and raises ExpressionError; what it may cost and give
is bounded by whoever calls it. Time is in `expression_times`.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from pyflowd.errors import nearest
from pyflowd.expressions import expression_lists as lists
from pyflowd.expressions import expression_texts as texts
from pyflowd.expressions import expression_times as times
from pyflowd.expressions.expression_values import (
    ExpressionError,
    Value,
    depth_steps,
    json_steps,
    json_text,
    search_steps,
    surface,
    text_of,
)


class Function(Struct, frozen=True, kw_only=True):
    """`cost`: what a call costs in steps, from its arguments."""

    signature: str
    doc: str
    call: Callable[..., Value]
    cost: Callable[..., int]
    least: int
    most: int
    """How many arguments without a name."""
    named: tuple[str, ...]
    """Arguments that may have a name, by their places from `least` on."""
    any_named: bool

    @property
    def name(self) -> str:
        return self.signature.partition("(")[0]


def _call_default(value: Value, other: Value) -> Value:
    raise AssertionError("`default` is compiled, as it must not have its arguments evaluated")


_TABLE: list[tuple[str, str, Callable[..., Value]]] = [
    ("default(x, y)", "x, or y where x is absent (an output of a skipped task, a missing key) or null", _call_default),
    ("text(x)", "x as text: true and false, numbers, lists and maps as JSON writes them", text_of),
    ("str(x)", "the same as text", text_of),
    ("int(x)", "a whole number from a text such as '42', or a number without a fraction", texts.integer),
    ("float(x)", "a number from a text such as '4.2'", texts.number),
    ("bool(x)", "a boolean from the text 'true' or 'false'", texts.boolean),
    ("json(x)", "x as JSON, on one line", json_text),
    ("from_json(text)", "the value that a JSON text stands for", texts.from_json),
    ("len(x)", "characters of a text, entries of a list or map", lists.length),
    ("join(list, separator)", "the entries as one text with the separator between them", texts.join),
    ("split(text, separator)", "the parts of a text between separators, as a list", texts.split),
    ("lines(text)", "the lines of a text, without their ends, as a list", texts.lines),
    ("trim(text)", "the text without white space at both ends", texts.trim),
    ("upper(text)", "the text in capital letters", texts.upper),
    ("lower(text)", "the text in small letters", texts.lower),
    ("replace(text, old, new)", "the text with every `old` replaced", texts.replace),
    ("starts_with(text, start)", "whether a text begins so", texts.starts_with),
    ("ends_with(text, end)", "whether a text ends so", texts.ends_with),
    ("contains(x, y)", "the same as `y in x`", lists.contains),
    ("matches(text, pattern)", "whether the whole text matches a pattern (the dialect of params)", texts.matches),
    ("hash(x)", "SHA-256 of x as text, in 64 hexadecimal digits", texts.sha256),
    ("base64(text)", "the text's UTF-8 in base64", texts.base64),
    ("from_base64(text)", "the text that was put into base64", texts.from_base64),
    ("url_encode(text)", "the text as a part of a URL: all but letters, digits and -._~ as %XX", texts.url_encode),
    ("basename(path)", "what follows the last / of a path", texts.basename),
    ("dirname(path)", "what comes before the last / of a path", texts.dirname),
    ("min(x...)", "the least of several numbers or texts, or of one list", lists.least),
    ("max(x...)", "the greatest of several numbers or texts, or of one list", lists.greatest),
    ("sum(list)", "the sum of numbers", lists.total),
    ("abs(x)", "a number without its sign", texts.absolute),
    ("round(x, digits=0)", "the nearest number with so many digits after the point; halves away from 0", texts.rounded),
    ("floor(x)", "the whole number at or below x", texts.floor),
    ("ceil(x)", "the whole number at or above x", texts.ceil),
    ("sort(list, by=null)", "numbers or texts in order; maps by the member that the path `by` names", lists.sort),
    ("unique(list)", "each entry once, the first of equal ones", lists.unique),
    ("reverse(list)", "the entries from last to first", lists.backwards),
    ("flatten(list)", "a list of lists as one list, one level deep", lists.flatten),
    ("first(list)", "the first entry; absent if there is none", lists.first),
    ("last(list)", "the last entry; absent if there is none", lists.last),
    ("slice(x, start, end=null)", "part of a list or text: from start to before end, negative from its end", lists.cut),
    ("range(n, end=null, step=1)", "0, 1, ... before n; or from n to before end, by step", lists.numbers),
    ("chunk(list, n)", "the list cut into lists of n entries", lists.chunk),
    ("keys(map)", "the keys of a map", lists.keys),
    ("values(map)", "the values of a map", lists.values),
    ("items(map)", "the entries of a map, as a list of {key, value}", lists.items),
    ("merge(map...)", "several maps as one; the later entry wins", lists.merge),
    ("pick(list, path, key=value...)", "what a path such as 'outputs.path' names in each map with all those values",
     lists.pick),
    ("where(list, key=value...)", "the maps of a list that have all those values", lists.where),
    ("count(list, key=value...)", "how many maps of a list have all those values; without any, all entries",
     lists.count),
    ("any(list)", "whether one boolean of a list is true", lists.any_true),
    ("all(list)", "whether all booleans of a list are true", lists.all_true),
    ("date(time, form='%F', zone=null)", "a time in a form: %Y %m %d %H %M %S %j %u %V %b %a %z %s and others",
     times.date),
    ("add_days(time, days, zone=null)", "the same time so many days later, by the clock", times.add_days),
    ("add(time, duration)", "a time later by a duration such as '90m', or earlier by '-90m'", times.add),
    ("timestamp(time, zone=null)", "seconds since 1970", times.timestamp),
]  # fmt: skip

_MEANT = {
    "length": "len", "size": "len", "string": "text", "tojson": "json", "to_json": "json", "json_encode": "json",
    "fromjson": "from_json", "parse_json": "from_json", "json_decode": "from_json", "coalesce": "default",
    "strip": "trim", "uppercase": "upper", "lowercase": "lower", "startswith": "starts_with",
    "endswith": "ends_with", "number": "float", "filter": "where", "select": "where", "map": "pick",
    "sorted": "sort", "reversed": "reverse", "distinct": "unique", "sha256": "hash", "b64encode": "base64",
    "b64decode": "from_base64", "urlencode": "url_encode", "strftime": "date", "format_date": "date",
    "regex": "matches", "match": "matches", "test": "matches", "get": "default", "concat": "join",
    "entries": "items", "union": "merge",
}  # fmt: skip
_ADVICE = {
    "always": "write trigger_rule: all_done beside the task's needs",
    "success": "that is so without being said; other rules have trigger_rule",
    "failure": "write trigger_rule: any_failed, or a task below on_failure",
    "failed": "write trigger_rule: any_failed, or tasks.ID.state == 'failed'",
    "cancelled": "write run.outcome == 'cancelled' in a task below finally",
    "format": "write several expressions into one text, or x + y",
    "now": "write run.started_at: a run must give the same again",
    "today": "write date(run.started_at)",
    "glob": "what is in a folder, a task tells as its output",
    "env": "write env.NAME",
    "getenv": "write env.NAME",
    "random": "a run must give the same again",
    "uuid": "write run.id: a run must give the same again",
    "secret": "write secrets.NAME",
}


def _pattern_cost(text: Value, pattern: Value) -> int:
    """`pattern` walks every state for every character; a tenth of a step each."""
    return len(str(text)) * len(str(pattern)) // 10 if isinstance(text, str) and isinstance(pattern, str) else 0


_COSTS: dict[str, Callable[..., int]] = {
    "matches": _pattern_cost,
    "unique": depth_steps,
    "contains": search_steps,
    **dict.fromkeys(("json", "text", "str", "hash", "join"), json_steps),
}
"""Of functions that do more than to go over their arguments once."""


def _function(signature: str, doc: str, call: Callable[..., Value]) -> Function:
    name, _, written = signature.rstrip(")").partition("(")
    parameters = written.split(", ")
    needed = [each for each in parameters if "=" not in each and not each.endswith("...")]
    named = tuple(each.partition("=")[0] for each in parameters if "=" in each and not each.endswith("..."))
    many = any(each.endswith("...") and "=" not in each for each in parameters)
    return Function(
        signature=signature,
        doc=doc,
        call=call,
        cost=_COSTS.get(name, surface),
        least=1 if many else len(needed),
        most=1000 if many else len(needed) + len(named),
        named=named,
        any_named=any(each.endswith("=value...") for each in parameters),
    )


FUNCTIONS = {function.name: function for function in (_function(*row) for row in _TABLE)}


def functions() -> list[tuple[str, str]]:
    """Signature and one line about each, in the order of the manual."""
    return [(signature, doc) for signature, doc, _ in _TABLE]


def find(name: str) -> Function:
    """The function of that name. Raises ExpressionError with what may be meant."""
    function = FUNCTIONS.get(name)
    if function is not None:
        return function
    folded = name.lower()
    if folded in _ADVICE:
        raise ExpressionError(f"there is no function {name}: {_ADVICE[folded]}")
    meant = _MEANT.get(folded)
    guess = f' (did you mean "{meant}"?)' if meant else nearest(name[:80], list(FUNCTIONS))
    raise ExpressionError(f"there is no function {name[:80]}{guess}")


def bind(function: Function, given: int, named: tuple[str, ...]) -> None:
    """Raises ExpressionError unless `function` can be called with `given` arguments and these names."""
    how = f"; it is {function.signature}"
    if given < function.least or given > function.most:
        few = "too few" if given < function.least else "too many"
        raise ExpressionError(f"{few} arguments for {function.name}{how}")
    places = dict(zip(function.named, range(function.least, function.most), strict=False))
    for name in named:
        if function.any_named:
            continue
        if name not in places:
            raise ExpressionError(f"{function.name} has no argument {name}{nearest(name, list(places))}{how}")
        if places[name] < given:
            raise ExpressionError(f"the argument {name} of {function.name} is given twice{how}")
