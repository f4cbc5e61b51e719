"""A found network in formats that others read: plain tensors, ONNX, and a page that runs it in a browser."""

from untrained.export.browser import to_html as to_html
from untrained.export.onnx_file import to_onnx as to_onnx
from untrained.export.plain import to_safetensors as to_safetensors
from untrained.export.plain import to_torch as to_torch
