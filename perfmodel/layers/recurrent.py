"""Recurrent layers: LSTM and GRU, stacked, in both directions, with the LSTM's projection of its state."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from perfmodel.errors import InputError
from perfmodel.layers.base import Layer, Pass, Weight, linear_backward, linear_forward, stream
from perfmodel.work import Matmul, Repeat, Serial, Work

__all__ = ["Recurrent"]

Width = Annotated[int, Field(ge=1)]
GATES = {"lstm": 4, "gru": 3, "rnn": 1}
"""Products with input and state that one step of a cell takes [-]."""


class Recurrent(Layer):
    """A stack of recurrent cells as torch has it: two shifts a cell, states that start at zero.

    The products with the inputs of all steps are one; those with the state wait for each other. Every rank computes
    the whole layer.
    """

    cell: Literal["lstm", "gru", "rnn"] = "lstm"
    """Kind of the cells."""
    inputs: Width
    """Input width [-]."""
    state: Width
    """Width of a cell's state [-]."""
    layers: Width = 1
    """Cells on top of each other [-]."""
    bidirectional: bool = False
    """A second stack reads the sequence backwards; results stand side by side."""
    projection: Annotated[int, Field(ge=0)] = 0
    """Width to which an LSTM projects its hidden state; 0 does not [-]."""
    bias: bool = True
    """Cells have shifts, one for the input and one for the state."""

    @model_validator(mode="after")
    def _only_an_lstm_projects(self) -> Self:
        if self.projection and self.cell != "lstm":
            raise InputError(f"projection = {self.projection}: only an LSTM has one, cell is {self.cell!r}")
        if self.projection >= self.state and self.projection:
            raise InputError(f"projection = {self.projection} must be narrower than state = {self.state}")
        return self

    @property
    def sequential(self) -> bool:
        """Each step waits for the state that the one before leaves."""
        return True

    @property
    def directions(self) -> int:
        """Stacks side by side [-]."""
        return 2 if self.bidirectional else 1

    @property
    def emitted(self) -> int:
        """Width that a cell hands on, one direction [-]."""
        return self.projection or self.state

    @property
    def outputs(self) -> int:
        """Width of the result [-]."""
        return self.directions * self.emitted

    @property
    def _gates(self) -> int:
        return GATES[self.cell] * self.state

    def _cells(self) -> Iterator[tuple[str, int]]:
        """Name and input width of every cell."""
        for layer in range(self.layers):
            for suffix in ("", "_reverse")[: self.directions]:
                yield f"l{layer}{suffix}", self.outputs if layer else self.inputs

    def weights(self) -> tuple[Weight, ...]:
        """Matrices for input and state, two shifts, and the projection, by torch's names."""
        named: list[Weight] = []
        for name, width in self._cells():
            named += [
                Weight(f"weight_ih_{name}", (self._gates, width), "matrix", None),
                Weight(f"weight_hh_{name}", (self._gates, self.emitted), "matrix", None),
            ]
            if self.bias:
                named += [Weight(f"bias_{of}_{name}", (self._gates,), "bias", None) for of in ("ih", "hh")]
            if self.projection:
                named.append(Weight(f"weight_hr_{name}", (self.projection, self.state), "matrix", None))
        return tuple(named)

    def _input_shape(self, p: Pass, width: int) -> dict[str, Any]:
        return {"tokens": p.tokens, "inputs": width, "outputs": self._gates}

    def _step(self, p: Pass) -> Work:
        """What one position waits for: the product with the state, the gates, the projection."""
        parts: list[Work] = [
            linear_forward("state", p, tokens=p.sequences, inputs=self.emitted, outputs=self._gates),
            stream(
                "gates", p, elements=p.sequences * (2 * self._gates + self.state), passes=1, kind="activation"
            ),
        ]
        if self.projection:
            shape = {"tokens": p.sequences, "inputs": self.state, "outputs": self.projection}
            parts.append(linear_forward("projection", p, **shape))
        return Serial("step", tuple(parts))

    def forward(self, p: Pass) -> Work:
        """For each cell one product with all inputs, then the steps."""
        cells = [
            Serial(name, (
                linear_forward("input", p, **self._input_shape(p, width)),
                Repeat("steps", p.queries / p.cp, self._step(p)),
            ))
            for name, width in self._cells()
        ]  # fmt: skip
        return Serial(self.cell, tuple(cells))

    def _step_backward(self, p: Pass) -> tuple[tuple[Work, ...], tuple[Work, ...]]:
        """What is done at each step, and once for all of them."""
        state = {"tokens": p.sequences, "inputs": self.emitted, "outputs": self._gates}
        of_state, _ = linear_backward("state", p, **state)
        _, of_weight = linear_backward("state", p, **state | {"tokens": p.tokens})
        gates = stream(
            "gates backward",
            p,
            elements=p.sequences * (3 * self._gates + self.state),
            passes=1,
            kind="activation",
        )
        if not self.projection:
            return (gates, of_state), (of_weight,)
        shape = {"tokens": p.sequences, "inputs": self.state, "outputs": self.projection}
        of_projected, _ = linear_backward("projection", p, **shape)
        _, of_projection = linear_backward("projection", p, **shape | {"tokens": p.tokens})
        return (of_projected, gates, of_state), (of_weight, of_projection)

    def backward(self, p: Pass) -> Work:
        """The steps in reverse, then the gradients of the weights over all steps at once."""
        return self._backward(p, data=False)

    def backward_to_data(self, p: Pass) -> Work:
        """The same without the gradient of what enters the lowest cells."""
        return self._backward(p, data=True)

    def _backward(self, p: Pass, *, data: bool) -> Work:
        each, once = self._step_backward(p)
        cells = []
        for number, (name, width) in reversed([*enumerate(self._cells())]):
            of_input, of_weight = linear_backward("input", p, **self._input_shape(p, width))
            cells.append(
                Serial(f"{name} backward", (
                    Repeat("steps backward", p.queries / p.cp, Serial("step backward", each)),
                    *once,
                    *(() if data and number < self.directions else (of_input,)),
                    of_weight,
                ))
            )  # fmt: skip
        return Serial(f"{self.cell} backward", tuple(cells))

    def spared(self, p: Pass, *, first: bool) -> Work:
        """The gradients of the states that every cell starts from, and of an input that is data."""
        start: Matmul = linear_forward(
            "state", p, tokens=p.sequences, inputs=self.emitted, outputs=self._gates
        )
        parts: list[Work] = [Repeat("initial states", self.layers * self.directions, start)]
        if first:
            product = linear_forward("input", p, **self._input_shape(p, self.inputs))
            parts.append(Repeat("data", self.directions, product))
        return Serial("spared", tuple(parts))

    def saved(self, p: Pass) -> Any:
        """Of each cell its input, its gates after their activation, and its state."""
        kept = sum(width for _, width in self._cells()) / self.directions  # both directions read one tensor
        cells = (
            self.layers
            * self.directions
            * (self._gates + self.state + (self.state if self.projection else 0))
        )
        return p.tokens * (kept + cells + self.outputs) * p.element_bytes

    def state_bytes(self, element_bytes: Any) -> Any:
        """The hidden state of every cell, and an LSTM's cell state."""
        width = self.emitted + (self.state if self.cell == "lstm" else 0)
        return self.layers * self.directions * width * element_bytes
