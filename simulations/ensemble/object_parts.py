"""The parts that objects are made of, as pickle sees them, and what nobody can see through."""

from __future__ import annotations

import abc
import copyreg
import decimal
import functools
import os
import re
import sys
import threading
import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from gradnoise.simulations.ensemble.code_origin import is_of_a_user, is_ours, origin

__all__ = ["ambient", "class_members", "compiled_from", "is_blind", "overloads_of_users", "parts_of", "state_behind"]

#: What reaches things that nobody can see in the code, or the state of the machine.
_BLIND_MODULES = (
    "_ctypes", "_pickle", "_sqlite3", "absl.flags", "cffi", "configparser", "ctypes", "dbm", "fileinput", "ftplib",
    "gc", "genericpath", "glob", "h5py", "http", "imp", "importlib", "linecache", "mailbox", "mmap", "numpy.ctypeslib", "pkgutil",
    "platform", "requests", "resource", "runpy", "secrets", "shelve", "socket", "sqlite3", "subprocess", "tarfile",
    "urllib.request", "zipfile",
)  # fmt: skip
_BLIND = {
    "argparse": ("ArgumentParser",),
    "_io": ("FileIO", "open", "open_code"),
    "builtins": ("__import__", "compile", "eval", "exec", "globals", "input", "open"),
    "decimal": ("getcontext", "localcontext"),
    "inspect": (
        "currentframe",
        "get_annotations",
        "getfullargspec",
        "getmodule",
        "getsource",
        "signature",
        "stack",
        "trace",
    ),
    "io": ("FileIO", "open", "open_code"),
    "marshal": ("load", "loads"),
    "numpy": ("DataSource", "fromfile", "genfromtxt", "load", "loadtxt", "memmap", "open_memmap"),
    "os": (
        "cpu_count",
        "environ",
        "environb",
        "fdopen",
        "expanduser",
        "expandvars",
        "getcwd",
        "getenv",
        "getenvb",
        "getpid",
        "listdir",
        "open",
        "popen",
        "scandir",
        "stat",
        "system",
        "urandom",
        "walk",
    ),
    "pickle": ("Unpickler", "load", "loads"),
    "sys": ("_current_frames", "_getframe", "modules", "stdin"),
    "threading": ("current_thread", "enumerate", "get_ident", "get_native_id"),
    "time": ("ctime", "gmtime", "localtime", "strftime", "time", "time_ns"),
    "typing": ("get_type_hints",),
    "uuid": ("getnode", "uuid1", "uuid4"),
    "xml": ("iterparse", "parse"),
}
_LOCKS = (type(threading.Lock()), type(threading.RLock()))  # which change no number
_BLIND_OBJECTS = (os.environ, sys.modules)
#: Names that what reads a file has in most libraries; what has one and reads none is refused, too, on the safe side.
_READERS = re.compile(
    r"(load|load_(files|npz|svmlight_files?)|loadarff|loadmat|loadtxt|from_?file|fromregex|(hb_|im|mm)?read|read_\w+|readsav"
    r"|open(_\w+)?|\w*File|netcdf_file|whosmat)"
)
_WRAPPERS: dict[type, tuple[str, ...]] = {
    property: ("fget", "fset", "fdel"),
    classmethod: ("__func__",),
    staticmethod: ("__func__",),
    functools.cached_property: ("func", "attrname"),
}
#: What NumPy keeps among the attributes of a masked array, and tells by itself.
_OF_MASKED_ARRAYS = {"_baseclass", "_basedict", "_fill_value", "_hardmask", "_isfield", "_mask", "_optinfo", "_sharedmask"}
#: What Python writes into a class, or keeps there for itself.
_OF_EVERY_CLASS = {
    "__abstractmethods__", "__annotate__", "__annotate_func__", "__annotations__", "__annotations_cache__", "__dict__", "__doc__",
    "__dataclass_params__", "__firstlineno__", "__match_args__", "__module__", "__non_callable_proto_members__", "__orig_bases__",
    "__parameters__", "__protocol_attrs__", "__qualname__", "__static_attributes__", "__type_params__", "__weakref__",
    "_abc_impl", "_is_protocol", "_is_runtime_protocol", "_value2member_map_",
}  # fmt: skip


def is_blind(module: str, qualname: str, value: Any) -> bool:
    """Whether what a named thing of a package reaches cannot be told from the code that uses it."""
    top = module.partition(".")[0]
    names = _BLIND.get("os" if top in ("nt", "ntpath", "posix", "posixpath") else top, ())
    blind_module = any(module == name or module.startswith(f"{name}.") for name in _BLIND_MODULES)
    last = qualname.rpartition(".")[2]
    reads = top not in sys.builtin_module_names and _READERS.fullmatch(last) is not None
    return blind_module or last in names or reads or any(value is blind for blind in _BLIND_OBJECTS)


def state_behind(module: str) -> list[str]:
    """State of the process by which a package computes: its digits, or the type of its numbers."""
    top = module.partition(".")[0]
    if top in ("decimal", "_decimal"):
        context = decimal.getcontext()
        return [str(context.prec), context.rounding]
    library: Any = sys.modules.get(top)
    if top == "mpmath":
        return [str(library.mp.prec)]
    if top == "torch":
        return _state_of_torch(library)
    if top in ("jax", "jaxlib") and "jax" in sys.modules:
        config: Any = sys.modules["jax"].config
        return [str(getattr(config, name, None)) for name in ("jax_enable_x64", "jax_default_matmul_precision", "jax_debug_nans")]
    return []


def _state_of_torch(torch: Any) -> list[str]:
    casts = [
        (kind, str(torch.get_autocast_dtype(kind)))
        for kind in ("cpu", "cuda")
        if hasattr(torch, "get_autocast_dtype") and torch.is_autocast_enabled(kind)
    ]
    least = torch.full((1,), 1e-45)  # a denormal number, which may be flushed to zero
    asked = (
        torch.get_default_dtype, torch.get_float32_matmul_precision, torch.are_deterministic_algorithms_enabled,
        lambda: torch.backends.cuda.matmul.allow_tf32, lambda: torch.backends.cudnn.allow_tf32,
    )  # fmt: skip
    return [*(_told(one) for one in asked), str(casts), str(bool((least * 1).item() == 0))]


def _told(setting: Callable[[], Any]) -> str:
    try:
        return str(setting())
    except RuntimeError as error:  # where the older and the newer way of setting it were mixed
        return str(error)


def ambient() -> list[str]:
    """State of a thread or process by which packages that are loaded compute; other workers may have another."""
    return [part for name in ("decimal", "mpmath", "torch", "jax") if name in sys.modules for part in state_behind(name)]


def compiled_from(value: Any) -> tuple[Any, Any] | None:
    """Function and options of what Numba, a `Kernel` or a cache of results was made from; None for all else."""
    kind = type(value)
    room = kind.__module__.partition(".")[0]
    if isinstance(value, functools._lru_cache_wrapper):
        return value.__wrapped__, {}
    if room not in ("numba", "gradnoise"):
        return None
    for holder in (value, getattr(value, "_dispatcher", None)):  # of a ufunc
        for name in ("py_func", "__wrapped__"):
            function = getattr(holder, name, None)
            if isinstance(function, types.FunctionType):
                return function, _options(value)
    return None


def _options(value: Any) -> dict[str, Any]:
    """Options of compilation, which decide how it rounds, and types, which decide the precision."""
    compiler = getattr(value, "_compiler", value)
    options = getattr(value, "targetoptions", None) or getattr(compiler, "targetoptions", None) or getattr(value, "_options", {})
    signatures: Any = []
    if not getattr(value, "_can_compile", True):  # it takes the types that it was declared with, and no others
        signatures = value.signatures
    elif getattr(value, "_frozen", False):
        signatures = getattr(value, "types", [])
    types_of = {"locals": getattr(compiler, "locals", {}), "signature": getattr(value, "_sig", None), "signatures": signatures}
    return {**options, **{key: str(found) for key, found in types_of.items()}}


def overloads_of_users() -> list[tuple[Any, str, Any]]:
    """What users have told Numba to compile in the place of functions, methods and attributes: which, its name, and by what."""
    templates: Any = sys.modules.get("numba.core.typing.templates")
    if templates is None:
        return []
    registry = templates.builtin_registry
    every = _overloads(len(registry.functions), len(registry.attributes))
    return [(made.key, getattr(made, "_attr", ""), made._overload_func) for made in every if _is_live(made._overload_func)]


@functools.lru_cache(maxsize=1)
def _overloads(n_functions: int, n_attributes: int) -> list[Any]:
    """Overloads in Numba's registry, which grows: looked for again when it has."""
    registry = sys.modules["numba.core.typing.templates"].builtin_registry
    both = (*registry.functions[:n_functions], *registry.attributes[:n_attributes])
    return [made for made in both if not is_ours(made.__module__) and hasattr(made, "_overload_func")]


def _is_live(function: types.FunctionType) -> bool:
    """Whether it stands in a module of a user's, and not in one that was there before it was loaded again."""
    module = function.__module__
    return is_of_a_user(module) and vars(sys.modules.get(module, object)) is function.__globals__


def parts_of(value: Any) -> list[tuple[str, Any]] | None:
    """Return what an object is made of, each with the name of an attribute or none; None where nobody can tell.

    It is what pickle would make it from: a generator, an open file or a lock has nothing of the kind.
    """
    kind = type(value)
    if kind in _WRAPPERS:
        return [("", kind), *((name, getattr(value, name)) for name in _WRAPPERS[kind])]
    if kind is types.MappingProxyType:
        return [("", kind), ("", dict(value))]
    if isinstance(value, (set, frozenset)):  # pickle has its elements in their order, which is another one in each process
        return [("", kind), ("", frozenset(value)), ("", getattr(value, "__dict__", None))]
    if kind.__module__.startswith("numba.core.types"):
        return [("", kind), ("", str(value))]
    if isinstance(value, np.ndarray):  # of a user's class, whose attributes an array does not pickle
        own = sorted((key, part) for key, part in getattr(value, "__dict__", {}).items() if key not in _OF_MASKED_ARRAYS)
        return [("", kind), ("", value.view(np.ma.MaskedArray if isinstance(value, np.ma.MaskedArray) else np.ndarray)), *own]
    torch = sys.modules.get("torch")
    try:
        if torch is not None and isinstance(value, torch.Tensor):
            return [("", kind), ("", str(value.dtype)), ("", value.requires_grad), ("", value.detach().cpu().numpy())]
        reduce = copyreg.dispatch_table.get(kind)
        made: Any = reduce(value) if reduce is not None else value.__reduce_ex__(4)
    except Exception:  # whatever a class has made of pickling
        return None
    if isinstance(made, str):  # the name of a type variable is all that it is
        return [("", kind), ("", made)] if kind.__module__ == "typing" else None
    maker, arguments, state, items, pairs = [*made, None, None, None][:5]
    parts = [("", kind if origin(kind.__module__) is None else None), ("", maker), ("", arguments)]  # a maker may be another's
    if state is None and _is_pickled_by_a_base(kind):
        state = getattr(value, "__dict__", None)
    elif _leaves_out(kind):
        own = {**getattr(value, "__dict__", {}), **_slots_of(value)}
        parts += sorted((key, part) for key, part in own.items() if not isinstance(part, _LOCKS) and key not in _cached(kind))
    both: Any = state if _is_slots(state) else (state,)
    for attributes in both:
        if isinstance(attributes, dict) and all(isinstance(key, str) for key in attributes):
            parts += sorted((key, part) for key, part in attributes.items() if key not in _cached(kind))
        else:
            parts.append(("", attributes))
    return [*parts, ("", None if items is None else list(items)), ("", None if pairs is None else list(pairs))]


def _is_slots(state: Any) -> bool:
    return isinstance(state, tuple) and len(state) == 2 and isinstance(state[1], dict)


@functools.lru_cache(maxsize=1024)
def _is_pickled_by_a_base(kind: type) -> bool:
    """Whether it is a user's class of fractions, say, or dates: they do not pickle the attributes that it adds."""
    maker = next((base for base in kind.__mro__ if vars(base).keys() & {"__reduce__", "__reduce_ex__"}), object)
    return origin(kind.__module__) is None and origin(maker.__module__) is not None


@functools.lru_cache(maxsize=1024)
def _leaves_out(kind: type) -> bool:
    """Whether a user's class says itself how it is pickled: it may leave out what it computes with."""
    own = {"__getstate__", "__reduce__", "__reduce_ex__"}
    users = [base for base in kind.__mro__ if origin(base.__module__) is None]
    return any(vars(base).keys() & own for base in users) or (bool(users) and kind in copyreg.dispatch_table)


def _slots_of(value: Any) -> dict[str, Any]:
    names = [name for base in type(value).__mro__ for name in getattr(base, "__slots__", ())]
    return {name: getattr(value, name) for name in names if name not in ("__dict__", "__weakref__") and hasattr(value, name)}


@functools.lru_cache(maxsize=1024)
def _cached(kind: type) -> set[str]:
    """Attributes that hold what was computed from others."""
    names = {key for base in kind.__mro__ for key, member in vars(base).items() if isinstance(member, functools.cached_property)}
    return names | ({"_ufunc"} if issubclass(kind, np.vectorize) else set())


def _type_of(annotation: Any) -> Any:
    """Content of the type of a field: a class, or what it is shown as, without an address in memory."""
    return annotation if isinstance(annotation, type | str) else re.sub(r" at 0x\w+", "", repr(annotation))


def class_members(cls: type) -> Iterator[tuple[str, Any]]:
    """Names and members of a class, but for those that Python writes itself, and metadata and types of a dataclass's fields."""
    for key, member in vars(cls).items():
        if key == "class_type" and type(cls).__module__.startswith("numba."):
            yield "fields", {name: str(field) for name, field in member.struct.items()}
            yield from ((kind, getattr(member, kind)) for kind in ("jit_methods", "jit_props", "jit_static_methods"))
        elif key == "__dataclass_fields__":
            yield from (("metadata", {f.name: dict(f.metadata)}) for f in member.values() if f.metadata)
            yield "types", {f.name: _type_of(f.type) for f in member.values()}
        elif key == "_abc_impl" and (registered := vars(abc)["_get_dump"](cls)[0]):
            yield "registered", frozenset(made for reference in registered if (made := reference()) is not None)
        elif key not in _OF_EVERY_CLASS and not isinstance(member, types.MemberDescriptorType):
            yield key, member
