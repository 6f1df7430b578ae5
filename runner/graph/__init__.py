"""Units, the links between them, and the workflow that runs them."""

from runner.graph.bool import Bool
from runner.graph.links import Linked
from runner.graph.pickleable import Pickleable
from runner.graph.unit import Unit
from runner.graph.workflow import EndPoint, Repeater, StartPoint, Workflow

__all__ = ["Bool", "EndPoint", "Linked", "Pickleable", "Repeater", "StartPoint", "Unit", "Workflow"]
