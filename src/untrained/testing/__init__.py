"""The laws of a method as a check, for methods of your own."""

from untrained.testing.method import check_method as check_method
