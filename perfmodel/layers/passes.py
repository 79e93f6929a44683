"""What a layer sees of a job: one micro-batch, the formats of its numbers, and how the work is split."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from perfmodel.layers.kept import Kernels, Products

__all__ = ["Pass"]


class Pass(NamedTuple):
    """One micro-batch through a layer, as one device sees it. Numbers may be arrays or symbols.

    Parameters
    ----------
    sequences : micro-batch [-]
    queries : tokens of one sequence in this pass, before context parallelism [-]
    keys : positions that attention may look at [-]
    tp, cp : tensor- and context-parallel degree [-]
    sequence_parallel : norms and residuals are split over the tp ranks (a structure, never an array)
    dtype : number format of the linear layers' products
    core_dtype : number format of attention and of the output head
    operand_bytes : of an element that enters a linear layer's product [B]
    element_bytes : of an activation [B]
    core_bytes : of an element that attention, its cache and the head take in; None is as `element_bytes` [B]
    gradient_bytes : of an accumulated weight gradient [B]
    fused_attention : flash kernels; else scores are stored
    dropout : dropout masks are kept
    overlap_tensor : tensor-parallel messages are cut into pieces and run beside the product next to them
    tensor_ring : these pieces go round the ranks by sends, else each is gathered or scattered by all
    tensor_buffers : gathers go round in a ring, sums of forward go in a few pieces, and those of backward run whole
        beside products that they have nothing to do with
    overlap_context : keys and values travel while the ring works on the last ones
    context : how attention sees a sequence that cp ranks share (a structure)
    kernels : whose kernels decide what is kept for backward
    source : tokens of the other sequence that cross-attention looks at [-]
    source_cached : an earlier pass has left its keys and values in the cache
    forward_only : no backward follows: operands are quantised once, logits are sampled from instead of a loss
    decode : a few queries of each sequence against a long cache (a structure)
    last_logits : only the last position of each sequence gets logits
    weight_bytes : of a weight of the linear layers that is stored in fewer bits than computed in; None is as
        `operand_bytes` [B]
    unpack_rows : tokens from which such weights are first written out in the format computed in; None unpacks them on
        the way, however many there are [-]
    expert_bytes : the same of routed experts; None is as the other linear layers [B]
    head_bytes : the same of the output head, which computes in 16 bits; None is as `element_bytes` [B]
    kv_bytes : of an element of the cache; None is as `element_bytes` [B]
    ungrouped : decode reads a cached key once for each query head, not once for those that share it
    kv_split : tensor ranks that split each sequence's cache, where they would else hold the same keys and values [-]
    replicated : the ranks that share the experts hold the same tokens: none is sent, results are summed
    products : whose products of linear layers run (a structure)
    extent : what of an image (height, width) or of a signal (samples) the layer sees; () of plain sequences [-]
    ep : expert-parallel degree: ranks with tokens of their own that share the routed experts [-]
    expert_tp : tensor-parallel degree inside a routed expert [-]; None splits experts like all other layers, and sends
        no message of their own for it
    expert_load : routed tokens of the busiest ep rank over their mean, rooms left empty included [-]
    deduplicated : a token is sent once to each node or rack that holds any of its experts
    current_scaling : a tensor is read for its largest value before it is quantised
    block_scales : weights have a scale for each block, which products apply on the way
    plain_latent : projections of latent attention stay in the format of activations
    overlap_shared : tokens travel to and from their experts while the shared experts compute
    """

    sequences: Any
    queries: Any
    keys: Any
    tp: Any = 1
    cp: Any = 1
    sequence_parallel: bool = False
    dtype: str = "bf16"
    core_dtype: str = "bf16"
    operand_bytes: Any = 2
    element_bytes: Any = 2
    gradient_bytes: Any = 4
    fused_attention: bool = True
    dropout: bool = False
    overlap_tensor: bool = False
    overlap_context: bool = False
    tensor_ring: bool = False
    tensor_buffers: bool = False
    context: str = "ring"
    kernels: Kernels = "fused"
    ep: Any = 1
    expert_tp: Any = None
    expert_load: Any = 1
    deduplicated: bool = False
    overlap_shared: bool = False
    current_scaling: bool = False
    block_scales: bool = False
    plain_latent: bool = False
    source: Any = 0
    source_cached: bool = False
    forward_only: bool = False
    decode: bool = False
    last_logits: bool = False
    weight_bytes: Any = None
    unpack_rows: Any = None
    expert_bytes: Any = None
    head_bytes: Any = None
    kv_bytes: Any = None
    kv_split: Any = 1
    replicated: bool = False
    ungrouped: bool = False
    core_bytes: Any = None
    products: Products = "own"
    extent: tuple[Any, ...] = ()

    def of_length(self, tokens: Any) -> Pass:
        """The same pass over sequences of another length."""
        return self._replace(queries=tokens, keys=tokens)

    def of_extent(self, *extent: Any) -> Pass:
        """The same pass over images or signals of another extent, every position of them a token."""
        return self.of_length(math.prod(extent))._replace(extent=extent)

    @property
    def unquantised(self) -> Pass:
        """The same pass with linear layers in the format of attention and head."""
        return self._replace(
            dtype=self.core_dtype,
            operand_bytes=self.core_element,
            weight_bytes=self.head_bytes,
            products="own",
            block_scales=False,
        )

    @property
    def core_element(self) -> Any:
        """Bytes of an element that attention, its cache and the head take in [B]."""
        return self.element_bytes if self.core_bytes is None else self.core_bytes

    @property
    def tokens(self) -> Any:
        """Tokens this device's context-parallel rank works on [-]."""
        return self.sequences * self.queries / self.cp

    @property
    def shard_tokens(self) -> Any:
        """Tokens this device holds outside the tensor-parallel regions [-]."""
        return self.tokens / self.tp if self.sequence_parallel else self.tokens

    @property
    def tp_in_experts(self) -> Any:
        """Ranks that share the columns of a routed expert [-]."""
        return self.tp if self.expert_tp is None else self.expert_tp
