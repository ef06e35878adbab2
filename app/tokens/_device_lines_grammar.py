"""The grammar of device lines as tensors, with the look-ahead that closes every net at the declared size.

An internal net is *closed* when two devices touch it and one of its pins drives. Every net has a small integer code
(`_Code`); what a pin does to a code, and to the row's counters, are table look-ups, so a mask is a few gathers.

What a completed sentence guarantees: it decodes; it holds exactly the declared number of devices; every internal net is
closed; no device is shorted over itself and no coil lies across the supply; every device but the first shares a net
with an earlier one or stands on a supply, which counts once an earlier device is *anchored*, on a supply or a port; VSS
and every required port are used; kinds, type and size are those the constraint allows; its devices begin with the
constraint's prefix, whose own devices may lie apart. So without a prefix it breaks no electrical rule that is an error.

Look-ahead. With `d` devices still to come after the current one, and `r` pins (`s` of them driving) left on the current
one, a step is legal only if afterwards

    open + required <= r + T d      open nets that this device opened <= T d
    undriven        <= s + D d      required <= r - u + (T - 1) d

where T and D are pins and driving pins of the most capable ordinary device allowed, and u is 1 while the current device
still has to touch an earlier one (s is 0 for a net that the last driving pin may not take, being distinct from one that
already did). The four together leave a way to `<end>`: each later device touches something earlier with one pin and
closes or serves with the others. A coil on one supply can serve anything but the other one, so a coil counts as one pin
less where both are required, and the last device may not be a coil whose second pin only a supply would serve.

Countdown. Where it is due, the one token legal says how many devices are left, so it takes nothing from a choice.

Prefix. Its tokens are forced: each is the only one legal at its place. They change codes and numbers as any others do,
so with a given size the prefix leaves a way to `<end>` where the inequalities hold after it. Its size digits are those
for which they do.
"""

from __future__ import annotations

from enum import IntEnum
from functools import lru_cache

import torch
from torch import Tensor

from app.analog.kinds import SUPPLY_NETS
from app.errors import InvalidRequest
from app.tokens._base import BEGIN, END, PAD, TensorState
from app.tokens._device_templates import TEMPLATES, Template
from app.tokens.device_lines import (
    COUNTDOWN_STEP,
    HIGH_START,
    INTERNAL_START,
    KIND_START,
    LEFT_START,
    LOW_START,
    MAX_DEVICES,
    MAX_INTERNAL_NETS,
    MAX_PREFIX_DEVICES,
    NET_START,
    TYPE_START,
    VOCABULARY,
    TopologyConstraint,
    with_countdown,
)

_VOCAB = len(VOCABULARY)
_NETS = _VOCAB - NET_START
_NAMED = INTERNAL_START - NET_START
_BASE = 16
_MAX_WIDTH = max(template.width for template in TEMPLATES)
_MAX_PARTNERS = 2

#: Tokens before the first device line, and places for forced tokens: one more than the longest prefix needs.
_HEAD = 3
_FORCED = _HEAD + MAX_PREFIX_DEVICES * (1 + _MAX_WIDTH) + 1

#: Constraints whose first state is kept: a job and its engine start from the same one.
_STARTS_KEPT = 64

#: One place more than there are nets, and than a line has, for what a token or a pin does not have.
_NO_NET = _NETS
_NO_PARTNER = _MAX_WIDTH


class _Phase(IntEnum):
    """What is due next."""

    TYPE = 0
    HIGH = 1
    LOW = 2
    LEFT = 3
    KIND = 4
    NET = 5
    END = 6
    DONE = 7


class _Code(IntEnum):
    """What a net still needs."""

    UNOPENED = 0  # internal, not used yet
    CLOSED = 1  # needs nothing
    NEEDS_DEVICE = 2  # one device so far, driven
    NEEDS_DRIVER = 3  # two devices or more, undriven
    NEEDS_BOTH = 4  # one device so far, undriven
    FRESH_DRIVEN = 5  # opened by the current device
    FRESH_UNDRIVEN = 6
    REQUIRED = 7  # a named net that must still be used
    UNUSED = 8  # a named net that may be used
    NAMED_FRESH = 9  # a named net that the current device uses first
    REQUIRED_SUPPLY = 10  # a supply that must still be used; supplies connect what is anchored
    SUPPLY = 11  # a supply that may be used
    NOTHING = 12  # no net at all


_CODES = len(_Code)
_C = _Code


class _Number(IntEnum):
    """Columns of a row's numbers: about the whole circuit up to LATER_DRIVING, then about the current device."""

    OPEN = 0  # internal nets of earlier devices that are not closed
    UNDRIVEN = 1  # of those, the undriven ones
    FRESH = 2  # open nets that this device opened
    FRESH_UNDRIVEN = 3
    REQUIRED = 4  # named nets that must still be used
    DEVICE = 5  # 1, T and D of the module's inequalities: what one later device adds to the next three
    DEVICE_PINS = 6
    DEVICE_DRIVING = 7
    LATER = 8  # devices after this one
    LATER_PINS = 9
    LATER_DRIVING = 10
    PINS = 11  # pins of this device after the one that is due
    PINS_DRIVING = 12
    UNTOUCHED = 13  # 1 while this device must still touch something earlier


_NUMBERS = len(_Number)
_N = _Number

#: The slacks of the module's inequalities, and of "an untouched device has a pin left", as sums of numbers.
_SLACKS: tuple[dict[_Number, int], ...] = (
    {_N.PINS: 1, _N.LATER_PINS: 1, _N.OPEN: -1, _N.FRESH: -1, _N.REQUIRED: -1},
    {_N.LATER_PINS: 1, _N.FRESH: -1},
    {_N.PINS_DRIVING: 1, _N.LATER_DRIVING: 1, _N.UNDRIVEN: -1, _N.FRESH_UNDRIVEN: -1},
    {_N.LATER_DRIVING: 1, _N.FRESH_UNDRIVEN: -1},
    {_N.PINS: 1, _N.LATER_PINS: 1, _N.LATER: -1, _N.REQUIRED: -1, _N.UNTOUCHED: -1},
    {_N.PINS: 1, _N.UNTOUCHED: -1},
)


def _slack_matrix() -> Tensor:
    """[numbers, slacks]."""
    matrix = torch.zeros(_NUMBERS, len(_SLACKS))
    for column, terms in enumerate(_SLACKS):
        for number, factor in terms.items():
            matrix[number, column] = factor
    return matrix


def _settling_matrix() -> Tensor:
    """[numbers, numbers]: what the end of a device does to the numbers, after which the next device is due."""
    matrix = torch.eye(_NUMBERS)
    for fresh, old in ((_N.FRESH, _N.OPEN), (_N.FRESH_UNDRIVEN, _N.UNDRIVEN)):
        matrix[fresh, fresh], matrix[fresh, old] = 0, 1
    for step in range(3):
        matrix[_N.DEVICE + step, _N.LATER + step] = -1
    matrix[_N.UNTOUCHED, _N.UNTOUCHED] = 0
    return matrix


#: Pins are classed 0 where they sense, 1 where they drive, and 1 + s where they sense and none of the s driving pins
#: after them is counted on for their net.
_PIN_CLASSES = 2 + max(sum(template.drives) for template in TEMPLATES)

#: A place is the class of a pin, and as much more where an earlier device is anchored.
_PLACES = 2 * _PIN_CLASSES

#: What a row is: nothing is anchored, the current device is, an earlier one is.
_ADRIFT, _ANCHORING, _ANCHORED = range(3)


def _pin_class(template: Template, pin: int) -> int:
    """Class of a written position. The last pin that could drive a net must not be distinct from one that took it."""
    if template.drives[pin]:
        return 1
    after = [position for position in range(pin + 1, template.width) if template.drives[position]]
    return 1 + len(after) if after and (pin, after[-1]) in template.distinct else 0


def _transitions() -> tuple[Tensor, Tensor]:
    """Next code [codes, places], and what the pin adds to the numbers [codes, places, numbers].

    -1 in the column UNTOUCHED says that the pin touches something earlier; the number itself stops at 0.
    """
    following = torch.zeros(_CODES, 2, dtype=torch.int64)
    change = torch.zeros(_CODES, 2, _NUMBERS)

    def rule(code: _Code, to: _Code, drives: tuple[int, ...] = (0, 1), **deltas: int) -> None:
        for drive in drives:
            following[code, drive] = to
            for name, delta in deltas.items():
                change[code, drive, _Number[name]] = delta

    rule(_C.CLOSED, _C.CLOSED, UNTOUCHED=-1)
    rule(_C.NEEDS_DEVICE, _C.CLOSED, OPEN=-1, UNTOUCHED=-1)
    rule(_C.NEEDS_DRIVER, _C.NEEDS_DRIVER, (0,), UNTOUCHED=-1)
    rule(_C.NEEDS_DRIVER, _C.CLOSED, (1,), OPEN=-1, UNDRIVEN=-1, UNTOUCHED=-1)
    rule(_C.NEEDS_BOTH, _C.NEEDS_DRIVER, (0,), UNTOUCHED=-1)
    rule(_C.NEEDS_BOTH, _C.CLOSED, (1,), OPEN=-1, UNDRIVEN=-1, UNTOUCHED=-1)
    rule(_C.UNOPENED, _C.FRESH_UNDRIVEN, (0,), FRESH=1, FRESH_UNDRIVEN=1)
    rule(_C.UNOPENED, _C.FRESH_DRIVEN, (1,), FRESH=1)
    rule(_C.FRESH_DRIVEN, _C.FRESH_DRIVEN)
    rule(_C.FRESH_UNDRIVEN, _C.FRESH_UNDRIVEN, (0,))
    rule(_C.FRESH_UNDRIVEN, _C.FRESH_DRIVEN, (1,), FRESH_UNDRIVEN=-1)
    rule(_C.REQUIRED, _C.NAMED_FRESH, REQUIRED=-1)
    rule(_C.UNUSED, _C.NAMED_FRESH)
    rule(_C.NAMED_FRESH, _C.NAMED_FRESH)
    rule(_C.REQUIRED_SUPPLY, _C.SUPPLY, REQUIRED=-1, UNTOUCHED=-1)
    rule(_C.SUPPLY, _C.SUPPLY, UNTOUCHED=-1)
    rule(_C.NOTHING, _C.NOTHING)
    places = torch.tensor(([0, 1] + [0] * (_PIN_CLASSES - 2)) * 2)
    following, change = following[:, places], change[:, places]
    change[_C.REQUIRED_SUPPLY :, :_PIN_CLASSES, _N.UNTOUCHED] = 0
    return following, change


def _settled() -> Tensor:
    """Code of each net once the current device is complete."""
    table = torch.arange(_CODES)
    table[_C.FRESH_DRIVEN] = _C.NEEDS_DEVICE
    table[_C.FRESH_UNDRIVEN] = _C.NEEDS_BOTH
    table[_C.NAMED_FRESH] = _C.CLOSED
    return table


def _rail(template: Template) -> int | None:
    """Which supply a kind token implies: its index in SUPPLY_NETS."""
    return next((SUPPLY_NETS.index(rail) for rail in template.rails), None)


def _kind_slacks(slacks: Tensor) -> Tensor:
    """[cases, kinds, slacks]: what a kind token adds.

    Cases are sums of 8 where an earlier device is anchored, 4 for the first device, 2 where VDD and 1 where VSS is
    required.
    """
    table = torch.zeros(16, len(TEMPLATES), _NUMBERS)
    for case in range(16):
        for number, template in enumerate(TEMPLATES):
            rail = _rail(template)
            table[case, number, _N.PINS] = template.width - (template.shorts_supplies and case & 3 == 3)
            table[case, number, _N.PINS_DRIVING] = sum(template.drives)
            table[case, number, _N.REQUIRED] = -float(rail is not None and bool(case & (2, 1)[rail]))
            table[case, number, _N.UNTOUCHED] = float(not case & 4 and not (case & 8 and rail is not None))
    return table @ slacks


def _code_slacks(change: Tensor, slacks: Tensor) -> Tensor:
    """[cases, codes, slacks]: what a net of each code adds.

    Cases are twice the place of the pin, and 1 more where the device is untouched.
    """
    table = torch.zeros(2 * _PLACES, _CODES, _NUMBERS)
    for case in range(2 * _PLACES):
        place, untouched = divmod(case, 2)
        table[case] = change[:, place]
        table[case, :, _N.UNTOUCHED] *= untouched
        table[case, (_C.NEEDS_DRIVER, _C.NEEDS_BOTH), _N.PINS_DRIVING] = -float(max(0, place % _PIN_CLASSES - 1))
    return table @ slacks


def _positions() -> Tensor:
    """[kinds * (width + 1), 5], for a pin that is due: pins after it, driving ones of those, class, partners."""
    table = torch.zeros(len(TEMPLATES), _MAX_WIDTH + 1, 3 + _MAX_PARTNERS, dtype=torch.int64)
    table[..., 3:] = _NO_PARTNER
    for number, template in enumerate(TEMPLATES):
        for pin in range(template.width):
            partners = [first for first, second in template.distinct if second == pin]
            after = template.drives[pin + 1 :]
            row = [len(after), sum(after), _pin_class(template, pin), *partners]
            table[number, pin, : len(row)] = torch.tensor(row)
    return table.flatten(0, 1)


def _token_tables() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """For every token: what a size digit adds to the devices after the first, the high digit, the kind, the net.

    Zero where a token has no such thing, `_NO_NET` for the net. The net of a kind is the supply that it implies.
    """
    digit = torch.zeros(_VOCAB)
    high, kind = torch.zeros(_VOCAB, dtype=torch.int64), torch.zeros(_VOCAB, dtype=torch.int64)
    net = torch.full((_VOCAB,), _NO_NET)
    for value in range(_BASE):
        digit[HIGH_START + value], digit[LOW_START + value] = value * _BASE, value - 1
        high[HIGH_START + value] = value
    for number, template in enumerate(TEMPLATES):
        rail = _rail(template)
        kind[KIND_START + number] = number
        net[KIND_START + number] = _NO_NET if rail is None else rail
    net[NET_START:] = torch.arange(_NETS)
    return digit, high, kind, net


def _closing_capacity(allowed: list[Template]) -> tuple[int, int]:
    """Pins and driving pins of the most capable ordinary device allowed.

    Rare blocks with many pins are not counted on while ordinary devices are allowed: a sentence closed by them would
    be legal and ugly.
    """
    ordinary = [t for t in allowed if t.token in ("nmos", "pmos", "npn", "pnp")] or [
        t for t in allowed if t.kind not in ("xor", "pfd", "inverter", "transmission_gate")
    ]
    best = max(ordinary or allowed, key=lambda t: (sum(t.drives), t.width))
    return best.width, sum(best.drives)


def _needs(constraint: TopologyConstraint, numbers: list[float]) -> str:
    """What the numbers of a row after the prefix say is still to be done."""
    required = int(numbers[_N.REQUIRED])
    if not constraint.prefix:
        return f"{required} nets must be used"
    done, open_nets = constraint.prefix_devices, int(numbers[_N.OPEN])
    parts = [_counted(done, "device"), _counted(open_nets, "open net")]
    if required:
        parts.append(f"{_counted(required, 'net')} still to be used")
    return f"the prefix has {', '.join(parts[:-1])} and {parts[-1]}"


def _counted(number: int, noun: str) -> str:
    """``1 device``, ``2 devices``."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


class DeviceLineState(TensorState):
    """Row tensors of the automaton.

    `used` counts internal nets; `anchor` says which device is anchored; `case_kind` and `case_net` choose rows of the
    slack tables; `forbidden` are tokens that would short the current device. `forced` holds the token that must stand
    at each place, or PAD where none must, and `due` the one at the place (`taken`) that is next.
    """

    FIELDS = (
        "phase", "numbers", "code", "used", "template", "pin", "line", "is_first", "anchor", "case_kind", "case_net",
        "forbidden", "size_high", "low_digits", "allowed", "forced", "taken", "due",
    )  # fmt: skip

    def __init__(self, rows: int, device: torch.device) -> None:
        def ints(*shape: int) -> Tensor:
            return torch.zeros(rows, *shape, dtype=torch.int64, device=device)

        self.phase = ints() + int(_Phase.DONE)
        self.numbers = torch.zeros(rows, _NUMBERS, device=device)
        self.code = ints(_NETS + 1)
        self.code[:, _NO_NET] = int(_Code.NOTHING)
        self.used, self.template, self.pin, self.size_high = ints(), ints(), ints(), ints()
        self.line = ints(_MAX_WIDTH + 1)
        self.line[:, _NO_PARTNER] = BEGIN - NET_START
        self.is_first, self.anchor, self.case_kind, self.case_net = ints(), ints(), ints(), ints()
        self.forbidden = ints(_MAX_PARTNERS + len(SUPPLY_NETS)) + BEGIN
        self.low_digits = torch.zeros(rows, _BASE, _BASE, dtype=torch.bool, device=device)
        self.allowed = torch.zeros(rows, _VOCAB, dtype=torch.bool, device=device)
        self.forced, self.taken, self.due = ints(_FORCED) + PAD, ints(1), ints(1) + PAD


class DeviceLineGrammar:
    """The grammar; tables live on one accelerator."""

    vocabulary_size = _VOCAB

    def __init__(self, device: torch.device) -> None:
        self.device = device
        following, change = _transitions()
        slacks = _slack_matrix()
        self._following, self._change = following.to(device), change.to(device)
        self._slacks = slacks.to(device)
        self._settling = _settling_matrix().to(device)
        self._settled = _settled().to(device)
        self._kind_slacks = _kind_slacks(slacks).to(device)
        self._code_slacks = _code_slacks(change, slacks).to(device)
        self._positions = _positions().to(device)
        self._width = torch.tensor([template.width for template in TEMPLATES], device=device)
        self._digit, self._high_digit, self._kind_of_token, self._net_of_token = (t.to(device) for t in _token_tables())
        self._supply_cases = torch.tensor([2, 1], device=device)
        self._shorts_supplies = torch.tensor([template.shorts_supplies for template in TEMPLATES], device=device)
        self._supplies = torch.arange(len(SUPPLY_NETS), device=device)
        phases = torch.zeros(len(_Phase), _VOCAB, dtype=torch.bool)
        phases[_Phase.TYPE, TYPE_START:HIGH_START] = True
        phases[_Phase.HIGH, HIGH_START:LOW_START] = True
        phases[_Phase.LOW, LOW_START:LEFT_START] = True
        phases[_Phase.LEFT, LEFT_START:KIND_START] = True
        phases[_Phase.KIND, KIND_START:NET_START] = True
        phases[_Phase.NET, NET_START:] = True
        phases[_Phase.END, END] = True
        phases[_Phase.DONE, PAD] = True
        self._phases = phases.to(device)
        following_phase = {
            _Phase.LOW: _Phase.KIND, _Phase.END: _Phase.DONE, _Phase.DONE: _Phase.DONE, _Phase.NET: _Phase.NET,
        }  # fmt: skip
        self._next_phase = torch.tensor([int(following_phase.get(p, p + 1)) for p in _Phase], device=device)
        self._internal_number = torch.arange(_NETS, device=device) - _NAMED  # N1 is 0; negative for named nets
        self._left = torch.arange(COUNTDOWN_STEP, MAX_DEVICES + 1, COUNTDOWN_STEP, device=device)
        self._only = torch.eye(_VOCAB, dtype=torch.bool, device=device)
        self._start = lru_cache(maxsize=_STARTS_KEPT)(self._begin)

    def allocate(self, rows: int) -> DeviceLineState:
        """Rows that are finished."""
        state = DeviceLineState(rows, self.device)
        state.allowed[:] = True
        return state

    def start(self, constraint: TopologyConstraint) -> DeviceLineState:
        """One row before its type token.

        Raises:
            InvalidRequest: no sentence can have so few devices and use every required port, or complete the prefix.
        """
        state = DeviceLineState(1, self.device)
        state.put(0, self._start(constraint))
        return state

    def _begin(self, constraint: TopologyConstraint) -> DeviceLineState:
        state = DeviceLineState(1, self.device)
        state.phase[0] = int(_Phase.TYPE)
        state.is_first[0] = 1
        allowed = state.allowed[0]
        allowed[:] = True
        allowed[TYPE_START:HIGH_START] = False
        for name in constraint.types:
            allowed[VOCABULARY.index[f"type:{name}"]] = True
        templates = [t for t in TEMPLATES if constraint.kinds is None or t.kind in constraint.kinds]
        allowed[KIND_START:NET_START] = False
        for template in templates:
            allowed[VOCABULARY.index[f"kind:{template.token}"]] = True
        pins, driving = _closing_capacity(templates)
        required = {"VSS", *constraint.ports}
        state.code[0, :_NAMED] = int(_Code.UNUSED)
        state.code[0, : len(SUPPLY_NETS)] = int(_Code.SUPPLY)
        for net in required:
            code = _Code.REQUIRED_SUPPLY if net in SUPPLY_NETS else _Code.REQUIRED
            state.code[0, VOCABULARY.index[net] - NET_START] = int(code)
        state.case_kind[0] = 4 + 2 * ("VDD" in required) + 1
        numbers = {_N.REQUIRED: len(required), _N.DEVICE: 1, _N.DEVICE_PINS: pins, _N.DEVICE_DRIVING: driving}
        for column, value in numbers.items():
            state.numbers[0, column] = value
        self._limit_size(state, constraint)
        if constraint.prefix:
            state.forced[0, _HEAD : _HEAD + len(constraint.prefix)] = torch.tensor(constraint.prefix)
        return state

    def _limit_size(self, state: DeviceLineState, constraint: TopologyConstraint) -> None:
        """The size digits that some possible size has, and which low digits go with each high one."""
        done = constraint.prefix_devices
        written = self._written(state, constraint)
        sizes = [done] if done and self._is_complete(written) else []
        sizes += [done + 1 + later for later in self._possible_numbers_later(written, MAX_DEVICES - done)]
        least = max(constraint.min_devices, min(sizes, default=MAX_DEVICES + 1))
        if least > constraint.max_devices:
            raise InvalidRequest(
                f"{_needs(constraint, written.numbers[0].tolist())}, which takes "
                f"{f'at least {least}' if sizes else f'more than {MAX_DEVICES}'} devices; "
                f"at most {constraint.max_devices} are allowed",
                pointer="/max_devices" if done else "/ports",
            )
        for size in sizes:
            if constraint.min_devices <= size <= constraint.max_devices:
                state.low_digits[0, size // _BASE, size % _BASE] = True
        state.allowed[0, HIGH_START:LOW_START] = state.low_digits[0].any(-1)

    def _written(self, state: DeviceLineState, constraint: TopologyConstraint) -> DeviceLineState:
        """The one row of `state` after the largest size and the prefix."""
        written = DeviceLineState(1, self.device)
        written.put(0, state)
        largest = (TYPE_START, HIGH_START + MAX_DEVICES // _BASE, LOW_START + MAX_DEVICES % _BASE)
        with torch.inference_mode():
            first_tokens = (*largest, *with_countdown(MAX_DEVICES, constraint.prefix))
            for token in torch.tensor(first_tokens, device=self.device)[:, None]:
                self.advance(written, token)
        return written

    def _is_complete(self, written: DeviceLineState) -> bool:
        """Whether the row's devices are a circuit without any more."""
        return not bool(written.numbers[0, [_N.OPEN, _N.UNDRIVEN, _N.REQUIRED]].any())

    def _possible_numbers_later(self, written: DeviceLineState, most: int) -> list[int]:
        """Of 0 to `most` - 1 devices after the next one, those with which the row, where a kind is due, can end."""
        later = torch.arange(most, device=self.device)[:, None]
        numbers = written.numbers.repeat(most, 1)
        numbers[:, _N.LATER : _N.PINS] = later * numbers[:, _N.DEVICE : _N.LATER]
        slack = (numbers @ self._slacks)[:, None] + self._kind_slacks[written.case_kind]
        is_possible = (slack.amin(-1) >= 0) & written.allowed[:, KIND_START:NET_START]
        possible: list[int] = is_possible.any(-1).nonzero()[:, 0].tolist()
        return possible

    def longest(self, constraint: TopologyConstraint) -> int:
        """Begin, type, two digits, the prefix, a line of at most a block's width for each other device, end."""
        widths = [t.width for t in TEMPLATES if constraint.kinds is None or t.kind in constraint.kinds]
        lines = (constraint.max_devices - constraint.prefix_devices) * (1 + max(widths))
        return 5 + len(constraint.prefix) + lines + constraint.max_devices // COUNTDOWN_STEP

    def given(self, state: DeviceLineState, rows: int) -> Tensor:
        """Bool [rows]: whether the next token is one of the constraint's prefix."""
        here = state.first(rows)
        return (here.due[:, 0] != PAD) & (here.phase != _Phase.LEFT)

    def mask(self, state: DeviceLineState, rows: int) -> Tensor:
        """Bool [rows, vocabulary]: the tokens that may follow."""
        here = state.first(rows)
        mask = self._phases[here.phase] & here.allowed
        every = torch.arange(rows, device=self.device)
        mask[:, LOW_START:LEFT_START] &= here.low_digits[every, here.size_high]
        mask[:, LEFT_START:KIND_START] &= self._left == here.numbers[:, _N.LATER, None] + 1.0
        slack = (here.numbers @ self._slacks)[:, None]
        mask[:, KIND_START:NET_START] &= (slack + self._kind_slacks[here.case_kind]).amin(-1) >= 0
        possible = (slack + self._code_slacks[here.case_net]).amin(-1) >= 0
        mask[:, NET_START:] &= possible.gather(1, here.code[:, :_NETS])
        mask[:, NET_START:] &= self._internal_number <= here.used[:, None]
        mask.scatter_(1, here.forbidden, False)
        is_free = (here.due == PAD) | (here.phase == _Phase.LEFT)[:, None]
        return torch.where(is_free, mask, self._only[here.due[:, 0]])

    def advance(self, state: DeviceLineState, tokens: Tensor) -> None:
        """Each of the first len(tokens) rows has taken its token."""
        rows = len(tokens)
        here = state.first(rows)
        phase, numbers = here.phase, here.numbers
        here.taken.add_((phase != _Phase.LEFT)[:, None]).clamp_(max=_FORCED - 1)
        torch.gather(here.forced, 1, here.taken, out=here.due)
        is_net, is_kind = phase == _Phase.NET, phase == _Phase.KIND

        # the size says how many devices come after the first
        numbers[:, _N.LATER : _N.PINS] += self._digit[tokens][:, None] * numbers[:, _N.DEVICE : _N.LATER]
        here.size_high.copy_(self._high_digit[tokens])

        # a net, or the supply that a kind implies: what its code and the pin's class add to the numbers, its next code,
        # and its place on the line (a kind's place is overwritten by the first net of its line)
        numbers[:, _N.UNTOUCHED] = torch.where(is_kind, 1.0 - here.is_first, numbers[:, _N.UNTOUCHED])
        net = self._net_of_token[tokens][:, None]
        code = here.code.gather(1, net)[:, 0]
        pin_class = here.case_net >> 1
        numbers += self._change[code, pin_class]
        here.code.scatter_(1, net, self._following[code, pin_class][:, None])
        here.used += code == _Code.UNOPENED
        here.line.scatter_(1, here.pin[:, None], net)
        template = torch.where(is_kind, self._kind_of_token[tokens], here.template)
        here.template.copy_(template)

        # the pin that is due now, unless the device is complete
        pin = (here.pin + 1) * is_net
        ends = is_net & (pin >= self._width[template])
        writes = (is_kind | is_net) & ~ends
        pin *= writes
        here.pin.copy_(pin)
        due = self._positions[template * (_MAX_WIDTH + 1) + pin]
        is_last = numbers[:, _N.LATER] == 0
        numbers.copy_(torch.where(ends[:, None], numbers @ self._settling, numbers))
        numbers[:, _N.PINS : _N.UNTOUCHED] = due[:, :2] * writes[:, None]
        untouched = numbers[:, _N.UNTOUCHED].clamp(0) * writes
        numbers[:, _N.UNTOUCHED] = untouched
        here.code[:] = torch.where(ends[:, None], self._settled[here.code], here.code)
        here.is_first *= ~ends
        torch.maximum(here.anchor, (net[:, 0] < _NAMED) * _ANCHORING, out=here.anchor)
        here.anchor.copy_(torch.where(ends & (here.anchor == _ANCHORING), _ANCHORED, here.anchor))
        is_anchored = here.anchor == _ANCHORED
        required = here.code[:, : len(SUPPLY_NETS)] == _Code.REQUIRED_SUPPLY
        here.case_kind[:] = is_anchored * 8 + here.is_first * 4 + (required * self._supply_cases).sum(-1)
        here.case_net.copy_((is_anchored * _PIN_CLASSES + due[:, 2]) * 2 + untouched)

        # a coil may not hold both supplies: not one after the other, nor one where only the other is left to serve
        partners = here.line.gather(1, due[:, 3:])
        other = partners[:, :1] == self._supplies.flip(0)
        leaves_short = required.flip(1) & (is_last & (pin == 0))[:, None]
        shorts = (other | leaves_short) & (self._shorts_supplies[template] & writes)[:, None]
        here.forbidden[:, :_MAX_PARTNERS] = partners + NET_START
        here.forbidden[:, _MAX_PARTNERS:] = torch.where(shorts, self._supplies + NET_START, BEGIN)
        ended = torch.where(is_last, int(_Phase.END), int(_Phase.KIND))
        due_phase = torch.where(ends, ended, self._next_phase[phase])
        is_counted = numbers[:, _N.LATER] % COUNTDOWN_STEP == COUNTDOWN_STEP - 1
        is_counted &= (due_phase == _Phase.KIND) & (phase != _Phase.LEFT)
        here.phase[:] = torch.where(is_counted, int(_Phase.LEFT), due_phase)


assert MAX_DEVICES < _BASE * _BASE, "two size digits hold every size"
assert MAX_INTERNAL_NETS == _NETS - _NAMED, "internal nets end the vocabulary"
