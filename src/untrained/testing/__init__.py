"""The laws of a method as a check that runs on a method of your own: `check_method(MyMethod())`."""

from untrained.testing.method import check_method as check_method
