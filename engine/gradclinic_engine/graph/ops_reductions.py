"""Operators across elements: reductions, scans, orders, distances, matrices, Fourier transforms."""

from __future__ import annotations

from gradclinic_engine.graph.op import Dimensions, Formula, Growth, Kind, Reduction
from gradclinic_engine.graph.rows import rows

_GONE = Dimensions.REMOVED
_REDUCTIONS = (
    *rows("sum nansum", Kind.REDUCTION, formula=Formula.SUM, reduction=Reduction.TOTAL, dimensions=_GONE),
    *rows("mean nanmean", Kind.REDUCTION, formula=Formula.MEAN, reduction=Reduction.TOTAL, dimensions=_GONE),
    *rows("sum_to_size", Kind.REDUCTION, shape_arguments=(1,)),
    *rows("trace", Kind.REDUCTION, reduction=Reduction.TOTAL),
    *rows(
        "max",
        Kind.REDUCTION,
        formula=Formula.LARGER,
        reduction=Reduction.EXTREME,
        has_ties=True,
        dimensions=_GONE,
    ),
    *rows("min amax amin", Kind.REDUCTION, reduction=Reduction.EXTREME, has_ties=True, dimensions=_GONE),
    *rows("median nanmedian mode kthvalue quantile nanquantile aminmax", Kind.REDUCTION, reduction=Reduction.EXTREME),
    *rows(
        "norm linalg_vector_norm",
        Kind.REDUCTION,
        reduction=Reduction.SIZE,
        is_singular=True,
        growth=Growth.DISTANCE,
        dimensions=_GONE,
    ),
    *rows(
        "linalg_norm frobenius_norm linalg_matrix_norm nuclear_norm",
        Kind.REDUCTION,
        reduction=Reduction.SIZE,
        is_singular=True,
    ),
    *rows(
        "logsumexp special_logsumexp",
        Kind.REDUCTION,
        reduction=Reduction.LOG_SUM,
        is_singular=True,
        gives_logarithm=True,
        dimensions=_GONE,
    ),
    *rows("std var", Kind.REDUCTION, reduction=Reduction.SPREAD, is_singular=True, dimensions=_GONE),
    *rows("std_mean", Kind.REDUCTION, reduction=Reduction.SPREAD, is_singular=True),
    *rows("var_mean", Kind.REDUCTION, reduction=Reduction.SPREAD, is_steep=True),
    *rows("prod", Kind.REDUCTION, reduction=Reduction.PRODUCT, is_singular=True),
    *rows("argmax", Kind.REDUCTION, formula=Formula.LARGEST_PLACE, reduction=Reduction.PLACE, dimensions=_GONE),
    *rows("argmin", Kind.REDUCTION, reduction=Reduction.PLACE),
    *rows("all any count_nonzero", Kind.REDUCTION, reduction=Reduction.FLAG),
    *rows("cumsum", Kind.SCAN, reduction=Reduction.TOTAL),
    *rows("logcumsumexp cummax cummin diff trapz trapezoid cumulative_trapezoid", Kind.SCAN),
    *rows("cumprod", Kind.SCAN, is_singular=True),
    *rows("sort argsort msort bincount histc histogram searchsorted unique_dim_consecutive", Kind.ORDER),
    *rows("cdist pairwise_distance dist", Kind.DISTANCE, is_singular=True, growth=Growth.DISTANCE),
    *rows("pdist", Kind.DISTANCE),
    *rows("cosine_similarity", Kind.DISTANCE, is_singular=True),
    *rows("cov corrcoef", Kind.DISTANCE),
)
_MATRICES = (
    *rows("linalg_svd linalg_eigh", Kind.MATRIX, is_singular=True),
    *rows(
        "linalg_inv linalg_inv_ex inverse linalg_solve linalg_solve_ex linalg_pinv pinverse", Kind.MATRIX, is_steep=True
    ),
    *rows("linalg_cholesky linalg_cholesky_ex cholesky linalg_det det logdet", Kind.MATRIX, is_steep=True),
    *rows("linalg_slogdet slogdet cross linalg_cross", Kind.MATRIX, is_steep=True),
    *rows("cholesky_solve cholesky_inverse triangular_solve linalg_solve_triangular lu_solve lu_unpack", Kind.MATRIX),
    *rows("linalg_lu linalg_lu_factor linalg_lu_solve linalg_lstsq linalg_qr qr svd linalg_svdvals", Kind.MATRIX),
    *rows("linalg_eig linalg_eigvals linalg_eigvalsh linalg_matrix_exp matrix_exp linalg_matrix_power", Kind.MATRIX),
    *rows("matrix_power linalg_matrix_rank linalg_cond linalg_householder_product", Kind.MATRIX),
    *rows("diag_embed diagflat vander linalg_diagonal", Kind.MATRIX),
    *rows("fft_fft fft_ifft fft_rfft fft_irfft fft_hfft fft_ihfft fft_fft2 fft_ifft2 fft_rfft2", Kind.TRANSFORM),
    *rows("fft_irfft2 fft_fftn fft_ifftn fft_rfftn fft_irfftn fft_fftshift fft_ifftshift", Kind.TRANSFORM),
    *rows("stft istft complex polar angle imag conj_physical", Kind.TRANSFORM),
    *rows("real conj", Kind.TRANSFORM, may_return_argument=True),
)
_DERIVATIVES = rows("grad", Kind.DERIVATIVE)  # torch.autograd.grad
ROWS = (*_REDUCTIONS, *_MATRICES, *_DERIVATIVES)
