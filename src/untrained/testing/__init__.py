"""Checks of your classes: `check_method(MyMethod())`, `check_law(MyLaw())`, `check_task(my_task)`."""

from untrained.testing.law import check_law as check_law
from untrained.testing.method import check_method as check_method
from untrained.testing.task import check_task as check_task
