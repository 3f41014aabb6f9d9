"""What a store takes for the same study: all that a kernel and its parameters reach, by content.

It would catch an edit that is not seen, wherever it is, and so old code served as new; two parameters that compute differently
and share a key; a key that depends on the process, the folder or the order of a set; and what nobody can follow, taken.
"""

import dataclasses
import datetime
import decimal
import enum
import functools
import importlib
import json
import os
import statistics
import subprocess
import sys
import threading
import types
from fractions import Fraction
from typing import Any, NamedTuple

import numba
import numpy as np
import pytest
import scipy.special
import scipy.stats

from gradnoise.simulations.ensemble import fingerprint
from gradnoise.simulations.ensemble.function_identity import identity
from gradnoise.theory.sampling import Enhanced, Minibatch

FAR = (
    "C = 1.5\ndef f(x, y=1): return 1.5 * x\ndef __getattr__(name):\n    if name == 'late': return 1.5\n"
    "    raise AttributeError(name)"
)
#: Ways from a kernel to another file; those of the second table use all of it.
WAYS = {
    "an attribute of a module": "import far\ndef kernel(n, g): return far.f(n)",
    "a constant of a module": "import far\ndef kernel(n, g): return far.C * n",
    "an attribute made late": "import far\ndef kernel(n, g): return far.late * n",
    "all names of a module": "from far import *\ndef kernel(n, g): return f(n)",
    "a module in a closure": "def make():\n    import far\n    return lambda n, g: far.C * n\nkernel = make()",
    "an import inside": "def kernel(n, g):\n    from far import f as h\n    return h(n)",
    "a module imported inside": "def kernel(n, g):\n    import far as m\n    return m.C * n",
    "a package imported inside": "def kernel(n, g):\n    import house.room\n    return house.room.far.C * n",
    "a module of a package": "def kernel(n, g):\n    import house.room as r\n    return r.far.C * n",
    "a module from a package": "def kernel(n, g):\n    from house import room\n    return room.far.C * n",
    "a chain of packages": "import house.room\ndef kernel(n, g): return house.room.far.C * n",
    "an import that fails": "def kernel(n, g):\n    try: import none as m\n    except: import far as m\n    return m.C",
    "an import for inside": "def kernel(n, g):\n    import far\n    def inner(x): return far.C * x\n    return inner(n)",
    "a comprehension": "import far\ndef kernel(n, g): return [far.f(x) for x in range(n)]",
    "a class inside": "import far\ndef kernel(n, g):\n    class Law:\n        c = far.C\n    return Law.c",
    "a callback of a library": "import functools, far\ndef kernel(n, g): return functools.reduce(far.f, range(n))",
}
OF_ALL = {
    "a global import inside": "def kernel(n, g):\n    global far\n    import far\n    return far.C * n",
    "a global import elsewhere": "def load():\n    global far\n    import far\ndef use(): return far.C\n"
    "def kernel(n, g):\n    load()\n    return use()",
    "an import inside a class": "def kernel(n, g):\n    class Law:\n        import far as m\n    return Law.m.C * n",
    "a module by another name": "import far as near\nit = near\ndef kernel(n, g):\n    m = it\n    return m.C * n",
    "a module as an argument": "import far\ndef f(m, n): return m.C * n\ndef kernel(n, g): return f(far, n)",
    "a module as a default": "import far\ndef kernel(n, g, m=far): return m.C * n",
    "a computed attribute": "import far\ndef kernel(n, g): return getattr(far, 'fg'[0])(n)",
    "the names of a module": "import far\ndef kernel(n, g): return vars(far)['C']",
    "the dictionary of a module": "import far\ndef kernel(n, g): return far.__dict__['C']",
}
#: What a kernel may use from there, under the name f.
THINGS = {
    "a default": "def f(x, c=1.5): return c * x",
    "a default by keyword": "def f(x, *, c=1.5): return c * x",
    "a closure": "def make(c):\n    def f(x): return c * x\n    return f\nf = make(1.5)",
    "mutual recursion": "def f(k): return h(k - 1) if k else 1.5\ndef h(k): return f(k)",
    "an attribute of a function": "def f(): pass\nf.c = 1.5",
    "a method": "class f:\n    def g(self, x): return 1.5 * x",
    "a method of a base": "class Base:\n    def g(self, x): return 1.5 * x\nclass f(Base): pass",
    "a property": "class Law:\n    @property\n    def c(self): return 1.5\nf = Law()",
    "a cached property": "import functools\nclass f:\n    @functools.cached_property\n    def c(self): return 1.5",
    "a static method": "class f:\n    @staticmethod\n    def c(): return 1.5",
    "a class method": "class f:\n    @classmethod\n    def c(cls): return 1.5",
    "a metaclass": "class Meta(type):\n    @property\n    def c(cls): return 1.5\nclass f(metaclass=Meta): pass",
    "a constant of a class": "class f:\n    C = 1.5",
    "slots": "class Law:\n    __slots__ = ('c',)\n    def __init__(self): self.c = 1.5\nf = Law()",
    "a bound method": "class Law:\n    def __init__(self): self.c = 1.5\n    def g(self, x): return self.c * x\nf = Law().g",
    "an object that is called": "class Law:\n    def __call__(self, x): return 1.5 * x\nf = Law()",
    "a dataclass": "from dataclasses import *\n@dataclass\nclass f:\n    c: list = field(default_factory=lambda: [1.5])",
    "metadata of a field": "from dataclasses import *\n@dataclass\nclass f:\n    c: int = field(metadata={'scale': 1.5})",
    "a named tuple": "from typing import *\nclass Law(NamedTuple):\n    c: int\n    def g(self): return 1.5\nf = Law(2)",
    "an enumeration": "import enum\nclass f(enum.Enum):\n    A = 1.5",
    "an abstract generic class": "from abc import ABC\nfrom typing import *\nT = TypeVar('T')\nclass P(Protocol): pass\n"
    "class Base(ABC, Generic[T]): pass\nclass f(Base[int], P):\n    def g(self): return T, 1.5",
    "a partial": "import functools\ndef h(c, x): return c * x\nf = functools.partial(h, 1.5)",
    "a decorated function": "import functools\ndef twice(f):\n    @functools.wraps(f)\n    def both(x): return f(f(x))\n"
    "    return both\n@twice\ndef f(x): return 1.5 * x",
    "one in NumPy's clothes": "import functools\nimport numpy as np\n@functools.wraps(np.sum)\ndef f(x): return 1.5 * x",
    "a cache": "import functools\n@functools.cache\ndef f(x): return 1.5 * x",
    "a single dispatch": "import functools\n@functools.singledispatch\ndef f(x): pass\n@f.register\ndef _(x: int): return 1.5",
    "a vectorized function": "import numpy as np\n@np.vectorize\ndef f(x): return 1.5 * x",
    "a compiled function": "import numba\n@numba.njit\ndef f(x): return 1.5 * x",
    "a compiled ufunc": "import numba\n@numba.vectorize\ndef f(x): return 1.5 * x",
    "a compiled class": "import numba\nfrom numba.experimental import jitclass\n@jitclass([('c', numba.float64)])\nclass f:\n"
    "    def __init__(self, c): self.c = c\n    def g(self): return 1.5 * self.c",
    "one of our kernels": "from gradnoise.simulations.ensemble import kernel\n@kernel\ndef f(x): return 1.5 * x",
    "an overload": "import numba\nfrom numba.extending import overload\ndef g(x): return x\n@overload(g)\ndef _(x):\n"
    "    return lambda x: 1.5 * x\n@numba.njit\ndef f(x): return g(x)",
    "a registered class": "from abc import ABC\nclass f(ABC): pass\n@f.register\nclass Law: c = 1.5",
    "a function put into a module": "import statistics\nstatistics.f = lambda x: 1.5 * x\ndef f(x): return statistics.f(x)",
    "a partial put into a module": "import functools, statistics\ndef h(c, x): return c * x\n"
    "statistics.f = functools.partial(h, 1.5)\ndef f(x): return statistics.f(x)",
    "a bound method put into a module": "import statistics\nclass Law:\n    c = 1.5\n    def g(self, x): return self.c * x\n"
    "statistics.f = Law().g\ndef f(x): return statistics.f(x)",
    "an object put into a module": "import statistics\nclass Law:\n    def __call__(self, x): return 1.5 * x\n"
    "statistics.f = Law()\ndef f(x): return statistics.f(x)",
    "a compiled function put into a module": "import numba, statistics\n@numba.njit\ndef h(x): return 1.5 * x\n"
    "statistics.f = h\ndef f(x): return statistics.f(x)",
    "a list put into a module": "import statistics\nstatistics.f = [1.5]\ndef f(x): return statistics.f[0]",
    "an array put into a module": "import statistics\nimport numpy as np\nstatistics.f = np.array([1.5])\n"
    "def f(x): return statistics.f",
    "another one of a module's": "import statistics\nstatistics.f = statistics.mean if 1.5 < 2 else statistics.median\n"
    "def f(x): return statistics.f(x)",
    "a method put into a class": "import statistics\nstatistics.NormalDist.f = lambda self: 1.5\nf = statistics.NormalDist()",
    "a method put into one of our classes": "from gradnoise.theory.sampling import Minibatch\nMinibatch.f = lambda self: 1.5\n"
    "f = Minibatch(5, 2)",
    "functions in a dict": "f = {'f': lambda x: 1.5 * x}",
    "the type of a field": "from dataclasses import dataclass, fields\nfrom typing import Literal\n@dataclass\nclass Law:\n"
    "    a: int\n    b: Literal['1.5']\n    c: Literal[int]\ndef f(x): return [field.type for field in fields(Law)]",
    "a property in a library": "import statistics\nstatistics.NormalDist.f = property(lambda self: 1.5)\n"
    "def f(x): return statistics.NormalDist().f",
    "a method of a class in our own": "from gradnoise.theory.sampling import Minibatch\n"
    "Minibatch.f = classmethod(lambda kind: 1.5)\ndef f(x): return Minibatch.f()",
    "a method for Numba": "import numba\nfrom numba.extending import overload_method\n"
    "@overload_method(numba.types.Array, 'scaled')\ndef scaled(x):\n    def made(x): return 1.5 * x.sum()\n    return made\n"
    "@numba.njit\ndef f(x): return x.scaled()",
    "an attribute for Numba": "import numba\nfrom numba.extending import overload_attribute\n"
    "@overload_attribute(numba.types.Array, 'scaled')\ndef scaled(x):\n    def made(x): return 1.5 * x.sum()\n    return made\n"
    "@numba.njit\ndef f(x): return x.scaled",
    "what Numba takes for a library's": "import math, numba\nfrom numba.extending import overload\n"
    "@overload(math.dist)\ndef dist(x, y):\n    def made(x, y): return 1.5 * (x - y)\n    return made\n"
    "@numba.njit\ndef f(x): return math.dist(x, 1.0)",
    "a set that knows its function": "def h(x): return 1.5 * x if h in f else x\nf = {h}",
    "a frozen law of SciPy": "from scipy import stats\nf = stats.norm(1.5)",
    "one that is pickled as another": "class Law:\n    c = 1.5\n    def __reduce__(self): return object, ()\nf = Law()",
    "a logger and a pattern": "import logging, re\nlog, word = logging.getLogger('x'), re.compile('1.5')\ndef f(): log, word",
}
CALL = "import far\ndef kernel(n, g): return far.f"
REACHED = {
    **{name: (near, FAR) for name, near in {**WAYS, **OF_ALL}.items()},
    **{name: (CALL, far) for name, far in THINGS.items()},
}
UNSEEN = "\n\n\n# A comment, and what no kernel uses.\ndef unused(x):\n    return x\n"


@pytest.fixture
def made(tmp_path, monkeypatch):
    """Write modules, and import ``near`` anew."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    for place in (statistics, statistics.NormalDist, Minibatch):  # what modules put there is taken away again
        monkeypatch.setattr(place, "f", None, raising=False)

    def make(near, far):
        (tmp_path / "house").mkdir(exist_ok=True)
        for name, text in {"near": near, "far": far, "house/__init__": "", "house/room": "import far"}.items():
            (tmp_path / f"{name}.py").write_text(text + "\n")
        for name in ("near", "far", "house", "house.room"):
            sys.modules.pop(name, None)
        importlib.invalidate_caches()
        return importlib.import_module("near")

    yield make
    for name in ("near", "far", "house", "house.room"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize("where", REACHED)
def test_an_edit_is_seen_wherever_it_is(made, where):
    near, far = REACHED[where]
    before = identity(made(near, far).kernel, "kernel")
    assert identity(made(near, far).kernel, "kernel") == before
    assert identity(made(near, far.replace("1.5", "2.5")).kernel, "kernel") != before


@pytest.mark.parametrize("where", [where for where in REACHED if where not in OF_ALL])
def test_an_edit_of_what_is_not_used_is_none(made, where):
    near, far = REACHED[where]
    before = identity(made(near, far).kernel, "kernel")
    assert identity(made(f"'''About it.'''\n\n{near}{UNSEEN}", f"# First.\n{far}{UNSEEN}").kernel, "kernel") == before


SCRIPT = """
import importlib, json, sys
from gradnoise.simulations.ensemble.function_identity import identity
print(json.dumps([identity(importlib.import_module(f"study_{i}.near").kernel, "kernel") for i in range(int(sys.argv[1]))]))
"""


def test_all_processes_in_all_folders_agree(tmp_path):
    found = []
    for place, seed in (("one", "1"), ("two", "2")):
        for i, (near, far) in enumerate(REACHED.values()):
            folder = tmp_path / place / f"study_{i}"
            (folder / "house").mkdir(parents=True)
            here = f"import os, sys\nsys.path.insert(0, os.path.dirname(__file__))\n[sys.modules.pop(m, 0) for m in {NAMES}]\n"
            for name, text in {"near": here + near, "far": far, "house/__init__": "", "house/room": "import far"}.items():
                (folder / f"{name}.py").write_text(text + "\n")
        variables = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(tmp_path / place)}
        command = [sys.executable, "-B", "-c", SCRIPT, str(len(REACHED))]
        run = subprocess.run(command, cwd=tmp_path / place, env=variables, capture_output=True, text=True, check=True)
        found.append(json.loads(run.stdout))
    assert len(set(found[0])) == len(REACHED)
    assert [where for where, a, b in zip(REACHED, *found, strict=True) if a != b] == []


NAMES = ("far", "house", "house.room")


@pytest.mark.parametrize(
    ("near", "message"),
    [
        ("def kernel(n, g): return eval('n')", r"^eval \(read by kernel\) must not be used .*: builtins.eval"),
        ("def kernel(n, g): exec('n')", "builtins.exec"),
        ("def kernel(n, g): return globals()['n']", "builtins.globals"),
        ("def kernel(n, g): return __import__('far')", "builtins.__import__"),
        ("import builtins\ndef kernel(n, g): return builtins.eval('n')", "builtins.eval"),
        ("import importlib\ndef kernel(n, g): return importlib.import_module('far')", "importlib.import_module"),
        ("from importlib import import_module as i\ndef kernel(n, g): return i('far')", r"^i \(read by kernel\)"),
        ("import sys\ndef kernel(n, g): return sys.modules['far']", "sys.modules"),
        (
            "from sys import modules\ndef kernel(n, g): return modules['far']",
            r"^modules \(read by kernel\) must not .* state of the",
        ),
        (
            "from os import environ\ndef kernel(n, g): return environ['C']",
            r"^environ \(read by kernel\) must not .* state of the",
        ),
        ("import os\ndef kernel(n, g): return os.environ['C']", "os.environ"),
        ("import ctypes\ndef kernel(n, g): return ctypes.CDLL(None).abs(n)", "ctypes.CDLL"),
        ("import far\ndef kernel(n, g): return far.Law.__subclasses__()", r"^kernel must not read __subclasses__ where a store"),
        ("import far\ndef f(): return far.f.__globals__\ndef kernel(n, g): return f()", r"^f must not read __globals__"),
        ("import inspect, far\ndef kernel(n, g): return inspect.getmodule(far.f)", "inspect.getmodule"),
        ("import pickle\ndef kernel(n, g): return pickle.loads(b'')", "pickle.loads"),
        ("import numpy as np\ndef kernel(n, g): return np.loadtxt('x')", r"^np.loadtxt \(read by kernel\)"),
        ("def kernel(n, g): return open('x').read()", "^kernel must not read open where a store"),
        ("import pathlib\ndef kernel(n, g): return pathlib.Path('x').read_text()", "^kernel must not read read_text"),
        (
            "import pathlib\nF = pathlib.Path('x')\ndef kernel(n, g): return F",
            r"^F \(read by kernel\) must not be a path .*Path\('x'\)",
        ),
        ("import pathlib\ndef kernel(n, g): return pathlib.Path('x').open()", "^kernel must not read open"),
        ("import json\ndef kernel(n, g): return json.load(n)", "json.load"),
        ("import scipy.sparse\ndef kernel(n, g): return scipy.sparse.load_npz('x')", "scipy.sparse.load_npz"),
        ("import numpy as np\ndef kernel(n, g): return np.fromregex('x', 'y', 'z')", "np.fromregex"),
        ("import time\ndef kernel(n, g): return time.time()", "time.time"),
        ("import datetime\ndef kernel(n, g): return datetime.datetime.now()", "^kernel must not read now"),
        ("import uuid\ndef kernel(n, g): return uuid.uuid4().int", "uuid.uuid4"),
        ("import threading\ndef kernel(n, g): return threading.get_ident()", "threading.get_ident"),
        ("import gzip\ndef kernel(n, g): return gzip.GzipFile('x')", "gzip.GzipFile"),
        ("from lzma import LZMAFile\ndef kernel(n, g): return LZMAFile('x')", "lzma.LZMAFile"),
        ("import xml.etree.ElementTree as E\ndef kernel(n, g): return E.parse('x')", "xml.etree.ElementTree.parse"),
        ("import os.path\ndef kernel(n, g): return os.path.expandvars('$C')", "posixpath.expandvars"),
        ("import os.path\ndef kernel(n, g): return os.path.getsize('x')", "genericpath.getsize"),
        ("import numpy as np\ndef kernel(n, g): return np.ctypeslib.load_library('x', '.')", "numpy.ctypeslib"),
        ("import scipy.io\ndef kernel(n, g): return scipy.io.loadmat('x')", "scipy.io.loadmat"),
        ("import joblib\ndef kernel(n, g): return joblib.load('x')", "joblib.load"),
        ("from os import open as o\ndef kernel(n, g): return o('x', 0)", r"^o \(read by kernel\)"),
        ("import gzip\ndef kernel(n, g): return gzip.open('x')", "^kernel must not read open"),
        ("import sqlite3\ndef kernel(n, g): return sqlite3.connect('x')", "sqlite3.connect"),
        ("import inspect, far\ndef kernel(n, g): return inspect.signature(far.f)", "inspect.signature"),
        ("import far\ndef kernel(n, g): return far.f.__annotations__", "^kernel must not read __annotations__"),
        ("def kernel(n, g):\n    def inner(): return eval('n')\n    return inner()", "builtins.eval"),
        ("G = (i for i in range(3))\ndef kernel(n, g): return next(G)", r"^G \(read by kernel\) must be .* got generator"),
        (
            "import io\nF = io.TextIOWrapper(io.BytesIO())\ndef kernel(n, g): return F.read()",
            r"^F \(read by kernel\) must be .* got TextIOWrapper",
        ),
        (
            "import threading\nL = {'a': [threading.Lock()]}\ndef kernel(n, g): return L",
            r"^L\['a'\]\[0\] \(read by kernel\) .* got lock",
        ),
        ("import numpy as np\nf = np.frompyfunc(abs, 1, 1)\ndef kernel(n, g): return f(n)", "got ufunc"),
        (
            "import far\ndef kernel(n, g, m=far): return m",
            r"^far.log \(of a module that is used as a whole\) .* got TextIOWrapper",
        ),
    ],
)
def test_what_cannot_be_followed_is_refused_by_name(made, near, message):
    kernel = made(near, "import io\nlog = io.TextIOWrapper(io.BytesIO())").kernel
    with pytest.raises(TypeError, match=message):
        identity(kernel, "kernel")


@pytest.mark.parametrize(
    "near",
    [
        "from pathlib import Path, PurePath\ndef kernel(n, g): return isinstance(n, (int, Path)), PurePath('a').name",
        "from urllib.parse import quote\ndef kernel(n, g): return quote('a')",
        "import logging\nlog = logging.getLogger('a')\ndef kernel(n, g): return log.info('a')",
        "import time\ndef kernel(n, g): return time.perf_counter()",
        "import json\ndef kernel(n, g): return json.loads('1')",
    ],
)
def test_what_reads_no_file_is_not_refused(made, near):
    assert identity(made(near, "").kernel, "kernel")


def test_what_was_put_into_an_object_of_a_library_is_content(made, monkeypatch):
    kernel = made("import scipy.stats\ndef kernel(n, g): return scipy.stats.norm.ppf(n)", "").kernel
    found = {identity(kernel, "kernel")}
    assert identity(kernel, "kernel") in found
    for power in (1, 2):
        monkeypatch.setattr(scipy.stats.norm, "ppf", functools.partial(pow, power), raising=False)
        found.add(identity(kernel, "kernel"))
    kernel = made("import scipy.special\ndef kernel(n, g): return scipy.special.expit(n)", "").kernel
    found.add(identity(kernel, "kernel"))
    for put in (np.vectorize(lambda x: x), np.vectorize(lambda x: 2 * x), np.poly1d([1, 2]), np.poly1d([1, 3])):
        monkeypatch.setattr(scipy.special, "expit", put)
        found.add(identity(kernel, "kernel"))
    assert len(found) == 8


class LeavesOut:
    """Its pickle does not have what it computes with."""

    def __init__(self, power):
        self.f, self.lock = (lambda x: x**power), threading.Lock()

    def __getstate__(self):
        return {}


class LeavesOutSlots:
    __slots__ = ("f",)

    def __init__(self, power):
        self.f = lambda x: x**power

    def __reduce__(self):
        return LeavesOutSlots, (1,)


@pytest.mark.parametrize("kind", [LeavesOut, LeavesOutSlots])
def test_what_a_class_does_not_pickle_is_content(kind):
    assert identity(kind(1), "law") == identity(kind(1), "law") != identity(kind(2), "law")


def test_the_precision_in_which_a_library_computes_is_content(made):
    torch = pytest.importorskip("torch")
    kernel = made("import torch\ndef kernel(n, g): return torch.ones(n)", "").kernel
    plain = identity(kernel, "kernel")
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = identity(kernel, "kernel")
    torch.set_flush_denormal(True)
    try:
        flushed = identity(kernel, "kernel")
    finally:
        torch.set_flush_denormal(False)
    assert len({plain, cast, flushed}) == 3 and identity(kernel, "kernel") == plain


def test_libraries_count_by_their_version_and_what_was_put_into_them_by_content(made, monkeypatch):
    kernel = made("import numpy as np, statistics\ndef kernel(n, g): return np.square(statistics.mean([n]))", "").kernel
    before = identity(kernel, "kernel")
    found = {before}
    for put in (lambda x: x * x, functools.partial(max, 1), Plain(1), Plain(2), Law(1).apply):
        monkeypatch.setattr(np, "square", put)
        found.add(identity(kernel, "kernel"))
    assert len(found) == 6


def test_arguments_of_the_program_are_content(made, monkeypatch):
    kernel = made("import sys\ndef kernel(n, g): return float(sys.argv[1])", "").kernel
    monkeypatch.setattr(sys, "argv", ["study", "1.5"])
    before = identity(kernel, "kernel")
    monkeypatch.setattr(sys, "argv", ["study", "2.5"])
    assert identity(kernel, "kernel") != before


def test_a_distribution_from_a_folder_is_known_by_its_record_and_one_edited_in_place_by_its_code(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    package, facts = tmp_path / "shelf_of_laws.py", tmp_path / "shelf_of_laws-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: shelf_of_laws\nVersion: 1.0\n")

    def now(constant, record, source):
        package.write_text(f"def f(x): return {constant} * x\n")
        (facts / "RECORD").write_text(record)
        (facts / "direct_url.json").write_text(json.dumps(source))
        script = SCRIPT.partition("print")[0] + "import shelf_of_laws\nprint(identity(shelf_of_laws.f, 'f'))"
        variables = {**os.environ, "PYTHONPATH": str(tmp_path)}
        command = [sys.executable, "-B", "-c", script]
        return subprocess.run(command, env=variables, capture_output=True, text=True, check=True).stdout

    assert now(1.5, "one", {}) == now(2.5, "one", {})  # a version is a version
    assert now(1.5, "one", {"dir_info": {}}) == now(2.5, "one", {"dir_info": {}}) != now(2.5, "two", {"dir_info": {}})
    assert now(1.5, "one", {"dir_info": {"editable": True}}) != now(2.5, "one", {"dir_info": {"editable": True}})


@dataclasses.dataclass(frozen=True)
class Law:
    n: int

    def apply(self, x):
        return self.n * x

    @functools.cached_property
    def square(self):
        return self.n**2


@dataclasses.dataclass(frozen=True)
class OtherLaw:
    n: int


class Pair(NamedTuple):
    a: float
    b: float


class Colour(enum.Enum):
    RED = 1
    BLUE = 2


class Whole(enum.IntEnum):
    ONE = 1


class Plain:
    def __init__(self, c):
        self.c = c


class Ints(list):
    pass


class Scaled(np.ndarray):
    pass


class Bare(np.ndarray):
    __slots__ = ()


class MaskedScaled(np.ma.MaskedArray):
    pass


class Share(Fraction):
    pass


class Day(datetime.date):
    pass


def scaled(value, scale):
    value.scale = scale
    return value


class Part(enum.Flag):
    A = 1
    B = 2


STEPS = np.arange(6.0).reshape(2, 3)
RECORD = np.array([(1, 2.0)], dtype=[("a", "i4"), ("b", "f8")])
#: Values of which no two compute alike.
DIFFERENT = [
    0, 1, -1, 2**70, True, False, None, Ellipsis, "1", "", b"1", bytearray(b"1"), 1.0, 0.0, -0.0, float("nan"), float("inf"),
    0.5, float.hex(1.0), 1j, complex(1, 0), complex(1, -0.0), Fraction(1, 2), Fraction(1), decimal.Decimal("0.5"),
    decimal.Decimal("0.50"), np.float16(1), np.float32(1), np.float64(1), np.longdouble(1), np.int8(1), np.int16(1),
    np.int64(1), np.uint8(1), np.bool_(True), np.complex64(1), np.complex128(1), np.str_("1"), np.bytes_(b"1"),
    np.datetime64("2020-01-01"), np.datetime64("2020-01-01", "s"), np.timedelta64(1, "D"), np.dtype("f8"), np.dtype(">f8"),
    np.float64, RECORD.dtype, RECORD[0], [1], (1,), {1}, frozenset({1}), {1: 1}, {1: 1.0}, {"1": 1}, {1: 1, 2: 2}, {2: 2, 1:
    1}, [], (), set(), {}, [[1]], [1, [2]], [[1], 2], Ints([1]), range(1), range(0, 1, 2), range(2), slice(1), slice(0, 1),
    Pair(1.0, 2.0), (1.0, 2.0), Colour.RED, Colour.BLUE, Whole.ONE, Law(1), Law(2), OtherLaw(1), Plain(1), Plain(1.0),
    types.SimpleNamespace(c=1), types.SimpleNamespace(d=1), datetime.date(2020, 1, 1), STEPS, np.asfortranarray(STEPS),
    STEPS.astype("f4"), STEPS.astype(">f8"), STEPS.astype(int), STEPS.ravel(), STEPS.T, STEPS[:, ::-1], STEPS[:, ::2],
    STEPS[:, [0, 2]].copy(), np.array(1.0), np.array([1.0]), np.array([0.0]), np.array([-0.0]), np.zeros((0, 2)), np.zeros((2,
    0)), np.array([True]), np.array(["1"]), np.array([1], object), np.array([1.0], object), RECORD, np.array([(1, 2.0)],
    dtype=[("a", "i4"), ("c", "f8")]), np.array(["2020-01-01"], "M8[D]"), np.array(["2020-01-01"], "M8[s]"),
    np.ma.array([1.0]), np.ma.array([1.0], mask=[True]), np.ma.array([1.0], mask=[False]), np.ma.array([1.0], mask=[True],
    fill_value=3), np.broadcast_to(1.0, (2, 3)), np.ones((2, 3)), np.ones((1, 1)), Minibatch(5, 2), Minibatch(5, 2,
    replacement=False), Enhanced(Minibatch(5, 2), 1.5), np.random.SeedSequence(1), np.random.PCG64(1), functools.partial(max,
    1), functools.partial(max, 2), max, min, np.square, np.sum, np.linalg, Law(1).apply, Law(2).apply,
    *(scaled(STEPS.view(Scaled), scale) for scale in (1, 2)), *(scaled(np.ma.ones(2).view(MaskedScaled), s) for s in (1, 2)),
    *(scaled(Share(1, 2), scale) for scale in (1, 2)), *(scaled(Day(2020, 1, 1), scale) for scale in (1, 2)),
    STEPS[:, ::2].view(Scaled), STEPS[:, ::2].copy().view(Scaled), STEPS.view(Bare),
]  # fmt: skip


def test_values_that_compute_differently_have_different_identities():
    found: dict[str, Any] = {}
    for value in DIFFERENT:
        assert found.setdefault(identity(value, "value"), value) is value


@pytest.mark.parametrize("make", [
    lambda: 2**70, lambda: float("nan"), lambda: {"b", "a", "c"}, lambda: frozenset({(1, "a"), (2, "b")}),
    lambda: Fraction(1, 3), lambda: [Law(1), {"a": STEPS.copy()}], lambda: np.longdouble(1) / 3, lambda: np.zeros(3, "i1,f8"),
    lambda: Plain([Plain(None)]), lambda: np.ma.masked_less(STEPS, 2.0), lambda: np.random.default_rng(1),
    lambda: Enhanced(Minibatch(5, 2), 1.5), lambda: STEPS[:1].T.copy().T,
], ids=range(13))  # fmt: skip
def test_values_that_are_equal_have_one_identity(make):
    assert identity(make(), "value") == identity(make(), "value")


def test_padding_and_steps_along_one_element_are_no_content():
    padded = np.dtype({"names": ["a", "b"], "formats": ["i1", "f8"], "offsets": [0, 8], "itemsize": 16})
    one, two = (np.frombuffer(bytes([1] + [fill] * 7 + [0] * 8), padded) for fill in (0, 255))
    assert identity(one, "value") == identity(two, "value")
    assert identity(np.ones((4, 4))[:1, :], "value") == identity(np.ones((1, 4)), "value")


def test_what_was_computed_from_other_attributes_is_no_content():
    used = Law(3)
    assert used.square == 9
    assert identity(used, "value") == identity(Law(3), "value") != identity(Law(4), "value")


def test_a_value_that_holds_itself_has_an_identity_and_one_that_is_too_deep_is_refused():
    circle: list[Any] = [1]
    circle.append(circle)
    longer: list[Any] = [1, [1]]
    longer[1].append(longer)
    assert identity(circle, "value") != identity(longer, "value")
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(TypeError, match=r"^value.* must not be nested deeper"):
        identity(deep, "value")
    while deep:  # or Python's own clean-up goes deep
        deep = deep[0]


@pytest.mark.compiled
def test_options_of_compilation_are_part_of_a_function():
    def f(x):
        return x + x + x

    compiled = (numba.njit(f), numba.njit(fastmath=True)(f), numba.njit(error_model="numpy")(f))
    found = {identity(function, "f") for function in compiled}
    assert len(found | {identity(f, "f")}) == 4


@pytest.mark.compiled
def test_declared_types_are_part_of_a_function():
    def third(x):
        return x / 3

    for compile_for in (numba.njit, numba.vectorize):
        short, long = (compile_for([f"float{bits}(float{bits})"])(third) for bits in (32, 64))
        assert identity(short, "f") != identity(long, "f")
        lazy = compile_for(third)
        before = identity(lazy, "f")
        lazy(1.0)  # types that it meets are no part of it
        assert identity(lazy, "f") == before


def test_flags_that_were_combined_on_the_way_are_no_content():
    before = identity(Part, "value")
    assert Part.A | Part.B
    assert identity(Part, "value") == before


@pytest.mark.compiled
@pytest.mark.parametrize("looked", [False, True])
@pytest.mark.parametrize("declared", ["", "(numba.float64(numba.float64))"])
def test_a_function_compiled_before_a_change_is_compiled_anew(made, looked, declared):
    """Else its blocks would be found by a process that has the new constant, also where nobody looked before it was called."""
    inner = f"import far, numba\n@numba.njit{declared}\ndef f(x): return far.C * x\n"
    near = made(f"{inner}@numba.njit\ndef outer(x): return f(x)\ndef kernel(n, g): return outer(n)", "C = 1.5")
    before = identity(near.kernel, "kernel") if looked else None
    assert near.outer(2.0) == 3.0
    near.far.C = 2.5
    now = identity(near.kernel, "kernel")
    assert near.outer(2.0) == 5.0 and now != before
    near.far.C = 1.5
    again = identity(near.kernel, "kernel")
    assert near.outer(2.0) == 3.0 and again == (before or again) != now


LASTING = {
    "a ufunc": "@numba.vectorize(['f8(f8)'])\ndef f(x): return far.C * x",
    "a generalised ufunc": "@numba.guvectorize(['void(f8, f8[:])'], '()->()')\ndef f(x, y): y[0] = far.C * x",
    "a callback": "@numba.cfunc('f8(f8)')\ndef f(x): return far.C * x",
    "a class": "from numba.experimental import jitclass\n@jitclass([('a', numba.f8)])\nclass f:\n"
    "    def __init__(self, a): self.a = a\n    def g(self): return far.C * self.a",
}


@pytest.mark.compiled
@pytest.mark.parametrize("kind", LASTING)
def test_what_was_compiled_for_good_is_refused_after_a_change(made, kind):
    near = made(f"import far, numba\n{LASTING[kind]}\ndef kernel(n, g): return f(n)", "C = 1.5")
    before = identity(near.kernel, "kernel")
    near.far.C = 2.5
    with pytest.raises(TypeError, match=r"^[fg] must be defined anew, as something that it reads has changed"):
        identity(near.kernel, "kernel")
    near.far.C = 1.5
    assert identity(near.kernel, "kernel") == before


@pytest.mark.compiled
def test_machine_code_that_numba_keeps_by_itself_is_not_trusted(tmp_path):
    """It looks at the file of a function alone, and so takes old code after an edit of another one."""
    near = "import far, numba\n@numba.njit(cache=True)\ndef f(x): return far.C * x\ndef kernel(n, g): return f(n)"
    (tmp_path / "near.py").write_text(near)
    script = (
        "import near\nfrom gradnoise.simulations.ensemble.function_identity import identity\n"
        "identity(near.kernel, 'kernel')\nprint(near.f(2.0))"
    )

    def run(constant, cached_by_numba):
        (tmp_path / "far.py").write_text(f"C = {constant}\n")
        variables = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache"), "PYTHONPATH": str(tmp_path)}
        command = [sys.executable, "-B", "-c", "import near\nprint(near.f(2.0))" if cached_by_numba else script]
        return float(subprocess.run(command, env=variables, capture_output=True, text=True, check=True).stdout)

    assert run(1.5, True) == 3.0 and run(2.5, True) == 3.0  # Numba's own
    assert run(2.5, False) == 5.0 and run(1.5, False) == 3.0


@pytest.mark.compiled
def test_a_ufunc_that_numba_keeps_by_itself_is_refused(made):
    near = made(
        "import numba\n@numba.vectorize(['f8(f8)'], cache=True)\ndef f(x): return 1.5 * x\ndef kernel(n, g): return f(n)", ""
    )
    with pytest.raises(TypeError, match=r"^f must be without cache=True"):
        identity(near.kernel, "kernel")


def test_a_cache_of_results_that_was_filled_before_a_change_is_emptied(made):
    near = made("import far, functools\n@functools.cache\ndef f(x): return far.C * x\ndef kernel(n, g): return f(n)", "C = 1.5")
    assert near.f(2.0) == 3.0
    near.far.C = 2.5
    identity(near.kernel, "kernel")
    assert near.f(2.0) == 5.0
    near.far.C = 3.5
    identity(near.kernel, "kernel")
    assert near.f(2.0) == 7.0


def test_the_digits_with_which_a_library_computes_are_content(made):
    near = made("import decimal, mpmath\ndef kernel(n, g): return decimal.Decimal(1) / n, mpmath.mpf(1) / n", "")
    before = identity(near.kernel, "kernel")
    with decimal.localcontext(prec=7):
        assert identity(near.kernel, "kernel") != before
    with near.mpmath.workdps(33):
        assert identity(near.kernel, "kernel") != before
    assert identity(near.kernel, "kernel") == before


def test_a_fingerprint_takes_what_cannot_be_known_for_itself_alone(made):
    """A generator of a kernel that is compiled, as of one that reads a module's constant, is no reason to refuse it."""
    near = made("import far\nG = [(i for i in range(3))]\ndef kernel(n, g): return G, far.C", "C = 1.5")
    before = fingerprint(near.kernel)
    assert fingerprint(near.kernel) == before
    near.G = [(i for i in range(3))]
    assert fingerprint(near.kernel) != before
    before = fingerprint(near.kernel)
    near.far.C = 2.5
    assert fingerprint(near.kernel) != before
