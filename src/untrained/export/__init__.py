"""Export of a found network: plain tensors, ONNX, numpy, JavaScript, a page that runs it, and the playground."""

from untrained.export.browser.module import to_js as to_js
from untrained.export.browser.page import to_html as to_html
from untrained.export.browser.playground import playground as playground
from untrained.export.numpy_file import to_numpy as to_numpy
from untrained.export.onnx import to_onnx as to_onnx
from untrained.export.state_dict import to_safetensors as to_safetensors
from untrained.export.state_dict import to_torch as to_torch
