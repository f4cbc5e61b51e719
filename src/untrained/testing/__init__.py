"""The laws of methods and tasks as checks that run on your own: `check_method(MyMethod())`, `check_task(my_task)`."""

from untrained.testing.method import check_method as check_method
from untrained.testing.task import check_task as check_task
