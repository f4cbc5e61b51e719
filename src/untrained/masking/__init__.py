"""A method applied to the parameters of any `nn.Module`."""
