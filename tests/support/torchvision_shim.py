"""torchvision from PyPI, built for CUDA, made importable beside a CPU build of torch. For tests and benches only.

The wheel's compiled operators do not load without CUDA's libraries. `import torchvision` then dies in one place only: it registers
fake kernels for `nms` and `qnms`, whose schemas nobody declared; every other registration asks first whether the operators are
there. So the schemas are declared here before the first import, with plain torch kernels for the two operators that the networks
call. Importing this module is enough; beside a torch built for a card it does nothing.
"""

import torch
from torch import Tensor
from torch.nn import functional


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float) -> Tensor:
    """Greedy non-maximum suppression: boxes (N, 4) x0, y0, x1, y1 and scores (N,) → indices of those kept, best first."""
    order = scores.argsort(descending=True, stable=True)
    area = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    kept = []
    while order.numel():
        best, rest = order[0], order[1:]
        kept.append(best)
        low = torch.maximum(boxes[best, :2], boxes[rest, :2])
        high = torch.minimum(boxes[best, 2:], boxes[rest, 2:])
        shared = (high - low).clamp(min=0).prod(dim=1)
        order = rest[shared / (area[best] + area[rest] - shared) <= iou_threshold]
    return torch.stack(kept) if kept else scores.new_empty(0, dtype=torch.long)


def deform_conv2d(
    x: Tensor,
    weight: Tensor,
    offset: Tensor,
    mask: Tensor,
    bias: Tensor,
    stride_h: int,
    stride_w: int,
    pad_h: int,
    pad_w: int,
    dil_h: int,
    dil_w: int,
    groups: int,
    offset_groups: int,
    use_mask: bool,
) -> Tensor:
    """Deformable convolution, version 2: x (N, C, H, W), offset (N, 2·K·G, h, w) as (y, x) pairs, mask (N, K·G, h, w) → (N, O, h, w).

    Bilinear sampling at `grid + offset`, zero outside, is `grid_sample` with aligned corners; the rest is a matrix product.
    """
    n, channels, height, width = x.shape
    out_channels, _, kernel_h, kernel_w = weight.shape
    rows, cols = offset.shape[-2:]
    k, each = kernel_h * kernel_w, channels // offset_groups
    shift = offset.view(n, offset_groups, k, 2, rows, cols)
    tap = torch.arange(k, device=x.device).view(1, 1, k, 1, 1)
    row = torch.arange(rows, device=x.device).view(1, 1, 1, rows, 1) * stride_h - pad_h + tap // kernel_w * dil_h
    col = torch.arange(cols, device=x.device).view(1, 1, 1, 1, cols) * stride_w - pad_w + tap % kernel_w * dil_w
    at_y, at_x = shift[:, :, :, 0] + row.to(x.dtype), shift[:, :, :, 1] + col.to(x.dtype)
    grid = torch.stack((2 * at_x / max(width - 1, 1) - 1, 2 * at_y / max(height - 1, 1) - 1), -1)
    flat = grid.reshape(n * offset_groups, k * rows, cols, 2)
    taps = functional.grid_sample(x.reshape(n * offset_groups, each, height, width), flat, padding_mode="zeros", align_corners=True)
    taps = taps.view(n, offset_groups, each, k, rows, cols)
    if use_mask:
        taps = taps * mask.view(n, offset_groups, 1, k, rows, cols)
    columns = taps.reshape(n, groups, channels // groups * k, rows * cols)
    kernel = weight.reshape(groups, out_channels // groups, -1)
    return torch.einsum("ngkp,gok->ngop", columns, kernel).reshape(n, out_channels, rows, cols) + bias.view(1, -1, 1, 1)


def _install() -> torch.library.Library | None:
    if torch.version.cuda or torch.version.hip:
        return None
    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    library.define(
        "deform_conv2d(Tensor input, Tensor weight, Tensor offset, Tensor mask, Tensor bias, SymInt stride_h, SymInt stride_w,"
        " SymInt pad_h, SymInt pad_w, SymInt dil_h, SymInt dil_w, SymInt groups, SymInt offset_groups, bool use_mask) -> Tensor"
    )
    library.impl("nms", nms, "CPU")
    library.impl("deform_conv2d", deform_conv2d, "CompositeImplicitAutograd")
    import torchvision.extension

    torchvision.extension._has_ops = lambda: True  # the operators are there now: let torchvision.ops call them
    return library


#: Kept, because the operators disappear with the object.
LIBRARY = _install()
