"""Operators that make values, ask about them, or put the same elements elsewhere."""

from __future__ import annotations

from gradclinic_engine.graph.op import Dimensions, Formula, Kind
from gradclinic_engine.graph.rows import rows

_QUERIES = (
    *rows("size numel dim stride storage_offset len sym_size sym_numel sym_stride", Kind.QUERY),
    *rows("sym_storage_offset is_floating_point is_complex is_contiguous is_signed", Kind.QUERY),
    *rows("is_inference is_conj is_neg is_leaf is_same_size get_device element_size output_nr", Kind.QUERY),
    *rows("requires_grad result_type _shape_as_tensor __is__ __isnot__ __contains__ format str warn", Kind.QUERY),
    *rows("prim::dtype prim::device prim::layout prim::is_cuda prim::is_cpu prim::is_mps", Kind.QUERY),
    *rows("prim::is_xpu prim::is_sparse prim::is_quantized prim::is_meta prim::is_nested", Kind.QUERY),
    *rows("prim::requires_grad prim::itemsize prim::isinstance", Kind.QUERY),
)
_NUMBERS = (
    *rows("item _local_scalar_dense", Kind.NUMBER, formula=Formula.ITEM),
    *rows("Int Float Bool Complex IntImplicit FloatImplicit ScalarImplicit ComplexImplicit", Kind.NUMBER),
    *rows("is_nonzero equal allclose prim::NumToTensor", Kind.NUMBER),
    *rows("prim::tolist", Kind.NUMBER, rewraps=True),
)
_CREATION = (
    *rows("prim::Constant", Kind.CREATION),
    *rows("zeros zero _efficientzerotensor", Kind.CREATION, fill=0.0, overwrites=True),
    *rows("zeros_like new_zeros", Kind.CREATION, fill=0.0, shape_arguments=(0,)),
    *rows("ones", Kind.CREATION, fill=1.0),
    *rows("ones_like new_ones", Kind.CREATION, fill=1.0, shape_arguments=(0,)),
    *rows("full", Kind.CREATION, fill="fill_value"),
    *rows("full_like new_full", Kind.CREATION, fill="fill_value", shape_arguments=(0,)),
    *rows("fill", Kind.CREATION, fill="value", overwrites=True),
    *rows("tensor as_tensor", Kind.CREATION, fill="t", rewraps=True),
    *rows("scalar_tensor", Kind.CREATION, fill="s", rewraps=True),
    *rows("arange range linspace logspace eye tril_indices triu_indices fft_fftfreq", Kind.CREATION),
    *rows("fft_rfftfreq hann_window hamming_window bartlett_window blackman_window kaiser_window", Kind.CREATION),
    *rows("empty empty_strided empty_permuted", Kind.CREATION, is_uninitialized=True),
    *rows("empty_like new_empty new_empty_strided", Kind.CREATION, is_uninitialized=True, shape_arguments=(0,)),
)
_SAMPLING = (
    *rows("rand randn randint randperm", Kind.SAMPLING),
    *rows("rand_like randn_like randint_like", Kind.SAMPLING, shape_arguments=(0,)),
    *rows("uniform random exponential geometric log_normal cauchy", Kind.SAMPLING, overwrites=True),
    *rows("normal", Kind.SAMPLING, overwrites=True, has_zero_derivative=True),  # not reparametrised
    *rows("bernoulli", Kind.SAMPLING, overwrites=True, has_zero_derivative=True),
    *rows("poisson", Kind.SAMPLING, has_zero_derivative=True),
    *rows("multinomial binomial _standard_gamma _sample_dirichlet", Kind.SAMPLING),
)
_RESHAPED, _TURNED = Dimensions.RESHAPED, Dimensions.TURNED
_ARRANGEMENT = (
    *rows("view reshape unflatten _reshape_alias _unsafe_view resize", Kind.RESHAPING, dimensions=_RESHAPED),
    *rows("flatten ravel", Kind.RESHAPING, dimensions=Dimensions.JOINED),
    *rows("view_as_complex view_as_real", Kind.RESHAPING),
    *rows("view_as reshape_as", Kind.RESHAPING, dimensions=_RESHAPED, shape_arguments=(1,)),
    *rows("resize_as", Kind.RESHAPING, dimensions=_RESHAPED, shape_arguments=(1,)),
    *rows("transpose swapaxes swapdims", Kind.PERMUTATION, dimensions=Dimensions.SWAPPED),
    *rows("t numpy_T mT", Kind.PERMUTATION, dimensions=_TURNED),
    *rows("permute", Kind.PERMUTATION, dimensions=Dimensions.PERMUTED),
    *rows("movedim moveaxis", Kind.PERMUTATION),
    *rows("flip fliplr flipud roll rot90 channel_shuffle native_channel_shuffle", Kind.RESAMPLING),
    *rows("unsqueeze", Kind.UNIT_DIMENSION, dimensions=Dimensions.ADDED),
    *rows("squeeze", Kind.UNIT_DIMENSION, dimensions=Dimensions.REMOVED),
    *rows("atleast_1d atleast_2d atleast_3d", Kind.UNIT_DIMENSION),
    *rows("expand broadcast_to", Kind.EXPANSION, dimensions=_RESHAPED),
    *rows("expand_as", Kind.EXPANSION, dimensions=_RESHAPED, shape_arguments=(1,)),
    *rows("broadcast_tensors", Kind.EXPANSION, formula=Formula.BROADCAST, broadcasts=True, may_return_argument=True),
    *rows("to cpu cuda _to_copy", Kind.CAST),
    *rows("type_as", Kind.CAST, shape_arguments=(1,)),
    *rows("_autocast_to_reduced_precision _autocast_to_full_precision", Kind.CAST),
    *rows("contiguous clone alias positive resolve_conj resolve_neg", Kind.COPY),
    *rows("lift_fresh", Kind.COPY, rewraps=True),
    *rows("detach detach_copy data prim::data", Kind.COPY, detaches=True),
    *rows("repeat repeat_interleave tile", Kind.RESAMPLING),
    *rows("_pack_padded_sequence _pad_packed_sequence pad_sequence to_padded_tensor to_dense", Kind.RESAMPLING),
    *rows("_nested_tensor_from_mask _nested_tensor_from_tensor_list", Kind.RESAMPLING),
)
_PARTS = (
    *rows("slice narrow diagonal diag unsafe_split unsafe_split_with_sizes", Kind.PART),
    *rows("select", Kind.PART, dimensions=Dimensions.REMOVED),
    *rows("split split_with_sizes chunk unsafe_chunk unbind tensor_split", Kind.PART, may_return_argument=True),
    *rows("hsplit vsplit dsplit", Kind.PART, may_return_argument=True),
    *rows("narrow_copy slice_copy select_copy", Kind.PART),
    *rows("unfold as_strided", Kind.PART),
    *rows("index index_select gather take take_along_dim _unsafe_index", Kind.LOOKUP, weight_at=0),
    *rows("masked_select topk", Kind.LOOKUP),
    *rows("nonzero nonzero_numpy argwhere unique_dim unique_consecutive _unique _unique2", Kind.ORDER),
    *rows("one_hot", Kind.ORDER, formula=Formula.ONE_HOT, range=(0.0, 1.0)),
)
_COMBINATIONS = (
    *rows("stack _stack", Kind.JOINING, dimensions=Dimensions.ADDED),
    *rows("cat concat concatenate hstack vstack dstack column_stack row_stack", Kind.JOINING),
    *rows("block_diag cartesian_prod meshgrid combinations", Kind.JOINING),
    *rows("where", Kind.REPLACING, formula=Formula.CHOICE, broadcasts=True),
    *rows("masked_fill", Kind.REPLACING, formula=Formula.FILL),
    *rows("index_put _index_put_impl _unsafe_index_put", Kind.REPLACING, formula=Formula.SCATTER),
    *rows("set", Kind.REPLACING, overwrites=True),
    *rows("copy", Kind.REPLACING, formula=Formula.ASSIGN, overwrites=True),
    *rows("masked_scatter index_fill index_copy scatter put fill_diagonal", Kind.REPLACING),
    *rows("slice_scatter select_scatter diagonal_scatter as_strided_scatter", Kind.REPLACING),
    *rows("triu tril", Kind.REPLACING),
    *rows("index_add scatter_add scatter_reduce index_reduce", Kind.REDUCTION),
)
ROWS = (*_QUERIES, *_NUMBERS, *_CREATION, *_SAMPLING, *_ARRANGEMENT, *_PARTS, *_COMBINATIONS)
