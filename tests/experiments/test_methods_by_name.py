"""Methods and laws as text: what is spelled is what is made, nothing is run, and what is wrong is refused."""

import dataclasses
import sys
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import untrained as ut
from any_methods import LAWS, METHODS
from untrained.experiments.by_name import import_method, last_of, law_of, method_of, split, takes_keep
from untrained.methods import METHODS as NAMES

LAW_NAMES = {
    "signed-constant": ut.SignedConstant,
    "unsigned-constant": ut.UnsignedConstant,
    "kaiming-normal": ut.KaimingNormal,
    "kaiming-uniform": ut.KaimingUniform,
    "xavier-normal": ut.XavierNormal,
    "xavier-uniform": ut.XavierUniform,
    "xavier-constant": ut.XavierConstant,
    "standard": ut.Standard,
    "prototype": ut.Prototype,
}
NAME_OF = {cls: name for name, cls in NAMES.items()}


def spelled(value, quoted, inner=True):
    """A method, law, part or value as somebody would write it on a command line."""
    if dataclasses.is_dataclass(value):
        cls = type(value)
        name = cls.__name__ if inner else NAME_OF.get(cls) or next(n for n, c in LAW_NAMES.items() if c is cls)
        fields = [f"{f.name}={spelled(getattr(value, f.name), quoted)}" for f in dataclasses.fields(value)]
        return f"{name}({', '.join(fields)})" if fields or inner else name
    return value if isinstance(value, str) and not quoted else repr(value)


def refusal(text, make=method_of):
    """What is said of a text that is refused."""
    with pytest.raises((ValueError, FileNotFoundError)) as refused:
        make(text)
    said = str(refused.value)
    assert said and "Traceback" not in said
    return said


# --- what is spelled is what is made ---


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_its_method(name):
    assert method_of(name) == method_of(f"{name}()") == method_of(f" {name} ( ) \n") == NAMES[name]()


@pytest.mark.parametrize("name", LAW_NAMES)
def test_a_name_is_its_law(name):
    assert law_of(name) == law_of(f"{name}()") == law_of(f"  {name}  ") == LAW_NAMES[name]()


@given(METHODS, st.booleans())
@settings(max_examples=80)
def test_a_method_spelled_out_is_itself(method, quoted):
    found = method_of(spelled(method, quoted, inner=False))
    assert found == method and type(found) is type(method) and repr(found) == repr(method)


@given(LAWS, st.booleans())
@settings(max_examples=24)
def test_a_law_spelled_out_is_itself(law, quoted):
    assert law_of(spelled(law, quoted, inner=False)) == law


EXAMPLES = {
    "edge-popup(scope=global)": ut.EdgePopup(scope="global"),
    "edge-popup(scope='global', signed=True)": ut.EdgePopup(scope="global", signed=True),
    'edge-popup( keep = 0.1 ,\n scope="layer" , )': ut.EdgePopup(0.1),
    "edge-popup(structure=None)": ut.EdgePopup(),
    "edge-popup(keep=1)": ut.EdgePopup(1.0),
    "edge-popup(keep=1e-2)": ut.EdgePopup(0.01),
    "edge-popup(structure=NofM(2, 4))": ut.EdgePopup(structure=ut.NofM(2, 4)),
    "edge-popup(structure=NofM(n=2,m=4))": ut.EdgePopup(structure=ut.NofM(2, 4)),
    "edge-popup(keep=0.1, structure=Block(32, width=16))": ut.EdgePopup(0.1, structure=ut.Block(32, 16)),
    "edge-popup(keep=Cubic(0.5, 0.05, until=0.5))": ut.EdgePopup(ut.Cubic(0.5, 0.05, 0.5)),
    "biprop(keep=Geometric(1.0, 0.1, steps=4))": ut.Biprop(ut.Geometric(1.0, 0.1, steps=4)),
    "biprop(keep=Geometric(1.0, 0.1, steps=None))": ut.Biprop(ut.Geometric(1.0, 0.1)),
    "iterand(keep=Constant(0.5), rate=0)": ut.IteRand(ut.Constant(0.5), rate=0),
    "gem-miner(keep=Linear(start=1, end=0.5))": ut.GemMiner(ut.Linear(1, 0.5)),
    "threshold(start=None)": ut.Threshold(start=None),
    "threshold(start=-1.5, ternary=True)": ut.Threshold(start=-1.5, ternary=True),
    "partly-frozen(of=Dense())": ut.PartlyFrozen(ut.Dense()),
    "partly-frozen(of=EdgePopup(keep=0.2, scope=global), pruned=0)": ut.PartlyFrozen(ut.EdgePopup(0.2, "global"), 0),
    "partly-frozen(of=RelaxedBernoulli(sparsity=Linear(0, 2)))": ut.PartlyFrozen(
        ut.RelaxedBernoulli(sparsity=ut.Linear(0, 2))
    ),
}


@pytest.mark.parametrize("text", EXAMPLES)
def test_an_example_is_read(text):
    assert method_of(text) == EXAMPLES[text]


@pytest.mark.parametrize("name", NAMES)
def test_a_keep_is_for_methods_that_are_told(name):
    method = method_of(name, 0.3)
    assert method == NAMES[name]().keeping(0.3)
    assert getattr(method, "keep", 0.3) == 0.3
    assert method_of(name, None) == NAMES[name]()


def test_a_keep_below_a_half_anneals_global_scopes():
    assert method_of("edge-popup(scope=global)", 0.1).keep == ut.Cubic(0.5, 0.1, until=0.5)
    assert method_of("edge-popup(keep=0.7, scope=global)", 0.8).keep == 0.7  # one in the brackets wins
    assert method_of("edge-popup(scope=global)", 0.8).keep == 0.8
    assert method_of("edge-popup(structure=NofM(2, 4))", 0.1) == ut.EdgePopup(structure=ut.NofM(2, 4))
    assert method_of("partly-frozen(of=EdgePopup())", 0.1).of.keep == 0.1


LASTS = {
    "edge-popup(keep=0.03,signed=True,last=Nudge(step=0.5,levels=31))": ut.Nudge(0.5, 31),
    "edge-popup(last=EdgePopup(keep=0.9))": ut.EdgePopup(0.9),
    "edge-popup(last=PartlyFrozen(of=Biprop(keep=0.5)))": ut.PartlyFrozen(ut.Biprop(0.5)),
    "partly-frozen(of=EdgePopup(),last=Dense())": ut.Dense(),
    "untrained:EdgePopup(last=Nudge())": ut.Nudge(),
    "edge-popup": None,
    "partly-frozen(of=EdgePopup(keep=0.2))": None,
}


@pytest.mark.parametrize("text", LASTS)
def test_the_method_of_the_last_layer_is_read_and_has_its_own_keep(text):
    assert last_of(text) == LASTS[text]
    main = method_of(text, 0.3)
    own = "(keep=" in text.partition("last")[0]
    assert own or main.final_keep == 0.3 or main.of.keep == 0.3
    assert takes_keep(text) != own


# --- lists ---

PIECES = st.text(st.characters(codec="ascii", exclude_characters="(),"), min_size=1, max_size=5).filter(str.strip)
TEXTS = st.recursive(
    PIECES,
    lambda inner: st.builds(lambda name, parts: f"{name}({', '.join(parts)})", PIECES, st.lists(inner, max_size=4)),
    max_leaves=12,
)


@given(st.lists(TEXTS, max_size=6), st.sampled_from([",", ", ", " ,", ",,", " , \n"]))
@settings(max_examples=40)
def test_a_list_is_split_outside_of_brackets(texts, separator):
    assert split(separator.join(texts)) == [text.strip() for text in texts]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("", []),
        (" ,, ", []),
        ("a", ["a"]),
        ("a(b,c", ["a(b,c"]),
        ("a),b", ["a),b"]),
        ("a,b(c,(d,e)),f", ["a", "b(c,(d,e))", "f"]),
    ],
)
def test_odd_lists(text, parts):
    assert split(text) == parts


# --- what is wrong ---

WRONG = {
    "nothing": "",
    "space": "  \n",
    "brackets": "()",
    "no name": "(keep=0.5)",
    "unknown": "edge-pop",
    "a class": "EdgePopup",
    "a part": "NofM(2, 4)",
    "a law": "kaiming-normal",
    "unclosed": "edge-popup(keep=0.5",
    "unopened": "edge-popup keep=0.5)",
    "two names": "edge-popup(keep=0.5) biprop",
    "closed twice": "edge-popup(keep=0.5))",
    "opened twice": "edge-popup((keep=0.5)",
    "a comma too many": "edge-popup(,keep=0.5)",
    "no value": "edge-popup(keep=)",
    "no field": "edge-popup(=0.5)",
    "by place": "edge-popup(0.5)",
    "by place and name": "edge-popup(0.5, keep=0.5)",
    "stars": "edge-popup(*x)",
    "two stars": "edge-popup(**x)",
    "two stars of a dict": 'edge-popup(**{"keep": 0.5})',
    "unknown field": "edge-popup(kep=0.5)",
    "a field of none": "dense(keep=0.5)",
    "private field": "edge-popup(__class__=int)",
    "keep of a word": "edge-popup(keep=half)",
    "keep of 0": "edge-popup(keep=0)",
    "keep above 1": "edge-popup(keep=1.5)",
    "keep below 0": "edge-popup(keep=-0.5)",
    "keep nan": "edge-popup(keep=nan)",
    "keep infinite": "edge-popup(keep=1e999)",
    "keep None": "edge-popup(keep=None)",
    "keep of a list": "edge-popup(keep=[0.5])",
    "keep of a set": "edge-popup(keep={0.5})",
    "keep of a part": "edge-popup(keep=NofM(2, 4))",
    "keep of a method": "edge-popup(keep=EdgePopup())",
    "keep complex": "edge-popup(keep=1+2j)",
    "keep of many digits": f"edge-popup(keep={'9' * 5000})",
    "keep of a schedule above 1": "edge-popup(keep=Cubic(1.5, 0.5))",
    "keep of a schedule to 0": "edge-popup(keep=Linear(0.5, 0))",
    "a schedule that never ends": "edge-popup(keep=Linear(0.5, 0.1, until=0))",
    "a schedule of words": "edge-popup(keep=Linear(a, b))",
    "scope of a list": "edge-popup(scope=[layer])",
    "unknown scope": "edge-popup(scope=everywhere)",
    "scope of a number": "edge-popup(scope=1)",
    "unknown part": "edge-popup(structure=Tiles(2, 4))",
    "part of too much": "edge-popup(structure=NofM(2, 4, 8))",
    "part of too little": "edge-popup(structure=NofM(2))",
    "part with another field": "edge-popup(structure=NofM(2, 4, keep=0.5))",
    "part of stars": "edge-popup(structure=NofM(*x))",
    "part of two stars": "edge-popup(structure=NofM(**x))",
    "part of a word": "edge-popup(structure=Block('a', 5))",
    "part with another keep": "edge-popup(keep=0.3, structure=NofM(2, 4))",
    "part of nothing": "edge-popup(structure=NofM(0, 4))",
    "part and scope": "edge-popup(scope=global, structure=NofM(2, 4))",
    "a recipe": "edge-popup(keep=Recipe())",
    "nested twice": "partly-frozen(of=PartlyFrozen())",
    "nested, redrawn": "partly-frozen(of=IteRand())",
    "too many values": "slot-machines(values=128)",
    "a null": "edge-popup(keep=\0)",
    "an unfinished string": "edge-popup(scope='layer)",
    "an escape": r"edge-popup(scope='\d')",
    "an assignment": "edge-popup(keep=(x:=0.5))",
    "an expression": "edge-popup(keep=1/2)",
    "an f-string": 'edge-popup(keep=f"{1}")',
    "an attribute": "edge-popup(keep=math.pi)",
    "an index": "edge-popup(keep=[0.5][0])",
    "a conditional": "edge-popup(keep=0.5) if True else print()",
    "a sum": "edge-popup() + print()",
    "a loop": "edge-popup(keep=[x for x in (0.5,)])",
    "a generator": "edge-popup(keep=0.5 for x in y)",
    "an import": 'edge-popup(keep=__import__("os").getcwd())',
    "a lambda": "edge-popup(keep=lambda: 0.5)",
    "a lambda that is called": "edge-popup(keep=(lambda: 0.5)())",
    "an awaited one": "edge-popup(keep=await x)",
    "a yield": "edge-popup(keep=(yield))",
    "many brackets": f"edge-popup(keep={'(' * 500}1{')' * 500})",
    "many lists": f"edge-popup(keep={'[' * 150}1{']' * 150})",
    "many parts": f"edge-popup(keep={'NofM(' * 150}1{')' * 150})",
    "no file": "nowhere.py:Mine",
    "no class": "untrained.methods:",
    "no module": ":EdgePopup",
    "unknown module": "no_such_module_anywhere:Mine",
    "a relative module": "..methods:EdgePopup",
    "an unknown class": "untrained.methods:EdgePopups",
    "an abstract class": "untrained:Method",
    "no method": "json:JSONDecoder",
    "a function": "json:loads",
    "a law's class": "untrained:SignedConstant",
    "fields of a class": "untrained:EdgePopup(kep=0.5)",
    "brackets twice": "edge-popup(keep=0.1)(signed=True)",
    "an attribute of it": "edge-popup(keep=0.1).keeping(signed=True)",
    "an index of it": "edge-popup(keep=0.1)[0](signed=True)",
    "a field twice": "edge-popup(keep=0.1, keep=0.2)",
    "a part's field twice": "edge-popup(structure=Block(2, width=3, width=4))",
    "a boolean in lower case": "edge-popup(signed=false)",
    "a boolean of a number": "edge-popup(signed=2)",
    "a boolean of a list": "edge-popup(signed=[])",
    "a boolean of dots": "edge-popup(signed=...)",
    "half a coat": "multicoated(coats=2.5)",
    "half a value": "slot-machines(values=2.5)",
    "half a step": "iterand(period=2.5)",
    "half a drop": "gem-miner(drops=2.5)",
    "half a block": "edge-popup(structure=Block(1.5, 5))",
    "half a group": "edge-popup(structure=NofM(2.5, 5))",
    "a start of a word": "threshold(start=soon)",
    "another start of a word": "bernoulli(start=soon)",
    "a structure that is a method": "edge-popup(structure=EdgePopup())",
    "a structure of a word": "edge-popup(structure=NofM)",
    "a structure of a number": "edge-popup(structure=2)",
    "an inner word": "partly-frozen(of=EdgePopup)",
    "an inner part": "partly-frozen(of=NofM(2, 4))",
    "no inner method": "partly-frozen(of=None)",
    "an integer beyond floats": f"edge-popup(keep=Linear(1, 1{'0' * 400}))",
    "a last word": "edge-popup(last=nudge)",
    "a last number": "edge-popup(last=0.5)",
    "a last part": "edge-popup(last=NofM(2, 4))",
    "a last twice": "edge-popup(last=Nudge(), last=Nudge())",
    "a last keep": "edge-popup(last=Nudge(keep=0.5))",
    "a last last": "edge-popup(last=EdgePopup(last=Nudge()))",
    "many signs": f"edge-popup(keep={'-' * 5000}1)",
    "very many signs": f"edge-popup(keep={'-' * 100000}1)",
    "many attributes": f"edge-popup(keep=x{'.a' * 5000})",
    "a long sum": f"edge-popup(keep={'1+' * 50000}1)",
    "many lambdas": f"edge-popup(keep={'lambda:' * 50000}1)",
}


@pytest.mark.parametrize("text", WRONG.values(), ids=WRONG)
def test_a_wrong_text_is_refused(text):
    refusal(text)


WRONG_LAWS = {
    "nothing": "",
    "unknown": "cauchy",
    "a class": "KaimingNormal",
    "a base": "weight-law",
    "a private base": "-kaiming",
    "a method": "edge-popup",
    "a module": "untrained:KaimingNormal",
    "by place": "kaiming-normal(in)",
    "unknown field": "standard(fan=in)",
    "unknown fan": "kaiming-normal(fan=both)",
    "fan of a list": "kaiming-normal(fan=[])",
    "unknown nonlinearity": "kaiming-normal(nonlinearity=gelu)",
    "nonlinearity of a list": "kaiming-normal(nonlinearity=[])",
    "no length": "prototype(length=0)",
    "length of a word": "prototype(length=long)",
    "half a length": "prototype(length=2.5)",
    "a boolean in lower case": "kaiming-normal(scaled=false)",
    "a boolean of a number": "standard(scaled=1)",
    "an import": 'standard(scaled=__import__("os").getcwd())',
}


@pytest.mark.parametrize("text", WRONG_LAWS.values(), ids=WRONG_LAWS)
def test_a_wrong_law_is_refused(text):
    refusal(text, law_of)


@given(st.text(st.sampled_from(list("edge-popupkNofMCubic()=,.*:'\"\\[]{} 0125\n")), max_size=40))
@settings(max_examples=80)
def test_random_text_is_refused_or_made(text):
    if "." in text and ":" in text:
        return  # it may name a module
    for make in (method_of, law_of):
        try:
            make(text)
        except ValueError:
            pass
        split(text)


MESSAGES = {
    "edge-pop": ["unknown method 'edge-pop'", "edge-popup", "slot-machines"],
    "edge-popup(kep=0.5)": ["there is no field 'kep'", "keep, scope, signed, structure"],
    "dense(keep=0.5)": ["there is no field 'keep'", "it has none"],
    "edge-popup(keep=1.5)": ["keep must be in (0, 1], got 1.5"],
    "edge-popup(structure=Tiles(2))": ["unknown part 'Tiles'", "NofM", "Cubic"],
    "nowhere.py:Mine": ["no such file", "nowhere.py"],
    "no_such_module_anywhere:Mine": ["cannot be imported", "no_such_module_anywhere"],
    "json:JSONDecoder": ["json has no untrained.Method called 'JSONDecoder'"],
    "edge-popup(": ["'edge-popup(' is not a name"],
    "edge-popup(0.5)": ["every value needs the name of its field"],
    "edge-popup(keep=0.1, keep=0.2)": ["a field is given twice"],
}


@pytest.mark.parametrize("text", MESSAGES)
def test_a_refusal_says_what_is_wrong(text):
    said = refusal(text)
    assert "\n" not in said
    for part in MESSAGES[text]:
        assert part in said


def test_a_refusal_shows_no_insides():
    assert "object at 0x" not in refusal("edge-popup(keep=math.pi)")


def test_much_space_is_refused_soon():
    start = time.process_time()
    refusal(" " * 180 + "(")
    assert time.process_time() - start < 0.1


EVIL = 'pathlib.Path("evil").touch()'


@pytest.mark.parametrize(
    "text",
    [
        f"edge-popup(keep=__import__('pathlib').{EVIL})",
        f"edge-popup(keep=eval('__import__(\"pathlib\").{EVIL}'))",
        f"edge-popup(keep=[__import__('pathlib').{EVIL}][0])",
        f"edge-popup(keep=0.5, structure=NofM(__import__('pathlib').{EVIL}, 4))",
        f"edge-popup(keep=(lambda: __import__('pathlib').{EVIL})())",
        f"edge-popup(keep=0.5) or __import__('pathlib').{EVIL}",
        "edge-popup(keep=f\"{__import__('pathlib').Path('evil').touch()}\")",
        "edge-popup(**__import__('pathlib').Path('evil').__dict__)",
        f"__import__('pathlib').{EVIL}",
        "edge-popup(keep=open('evil', 'w'))",
        "edge-popup(keep=Path('evil').touch())",
        "edge-popup(structure=open('evil', 'w'))",
    ],
)
@pytest.mark.parametrize("make", [method_of, law_of])
def test_nothing_is_run(make, text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    refusal(text, make)
    assert not list(tmp_path.iterdir())


# --- one's own ---

MINE = '''
from dataclasses import dataclass
from typing import final

import torch

import untrained as ut


@final
@dataclass(frozen=True)
class CLASS(ut.Method):
    """Keeps everything, some number of times."""

    keep: float = 0.5
    times: int = 1

    def init_scores(self, weight, generator):
        return torch.zeros_like(weight)

    def codes(self, weights, scores):
        return {name: torch.full_like(w, self.times, dtype=torch.int8) for name, w in weights.items()}

    def decode(self, weight, codes):
        return weight * codes

    def effective(self, weights, scores):
        return {name: weight * self.times for name, weight in weights.items()}


class Half(ut.Method):
    """Has none of the four."""


NUMBER = 5
made = CLASS()
'''


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A function that writes a module with a method of that name, and forgets it after the test."""
    before = set(sys.modules)

    def write(place, cls, text=MINE):
        path = tmp_path / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace("CLASS", cls))
        return path

    yield write
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) and str(tmp_path) in str(sys.modules[name].__file__):
            del sys.modules[name]


def test_a_method_of_a_file(own, monkeypatch):
    path = own("deep folder/mine.v2.py", "SpelledInAFile")
    method = method_of(f"{path}:SpelledInAFile(times=3)", 0.2)
    assert type(method).__name__ == "SpelledInAFile" and (method.keep, method.times) == (0.2, 3)
    assert import_method(f"{path}:SpelledInAFile") is type(method)
    assert method_of(f" {path}:SpelledInAFile ") == method_of(f"{path}:SpelledInAFile()")
    monkeypatch.chdir(path.parent)
    assert import_method("mine.v2.py:SpelledInAFile") is type(method)


def test_a_method_of_a_module(own, tmp_path, monkeypatch):
    own("package_of_mine/__init__.py", "", "")
    own("package_of_mine/methods.py", "SpelledInAModule")
    monkeypatch.syspath_prepend(tmp_path)
    method = method_of("package_of_mine.methods:SpelledInAModule(times=3)")
    assert (method.keep, method.times) == (0.5, 3)
    assert import_method("package_of_mine.methods:SpelledInAModule") is type(method)
    assert method_of("untrained.methods.edge_popup:EdgePopup(keep=0.2)") == ut.EdgePopup(0.2)


@pytest.mark.parametrize("cls", ["Half", "NUMBER", "made", "ut", "Missing", "", "__name__"])
def test_what_is_no_method_in_a_file_is_refused(cls, own):
    path = own("mine_without.py", "SpelledBeside")
    said = refusal(f"{path}:{cls}")
    assert cls in said and (str(path) in said or "must be a @final @dataclass" in said)


@pytest.mark.parametrize("fields", ["kep=1", "0.5", "keep=__import__('os')"])
def test_wrong_fields_of_ones_own_are_refused(fields, own):
    refusal(f"{own('mine_wrong.py', 'SpelledWrong')}:SpelledWrong({fields})")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("def broken(:", "SyntaxError"),
        ("1 / 0", "ZeroDivisionError"),
        ("import no_such_module_anywhere", "ModuleNotFoundError"),
        ("raise ValueError('of mine')", "of mine"),
        ("\0", "cannot be imported"),
        ("import untrained as ut\nclass Mine(ut.Missing): pass", "AttributeError"),
        ("raise SystemExit(0)", "SystemExit"),
    ],
    ids=["syntax", "division", "import", "own error", "null", "no such base", "exit"],
)
def test_a_file_that_cannot_be_run_is_refused(text, said, own):
    path = own("mine_broken.py", "", text)
    before = set(sys.modules)
    complaint = refusal(f"{path}:Mine")
    assert said in complaint and str(path) in complaint
    assert not {name for name in set(sys.modules) - before if "mine_broken" in name}
    path.write_text(MINE.replace("CLASS", "SpelledAfterwards"))
    assert import_method(f"{path}:SpelledAfterwards").__name__ == "SpelledAfterwards"


@pytest.mark.parametrize("place", ["nowhere.py", "folder.py", "no/where/mine.py", ".py", "a\0b.py"])
def test_a_missing_file_is_refused(place, tmp_path):
    (tmp_path / "folder.py").mkdir()
    with pytest.raises(FileNotFoundError, match="no such file"):
        method_of(f"{tmp_path / place}:Mine")


def test_files_of_one_name_are_two(own):
    first, second = own("a/mine_twin.py", "SpelledInA"), own("b/mine_twin.py", "SpelledInB")
    assert import_method(f"{first}:SpelledInA").__name__ == "SpelledInA"
    assert import_method(f"{second}:SpelledInB").__name__ == "SpelledInB"


def test_files_of_one_name_are_each_run_once(own):
    first, second = own("a/mine_two.py", "SpelledInTheFirst"), own("b/mine_two.py", "SpelledInTheSecond")
    found = import_method(f"{first}:SpelledInTheFirst")
    import_method(f"{second}:SpelledInTheSecond")
    assert import_method(f"{first}:SpelledInTheFirst") is found


def test_a_method_that_is_no_dataclass_is_refused(own):
    text = MINE.replace("@final\n@dataclass(frozen=True)\n", "")
    refusal(f"{own('mine_plain.py', 'SpelledPlainly', text)}:SpelledPlainly")
