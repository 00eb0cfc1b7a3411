"""Faster versions of the textbook's functions for CuPy: a .cu file beside the module that launches its kernels."""
