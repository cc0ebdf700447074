"""Attention processors for dialects that diffusers itself no longer writes."""

import torch


class EinsumAttention:
    """The conversion scripts of 2022: Einsum, Mul, Softmax, Einsum on (B*H, N, L)."""

    def __call__(self, attn, hidden_states, encoder_hidden_states=None, attention_mask=None, temb=None):
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        query, key, value = rows_by_heads(attn, attn.to_q(hidden_states), attn.to_k(context), attn.to_v(context))
        probs = (torch.einsum("b i d, b j d -> b i j", query, key) * attn.scale).softmax(dim=-1)
        return rejoin(attn, torch.einsum("b i j, b j d -> b i d", probs, value))


class MatMulAttention:
    """The same years' other spelling: MatMul, Mul, Softmax, MatMul on (B*H, N, L)."""

    def __call__(self, attn, hidden_states, encoder_hidden_states=None, attention_mask=None, temb=None):
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        query, key, value = rows_by_heads(attn, attn.to_q(hidden_states), attn.to_k(context), attn.to_v(context))
        probs = (torch.matmul(query, key.transpose(-1, -2)) * attn.scale).softmax(dim=-1)
        return rejoin(attn, torch.matmul(probs, value))


class PerHeadAttention:
    """Qualcomm's rewriting: activations [B,C,1,N], one 1x1 Conv and one Softmax per head, Concat of the heads."""

    def __init__(self, attn):
        self.scale = attn.scale
        self.per_head = [
            [pointwise(weight) for weight in weights]
            for weights in zip(*(f.weight.chunk(attn.heads) for f in (attn.to_q, attn.to_k, attn.to_v)))
        ]
        self.out = pointwise(attn.to_out[0].weight, attn.to_out[0].bias)

    def __call__(self, attn, hidden_states, encoder_hidden_states=None, attention_mask=None, temb=None):
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        x, c = hidden_states.transpose(1, 2).unsqueeze(2), context.transpose(1, 2).unsqueeze(2)
        outs = []
        for to_q, to_k, to_v in self.per_head:
            query, key, value = to_q(x).permute(0, 2, 3, 1), to_k(c).transpose(1, 2), to_v(c).permute(0, 2, 3, 1)
            probs = (torch.matmul(query, key) * self.scale).softmax(dim=-1)
            outs.append(torch.matmul(probs, value).permute(0, 3, 1, 2))
        return self.out(torch.cat(outs, dim=1)).squeeze(2).transpose(1, 2)


def per_head(unet):
    """A `PerHeadAttention` for each attention of the UNet."""
    modules = dict(unet.named_modules())
    return {n: PerHeadAttention(modules[n.removesuffix(".processor")]) for n in unet.attn_processors}


def pointwise(weight, bias=None):
    conv = torch.nn.Conv2d(weight.shape[1], weight.shape[0], 1, bias=bias is not None)
    conv.weight.data = weight[:, :, None, None].clone()
    if bias is not None:
        conv.bias.data = bias.clone()
    return conv.requires_grad_(False)


def rows_by_heads(attn, *tensors):
    """[B,N,H*w] -> [B*H,N,w] for each."""
    out = []
    for x in tensors:
        batch, length, width = x.shape
        x = x.reshape(batch, length, attn.heads, width // attn.heads).permute(0, 2, 1, 3)
        out.append(x.reshape(batch * attn.heads, length, width // attn.heads))
    return out


def rejoin(attn, x):
    """[B*H,N,w] -> the projected [B,N,H*w]."""
    rows, length, width = x.shape
    x = x.reshape(rows // attn.heads, attn.heads, length, width).permute(0, 2, 1, 3)
    return attn.to_out[1](attn.to_out[0](x.reshape(rows // attn.heads, length, attn.heads * width)))


